"""What a report says of bad input, and that nothing is written then."""

import numpy as np
import pytest

import bayes_sbn as sbn
from tests.html_report.posteriors import labels, of_classes, of_reals, record, rows
from tests.html_report.test_page import made

WRONG = {
    "posterior": ({"posterior": 3}, TypeError, r"needs a Posterior: received int. Write"),
    "x": ({"x": rows(5)}, ValueError, r"report\(x=...\) needs inputs of shape \(rows, 6\)"),
    "x_empty": ({"x": rows(number=0)}, ValueError, "at least one row"),
    "x_nan": ({"x": rows() * np.nan}, ValueError, "finite inputs"),
    "x_beyond": ({"x": 1e3 + rows()}, ValueError, "beyond the posterior's input range"),
    "y": ({"y": labels()[:-1]}, ValueError, r"report\(y=...\) needs one label a row"),
    "y_outside": ({"y": labels() + 1}, ValueError, "labels in 0 ... 2"),
    "ood": ({"ood": rows(5)}, ValueError, r"report\(ood=...\) needs inputs of shape"),
    "train": ({"train": rows()}, TypeError, r"Write train=\(x_train, y_train\)"),
    "train_y": ({"train": (rows(), [0])}, ValueError, r"report\(train\[1\]=...\)"),
    "draws": ({"draws": 0}, ValueError, "draws of at least 1"),
    "seed": ({"seed": -1}, ValueError, "seed of at least 0"),
    "bootstrap": ({"bootstrap": 3}, ValueError, "at least 39 resamples"),
    "level": ({"level": 1.0}, ValueError, "level strictly between 0 and 1"),
    "class_names": ({"class_names": ["a"]}, ValueError, "to be 3 names.*received 1 names"),
    "class_names_str": ({"class_names": "abc"}, ValueError, "received a str"),
    "class_names_twice": ({"class_names": ["a", "b", "a"]}, ValueError, "'a' is there twice"),
    "feature_names": ({"feature_names": ["a"]}, ValueError, "feature_names to be 6 names"),
    "image_shape": ({"image_shape": (2, 2)}, ValueError, r"of 6 values: received \(2, 2\)"),
    "rescale": ({"rescale": (1, 0)}, ValueError, "is for real targets"),
    "rescale_inputs": ({"rescale_inputs": (0, 1)}, ValueError, "no scale 0"),
    "rescale_inputs_shape": ({"rescale_inputs": ([1, 2], 0)}, ValueError, "each of 6 inputs"),
    "row_names": ({"row_names": ["a"]}, ValueError, "row_names to be 40 names"),
    "recalibration": ({"recalibration": 2}, TypeError, "fitted sbn.recalibration method"),
    "fit": ({"fit": 3}, TypeError, "result of sbn.fit"),
    "fit_records": ({"fit": [record(1), 2]}, TypeError, "result of sbn.fit"),
    "fit_folder": ({"fit": "nowhere"}, FileNotFoundError, "no log of a fit"),
    "date": ({"date": 3}, TypeError, "date as a datetime or a str"),
    "folder": ({"path": "."}, ValueError, "is a folder. Write path='report.html'"),
    "no_folder": ({"path": "no/r.html"}, ValueError, "does not exist"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_says_what_to_write(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes, kind, words = WRONG[case]
    options = {"posterior": of_classes(), "x": rows(), "y": labels(), "draws": 2, **changes}
    with pytest.raises(kind, match=words):
        sbn.report(**options)
    assert not list(tmp_path.iterdir())


def test_bad_input_of_a_real_target(tmp_path):
    for changes, words in (
        ({"class_names": ["a"]}, "Leave them out"),
        ({"rescale": (0, 1)}, "scale not 0"),
        ({"rescale": 3}, r"rescale=\(scale, shift\)"),
    ):
        with pytest.raises(ValueError, match=words):
            made(tmp_path / "r.html", of_reals(), **changes)
