"""Errors, R², NLPD and sharpness of mixtures: scikit-learn, scipy, uncertainty-toolbox, edges."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from bayes_sbn.metrics import (
    NormalMixture,
    UndefinedMetricWarning,
    bootstrap_interval,
    mae,
    nlpd,
    r2,
    rmse,
    sharpness,
)
from bayes_sbn.metrics.normal_mixture import mixture_quantile
from bayes_sbn.predictions_regression import RegressionPredictions
from tests.metrics.golden_cases import regression

MEAN, SCALE, Y = regression()
PRED = NormalMixture(MEAN, SCALE)


def test_errors_of_the_mean_equal_scikit_learn():
    mean = MEAN.mean(axis=0)
    np.testing.assert_allclose(rmse(PRED, Y), root_mean_squared_error(Y, mean), rtol=1e-13)
    np.testing.assert_allclose(mae(PRED, Y), mean_absolute_error(Y, mean), rtol=1e-13)
    np.testing.assert_allclose(r2(PRED, Y), r2_score(Y, mean), rtol=1e-12)


def test_median_is_that_of_the_mixture():
    median = mixture_quantile(MEAN, SCALE, 0.5)
    np.testing.assert_allclose(mae(PRED, Y, point="median"), np.abs(Y - median).mean(), rtol=1e-13)
    # Of the values 0, 0, 9 the mean is 3 and the median 0.
    draws = [[0.0], [0.0], [9.0]]
    assert (mae(draws, [0.0]), mae(draws, [0.0], point="median")) == (3, 0)


def test_density_is_that_of_the_mixture_as_in_scipy():
    density = stats.norm(MEAN, SCALE).pdf(Y).mean(axis=0)
    np.testing.assert_allclose(nlpd(PRED, Y), -np.log(density).mean(), rtol=1e-12)
    # The mean over the draws of their negative log densities is larger, by Jensen's inequality.
    assert -stats.norm(MEAN, SCALE).logpdf(Y).mean() > nlpd(PRED, Y) + 0.1
    np.testing.assert_allclose(
        nlpd(PRED, Y), -RegressionPredictions(MEAN, SCALE).log_prob(Y).mean(), rtol=1e-13
    )


def test_single_laws_equal_uncertainty_toolbox():
    # uncertainty-toolbox 0.1.1: nll_gaussian(mean, std, y), sharpness(std).
    one = NormalMixture(MEAN[0], SCALE[0])
    np.testing.assert_allclose(nlpd(one, Y), 5.6260411514129025, rtol=1e-12)
    np.testing.assert_allclose(sharpness(one), 0.8488467486886423, rtol=1e-12)


def test_density_far_out_does_not_underflow():
    value = nlpd(NormalMixture([[0.0], [1.0]], 1.0), [100.0])
    # The nearer draw is all there is: 99^2 / 2 + log sqrt(2 pi) + log 2.
    expected = 99**2 / 2 + 0.5 * math.log(2 * math.pi) + math.log(2)
    np.testing.assert_allclose(value, expected, rtol=1e-14)


def test_density_depends_on_the_unit_and_may_be_negative_log_below_zero():
    in_other_unit = NormalMixture(MEAN / 1000, SCALE / 1000)
    value = nlpd(in_other_unit, Y / 1000)
    np.testing.assert_allclose(value, nlpd(PRED, Y) - math.log(1000), rtol=1e-12)
    assert value < 0


def test_sharpness_is_the_root_of_the_mean_variance_of_samples():
    # The variance by the law of total variance equals that of the mixture's second moment.
    variance = (SCALE**2 + MEAN**2).mean(axis=0) - MEAN.mean(axis=0) ** 2
    np.testing.assert_allclose(sharpness(PRED), math.sqrt(variance.mean()), rtol=1e-12)
    assert sharpness(PRED, Y) == sharpness(PRED)
    np.testing.assert_allclose(sharpness(MEAN), math.sqrt(MEAN.var(axis=0).mean()), rtol=1e-12)
    assert sharpness([[1.0, 2.0]]) == 0


def test_r2_of_the_targets_themselves_is_one_and_of_their_mean_zero():
    assert r2(Y[None], Y) == 1
    assert r2(np.full((1, 30), Y.mean()), Y) == pytest.approx(0, abs=1e-14)
    assert r2(-Y[None], Y) < 0


@pytest.mark.parametrize("y", [[2.0, 2.0, 2.0], [5.0]])
def test_r2_of_targets_all_alike_is_nan_with_a_warning(y):
    with pytest.warns(UndefinedMetricWarning, match=rf"the {len(y)} targets are all {y[0]}"):
        assert math.isnan(r2(np.ones((1, len(y))), y))


def test_r2_does_not_lose_small_variance_beside_a_large_mean():
    y = 1e8 + np.array([0.0, 1.0, 2.0])
    np.testing.assert_allclose(r2(np.array([[0.0, 1.0, 1.0]]) + 1e8, y), 0.5, rtol=1e-12)


def test_point_masses_have_no_density():
    for pred in (MEAN, NormalMixture(MEAN, 0.0), NormalMixture(MEAN, SCALE * (np.arange(30) > 0))):
        with pytest.raises(ValueError, match=r"nlpd\(\) needs a density: .* Write crps\("):
            nlpd(pred, Y)


def test_one_row_and_one_draw():
    assert rmse([[1.0]], [3.0]) == mae([[1.0]], [3.0]) == 2
    np.testing.assert_allclose(nlpd(NormalMixture([1.0], 2.0), [3.0]), -stats.norm.logpdf(3, 1, 2))


def test_predictions_tensors_and_float32():
    same = RegressionPredictions(MEAN, SCALE)
    tensors = NormalMixture(torch.tensor(MEAN), torch.tensor(SCALE))
    for metric in (rmse, mae, nlpd, r2, sharpness):
        value = metric(PRED, Y)
        assert metric(same, Y) == value
        assert metric(tensors, torch.tensor(Y)) == value
        single = NormalMixture(MEAN.astype(np.float32), SCALE.astype(np.float32))
        np.testing.assert_allclose(metric(single, Y.astype(np.float32)), value, rtol=1e-4)


def test_points_are_mean_or_median():
    with pytest.raises(ValueError, match="point='mean' or point='median': received 'mode'"):
        mae(PRED, Y, point="mode")


def test_intervals_by_resampling_of_metrics_that_are_no_means():
    for metric in (rmse, r2, sharpness):
        found = bootstrap_interval(metric, PRED, Y, bootstrap=39, level=0.9, seed=5)
        resamples = np.random.default_rng(5).integers(30, size=(39, 30))
        values = sorted(metric(NormalMixture(MEAN[:, r], SCALE[:, r]), Y[r]) for r in resamples)
        np.testing.assert_allclose([found.low, found.high], [values[1], values[37]], rtol=1e-12)


def test_rows_of_draws_are_along_the_second_axis():
    found = bootstrap_interval(rmse, MEAN, Y, bootstrap=39, level=0.9, axis=1)
    assert found.low <= found.value <= found.high
    assert found == bootstrap_interval(rmse, NormalMixture(MEAN, 0), Y, bootstrap=39, level=0.9)
    with pytest.raises(ValueError, match=r"For draws of shape \(draws, rows\) write axis=1"):
        bootstrap_interval(rmse, MEAN, Y, bootstrap=39, level=0.9)
