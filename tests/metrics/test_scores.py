"""Accuracy, nll and brier: by hand, by loops, and as scikit-learn computes them."""

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from bayes_sbn.metrics import accuracy, brier, nll
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
