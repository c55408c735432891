"""Accuracy, nll, brier and spherical: by hand, by loops, and as scikit-learn computes them."""

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from bayes_sbn.metrics import accuracy, bootstrap_interval, brier, nll, spherical
from bayes_sbn.metrics.properties import properties_of
from bayes_sbn.metrics.scores import negative_log_probability


@pytest.fixture(params=[2, 3, 10])
def case(request) -> tuple[np.ndarray, np.ndarray]:
    """Sharp float64 probabilities, down to 1e-12, and labels that often disagree."""
    generator = np.random.default_rng(request.param)
    probs = generator.dirichlet(np.full(request.param, 0.1), 300) + 1e-12
    probs /= probs.sum(axis=1, keepdims=True)
    return probs, generator.integers(request.param, size=300)


def test_scores_hand_computed():
    probs, labels = [[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]], [1, 2]
    assert accuracy(probs, labels) == 0.5
    assert nll(probs, labels) == math.log(4) / 2
    assert brier(probs, labels) == (0.25 + 0.5625 + 0.0625) / 2


def test_accuracy_gives_ties_to_the_lowest_class():
    assert accuracy([[0.4, 0.4, 0.2]], [0]) == 1
    assert accuracy([[0.4, 0.4, 0.2]], [1]) == 0


def test_nll_is_infinite_where_the_label_was_excluded():
    assert nll([[1.0, 0.0], [0.5, 0.5]], [1, 0]) == math.inf


def test_nll_is_not_clipped():
    assert nll([[1.0, 1e-300]], [1]) == -math.log(1e-300)


def test_nll_of_certain_labels_is_positive_zero():
    losses = negative_log_probability(np.array([[0.0, 1.0]]), np.array([1]))
    assert losses[0] == 0
    assert not np.signbit(losses[0])
    assert nll([[0.0, 1.0]], [1]) == 0


def test_brier_is_at_most_two_and_never_halved():
    assert brier([[1.0, 0.0]], [1]) == 2
    assert brier([[0.0, 1.0, 0.0]], [0]) == 2


def test_brier_of_confident_rows_does_not_cancel():
    # 1 - p is 1e-9 exactly to float64: the expanded square would be off in its seventh digit.
    np.testing.assert_allclose(brier([[1 - 1e-9, 1e-9]], [0]), 2e-18, rtol=1e-7)


def test_scores_equal_loops(case):
    probs, labels = case
    correct = log_loss_sum = squares = 0.0
    for row, label in zip(probs.tolist(), labels.tolist(), strict=True):
        best = max(range(len(row)), key=lambda c: (row[c], -c))
        correct += best == label
        log_loss_sum -= math.log(row[label])
        squares += sum((p - (c == label)) ** 2 for c, p in enumerate(row))
    assert accuracy(probs, labels) == correct / 300
    np.testing.assert_allclose(nll(probs, labels), log_loss_sum / 300, rtol=1e-13)
    np.testing.assert_allclose(brier(probs, labels), squares / 300, rtol=1e-13)


def test_scores_equal_scikit_learn(case):
    probs, labels = case
    classes = np.arange(probs.shape[1])
    assert accuracy(probs, labels) == accuracy_score(labels, probs.argmax(axis=1))
    np.testing.assert_allclose(
        nll(probs, labels), log_loss(labels, probs, labels=classes), rtol=1e-12
    )
    # For two classes scikit-learn takes the probability of the second alone.
    given = probs[:, 1] if len(classes) == 2 else probs
    expected = brier_score_loss(labels, given, labels=classes, scale_by_half=False)
    np.testing.assert_allclose(brier(probs, labels), expected, rtol=1e-12)


def test_spherical_hand_computed():
    assert spherical([[0.0, 0.6, 0.4], [0.0, 0.0, 1.0]], [0, 2]) == 0.5
    np.testing.assert_allclose(spherical([[0.25, 0.75]], [1]), 3 / math.sqrt(10), rtol=1e-15)


def test_spherical_is_the_cosine_of_the_angle_to_the_label(case):
    probs, labels = case
    one_hot = np.eye(probs.shape[1])[labels]
    angles = [
        math.fsum(a * b for a, b in zip(row, hot, strict=True)) / math.hypot(*row)
        for row, hot in zip(probs.tolist(), one_hot.tolist(), strict=True)
    ]
    np.testing.assert_allclose(spherical(probs, labels), math.fsum(angles) / 300, rtol=1e-13)


def test_spherical_is_proper():
    # The expectation under the true law is greatest at the true law.
    generator = np.random.default_rng(3)
    true = np.array([0.5, 0.3, 0.2])
    best = sum(true[c] * spherical(true[None], [c]) for c in range(3))
    np.testing.assert_allclose(best, np.linalg.norm(true), rtol=1e-14)
    for other in generator.dirichlet(np.ones(3), 50):
        assert sum(true[c] * spherical(other[None], [c]) for c in range(3)) < best


def test_spherical_more_is_better():
    assert properties_of(spherical).better == "greater"
    assert bootstrap_interval(spherical, [[0.9, 0.1], [0.2, 0.8]], [0, 1]).method == "percentile"


@pytest.mark.parametrize("metric", [accuracy, nll, brier, spherical])
def test_mean_scores_are_resampled_by_their_row_losses(metric, case):
    losses = properties_of(metric).row_losses(*case)
    np.testing.assert_allclose(losses.mean(), metric(*case), rtol=1e-14)
