"""What is done to a table before a network sees it, and its file."""

import json

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from bayes_sbn.cli_output import to_json
from bayes_sbn.cli_preprocessing import (
    Preprocessing,
    class_names,
    names_in_order,
    real_targets,
    task_of,
)
from bayes_sbn.cli_table import Columns, Table

GENERATOR = np.random.default_rng(0)


def table(x, target=None, **options):
    x = np.asarray(x)
    target = None if target is None else np.asarray(target)
    return Table("data.csv", x, target, Columns.of_array(x.shape[1]), **options)


def fitted(given, rows=None, *, task="classes", scaling="standard", classes=("a", "b")):
    rows = np.arange(len(given)) if rows is None else np.asarray(rows)
    return Preprocessing.fitted(given, rows, task=task, scaling=scaling, classes=classes)


def test_columns_are_standardised_by_the_rows_for_training():
    x = GENERATOR.normal(size=(50, 4)) * [1, 1e-9, 1e6, 3] + [0, 1, -5e6, 1e3]
    rows = np.arange(0, 50, 2)
    made = fitted(table(x), rows)
    wanted = StandardScaler().fit(x[rows]).transform(x)
    found = made.inputs(table(x))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_constant_columns_become_zero():
    x = np.column_stack([np.full(9, 0.1), np.zeros(9), np.full(9, 1e20), np.arange(9.0)])
    made = fitted(table(x))
    assert np.array_equal(made.scale[:3], [1, 1, 1])
    # a mean of equal numbers is rounded, by an ulp of them
    assert np.abs(made.inputs(table(x))[:, :2]).max() < 1e-15
    tiny = fitted(table(np.array([[1e-20], [3e-20]])))
    assert np.array_equal(tiny.inputs(table(np.array([[1e-20], [3e-20]]))), [[-1], [1]])


def test_pixels_have_one_range():
    x = np.array([[0, 16, 4], [8, 2, 1]], np.uint8)
    made = fitted(table(x), scaling="range")
    assert np.array_equal(made.inputs(table(x)), x / 8.0 - 1)
    flat = fitted(table(np.full((3, 2), 7)), scaling="range")
    assert np.array_equal(flat.inputs(table(np.full((3, 2), 7))), np.zeros((3, 2)))


def test_nothing_is_done_on_request():
    x = GENERATOR.normal(size=(5, 2)).astype(np.float32)
    assert np.array_equal(fitted(table(x), scaling="none").inputs(table(x)), x)


def test_numbers_too_large_are_an_error_and_not_nan():
    with pytest.raises(ValueError, match="column '2' has numbers too large"):
        fitted(table([[1.0, 1e308], [2.0, -1e308], [3.0, 1e308]]))


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (["x", "y"], "classes"),
        ([0, 1, 1], "classes"),
        ([1.0, 2.0, 1.0], "classes"),
        ([True, False], "classes"),
        (list(range(20)), "classes"),
        (list(range(21)), "real"),
        ([0.5, 1.0], "real"),
        ([1e300, -1e300, 5.0], "classes"),
    ],
)
def test_the_task_follows_from_the_targets(target, task):
    assert task_of(table(np.zeros((len(target), 1)), target)) == task
    assert task_of(table(np.zeros((len(target), 1)), target, is_real=True)) == "real"


def test_classes_are_named_and_ordered():
    names = class_names(table(np.zeros((4, 1)), [10.0, 2.0, -1.0, 10.0]))
    assert names == ["10", "2", "-1", "10"]
    assert names_in_order(names) == ("-1", "2", "10")
    assert names_in_order(["b", "a", "10", "2"]) == ("10", "2", "a", "b")
    with pytest.raises(ValueError, match=r"row 2 is 1\.5; classes are text or whole numbers"):
        class_names(table(np.zeros((2, 1)), [1.0, 1.5]))


def test_labels_follow_the_names_and_unknown_ones_are_errors():
    made = fitted(table(np.eye(3)), classes=("a", "b", "c"))
    assert made.labels(table(np.eye(3), ["c", "a", "c"])).tolist() == [2, 0, 2]
    with pytest.raises(ValueError, match="row 2 has the class 'd'; the model knows a, b, c"):
        made.labels(table(np.eye(3), ["c", "d", "c"]))
    with pytest.raises(ValueError, match="has no targets"):
        made.labels(table(np.eye(3)))
    with pytest.raises(ValueError, match="2 inputs a row; the model was fitted to 3"):
        made.inputs(table(np.zeros((1, 2))))


def test_real_targets_are_standardised_and_text_is_an_error():
    y = GENERATOR.normal(size=30) * 7 + 3
    made = fitted(table(np.eye(30), y), range(20), task="real", classes=())
    wanted = (y - y[:20].mean()) / y[:20].std()
    np.testing.assert_allclose(made.standardised(y), wanted, rtol=1e-6)
    assert made.standardised(y).dtype == np.float32
    with pytest.raises(ValueError, match="is text"):
        real_targets(table(np.eye(2), ["a", "b"]))
    with pytest.raises(ValueError, match="nothing to learn"):
        fitted(table(np.eye(3), [2.0, 2.0, 2.0]), task="real", classes=())


def written(made, path):
    path.write_text(to_json(made.to_dict()))
    return path


def test_the_file_gives_back_every_bit(tmp_path):
    x = GENERATOR.normal(size=(9, 3))
    for made in (
        fitted(table(x), classes=("ä", "b, c")),
        fitted(table(x, x[:, 0]), task="real", classes=()),
    ):
        again = Preprocessing.load(written(made, tmp_path / "p.json"))
        assert np.array_equal(again.shift, made.shift)
        assert np.array_equal(again.scale, made.scale)
        for name in ("task", "columns", "scaling", "classes", "target_shift", "target_scale"):
            assert getattr(again, name) == getattr(made, name)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"version": 2},
        {"task": "both"},
        {"shift": [1.0]},
        {"shift": [1.0, None, 0.0]},
        {"shift": "text"},
        {"scale": [1.0, 0.0, 1.0]},
        {"scale": [1.0, "NaN", 1.0]},
        {"scale": [1.0, -1.0, 1.0]},
        {"classes": ["a"]},
        {"classes": ["a", "a"]},
        {"columns": {}},
        {"columns": None},
        {"target_scale": 0},
        {"target_shift": "Infinity"},
    ],
)
def test_a_damaged_file_is_an_error(change, tmp_path):
    contents = fitted(table(GENERATOR.normal(size=(9, 3)))).to_dict()
    path = tmp_path / "p.json"
    path.write_text(json.dumps(contents))
    Preprocessing.load(path)
    path.write_text(json.dumps({**contents, **change}))
    with pytest.raises(ValueError, match=r"p\.json is damaged or no preprocessing of a run"):
        Preprocessing.load(path)


@pytest.mark.parametrize("text", ["", "[]", "1", "{", "[" * 100_000, "\xff"])
def test_what_is_no_file_of_it_is_an_error(text, tmp_path):
    path = tmp_path / "p.json"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match=r"p\.json is damaged or no preprocessing of a run"):
        Preprocessing.load(path)
