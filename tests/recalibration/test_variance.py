"""Variance scaling: against closed forms and scipy, and what it must keep."""

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from bayes_sbn.metrics import interval_coverage, nlpd
from bayes_sbn.predictions import Predictions
from bayes_sbn.predictions_nested import NestedRegressionPredictions
from bayes_sbn.predictions_regression import RegressionPredictions
from bayes_sbn.recalibration import RecalibrationWarning, VarianceScaling


def laws(
    rows: int = 400, *, draws: int = 6, factor: float = 2.0, seed: int = 0
) -> tuple[RegressionPredictions, np.ndarray]:
    """Predictions, and targets whose errors are ``factor`` times as large as they say."""
    generator = np.random.default_rng(seed)
    mean = 3 * generator.standard_normal(rows) + generator.standard_normal((draws, rows))
    pred = RegressionPredictions(
        mean, generator.uniform(0.5, 1.5, (draws, rows)), attrs={"seed": seed}
    )
    return pred, pred.mean + factor * (pred.sample(seed + 1)[0] - pred.mean)


@pytest.fixture(params=["moments", "likelihood"])
def by(request) -> str:
    return request.param


def test_moments_give_standardised_errors_the_mean_square_one():
    pred, y = laws()
    scaling = VarianceScaling().fit(pred, y)
    after = scaling(pred)
    assert np.mean((y - after.mean) ** 2 / after.variance) == pytest.approx(1, abs=1e-12)
    # Of normal laws it is the factor of greatest likelihood.
    single = RegressionPredictions(pred.mean[None], pred.std[None])
    of_moments = VarianceScaling().fit(single, y).factor
    assert of_moments == pytest.approx(VarianceScaling("likelihood").fit(single, y).factor, 1e-7)


def test_likelihood_equals_scipy():
    pred, y = laws(factor=0.4)

    def loss(log_factor: float) -> float:
        factor = np.exp(log_factor)
        mean = pred.mean + factor * (pred.mean_per_draw - pred.mean)
        densities = stats.norm.pdf(y, mean, factor * pred.scale_per_draw)
        return -float(np.log(densities.mean(axis=0)).mean())

    found = optimize.minimize_scalar(loss, bounds=(-3, 3), options={"xatol": 1e-11})
    factor = VarianceScaling("likelihood").fit(pred, y).factor
    assert factor == pytest.approx(np.exp(found.x), rel=1e-6)
    assert nlpd(VarianceScaling("likelihood").fit(pred, y)(pred), y) == pytest.approx(found.fun)


def test_factor_is_recovered(by):
    # 20,000 normal errors give a standard deviation within 5 standard errors of 1 / 200.
    pred, y = laws(20_000, draws=1, factor=3.0)
    assert VarianceScaling(by).fit(pred, y).factor == pytest.approx(3, rel=0.025)


def test_law_is_that_of_the_stretched_target(by):
    pred, y = laws()
    scaling = VarianceScaling(by).fit(pred, y)
    after, k = scaling(pred), scaling.factor
    np.testing.assert_allclose(after.mean, pred.mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(after.aleatoric, k**2 * pred.aleatoric, rtol=1e-12)
    np.testing.assert_allclose(after.epistemic, k**2 * pred.epistemic, rtol=1e-10)
    np.testing.assert_allclose(
        after.cdf(pred.mean + k * (y - pred.mean)), pred.cdf(y), rtol=0, atol=1e-12
    )
    assert after.shape == pred.shape
    assert after.attrs == {"seed": 0, "recalibrated_by": ["VarianceScaling"]}


def test_scores_of_other_rows_get_better(by):
    pred, y = laws(4000)
    valid, test = np.arange(2000), np.arange(2000, 4000)
    before = pred.take(test)
    after = VarianceScaling(by).fit(pred.take(valid), y[valid])(before)
    assert nlpd(after, y[test]) < nlpd(before, y[test])
    assert abs(interval_coverage(after, y[test]) - 0.9) < 0.03
    assert interval_coverage(before, y[test]) < 0.7


def test_point_masses_have_moments_and_no_likelihood():
    generator = np.random.default_rng(0)
    draws = RegressionPredictions.from_predictive(
        {"y": generator.standard_normal((50, 300))}, draws="y"
    )
    y = 2 * generator.standard_normal(300)
    after = VarianceScaling().fit(draws, y)(draws)
    assert 1.5 < after.std.mean() < 2.5
    assert not after.scale_per_draw.any()
    assert after.attrs["point_masses"]
    with pytest.raises(ValueError, match=r"some draws are point masses. Write VarianceScaling\(by"):
        VarianceScaling("likelihood").fit(draws, y)


def test_single_draw_and_float32_are_taken(by):
    pred, y = laws(draws=1)
    narrow = RegressionPredictions(
        torch.tensor(pred.mean_per_draw, dtype=torch.float32),
        torch.tensor(pred.scale_per_draw, dtype=torch.float32),
    )
    factor = VarianceScaling(by).fit(narrow, torch.tensor(y, dtype=torch.float32)).factor
    assert factor == pytest.approx(VarianceScaling(by).fit(pred, y).factor, rel=1e-4)
    assert VarianceScaling(by).fit(pred, y)(pred.take([])).shape == (1, 0)


def test_errors_and_warnings_say_what_to_do(by):
    pred, y = laws(60)
    with pytest.raises(ValueError, match="by='moments' or by='likelihood': received 'std'"):
        VarianceScaling("std")
    with pytest.raises(RuntimeError, match=r"VarianceScaling.apply\(\): it was not fitted"):
        VarianceScaling(by)(pred)
    with pytest.raises(ValueError, match="Pass the targets of exactly the rows"):
        VarianceScaling(by).fit(pred, y[1:])
    with pytest.raises(ValueError, match="finite numbers"):
        VarianceScaling(by).fit(pred, np.where(np.arange(60) == 3, np.nan, y))
    with pytest.raises(ValueError, match="needs validation rows: received none"):
        VarianceScaling(by).fit(pred.take([]), [])
    with pytest.raises(TypeError, match=r"received Predictions\. Methods for classes are Temp"):
        VarianceScaling(by).fit(Predictions(np.full((1, 60, 2), 0.5)), y)
    nested = NestedRegressionPredictions(pred.mean_per_draw[None], 1.0)
    with pytest.raises(TypeError, match=r"received NestedRegressionPredictions. Pass its .pred"):
        VarianceScaling(by).fit(nested, y)
    with pytest.raises(TypeError, match=r"received ndarray. Of means and standard deviations"):
        VarianceScaling(by).fit(pred.mean, y)
    with pytest.warns(RecalibrationWarning, match="20 validation rows are few"):
        VarianceScaling(by).fit(pred.take(slice(20)), y[:20])


def test_degenerate_targets_are_refused_or_warned_of():
    pred, _ = laws(60)
    with pytest.raises(ValueError, match="every target is the predicted mean"):
        VarianceScaling().fit(pred, pred.mean)
    certain = RegressionPredictions(np.zeros((2, 60)), np.where(np.arange(60) == 7, 0.0, 1.0))
    with pytest.raises(ValueError, match="the law of row 7 has variance 0"):
        VarianceScaling().fit(certain, np.ones(60))
    with pytest.warns(RecalibrationWarning, match="at the bound 0.01"):
        assert VarianceScaling("likelihood").fit(pred, pred.mean).factor == 0.01
    with pytest.warns(RecalibrationWarning, match="at the bound 100"):
        assert VarianceScaling("likelihood").fit(pred, pred.mean + 1e6).factor == 100
