"""Detection of rows from elsewhere: scikit-learn, pairs counted by loops, ties, both directions."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from bayes_sbn.metrics import (
    Detection,
    detection_aupr,
    detection_auroc,
    flip_rate,
    fpr95,
    ood,
    ood_score,
)
from bayes_sbn.predictions import Predictions
from bayes_sbn.predictions_nested import NestedPredictions
from bayes_sbn.predictions_regression import RegressionPredictions
from tests.metrics.golden_cases import fractions

SCORES = ("max_prob", "entropy", "epistemic", "variation_ratio")


def predictions(seed: int, rows: int, shared: float, own: float) -> Predictions:
    """Logits with a part that all draws share and one of each draw's own."""
    generator = np.random.default_rng(seed)
    logits = shared * generator.normal(size=(rows, 4)) + own * generator.normal(size=(9, rows, 4))
    probs = np.exp(logits)
    return Predictions(probs / probs.sum(axis=-1, keepdims=True))


@pytest.fixture(scope="module")
def pair() -> tuple[Predictions, Predictions]:
    """Draws that agree inside and not outside, and more rows inside."""
    return predictions(1, 83, 3.0, 1.0), predictions(2, 47, 1.0, 2.0)


def activations(seed: int, rows: int, p: float) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.choice([-1, 1], (4, rows, units), p=[1 - p, p]) for units in (6, 3)]


def scores_of(pair, score: str) -> tuple[np.ndarray, np.ndarray]:
    if score == "flip_rate":
        return flip_rate(activations(3, 83, 0.9)), flip_rate(activations(4, 47, 0.7))
    return ood_score(pair[0], score), ood_score(pair[1], score)


def scores_and_labels(inside, outside) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([inside, outside]), np.repeat([0, 1], [len(inside), len(outside)])


def fpr95_by_thresholds(inside, outside) -> float:
    """The least false-positive rate of a threshold that lets 95 % of the insiders in."""
    rates = [
        np.mean(outside <= t)
        for t in np.unique(np.concatenate([inside, outside]))
        if 100 * np.sum(inside <= t) >= 95 * len(inside)
    ]
    return min(rates)


@pytest.mark.parametrize("score", [*SCORES, "flip_rate"])
def test_detection_equals_scikit_learn(pair, score):
    inside, outside = scores_of(pair, score)
    found = ood(inside, outside) if score == "flip_rate" else ood(*pair, score=score)
    values, is_out = scores_and_labels(inside, outside)
    if score in ("variation_ratio", "flip_rate"):
        assert len(np.unique(values)) < len(values) / 2  # ties are there
    np.testing.assert_allclose(found.auroc, roc_auc_score(is_out, values), rtol=1e-12)
    np.testing.assert_allclose(found.aupr_out, average_precision_score(is_out, values), rtol=1e-12)
    expected = average_precision_score(1 - is_out, -values)
    np.testing.assert_allclose(found.aupr_in, expected, rtol=1e-12)
    accepted_out, accepted_in, _ = roc_curve(1 - is_out, -values, drop_intermediate=False)
    np.testing.assert_allclose(found.fpr95, accepted_out[accepted_in >= 0.95][0], rtol=1e-12)
    assert (found.num_in, found.num_out) == (83, 47)
    assert found.score == ("scores" if score == "flip_rate" else score)


@pytest.mark.parametrize("score", [*SCORES, "flip_rate"])
def test_detection_equals_counting(pair, score):
    inside, outside = scores_of(pair, score)
    wins = [(a < b) + 0.5 * (a == b) for a, b in itertools.product(inside, outside)]
    np.testing.assert_allclose(detection_auroc(inside, outside), np.mean(wins), rtol=1e-12)
    np.testing.assert_allclose(fpr95(inside, outside), fpr95_by_thresholds(inside, outside))
    found = ood(inside, outside)
    assert found.fpr95 == fpr95(inside, outside)
    assert found.aupr_out == detection_aupr(inside, outside, positive="out")
    assert found.aupr_in == detection_aupr(inside, outside, positive="in")


def test_every_score_is_higher_where_draws_do_not_agree(pair):
    for score in SCORES:
        assert ood(*pair, score=score).auroc > 0.7, score


def test_swapping_the_sides_and_the_sign_swaps_the_areas(pair):
    inside, outside = scores_of(pair, "variation_ratio")
    there, back = ood(inside, outside), ood(-outside, -inside)
    np.testing.assert_allclose(there.auroc, back.auroc, rtol=1e-13)
    np.testing.assert_allclose(there.aupr_in, back.aupr_out, rtol=1e-13)
    np.testing.assert_allclose(there.aupr_out, back.aupr_in, rtol=1e-13)
    np.testing.assert_allclose(ood(outside, inside).auroc, 1 - there.auroc, rtol=1e-13)


def test_fpr95_equals_torch_uncertainty_in_both_directions():
    # torch-uncertainty 0.13.0, FPR95: with the insiders as positives (pos_label=0, confidence
    # -score) 0.6666666666666666, with the outsiders (pos_label=1, confidence score) 0.64.
    inside, outside = fractions(50) ** 2, 1 - fractions(33, start=200) ** 2
    np.testing.assert_allclose(fpr95(inside, outside), 0.6666666666666666, rtol=1e-14)
    np.testing.assert_allclose(fpr95(-outside, -inside), 0.64, rtol=1e-14)


@pytest.mark.parametrize("rows", [1, 2, 19, 20, 21, 40, 60, 100, 1000])
def test_fpr95_lets_at_least_95_percent_in_and_no_more_than_needed(rows):
    # All scores different, one outsider above each insider: the rate says how many were let in.
    inside = np.random.default_rng(rows).permutation(rows).astype(float)
    let_in = fpr95(inside, np.arange(rows) + 0.5 - 1) * rows
    assert let_in == math.ceil(95 * rows / 100)


def test_constant_scores_say_nothing():
    found = ood(np.zeros(30), np.zeros(10))
    assert (found.auroc, found.aupr_in, found.aupr_out, found.fpr95) == (0.5, 0.75, 0.25, 1.0)


def test_perfect_and_reversed_scores():
    low, high = np.arange(5.0), np.arange(5.0, 8.0)
    best = ood(low, high)
    assert (best.auroc, best.aupr_in, best.aupr_out, best.fpr95) == (1, 1, 1, 0)
    worst = ood(high, low)
    assert (worst.auroc, worst.fpr95) == (0, 1)


def test_energies_beyond_0_1_and_infinities_are_ranked():
    inside, outside = [60.0, 61.0, -np.inf], [62.0, np.inf, 60.5]
    np.testing.assert_allclose(detection_auroc(inside, outside), 8 / 9, rtol=1e-15)
    huge = np.array([1e300, 1e-300]), np.array([2e300, -1e300])
    assert detection_auroc(*huge) == 0.5


def test_scores_that_differ_in_the_last_digit_are_not_tied():
    assert detection_auroc([1.0], [np.nextafter(1.0, 2.0)]) == 1


def test_one_row_a_side():
    assert ood([0.0], [1.0]) == Detection("scores", 1.0, 1.0, 1.0, 0.0, 1, 1)


def test_tensors_and_float32(pair):
    inside, outside = scores_of(pair, "entropy")
    expected = ood(inside.astype(np.float32), outside.astype(np.float32))
    tensors = (torch.tensor(s, dtype=torch.float32, requires_grad=True) for s in (inside, outside))
    assert ood(*tensors) == expected
    of_probs = ood(*(torch.tensor(pred.mean) for pred in pair))
    assert of_probs == ood(*pair)


def test_functions_score_whatever_they_take():
    inside = RegressionPredictions(np.zeros((2, 3)), 1.0)
    outside = RegressionPredictions([[0.0], [9.0]], 1.0)
    found = ood(inside, outside, score=lambda pred: pred.epistemic)
    assert (found.auroc, found.score, found.num_in, found.num_out) == (1.0, "<lambda>", 3, 1)


def test_scores_by_name_need_probabilities():
    pred = RegressionPredictions(np.zeros((2, 3)), 1.0)
    with pytest.raises(TypeError, match=r"ood\(\) needs real numbers: received a RegressionP"):
        ood(pred, pred)
    nested = NestedPredictions(np.full((2, 2, 3, 4), 0.25))
    with pytest.raises(TypeError, match=r"a NestedPredictions\. .* pass pred\.predictions"):
        ood(nested, nested)
    assert ood(nested.predictions, nested.predictions).auroc == 0.5


def test_a_prediction_beside_scores_is_an_error(pair):
    with pytest.raises(TypeError, match="received one of each"):
        ood(pair[0], [0.1, 0.2])


@pytest.mark.parametrize("metric", [detection_auroc, detection_aupr, fpr95, ood])
@pytest.mark.parametrize(
    ("inside", "outside", "words"),
    [
        ([], [1.0], "needs scores of rows from inside of shape"),
        ([1.0], [], "needs scores of rows from outside of shape"),
        ([1.0, np.nan], [1.0], "row 1 is NaN"),
        ([1.0], [np.nan], "row 0 is NaN"),
    ],
)
def test_scores_that_cannot_be_ranked_are_errors(metric, inside, outside, words):
    with pytest.raises(ValueError, match=words) as failure:
        metric(inside, outside)
    assert str(failure.value).startswith(f"{metric.__name__}()")


@pytest.mark.parametrize("metric", [detection_auroc, detection_aupr, fpr95])
def test_shapes_and_types_are_named(metric):
    with pytest.raises(ValueError, match=r"received shape \(2, 2\)"):
        metric(np.zeros((2, 2)), [1.0])
    with pytest.raises(TypeError, match="needs real numbers"):
        metric(["a"], [1.0])


def test_positive_is_in_or_out():
    with pytest.raises(ValueError, match="positive='in' or positive='out': received 'outside'"):
        detection_aupr([0.0], [1.0], positive="outside")
