"""The file of a recalibration: every number comes back, and what is no such file is refused."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from bayes_sbn import recalibration
from bayes_sbn.predictions_regression import RegressionPredictions
from bayes_sbn.recalibration import IsotonicQuantiles, TemperatureScaling, VarianceScaling
from bayes_sbn.recalibration.calibration_file import _checksum
from bayes_sbn.recalibration.loading import METHODS
from tests.recalibration.class_cases import ensemble
from tests.recalibration.methods import CLASS_METHODS


@pytest.fixture(params=CLASS_METHODS)
def saved(request, tmp_path: Path) -> tuple[recalibration.Recalibration, Path]:
    pred, y = ensemble(2000, 3)
    fitted = CLASS_METHODS[request.param]().fit(pred, y)
    fitted.save(tmp_path / "map.json")
    return fitted, tmp_path / "map.json"


def test_round_trip_is_exact(saved):
    fitted, path = saved
    pred, _ = ensemble(50, 3, seed=9)
    for loaded in (
        type(fitted).load(path),
        recalibration.load(path),
        recalibration.load(str(path)),
    ):
        assert type(loaded) is type(fitted)
        assert repr(loaded) == repr(fitted)
        assert loaded(pred) == fitted(pred)
    assert list(path.parent.iterdir()) == [path]


def test_every_number_is_checked(saved):
    _, path = saved
    content = json.loads(path.read_text())
    for name in content["numbers"]:
        for wrong in ([], [[1.0]], None, "x", [-5.0, -6.0]):
            changed = {**content, "numbers": {**content["numbers"], name: wrong}}
            write(path, changed)
            with pytest.raises(ValueError, match="damaged or holds no recalibration"):
                recalibration.load(path)
        without = {key: value for key, value in content["numbers"].items() if key != name}
        write(path, {**content, "numbers": without})
        with pytest.raises(ValueError, match="damaged or holds no recalibration"):
            recalibration.load(path)


def write(path: Path, content: dict) -> None:
    content = {key: value for key, value in content.items() if key != "sha256"}
    path.write_text(json.dumps({**content, "sha256": _checksum(content)}))


@pytest.mark.parametrize(
    "make", [VarianceScaling, lambda: VarianceScaling("likelihood"), IsotonicQuantiles]
)
def test_methods_of_real_targets_have_files_too(make, tmp_path):
    generator = np.random.default_rng(0)
    pred = RegressionPredictions(generator.standard_normal((3, 200)), 0.7)
    y = 2 * generator.standard_normal(200)
    fitted = make().fit(pred, y)
    path = tmp_path / "map.json"
    fitted.save(path)
    loaded = recalibration.load(path)
    assert repr(loaded) == repr(fitted)
    np.testing.assert_array_equal(loaded(pred).variance, fitted(pred).variance)
    test_every_number_is_checked((fitted, path))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pred, y = ensemble(100, 3)
    TemperatureScaling().fit(pred, y).save(tmp_path / "map.json")
    return tmp_path / "map.json"


def test_changed_number_breaks_the_checksum(file):
    text = file.read_text()
    file.write_text(text.replace('"rows": 100', '"rows": 101'))
    with pytest.raises(ValueError, match="its checksum does not match"):
        TemperatureScaling.load(file)


@pytest.mark.parametrize("size", [0, 1, 50, 200])
def test_truncated_file_is_refused(file, size):
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"TemperatureScaling.load\(.*damaged or holds no"):
        TemperatureScaling.load(file)


@pytest.mark.parametrize(
    "raw", [b"[1]", b"null", b'{"format": 3}', b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}']
)
def test_foreign_file_is_refused(file, raw):
    file.write_bytes(raw)
    with pytest.raises(ValueError, match="damaged or holds no"):
        recalibration.load(file)


def test_unknown_methods_options_and_infinities_are_refused(file):
    content = json.loads(file.read_text())
    write(file, {**content, "method": "Magic"})
    with pytest.raises(ValueError, match="the method 'Magic', which is not known"):
        recalibration.load(file)
    write(file, {**content, "options": {"of": "both"}})
    with pytest.raises(ValueError, match="damaged"):
        recalibration.load(file)
    write(file, {**content, "options": {"off": 1}})
    with pytest.raises(ValueError, match="damaged"):
        recalibration.load(file)
    write(file, {**content, "rows": True})
    with pytest.raises(ValueError, match="True is no count"):
        recalibration.load(file)
    text = json.dumps(content).replace(repr(content["numbers"]["temperature"]), "1e999")
    file.write_text(text)
    with pytest.raises(ValueError, match="damaged"):
        recalibration.load(file)


def test_numbers_out_of_range_are_refused(file):
    content = json.loads(file.read_text())
    for temperature in (0.0, -1.0):
        write(file, {**content, "numbers": {"temperature": temperature}})
        with pytest.raises(ValueError, match="there is no positive temperature"):
            recalibration.load(file)


def test_newer_version_says_so(file):
    content = json.loads(file.read_text())
    write(file, {**content, "version": 2})
    with pytest.raises(ValueError, match="format version 2; this bayes_sbn reads version 1"):
        recalibration.load(file)


def test_missing_file_is_its_own_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        recalibration.load(tmp_path / "none")


def test_failed_save_leaves_the_old_file(file, monkeypatch):
    before = file.read_bytes()
    pred, y = ensemble(100, 3, seed=1)
    scaling = TemperatureScaling().fit(pred, y)

    def broken(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        scaling.save(file)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_file_of_another_method_names_it(file):
    class Other(TemperatureScaling):
        pass

    with pytest.raises(ValueError, match=r"Other.load\(.*holds a TemperatureScaling"):
        Other.load(file)


def test_every_method_is_registered_under_its_name():
    public = {name: getattr(recalibration, name) for name in recalibration.__all__}
    methods = {
        name: value
        for name, value in public.items()
        if isinstance(value, type)
        and issubclass(value, recalibration.Recalibration)
        and value is not recalibration.Recalibration
    }
    assert methods == METHODS
