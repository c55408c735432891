"""Scores of how unusual a row is: by loops, by scipy, as other packages give them; flip rates."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from bayes_sbn.metrics import flip_rate, ood_score
from bayes_sbn.metrics.unusual import check_scores
from bayes_sbn.predictions import Predictions
from tests.metrics.golden_cases import fractions


@pytest.fixture(scope="module")
def pred() -> Predictions:
    """Six draws of twenty rows and three classes."""
    probs = np.exp(4 * fractions(6, 20, 3) ** 2)
    return Predictions(probs / probs.sum(axis=-1, keepdims=True))


def test_max_prob_and_entropy_equal_loops_and_scipy(pred):
    mean = np.mean(pred.probs_per_draw, axis=0)
    np.testing.assert_allclose(
        ood_score(pred, "max_prob"), [1 - max(row) for row in mean], rtol=1e-15
    )
    np.testing.assert_allclose(ood_score(pred, "entropy"), stats.entropy(mean, axis=1), rtol=1e-14)
    # An array of probabilities has the same scores as the predictions whose mean it is.
    for score in ("max_prob", "entropy"):
        np.testing.assert_array_equal(ood_score(pred.mean, score), ood_score(pred, score))


def test_epistemic_is_the_mean_divergence_of_the_draws_from_their_mean(pred):
    probs = pred.probs_per_draw
    expected = [
        np.mean([stats.entropy(probs[s, n], probs[:, n].mean(axis=0)) for s in range(6)])
        for n in range(20)
    ]
    np.testing.assert_allclose(ood_score(pred, "epistemic"), expected, rtol=1e-12)


def test_epistemic_is_that_of_the_predictions(pred):
    np.testing.assert_allclose(ood_score(pred, "epistemic"), pred.epistemic, rtol=1e-12, atol=1e-15)


def test_epistemic_is_never_negative_by_rounding():
    probs = np.random.default_rng(0).dirichlet(np.ones(7), 500)
    same = Predictions(np.repeat(probs[None], 7, axis=0))
    assert np.all(ood_score(same, "epistemic") >= 0)
    np.testing.assert_allclose(ood_score(same, "epistemic"), 0, atol=1e-15)
    # The hazard is there: without the cut, rounding alone makes some of them negative.
    total = stats.entropy(same.mean, axis=1)
    assert np.any(total - np.mean([stats.entropy(p, axis=1) for p in [probs] * 7], axis=0) < 0)


def test_variation_ratio_equals_counting(pred):
    votes = pred.probs_per_draw.argmax(axis=-1)
    expected = [1 - max(np.sum(votes[:, n] == c) for c in range(3)) / 6 for n in range(20)]
    np.testing.assert_allclose(ood_score(pred, "variation_ratio"), expected, rtol=1e-15)


def test_variation_ratio_of_torch_uncertainty_counts_off_the_class_of_the_mean(pred):
    # torch-uncertainty 0.13.0: VariationRatio(probabilistic=False, reduction=None), in sixths.
    # Its class is that of the mean probability; Gal's, and ours, the one that most draws have.
    theirs = np.array([3, 2, 1, 3, 1, 2, 3, 3, 2, 1, 3, 1, 2, 3, 3, 1, 2, 3, 2, 2]) / 6
    of_mean = pred.mean.argmax(axis=-1)
    off = (pred.probs_per_draw.argmax(axis=-1) != of_mean).mean(axis=0)
    np.testing.assert_allclose(theirs, off, rtol=1e-15)
    ours = ood_score(pred, "variation_ratio")
    assert np.all(ours <= off + 1e-15)
    votes = pred.probs_per_draw.argmax(axis=-1)
    most = np.array([np.bincount(votes[:, n], minlength=3).argmax() for n in range(20)])
    np.testing.assert_allclose(ours[most == of_mean], off[most == of_mean], rtol=1e-14)
    # It gives 2/3 here, where two draws lean to one class and the third is sure of the other.
    leaning = Predictions(np.array([[[0.51, 0.49]], [[0.51, 0.49]], [[0.01, 0.99]]]))
    np.testing.assert_allclose(ood_score(leaning, "variation_ratio"), 1 / 3, rtol=1e-15)


def test_scores_of_certain_rows_are_zero():
    certain = Predictions(np.array([[[1.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]]]))
    for score in ("max_prob", "entropy", "epistemic", "variation_ratio"):
        assert ood_score(certain, score)[0] == 0, score
    opposed = Predictions(np.array([[[1.0, 0.0]], [[0.0, 1.0]]]))
    np.testing.assert_allclose(ood_score(opposed, "epistemic"), math.log(2), rtol=1e-15)
    np.testing.assert_allclose(ood_score(opposed, "variation_ratio"), 0.5)


def test_a_single_draw_has_no_spread(pred):
    one = Predictions(pred.probs_per_draw[:1])
    np.testing.assert_array_equal(ood_score(one, "epistemic"), np.zeros(20))
    np.testing.assert_array_equal(ood_score(one, "variation_ratio"), np.zeros(20))


def test_a_function_of_the_prediction_is_a_score(pred):
    energy = ood_score(pred, lambda p: -np.log(p.mean.max(axis=-1)))
    np.testing.assert_allclose(energy, -np.log(pred.mean.max(axis=-1)))
    of_tensor = ood_score(pred, lambda p: torch.tensor(p.mean[:, 0], dtype=torch.float32))
    assert of_tensor.dtype == np.float64


def test_scores_that_need_draws_say_so(pred):
    with pytest.raises(TypeError, match=r"ood_score\(\) needs the probabilities of every draw"):
        ood_score(pred.mean, "epistemic")


def test_unknown_scores_list_the_known(pred):
    with pytest.raises(ValueError, match="among max_prob, entropy, epistemic, variation_ratio"):
        ood_score(pred, "entropies")
    with pytest.raises(ValueError, match=r"received \['entropy'\]"):
        ood_score(pred, ["entropy"])


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        (np.zeros((20, 2)), ValueError, r"shape \(20,\), at least one number and one a row"),
        (np.zeros(19), ValueError, r"received shape \(19,\)"),
        (np.full(20, np.nan), ValueError, "row 0 is NaN"),
        (np.array(["a"] * 20), TypeError, "needs real numbers as score"),
    ],
)
def test_bad_values_of_a_score_are_named(pred, values, error, words):
    with pytest.raises(error, match=words):
        ood_score(pred, lambda _: values)


def test_infinite_scores_and_whole_numbers_can_be_ranked():
    np.testing.assert_array_equal(check_scores("f()", "s", [1, 2]), [1.0, 2.0])
    np.testing.assert_array_equal(check_scores("f()", "s", [np.inf, -np.inf]), [np.inf, -np.inf])


def test_flip_rate_is_the_share_of_pairs_of_draws_that_differ():
    generator = np.random.default_rng(1)
    layers = [generator.choice(np.array([-1, 1], np.int8), (5, 4, units)) for units in (3, 8)]
    pairs = list(itertools.combinations(range(5), 2))
    expected = [
        np.mean(
            [layer[s, n, u] != layer[t, n, u] for s, t in pairs for layer in layers
             for u in range(layer.shape[-1])]
        )
        for n in range(4)
    ]  # fmt: skip
    np.testing.assert_allclose(flip_rate(layers), expected, rtol=1e-14)
    np.testing.assert_allclose(flip_rate(tuple(torch.tensor(h) for h in layers)), expected)
    np.testing.assert_allclose(
        flip_rate(np.concatenate(layers, axis=-1).astype(np.float32)), expected, rtol=1e-14
    )


def test_flip_rate_equals_its_formula_in_means():
    activations = np.random.default_rng(2).choice([-1.0, 1.0], (9, 6, 20), p=[0.2, 0.8])
    mean = activations.mean(axis=0)
    expected = (9 / 8 * (1 - mean**2) / 2).mean(axis=-1)
    np.testing.assert_allclose(flip_rate(activations), expected, rtol=1e-13)


def test_flip_rate_of_draws_that_agree_is_zero_and_of_opposed_ones_one():
    ones = np.ones((3, 2, 5))
    np.testing.assert_array_equal(flip_rate(ones), [0, 0])
    np.testing.assert_array_equal(flip_rate(np.stack([ones[0], -ones[0]])), [1, 1])


@pytest.mark.parametrize(
    ("activations", "words"),
    [
        (np.ones((2, 3)), r"shape \(draws, rows, units\): received shape \(2, 3\)"),
        ([np.ones((2, 3, 4)), np.ones((2, 4, 4))], "same draws and rows in every layer"),
        (np.zeros((2, 3, 4)), "layer 0 has other values. Map 0/1 bits"),
        (np.full((2, 3, 4), np.nan), "layer 0 has other values"),
        (np.ones((1, 3, 4)), "at least 2 draws, and one layer: received 1"),
        ([], "at least 2 draws, and one layer: received 0"),
        (np.ones((2, 0, 4)), r"received shape \(2, 0, 4\)"),
    ],
)
def test_flip_rate_refuses(activations, words):
    with pytest.raises(ValueError, match=words):
        flip_rate(activations)


def test_flip_rate_needs_numbers():
    with pytest.raises(TypeError, match=r"flip_rate\(\) needs activations that are -1 and \+1"):
        flip_rate(np.full((2, 3, 4), "a"))
