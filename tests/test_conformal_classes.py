"""Conformal sets: against quantiles and sets written out, and their coverage."""

import numpy as np
import pytest
import torch
from mapie.classification import SplitConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedShuffleSplit

from bayes_sbn.conformal import ConformalClassifier, mean_set_size, set_coverage
from bayes_sbn.conformal_scores import (
    PENALTIES,
    Penalty,
    adaptive_scores,
    adaptive_sets,
    chosen_penalty,
    quantile_of,
)
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
    aps = ConformalClassifier("aps", confidence, seed=3).fit(cal, y[:150]).predict_sets(new)
    np.testing.assert_array_equal(aps, aps_sets(p[0], y[:150], p[1], confidence, 3))


def falling(row: np.ndarray) -> list[int]:
    return sorted(range(len(row)), key=lambda c: -row[c])


def quantile(scores: list[float], confidence: float) -> float:
    return sorted(scores)[int(np.ceil((len(scores) + 1) * confidence - 1e-9)) - 1]


def reached(row: np.ndarray, rank: int, k: int, weight: float) -> float:
    return sum(row[c] for c in falling(row)[:rank]) + max(weight * (rank - k), 0.0)


def sets_that_reach(new: np.ndarray, threshold: float, k: int, weight: float) -> np.ndarray:
    sets = np.zeros(new.shape, bool)
    for members, row in zip(sets, new, strict=True):
        for rank, label in enumerate(falling(row), 1):
            members[label] = True
            if reached(row, rank, k, weight) >= threshold - 1e-8:
                break
    return sets


def raps_sets(
    p: np.ndarray, y: np.ndarray, new: np.ndarray, confidence: float, seed: int
) -> dict[float, np.ndarray]:
    """Algorithms 2 and 3 of the paper, k from a tenth of the rows; by weight, the chosen first."""
    ((kept, apart),) = StratifiedShuffleSplit(1, random_state=seed).split(p, y)
    rank = [falling(row).index(label) + 1 for row, label in zip(p, y, strict=True)]
    k = int(quantile([rank[i] for i in apart], confidence))
    u = np.random.RandomState(seed).uniform(size=len(kept))
    sizes, sets = {}, {}
    for weight in (0.001, 0.01, 0.1, 0.2, 0.5):
        of_apart = quantile([reached(p[i], rank[i], k, weight) for i in apart], confidence)
        sizes[weight] = sets_that_reach(p[apart], of_apart, k, weight).sum()
        threshold = quantile(
            [
                reached(p[i], rank[i], k, weight) - share * p[i, y[i]]
                for i, share in zip(kept, u, strict=True)
            ],
            confidence,
        )
        sets[weight] = sets_that_reach(new, threshold, k, weight)
    chosen = min(sizes, key=lambda weight: (sizes[weight], weight))
    return {chosen: sets[chosen], **sets}


@pytest.mark.parametrize("classes", [2, 4, 8])
@pytest.mark.parametrize("confidence", [0.6, 0.8, 0.9])
def test_regularised_sets_equal_those_written_out(classes, confidence):
    pred, y = ensemble(400, classes, seed=classes)
    p = pred.mean / pred.mean.sum(1, keepdims=True)
    conformal = ConformalClassifier("raps", confidence, seed=5).fit(p[:250], y[:250])
    sets = conformal.predict_sets(p[250:])
    chosen, *others = raps_sets(p[:250], y[:250], p[250:], confidence, 5).values()
    np.testing.assert_array_equal(sets, chosen)
    if classes == 8 and confidence < 0.9:  # where the penalty matters
        assert not all(np.array_equal(sets, other) for other in others)


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
    rows, repetitions = {"lac": (19, 600), "aps": (19, 200), "raps": (60, 60)}[method]
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


@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_missing_labels_are_no_matter(method):
    pred, y = ensemble(400, 4)
    known = y < 2
    conformal = ConformalClassifier(method).fit(pred.take(known), y[known])
    assert set_coverage(conformal.predict_sets(pred.take(known)), y[known]) >= 0.9


def given_classes(num_classes: int):
    """An estimator of scikit-learn whose features are the probabilities."""

    class Given(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(num_classes)

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def fit(self, x, y):
            raise AssertionError("it is given")

        def predict_proba(self, x):
            return x

        def predict(self, x):
            return x.argmax(axis=1)

    return Given()


@pytest.mark.parametrize("classes", [3, 6])
@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_sets_are_those_of_mapie(method, classes):
    pred, y = ensemble(500, classes, seed=classes)
    p = pred.mean / pred.mean.sum(1, keepdims=True)
    for confidence, rounded in ((0.6, False), (0.9, False), (0.9, True)):
        if rounded:  # ties, zeros and ones
            p = np.random.default_rng(0).multinomial(4, p) / 4
        mapie = SplitConformalClassifier(
            given_classes(classes),
            confidence_level=confidence,
            conformity_score=method,
            prefit=True,
            random_state=7,
        )
        mapie.conformalize(p[:300], y[:300])
        expected = mapie.predict_set(p[300:])[1][:, :, 0]
        if method == "raps":
            # Its search for the weight puts the weight in the place of the rank (1.6): another one
            # of the five may be chosen.
            kept, apart = next(StratifiedShuffleSplit(1, random_state=7).split(p[:300], y[:300]))
            rank = chosen_penalty(p[apart], y[apart], confidence).rank
            uniform = np.random.RandomState(7).uniform(size=len(kept))
            found = []
            for weight in PENALTIES:
                penalty = Penalty(weight, rank)
                scores = adaptive_scores(p[kept], y[kept], penalty, uniform)
                found.append(adaptive_sets(p[300:], quantile_of(scores, confidence), penalty))
            assert any(np.array_equal(sets, expected) for sets in found)
            continue
        ours = ConformalClassifier(method, confidence, seed=7).fit(p[:300], y[:300])
        np.testing.assert_array_equal(ours.predict_sets(p[300:]), expected)


@pytest.mark.parametrize("classes", [2, 3])
def test_of_twenty_rows_each_left_out_in_turn_sixteen_are_covered(classes):
    """Without ties the share is exact: ceil(20 * 0.8) = 16 of 20 rows, whatever the model."""
    pred, y = ensemble(20, classes, seed=classes)
    covered = 0
    for row in range(20):
        rest = np.delete(np.arange(20), row)
        conformal = ConformalClassifier("lac", 0.8).fit(pred.take(rest), y[rest])
        covered += set_coverage(conformal.predict_sets(pred.take([row])), y[[row]])
    assert covered == 16


def test_two_classes_have_the_four_cases_of_aps():
    # q = 0.9 is the score of the last row: all others score less, whatever their random shares.
    p = np.array([[0.1, 0.9], [0.95, 0.05], [0.9, 0.1], [0.3, 0.7]])
    sets = adaptive_sets(p, 0.9, Penalty())
    np.testing.assert_array_equal(sets, [[0, 1], [1, 0], [1, 0], [1, 1]])
    # Beyond rank 1 a penalty makes the second class reach q sooner, and the set no smaller.
    np.testing.assert_array_equal(adaptive_sets(p, 0.9, Penalty(0.5, 1)), sets)
    scores = adaptive_scores(p, np.array([1, 0, 1, 0]), Penalty(), 0.25)
    np.testing.assert_allclose(scores, [0.675, 0.7125, 0.975, 0.925])
    with_penalty = adaptive_scores(p, np.array([1, 0, 1, 0]), Penalty(0.5, 1), 0.25)
    np.testing.assert_allclose(with_penalty, [0.675, 0.7125, 1.475, 1.425])


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


def test_the_mean_of_the_draws_is_what_counts():
    pred, y = ensemble(200, 3)
    one = Predictions(pred.mean[None])
    np.testing.assert_array_equal(
        ConformalClassifier("lac").fit(one, y).predict_sets(one),
        ConformalClassifier("lac").fit(pred, y).predict_sets(pred),
    )
