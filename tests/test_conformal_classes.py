"""Conformal sets: against quantiles and sets written out, and their coverage."""

import builtins
import sys

import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedShuffleSplit

from bayes_sbn.conformal import ConformalClassifier, mean_set_size, set_coverage
from bayes_sbn.predictions import Predictions
from tests import chance
from tests.recalibration.class_cases import ensemble


def lac_sets(p: np.ndarray, y: np.ndarray, new: np.ndarray, confidence: float) -> np.ndarray:
    scores = sorted(1 - row[label] for row, label in zip(p, y, strict=True))
    threshold = scores[int(np.ceil((len(y) + 1) * confidence - 1e-9)) - 1]
    return 1 - new <= threshold + 1e-12


def aps_sets(
    p: np.ndarray, y: np.ndarray, new: np.ndarray, confidence: float, seed: int
) -> np.ndarray:
    u = np.random.RandomState(seed).uniform(size=len(y))
    scores = []
    for row, label, share in zip(p, y, u, strict=True):
        before = sum(value for value in row if value > row[label])
        scores.append(before + (1 - share) * row[label])
    threshold = sorted(scores)[int(np.ceil((len(y) + 1) * confidence - 1e-9)) - 1]
    sets = np.zeros(new.shape, bool)
    for members, row in zip(sets, new, strict=True):
        reached = 0.0
        for label in sorted(range(len(row)), key=lambda c: -row[c]):
            members[label] = True
            reached += row[label]
            if reached >= threshold:
                break
    return sets


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
def test_sets_equal_those_written_out(classes, confidence):
    pred, y = ensemble(300, classes, seed=classes)
    cal, new = pred.take(slice(150)), pred.take(slice(150, None))
    p = cal.mean / cal.mean.sum(1, keepdims=True), new.mean / new.mean.sum(1, keepdims=True)
    lac = ConformalClassifier("lac", confidence).fit(cal, y[:150]).predict_sets(new)
    np.testing.assert_array_equal(lac, lac_sets(p[0], y[:150], p[1], confidence))
    if classes == 2:
        return
    aps = ConformalClassifier("aps", confidence, seed=3).fit(cal, y[:150]).predict_sets(new)
    np.testing.assert_array_equal(aps, aps_sets(p[0], y[:150], p[1], confidence, 3))


def raps_sets(
    p: np.ndarray, y: np.ndarray, new: np.ndarray, confidence: float, seed: int, penalty: float
) -> np.ndarray:
    """Algorithms 2 and 3 of the paper for one penalty; k from a tenth of the rows."""
    ((kept, apart),) = StratifiedShuffleSplit(1, random_state=seed).split(p, y)

    def quantile(scores: list[float]) -> float:
        return sorted(scores)[int(np.ceil((len(scores) + 1) * confidence - 1e-9)) - 1]

    def falling(row: np.ndarray) -> list[int]:
        return sorted(range(len(row)), key=lambda c: -row[c])

    def reached(row: np.ndarray, rank: int, k: int) -> float:
        return sum(row[c] for c in falling(row)[:rank]) + max(penalty * (rank - k), 0.0)

    k = int(quantile([falling(p[i]).index(y[i]) + 1 for i in apart]))
    u = np.random.RandomState(seed).uniform(size=len(kept))
    threshold = quantile(
        [
            reached(p[i], falling(p[i]).index(y[i]) + 1, k) - share * p[i, y[i]]
            for i, share in zip(kept, u, strict=True)
        ]
    )
    sets = np.zeros(new.shape, bool)
    for members, row in zip(sets, new, strict=True):
        for rank, label in enumerate(falling(row), 1):
            members[label] = True
            if reached(row, rank, k) >= threshold:
                break
    return sets


@pytest.mark.parametrize("classes", [4, 8])
@pytest.mark.parametrize("confidence", [0.6, 0.8, 0.9])
def test_regularised_sets_equal_those_written_out(classes, confidence):
    # The penalty is MAPIE's choice, by a search on the rows apart, among the paper's five.
    pred, y = ensemble(400, classes, seed=classes)
    p = pred.mean / pred.mean.sum(1, keepdims=True)
    conformal = ConformalClassifier("raps", confidence, seed=5).fit(p[:250], y[:250])
    sets = conformal.predict_sets(p[250:])
    written_out = [
        raps_sets(p[:250], y[:250], p[250:], confidence, 5, penalty)
        for penalty in (0.001, 0.01, 0.1, 0.2, 0.5)
    ]
    assert sum(np.array_equal(sets, other) for other in written_out) >= 1
    if classes == 8 and confidence < 0.9:  # where the penalty matters
        assert not all(np.array_equal(sets, other) for other in written_out)


@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_predictions_and_saved_arrays_give_the_same_sets(method, tmp_path):
    pred, y = ensemble(400, 4)
    sets = ConformalClassifier(method).fit(pred, y).predict_sets(pred)
    np.save(tmp_path / "mean.npy", pred.mean)
    saved = np.load(tmp_path / "mean.npy")
    again = ConformalClassifier(method).fit(saved, y)
    np.testing.assert_array_equal(again.predict_sets(saved), sets)
    np.testing.assert_array_equal(again.predict_sets(torch.tensor(saved)), sets)
    assert sets.dtype == np.bool_
    assert sets.shape == (400, 4)
    np.testing.assert_array_equal(again.predict_sets(saved[[7]]), sets[[7]])
    assert again.predict_sets(pred.take([])).shape == (0, 4)
    assert set_coverage(sets, y) >= 0.9


@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_label_of_one_more_row_is_in_its_set_often_enough(method):
    """For exchangeable rows with probability at least 0.8, whatever the model; here a wrong one.

    LAC has no ties here and N = 19 rows: exactly 16 / 20 of all fits and rows.
    """
    generator = chance.numpy_generator(f"conformal {method}")
    rows, repetitions = {"lac": (19, 600), "aps": (19, 200), "raps": (60, 100)}[method]
    covered = 0
    for _ in range(repetitions):
        p = generator.dirichlet([0.6, 0.6, 0.6], rows + 1)
        truth = p[:, [1, 0, 2]] * 0.4 + p * 0.6
        y = (truth.cumsum(-1)[:, :-1] < generator.random((rows + 1, 1))).sum(-1)
        y[:6] = np.repeat([0, 1, 2], 2) if method == "raps" else y[:6]
        conformal = ConformalClassifier(method, 0.8).fit(p[:-1], y[:-1])
        covered += set_coverage(conformal.predict_sets(p[-1:]), y[-1:])
    if method == "lac":
        chance.assert_count(int(covered), repetitions, 0.8, detects=0.15)
    else:
        assert chance.binomial_p_value(int(covered), repetitions, 0.8) > chance.FALSE_ALARM or (
            covered / repetitions > 0.8
        )


def test_sets_of_certain_and_tied_probabilities():
    p = np.tile(np.eye(3), (50, 1))
    y = np.tile([0, 1, 2], 50)
    y[:3] = [1, 2, 0]
    for method in ("lac", "aps", "raps"):
        sets = ConformalClassifier(method, 0.9).fit(p, y).predict_sets(p)
        assert set_coverage(sets, y) >= 0.9
        assert mean_set_size(sets) <= 3
    uniform = np.full((150, 3), 1 / 3)
    sets = ConformalClassifier("lac", 0.9).fit(uniform, y).predict_sets(uniform)
    assert sets.all()


def test_missing_labels_are_no_matter():
    pred, y = ensemble(300, 4)
    known = y < 3
    conformal = ConformalClassifier("lac").fit(pred.take(known), y[known])
    assert conformal.predict_sets(pred).shape == (300, 4)


def test_higher_confidence_gives_larger_sets():
    pred, y = ensemble(400, 4)
    for method in ("lac", "aps"):
        small = ConformalClassifier(method, 0.6).fit(pred, y).predict_sets(pred)
        large = ConformalClassifier(method, 0.95).fit(pred, y).predict_sets(pred)
        assert np.all(large | ~small)
        assert mean_set_size(large) > mean_set_size(small)


def test_errors_say_what_to_do():
    pred, y = ensemble(100, 3)
    with pytest.raises(ValueError, match="needs method='lac', 'aps' or 'raps': received 'top_k'"):
        ConformalClassifier("top_k")
    for confidence in (0, 1, 90, float("nan"), "high", True):
        with pytest.raises(ValueError, match="needs a confidence strictly between 0 and 1"):
            ConformalClassifier(confidence=confidence)
    with pytest.raises(RuntimeError, match="it was not fitted"):
        ConformalClassifier().predict_sets(pred)
    with pytest.raises(ValueError, match=r"at least 10 calibration rows .* of 0.9: received 9"):
        ConformalClassifier("lac").fit(pred.take(slice(9)), y[:9])
    least = ConformalClassifier("lac").fit(pred.take(slice(10)), y[:10])
    assert least.predict_sets(pred).shape == (100, 3)
    with pytest.raises(ValueError, match=r"three different labels .* ConformalClassifier\('lac'"):
        ConformalClassifier("aps").fit(pred.mean[:, :2] / pred.mean[:, :2].sum(1)[:, None], y % 2)
    with pytest.raises(ValueError, match=r"at least 20 .* that RAPS sets apart"):
        ConformalClassifier("raps", 0.95).fit(pred.take(slice(90)), y[:90])
    alone = np.where(y == 2, 1, y)
    alone[0] = 2
    with pytest.raises(ValueError, match="label 2 has one row"):
        ConformalClassifier("raps").fit(pred, alone)
    with pytest.raises(ValueError, match="received 99 labels for 100 rows"):
        ConformalClassifier().fit(pred, y[1:])
    conformal = ConformalClassifier().fit(pred, y)
    with pytest.raises(ValueError, match="fitted to 3 classes and received 2"):
        conformal.predict_sets([[0.5, 0.5]])
    with pytest.raises(ValueError, match="needs booleans"):
        set_coverage(pred.mean, y)
    with pytest.raises(ValueError, match="needs booleans"):
        mean_set_size(np.zeros((0, 3), bool))
    assert repr(conformal) == "ConformalClassifier('lac', confidence=0.9, rows=100)"
    assert (
        repr(ConformalClassifier("aps")) == "ConformalClassifier('aps', confidence=0.9, not fitted)"
    )


def test_helpers_count():
    sets = np.array([[True, False, False], [True, True, True], [False, False, False]])
    assert set_coverage(sets, [0, 2, 1]) == pytest.approx(2 / 3)
    assert mean_set_size(sets) == pytest.approx(4 / 3)


def test_without_mapie_the_error_says_how_to_install_it(monkeypatch):
    pred, y = ensemble(100, 3)
    true_import = builtins.__import__

    def no_mapie(name, *args, **kwargs):
        if name.split(".")[0] == "mapie":
            raise ImportError("No module named 'mapie'")
        return true_import(name, *args, **kwargs)

    for name in [n for n in sys.modules if n.split(".")[0] == "mapie"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mapie", None)
    monkeypatch.setattr(builtins, "__import__", no_mapie)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "bayes-sbn\[conformal\]"'):
        ConformalClassifier().fit(pred, y)


def test_the_mean_of_the_draws_is_what_counts():
    pred, y = ensemble(200, 3)
    one = Predictions(pred.mean[None])
    np.testing.assert_array_equal(
        ConformalClassifier("lac").fit(one, y).predict_sets(one),
        ConformalClassifier("lac").fit(pred, y).predict_sets(pred),
    )
