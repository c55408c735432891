"""What the metrics of regression are given: what is taken, what is refused, and in which words."""

import functools

import numpy as np
import pytest
import torch

from bayes_sbn import metrics
from bayes_sbn.metrics import NormalMixture
from bayes_sbn.metrics.regression_arguments import check_mixture, mixture_of
from bayes_sbn.predictions_nested import NestedRegressionPredictions
from bayes_sbn.predictions_regression import RegressionPredictions

METRICS = [
    metrics.crps,
    functools.partial(metrics.crps, fair=True),
    metrics.rmse,
    metrics.mae,
    metrics.nlpd,
    metrics.r2,
    metrics.interval_coverage,
    metrics.interval_score,
    metrics.pinball,
    metrics.pit,
    metrics.pit_test,
    metrics.regression_calibration_curve,
    metrics.miscalibration_area,
    metrics.regression_mace,
    metrics.regression_rmsce,
]
NOT_OF_TARGETS = [metrics.sharpness, metrics.interval_width]
ALL = [*METRICS, *NOT_OF_TARGETS, lambda pred, _: metrics.sharpness(pred)]

PRED = NormalMixture(np.arange(6.0).reshape(2, 3), 1.0)
Y = np.array([0.0, 2.5, 4.0])


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(
    ("pred", "error", "words"),
    [
        (np.zeros(3), ValueError, r"draws of shape \(draws, rows\): received shape \(3,\)"),
        (np.zeros((0, 3)), ValueError, r"received shape \(0, 3\)"),
        (np.zeros((2, 0)), ValueError, "at least one row: received none"),
        (NormalMixture(np.zeros((2, 0)), 1.0), ValueError, "at least one row: received none"),
        ([[0.0, np.nan, 1.0]], ValueError, r"finite numbers: draws\[0, 1\] is nan"),
        ([[0.0, np.inf, 1.0]], ValueError, r"draws\[0, 1\] is inf. Drop such rows"),
        ([["a", "b", "c"]], TypeError, "needs real numbers as draws: received values of type <U1"),
        (
            NestedRegressionPredictions(np.zeros((3, 3, 3)), 1.0),
            TypeError,
            r"received a NestedRegressionPredictions with means of shape \(3, 3, 3\). .* pass "
            r"pred.predictions",
        ),
    ],
)
def test_predictions_that_are_refused(metric, pred, error, words):
    with pytest.raises(error, match=words):
        metric(pred, Y)


@pytest.mark.parametrize("metric", METRICS + NOT_OF_TARGETS)
@pytest.mark.parametrize(
    ("y", "error", "words"),
    [
        (Y[:2], ValueError, r"one target a row, shape \(3,\): received shape \(2,\). Pass the"),
        (Y[:, None], ValueError, r"received shape \(3, 1\). For a column write y.reshape\(-1\)"),
        ([0.0, np.nan, 1.0], ValueError, r"finite numbers: y\[1\] is nan"),
        (["a", "b", "c"], TypeError, "needs real numbers as y"),
        (0.0, ValueError, r"received shape \(\)"),
        (np.nan, ValueError, "y is nan"),
        ([], ValueError, r"received shape \(0,\)"),
    ],
)
def test_targets_that_are_refused(metric, y, error, words):
    with pytest.raises(error, match=words) as failure:
        metric(PRED, y)
    name = getattr(metric, "__name__", "crps")
    assert str(failure.value).startswith(f"{name}() needs")


@pytest.mark.parametrize(
    ("mean", "scale", "error", "words"),
    [
        (np.zeros((2, 3, 4)), 1.0, ValueError, r"received shape \(2, 3, 4\)"),
        (0.0, 1.0, ValueError, r"received shape \(\)"),
        (np.zeros((0, 3)), 1.0, ValueError, "one draw at least"),
        ([0.0], -0.5, ValueError, r"not negative: received -0.5\. Of their logarithms"),
        (np.zeros((4, 3)), np.ones(4), ValueError, r"For one a draw write sigma\[:, None\]"),
        (np.zeros(3), np.ones(2), ValueError, r"received shape \(2,\)"),
        ([0.0], [np.nan], ValueError, r"scale_per_draw\[0\] is nan"),
        ([np.inf], 1.0, ValueError, r"mean_per_draw\[0, 0\] is inf"),
        (["a"], 1.0, TypeError, "needs real numbers as mean_per_draw"),
    ],
)
def test_mixtures_that_are_refused(mean, scale, error, words):
    with pytest.raises(error, match=words) as failure:
        NormalMixture(mean, scale)
    assert str(failure.value).startswith("NormalMixture() needs")


def test_scales_are_broadcast():
    mean = np.zeros((4, 3))
    for scale in (2.0, np.float32(2), torch.tensor(2.0), np.full(3, 2.0), np.full((4, 1), 2.0)):
        np.testing.assert_array_equal(NormalMixture(mean, scale).scale_per_draw, np.full((4, 3), 2))
    assert check_mixture("f()", torch.zeros(4, 3), 1)[1].dtype == np.float64


def test_one_axis_is_a_single_law_a_row():
    one = NormalMixture(torch.tensor([1.0, 2.0]), [0.5, 0.0])
    np.testing.assert_array_equal(one.mean_per_draw, [[1, 2]])
    np.testing.assert_array_equal(one.scale_per_draw, [[0.5, 0]])
    assert (len(one), repr(one)) == (2, "NormalMixture(draw=1, row=2)")


def test_rows_are_taken_with_repetition():
    taken = PRED.take(np.array([2, 0, 2]))
    np.testing.assert_array_equal(taken.mean_per_draw, PRED.mean_per_draw[:, [2, 0, 2]])
    np.testing.assert_array_equal(taken.scale_per_draw, np.ones((2, 3)))


def test_draws_are_point_masses():
    mixture = mixture_of("f()", [[1, 2], [3, 4]])
    np.testing.assert_array_equal(mixture.mean_per_draw, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(mixture.scale_per_draw, np.zeros((2, 2)))


def test_predictions_are_read_as_they_are():
    pred = RegressionPredictions([[0.0], [2.0]], 1.0)
    assert mixture_of("f()", pred) is pred
