"""Isotonic quantiles: against scikit-learn, quadrature and loops, and what they promise."""

import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.isotonic import IsotonicRegression

from bayes_sbn.metrics import crps, pit
from bayes_sbn.predictions_regression import RegressionPredictions
from bayes_sbn.recalibration import IsotonicQuantiles, RecalibratedLaw, RecalibrationWarning
from bayes_sbn.recalibration.quantiles import level_map
from tests import chance


def laws(
    rows: int = 300, *, draws: int = 4, seed: int = 0
) -> tuple[RegressionPredictions, np.ndarray]:
    """Predictions, and skewed targets with a bound on one side."""
    generator = np.random.default_rng(seed)
    mean = generator.standard_normal(rows) + 0.8 * generator.standard_normal((draws, rows))
    pred = RegressionPredictions(
        mean, generator.uniform(1.0, 2.0, (draws, rows)), attrs={"seed": seed}
    )
    return pred, pred.mean - 1.5 + 7 * generator.beta(1, 4, size=rows)


@pytest.fixture(params=[2, 20, None])
def fitted(request) -> tuple[RecalibratedLaw, RegressionPredictions, np.ndarray]:
    pred, y = laws()
    return IsotonicQuantiles(request.param).fit(pred, y)(pred), pred, y


# The map.


def test_map_equals_the_isotonic_regression_of_the_paper():
    # Kuleshov et al.: isotonic regression of the shares #{u_m <= u_n} / N on u_n, here by
    # scikit-learn 1.9.1.  Ours has N + 1 for N.
    pred, y = laws()
    transforms = pred.cdf(y)
    shares = np.array([np.mean(transforms <= u) for u in transforms])
    theirs = IsotonicRegression().fit(transforms, shares)
    predicted, observed = IsotonicQuantiles(None).fit(pred, y).corners
    at = np.linspace(transforms.min(), transforms.max(), 1000)
    ours = np.interp(at, predicted, observed)
    np.testing.assert_allclose(ours, theirs.predict(at) * 300 / 301, rtol=0, atol=1e-12)


def test_transforms_of_the_fitted_rows_become_even():
    pred, y = laws()
    law = IsotonicQuantiles(None).fit(pred, y)(pred)
    np.testing.assert_allclose(np.sort(law.cdf(y)), np.arange(1, 301) / 301, rtol=0, atol=1e-12)


def test_levels_are_quantiles_between_order_statistics():
    # Weibull's definition, of which NumPy has its own implementation.
    transforms = np.random.default_rng(0).random(237)
    predicted, observed = level_map(transforms, 10)
    np.testing.assert_allclose(observed, np.arange(11) / 10)
    expected = np.quantile(transforms, np.arange(1, 10) / 10, method="weibull")
    np.testing.assert_allclose(predicted[1:-1], expected, atol=1e-12)


def test_equal_transforms_give_a_map_that_rises():
    predicted, observed = level_map(np.array([0, 0, 0, 0.3, 0.3, 0.7, 0.7, 1, 1]), None)
    assert np.all(np.diff(predicted) > 0)
    assert np.all(np.diff(observed) > 0)
    np.testing.assert_allclose(predicted, [0, 0, 0.3, 0.7, 1, 1], atol=1e-15)
    np.testing.assert_allclose(observed, [0, 0.3, 0.5, 0.6, 0.8, 1], atol=1e-15)


# The law.


def test_cdf_and_quantile_are_inverse(fitted):
    law, *_ = fitted
    levels = np.array([0.01, 0.2, 0.5, 0.77, 0.99])
    for level, quantile in zip(levels, law.quantile(levels), strict=True):
        np.testing.assert_allclose(law.cdf(quantile), level, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(law.quantile(0.5), law.quantile([0.5])[0])
    assert np.all(np.isinf(law.quantile([0, 1])))
    low, high = law.interval(0.8)
    np.testing.assert_allclose([low, high], law.quantile([0.1, 0.9]), rtol=1e-12)


def test_density_is_the_derivative_of_the_distribution(fitted):
    law, pred, _ = fitted
    # Away from corners, where it jumps.
    for level in (0.0301, 0.3301, 0.6101):
        y = law.quantile(level)
        density = (law.cdf(y + 1e-7) - law.cdf(y - 1e-7)) / 2e-7
        nearest = np.abs(pred.cdf(y)[:, None] - law._predicted).min(axis=1)
        smooth = nearest > 1e-5
        assert smooth.sum() > 100
        np.testing.assert_allclose(np.exp(law.log_prob(y))[smooth], density[smooth], rtol=1e-5)


@pytest.mark.parametrize("num_levels", [2, 7, None])
def test_moments_equal_quadrature(num_levels):
    pred, y = laws(40)
    with pytest.warns(RecalibrationWarning, match="few") if num_levels is None else no_warning():
        law = IsotonicQuantiles(num_levels).fit(pred, y)(pred)
    few = law.take([0, 5, 9])
    cuts = few.predictions.quantile(law._predicted[1:-1]).T
    for row in range(3):
        one = few.take([row])
        wide = [one.predictions.quantile(1e-13)[0], *cuts[row], one.predictions.quantile(1 - 1e-13)]
        ends = np.asarray([float(np.ravel(end)[0]) for end in wide])

        def moment(power: int, one=one, ends=ends) -> float:
            def integrand(value: float) -> float:
                return value**power * float(np.exp(one.log_prob([value])[0]))

            parts = zip(ends[:-1] + 1e-12, ends[1:] - 1e-12, strict=True)
            return sum(integrate.quad(integrand, a, b, epsabs=1e-11)[0] for a, b in parts)

        assert moment(0) == pytest.approx(1, abs=1e-7)
        assert one.mean[0] == pytest.approx(moment(1), abs=1e-6)
        assert one.variance[0] == pytest.approx(moment(2) - moment(1) ** 2, abs=1e-6)


def no_warning():
    import contextlib

    return contextlib.nullcontext()


def test_parts_of_the_variance_are_those_of_weighted_draws(fitted):
    law, pred, _ = fitted
    weight = law.weight_per_draw
    np.testing.assert_allclose(weight.mean(axis=0), 1, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(law.variance, law.aleatoric + law.epistemic)
    assert np.all(law.aleatoric > 0)
    assert np.all(law.epistemic > 0)
    # By simulation of one row and draw: the pieces of its normal law, weighted.
    row, draw = 3, 1
    z = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    value = pred.mean_per_draw[draw, row] + pred.scale_per_draw[draw, row] * z
    level = np.mean(
        [
            stats.norm.cdf(value, m, s)
            for m, s in zip(pred.mean_per_draw[:, row], pred.scale_per_draw[:, row], strict=True)
        ],
        axis=0,
    )
    piece = np.clip(np.searchsorted(law._predicted, level) - 1, 0, len(law._slopes) - 1)
    slope = law._slopes[piece]
    assert weight[draw, row] == pytest.approx(slope.mean(), rel=2e-3)


def test_identity_map_keeps_the_law():
    pred, y = laws()
    law = RecalibratedLaw(pred, np.array([0, 0.3, 1.0]), np.array([0, 0.3, 1.0]))
    np.testing.assert_allclose(law.cdf(y), pred.cdf(y), rtol=0, atol=1e-15)
    np.testing.assert_allclose(law.log_prob(y), pred.log_prob(y), rtol=0, atol=1e-12)
    np.testing.assert_allclose(law.mean, pred.mean, rtol=0, atol=1e-10)
    np.testing.assert_allclose(law.aleatoric, pred.aleatoric, rtol=0, atol=1e-10)
    np.testing.assert_allclose(law.epistemic, pred.epistemic, rtol=0, atol=1e-10)
    np.testing.assert_allclose(law.weight_per_draw, 1, rtol=0, atol=1e-12)


def test_even_quantiles_stand_for_the_law():
    pred, y = laws()
    law = IsotonicQuantiles().fit(pred, y)(pred)
    draws = law.as_draws(400)
    assert draws.shape == (400, 300)
    np.testing.assert_allclose(draws.mean, law.mean, atol=0.02)
    np.testing.assert_allclose(draws.std, law.std, rtol=0.03)
    assert crps(draws, y) < crps(pred, y)
    assert 0 <= pit(draws, y).min() <= pit(draws, y).max() <= 1
    assert draws.attrs["recalibrated_by"] == ["IsotonicQuantiles"]


def test_intervals_of_other_rows_hold_their_share():
    pred, y = laws(20_000, seed=5)
    valid, test = np.arange(10_000), np.arange(10_000, 20_000)
    law = IsotonicQuantiles().fit(pred.take(valid), y[valid])(pred.take(test))
    for level, is_right in ((0.9, 0.02), (0.5, 0.03)):
        # The share of 10,000 fitted rows varies about the level by sqrt(level (1 - level)) / 100,
        # and that of 10,000 others too: six standard deviations of the difference.
        radius = 6 * np.sqrt(2 * level * (1 - level)) / 100
        assert radius < 2 * is_right
        low, high = law.interval(level)
        inside = (low <= y[test]) & (y[test] <= high)
        assert abs(inside.mean() - level) < radius
    low, high = pred.interval(0.5)
    assert abs(np.mean((low <= y) & (y <= high)) - 0.5) > 0.1  # before


def test_a_new_target_has_a_uniform_transform():
    """For exchangeable rows R(F(y)) of one more row is uniform: P(R <= i / (N + 1)) exact."""
    generator = chance.numpy_generator("isotonic quantiles")
    num_repetitions, rows = 20_000, 9
    transforms = generator.beta(0.5, 2.0, (num_repetitions, rows + 1))
    below = np.zeros(3, int)
    for u in transforms:
        below += np.interp(u[-1], *level_map(u[:-1], None)) <= np.array([0.2, 0.5, 0.9])
    chance.assert_count(below, num_repetitions, np.array([0.2, 0.5, 0.9]), detects=0.03)


# Use.


def test_rows_are_taken_with_their_laws(fitted):
    law, pred, y = fitted
    some = law.take([4, 2])
    assert len(some) == 2
    np.testing.assert_array_equal(some.cdf(y[[4, 2]]), law.cdf(y)[[4, 2]])
    assert some.predictions == pred.take([4, 2])
    assert law.attrs == {"seed": 0, "recalibrated_by": ["IsotonicQuantiles"]}
    assert repr(some).startswith("RecalibratedLaw(RegressionPredictions(draw=4, row=2")
    assert len(law.take([])) == 0


def test_errors_and_warnings_say_what_to_do():
    pred, y = laws()
    with pytest.raises(ValueError, match="needs num_levels of at least 2"):
        IsotonicQuantiles(1)
    with pytest.raises(RuntimeError, match=r"corners: it was not fitted"):
        _ = IsotonicQuantiles().corners
    with pytest.raises(RuntimeError, match=r"IsotonicQuantiles.apply\(\): it was not fitted"):
        IsotonicQuantiles()(pred)
    quantiles = IsotonicQuantiles().fit(pred, y)
    masses = RegressionPredictions(pred.mean_per_draw, 0.0)
    with pytest.raises(ValueError, match=r"fit\(\) needs laws with a density"):
        IsotonicQuantiles().fit(masses, y)
    with pytest.raises(ValueError, match=r"apply\(\) needs laws with a density"):
        quantiles(masses)
    with pytest.raises(TypeError, match=r"received RecalibratedLaw\. Its quantiles were fitted"):
        quantiles(quantiles(pred))
    with pytest.raises(ValueError, match=r"RecalibratedLaw.quantile\(\) needs levels in \[0, 1\]"):
        quantiles(pred).quantile(1.5)
    with pytest.raises(ValueError, match="corners do not rise"):
        RecalibratedLaw(pred, np.array([0, 0.5, 0.5, 1]), np.array([0, 0.2, 0.4, 1]))
    with pytest.warns(RecalibrationWarning, match="50 validation rows are few"):
        IsotonicQuantiles().fit(pred.take(slice(50)), y[:50])
    y = y.copy()
    y[:3] = 1e6, -1e6, 1e6
    with pytest.warns(RecalibrationWarning, match=r"3 targets lie where .* Variance"):
        law = IsotonicQuantiles().fit(pred, y)(pred)
    assert np.isfinite(law.quantile([0.001, 0.999])).all()
    assert np.isfinite(law.variance).all()
