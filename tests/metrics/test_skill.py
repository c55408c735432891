"""D² against the class frequencies: its fixed points, scikit-learn's, and where it is undefined."""

import math
import warnings

import numpy as np
import pytest
from sklearn.metrics import d2_brier_score, d2_log_loss_score

from bayes_sbn.metrics import (
    UndefinedMetricWarning,
    bootstrap_interval,
    brier,
    compare,
    d2_brier,
    d2_nll,
    nll,
)
from bayes_sbn.predictions import Predictions

BOTH = pytest.mark.parametrize("metric", [d2_nll, d2_brier])


@pytest.fixture(params=[2, 3, 10])
def case(request) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(request.param)
    probs = generator.dirichlet(np.full(request.param, 0.5), 200) + 1e-9
    probs /= probs.sum(axis=1, keepdims=True)
    labels = (probs.cumsum(axis=1) < generator.random((200, 1))).sum(axis=1)
    return probs, labels


def test_d2_equals_scikit_learn(case):
    probs, labels = case
    classes = np.arange(probs.shape[1])
    np.testing.assert_allclose(
        d2_nll(probs, labels), d2_log_loss_score(labels, probs, labels=classes), rtol=1e-12
    )
    np.testing.assert_allclose(
        d2_brier(probs, labels), d2_brier_score(labels, probs, labels=classes), rtol=1e-12
    )


def test_d2_is_zero_of_the_frequencies_of_the_labels(case):
    labels = case[1]
    frequency = np.array([np.mean(labels == c) for c in range(case[0].shape[1])])
    constant = np.tile(frequency, (200, 1))
    np.testing.assert_allclose(d2_nll(constant, labels), 0, atol=1e-14)
    np.testing.assert_allclose(d2_brier(constant, labels), 0, atol=1e-14)


def test_d2_is_one_minus_the_ratio_of_losses(case):
    probs, labels = case
    frequency = np.array([np.mean(labels == c) for c in range(probs.shape[1])])
    constant = np.tile(frequency, (200, 1))
    for metric, loss in ((d2_nll, nll), (d2_brier, brier)):
        expected = 1 - loss(probs, labels) / loss(constant, labels)
        np.testing.assert_allclose(metric(probs, labels), expected, rtol=1e-12)


@BOTH
def test_d2_is_one_of_certain_and_right_rows(metric):
    assert metric([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [0, 1, 0]) == 1


def test_d2_of_labels_that_were_excluded():
    probs, labels = [[1.0, 0.0], [0.0, 1.0]], [1, 0]
    assert d2_nll(probs, labels) == -math.inf
    assert d2_brier(probs, labels) == -3
    # scikit-learn clips the probability at the spacing of float64, and is finite.
    assert d2_log_loss_score(labels, np.array(probs)) == pytest.approx(-51, abs=0.1)


def test_d2_counts_classes_without_rows_as_never():
    # A class without labels has frequency 0 and adds nothing to either constant loss.
    narrow = np.array([[0.8, 0.2], [0.3, 0.7]])
    wide = np.column_stack([narrow, np.zeros(2)])
    assert d2_nll(wide, [0, 1]) == d2_nll(narrow, [0, 1])
    assert d2_brier(wide, [0, 1]) == d2_brier(narrow, [0, 1])


@BOTH
@pytest.mark.parametrize("rows", [1, 5])
def test_d2_is_undefined_where_all_labels_are_the_same(metric, rows):
    with pytest.warns(UndefinedMetricWarning, match=rf"{metric.__name__}\(\): all rows have the"):
        assert math.isnan(metric([[0.3, 0.7]] * rows, [1] * rows))


@BOTH
def test_warning_of_d2_points_at_the_caller(metric):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        metric([[0.3, 0.7]], [1])
    assert [warning.filename for warning in caught] == [__file__]


def test_d2_takes_predictions(case):
    probs, labels = case
    pred = Predictions(np.stack([probs, probs[::-1]]))
    assert d2_nll(pred, labels) == d2_nll(pred.mean, labels)
    assert d2_brier(pred, labels) == d2_brier(pred.mean, labels)


@BOTH
def test_d2_is_resampled_as_a_ratio(metric, case):
    # Not a mean over rows: the frequencies are those of each resample.
    probs, labels = case
    found = bootstrap_interval(metric, probs, labels, bootstrap=39)
    generator = np.random.default_rng(0)
    values = [metric(probs[rows], labels[rows]) for rows in generator.integers(200, size=(39, 200))]
    assert (found.low, found.high) == (min(values), max(values))
    assert compare(metric, probs, np.full_like(probs, 1 / probs.shape[1]), labels).better == (
        "greater"
    )
