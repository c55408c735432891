"""The file of a conformal predictor: the same sets after loading, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from bayes_sbn import recalibration
from bayes_sbn.conformal import ConformalClassifier, ConformalPredictor, ConformalRegressor
from bayes_sbn.predictions_regression import RegressionPredictions
from bayes_sbn.recalibration import TemperatureScaling
from bayes_sbn.recalibration.calibration_file import _checksum
from tests.recalibration.class_cases import ensemble


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_sets_are_equal_after_loading(method, classes, tmp_path):
    pred, y = ensemble(600, classes)
    fitted = ConformalClassifier(method, 0.85, seed=4).fit(pred, y)
    fitted.save(tmp_path / "sets.json")
    loaded = ConformalClassifier.load(tmp_path / "sets.json")
    new, _ = ensemble(200, classes, seed=8)
    np.testing.assert_array_equal(loaded.predict_sets(new), fitted.predict_sets(new))
    assert repr(loaded) == repr(fitted)
    assert (loaded.quantile, loaded.num_rows) == (fitted.quantile, 600)
    assert list(tmp_path.iterdir()) == [tmp_path / "sets.json"]
    # Fitted again it is as if it had never been saved: the seed is in the file.
    np.testing.assert_array_equal(
        loaded.fit(new, _).predict_sets(pred), fitted.fit(new, _).predict_sets(pred)
    )


@pytest.mark.parametrize("method", ["residual", "normalised", "cqr"])
def test_intervals_are_equal_after_loading(method, tmp_path):
    generator = np.random.default_rng(0)
    pred = RegressionPredictions(generator.standard_normal((3, 100)), 0.7)
    y = generator.standard_normal(100)
    fitted = ConformalRegressor(method, 0.8).fit(pred, y)
    fitted.save(str(tmp_path / "interval.json"))
    loaded = ConformalRegressor.load(str(tmp_path / "interval.json"))
    np.testing.assert_array_equal(loaded.predict_interval(pred), fitted.predict_interval(pred))
    assert (
        repr(loaded) == repr(fitted) == f"ConformalRegressor({method!r}, confidence=0.8, rows=100)"
    )
    assert isinstance(loaded, ConformalPredictor)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pred, y = ensemble(100, 3)
    ConformalClassifier("aps").fit(pred, y).save(tmp_path / "sets.json")
    return tmp_path / "sets.json"


def write(path: Path, content: dict) -> None:
    content = {key: value for key, value in content.items() if key != "sha256"}
    path.write_text(json.dumps({**content, "sha256": _checksum(content)}))


def test_files_of_others_are_refused(file):
    with pytest.raises(ValueError, match=r"holds a ConformalClassifier. Write sbn.conformal.Conf"):
        ConformalRegressor.load(file)
    with pytest.raises(ValueError, match=r"holds no recalibration .*'bayes_sbn.conformal', not"):
        recalibration.load(file)
    pred, y = ensemble(100, 3)
    TemperatureScaling().fit(pred, y).save(file)
    with pytest.raises(ValueError, match=r"holds no conformal predictor .*Pass a file that the"):
        ConformalClassifier.load(file)


def test_files_of_newer_versions_say_to_upgrade(file):
    write(file, {**json.loads(file.read_text()), "version": 2})
    with pytest.raises(ValueError, match=r"format version 2; .*reads version 1. Upgrade it"):
        ConformalClassifier.load(file)


@pytest.mark.parametrize(
    "change",
    [
        {"numbers": {"quantile": 0.5}},
        {"numbers": {"quantile": [0.5], "weight": 0.0, "rank": 0.0}},
        {"numbers": None},
        {"options": {"method": "top_k"}},
        {"options": {"method": "aps", "confidence": 2}},
        {"rows": 0},
        {"rows": -1},
        {"classes": 1},
    ],
)
def test_damaged_files_are_refused(file, change):
    write(file, {**json.loads(file.read_text()), **change})
    with pytest.raises(
        ValueError, match=r"ConformalClassifier.load\(.*damaged or holds no conformal"
    ):
        ConformalClassifier.load(file)


def test_changed_and_cut_files_are_refused(file):
    text = file.read_text()
    file.write_text(text.replace('"rows": 100', '"rows": 101'))
    with pytest.raises(ValueError, match="its checksum does not match"):
        ConformalClassifier.load(file)
    for size in (0, 40, len(text) // 2):
        file.write_text(text[:size])
        with pytest.raises(ValueError, match="damaged or holds no conformal predictor"):
            ConformalClassifier.load(file)


def test_what_was_not_fitted_has_no_file(tmp_path):
    with pytest.raises(
        RuntimeError, match=r"ConformalClassifier.save\(\): it was not fitted. Write"
    ):
        ConformalClassifier().save(tmp_path / "sets.json")
    with pytest.raises(RuntimeError, match=r"ConformalRegressor.quantile: it was not fitted"):
        _ = ConformalRegressor().quantile
    assert not list(tmp_path.iterdir())
