"""The file of a Predictions: nothing lost, nothing half written, no code run, clear errors."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bayes_sbn.predictions import Predictions

HEADER = {
    "format": "bayes_sbn.predictions",
    "version": 1,
    "dims": ["draw", "row", "class"],
    "attrs": {},
}
PROBS = np.array([[[0.25, 0.75], [1.0, 0.0]]])


@pytest.fixture
def pred() -> Predictions:
    probs = np.random.default_rng(0).dirichlet(np.ones(3), (4, 5))
    return Predictions(probs, attrs={"seed": 3, "backend": "reference", "nested": {"a": [1, None]}})


def write_archive(path: Path, header: object = HEADER, **arrays: np.ndarray) -> None:
    encoded = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(path, header=encoded, **arrays)


def test_save_and_load_give_back_every_bit(pred, tmp_path):
    path = tmp_path / "digits.npz"
    pred.save(path)
    loaded = Predictions.load(path)
    assert loaded == pred
    assert loaded.attrs == pred.attrs
    assert loaded.probs_per_draw.tobytes() == pred.probs_per_draw.tobytes()
    assert list(tmp_path.iterdir()) == [path]


def test_save_keeps_the_name_and_takes_strings(pred, tmp_path):
    path = tmp_path / "no suffix"
    pred.save(str(path))
    assert Predictions.load(str(path)) == pred


@pytest.mark.parametrize("order", ["transposed", "strided"])
def test_save_of_arrays_that_are_not_contiguous(pred, tmp_path, order):
    probs = pred.probs_per_draw
    view = probs.transpose(1, 0, 2) if order == "transposed" else probs[:, ::2]
    Predictions(view).save(tmp_path / "a.npz")
    np.testing.assert_array_equal(Predictions.load(tmp_path / "a.npz").probs_per_draw, view)


def test_save_replaces_an_older_file(pred, tmp_path):
    path = tmp_path / "a.npz"
    Predictions(PROBS).save(path)
    pred.save(path)
    assert Predictions.load(path) == pred


def test_save_through_a_symbolic_link_keeps_the_link(pred, tmp_path):
    target, link = tmp_path / "target.npz", tmp_path / "link.npz"
    target.touch()
    link.symlink_to(target)
    pred.save(link)
    assert link.is_symlink()
    assert Predictions.load(target) == pred


@pytest.mark.parametrize("failing", ["fsync", "savez", "replace"])
def test_save_that_fails_leaves_the_old_file_and_nothing_else(pred, tmp_path, monkeypatch, failing):
    path = tmp_path / "a.npz"
    Predictions(PROBS).save(path)

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr({"fsync": os, "savez": np, "replace": Path}[failing], failing, fail)
    with pytest.raises(OSError, match="No space left"):
        pred.save(path)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [path]
    assert Predictions.load(path) == Predictions(PROBS)


def test_save_obeys_the_umask(pred, tmp_path):
    pred.save(tmp_path / "a.npz")
    (tmp_path / "b").touch()
    assert (tmp_path / "a.npz").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_load_of_missing_file_is_the_usual_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Predictions.load(tmp_path / "none.npz")


def test_load_of_truncated_file_is_an_error_at_any_length(pred, tmp_path):
    path = tmp_path / "a.npz"
    pred.save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"Predictions.load\('.*a.npz'\): the file is damaged"):
            Predictions.load(path)


def test_load_notices_every_changed_byte_that_matters(pred, tmp_path):
    path = tmp_path / "a.npz"
    pred.save(path)
    whole = path.read_bytes()
    num_errors = 0
    places = range(0, len(whole), 3)
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        path.write_bytes(changed)
        try:
            # A byte that means nothing, such as one of a time stamp, may change.
            assert Predictions.load(path) == pred
        except ValueError as error:
            assert str(error).startswith("Predictions.load(")  # noqa: PT017 - not always raised
            num_errors += 1
    assert num_errors > 0.8 * len(places)


@pytest.mark.parametrize(
    "contents", [b"", b"hello", b"\x93NUMPY\x01\x00", b"PK\x05\x06" + bytes(18)]
)
def test_load_of_foreign_bytes_is_an_error(tmp_path, contents):
    path = tmp_path / "a.npz"
    path.write_bytes(contents)
    with pytest.raises(
        ValueError, match=r"holds no predictions .*Pass a file that Predictions.save"
    ):
        Predictions.load(path)


def test_load_of_other_archives_is_an_error(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, weights=PROBS)
    with pytest.raises(ValueError, match=r"holds no predictions .*header is not a file"):
        Predictions.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header", "text")
    with pytest.raises(ValueError, match="holds no predictions"):
        Predictions.load(path)
    write_archive(path, {**HEADER, "format": "another.thing"}, probs_per_draw=PROBS)
    with pytest.raises(
        ValueError, match=r"its format is 'another.thing', not 'bayes_sbn.predictio"
    ):
        Predictions.load(path)


@pytest.mark.parametrize("header", [[], 3, "text", {}, {"format": "bayes_sbn.predictions"}])
def test_load_of_other_headers_is_an_error(tmp_path, header):
    path = tmp_path / "a.npz"
    write_archive(path, header, probs_per_draw=PROBS)
    with pytest.raises(ValueError, match="holds no predictions"):
        Predictions.load(path)


def test_load_of_newer_format_says_to_upgrade(tmp_path):
    path = tmp_path / "a.npz"
    write_archive(path, {"format": "bayes_sbn.predictions", "version": 2}, else_where=PROBS)
    with pytest.raises(ValueError, match=r"format version 2; this bayes_sbn reads version 1.*pip"):
        Predictions.load(path)


def test_load_checks_the_probabilities(tmp_path):
    path = tmp_path / "a.npz"
    write_archive(path, probs_per_draw=PROBS * 2)
    with pytest.raises(ValueError, match=r"the file is damaged .*needs probabilities in \[0, 1\]"):
        Predictions.load(path)
    write_archive(path, probs_per_draw=PROBS[0])
    with pytest.raises(ValueError, match=r"the file is damaged .*shape \(draw, row, class\)"):
        Predictions.load(path)


class Hostile:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("array", ["header", "probs_per_draw"])
def test_load_runs_no_code_of_a_hostile_file(tmp_path, array):
    path, mark = tmp_path / "a.npz", tmp_path / "mark"
    hostile = np.array([Hostile(mark)], dtype=object)
    if array == "header":
        np.savez(path, header=hostile, probs_per_draw=PROBS)
    else:
        write_archive(path, probs_per_draw=hostile)
    with pytest.raises(ValueError, match=r"the file is damaged .*allow_pickle=False"):
        Predictions.load(path)
    assert not mark.exists()
    np.load(path, allow_pickle=True)[array]  # The hazard is real.
    assert mark.exists()
