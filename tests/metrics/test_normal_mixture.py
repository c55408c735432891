"""Mixtures of normal laws: against mpmath in 40 digits, order statistics, and each other."""

import math

import mpmath
import numpy as np
import pytest
from scipy import stats

from bayes_sbn.metrics.normal_mixture import (
    mixture_cdf,
    mixture_log_prob,
    mixture_moments,
    mixture_quantile,
)

LEVELS = np.array([1e-12, 1e-3, 0.05, 0.31, 0.5, 0.62, 0.95, 0.999, 1 - 1e-12])


@pytest.fixture
def mixture() -> tuple[np.ndarray, np.ndarray]:
    """Five draws of six rows: alike, apart, far apart, nearly the same, and of many widths."""
    generator = np.random.default_rng(0)
    mean = generator.normal(size=(5, 6)) * [1, 3, 10, 0.01, 1, 0]
    scale = np.exp(generator.normal(size=(5, 6)) * [1, 1, 0.3, 1, 3, 2])
    return mean, scale


def quantile_in_40_digits(mean: np.ndarray, scale: np.ndarray, q: float) -> float:
    """By bisection of the distribution function, both in mpmath."""
    with mpmath.workdps(40):
        pairs = [(mpmath.mpf(m), mpmath.mpf(s)) for m, s in zip(mean, scale, strict=True)]
        z = mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(q) - 1)
        low, high = min(m + s * z for m, s in pairs), max(m + s * z for m, s in pairs)
        for _ in range(110):
            middle = (low + high) / 2
            total = sum(mpmath.ncdf((middle - m) / s) for m, s in pairs)
            low, high = (low, middle) if total >= len(pairs) * mpmath.mpf(q) else (middle, high)
        return float(high)


def test_quantiles_equal_40_digits(mixture):
    mean, scale = mixture
    quantiles = mixture_quantile(mean, scale, LEVELS)
    assert quantiles.shape == (len(LEVELS), 6)
    for row in range(6):
        expected = [quantile_in_40_digits(mean[:, row], scale[:, row], q) for q in LEVELS]
        np.testing.assert_allclose(quantiles[:, row], expected, rtol=1e-12, atol=1e-13)


def test_quantiles_of_one_draw_are_those_of_the_normal_law(mixture):
    mean, scale = (values[:1] for values in mixture)
    for q in LEVELS:
        expected = mean[0] + scale[0] * stats.norm.ppf(q)
        np.testing.assert_array_equal(mixture_quantile(mean, scale, q), expected)
        same = mixture_quantile(np.repeat(mean, 4, axis=0), np.repeat(scale, 4, axis=0), q)
        np.testing.assert_array_equal(same, expected)


def test_quantile_of_one_level_has_no_axis_of_levels(mixture):
    assert mixture_quantile(*mixture, 0.5).shape == (6,)
    np.testing.assert_array_equal(
        mixture_quantile(*mixture, [0.5])[0], mixture_quantile(*mixture, 0.5)
    )


def test_quantiles_of_point_masses_are_order_statistics():
    draws = np.random.default_rng(1).normal(size=(20, 50))
    inorder = np.sort(draws, axis=0)
    nothing = np.zeros_like(draws)
    for level, place in [(0, 0), (0.05, 0), (0.06, 1), (0.3, 5), (0.5, 9), (0.95, 18), (1, 19)]:
        np.testing.assert_array_equal(mixture_quantile(draws, nothing, level), inorder[place])
    # 1 - (1 - 0.9) / 2 is a little more than 19 / 20: still the nineteenth of twenty.
    np.testing.assert_array_equal(mixture_quantile(draws, nothing, 1 - (1 - 0.9) / 2), inorder[18])


def test_quantiles_beside_point_masses_reach_the_level_first_there():
    generator = np.random.default_rng(2)
    mean, scale = generator.normal(size=(2, 12, 40))
    scale = np.where(generator.random((12, 40)) < 0.4, 0, np.exp(scale))
    levels = np.linspace(0.02, 0.98, 13)
    quantiles = mixture_quantile(mean, scale, levels)
    at = mixture_cdf(mean, scale, quantiles)
    below = mixture_cdf(mean, scale, quantiles, left=True)
    assert np.all(at >= levels[:, None] - 1e-14)
    assert np.all(below <= levels[:, None] + 1e-14)
    is_jump = at > below
    assert 0.1 < is_jump.mean() < 0.9
    hits = (quantiles[:, None, :] == mean) & (scale == 0)
    np.testing.assert_array_equal(is_jump, hits.any(axis=1))


def test_quantiles_at_0_and_1_are_the_ends_of_the_support():
    mean, scale = np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[0.0, 0.0], [0.0, 1.0]])
    np.testing.assert_array_equal(mixture_quantile(mean, scale, 0), [0, -np.inf])
    np.testing.assert_array_equal(mixture_quantile(mean, scale, 1), [2, np.inf])


def test_quantile_between_distant_modes():
    mean, scale = np.array([[-10.0], [10.0]]), np.ones((2, 1))
    np.testing.assert_allclose(mixture_quantile(mean, scale, 0.5), [0], atol=1e-13)
    # 38 standard deviations out no digit of the distribution function moves.
    at_levels = mixture_quantile(10 * mean, scale, [0.25, 0.5, 0.75])[:, 0]
    assert at_levels[0] == -100
    assert -62 < at_levels[1] < 62
    assert at_levels[2] == 100


def test_quantiles_of_needles_beside_a_wide_law():
    mean = np.array([[0.0], [1.0], [1.0]])
    scale = np.array([[1.0], [1e-9], [1e-300]])
    levels = [0.25, 0.5, 0.8, 0.97]
    at = mixture_cdf(mean, scale, mixture_quantile(mean, scale, levels))[:, 0]
    np.testing.assert_allclose(at[[0, 3]], [0.25, 0.97], rtol=1e-12)
    np.testing.assert_allclose(mixture_quantile(mean, scale, levels)[1:3, 0], 1, rtol=1e-8)


def test_quantiles_grow_with_the_level(mixture):
    quantiles = mixture_quantile(*mixture, np.linspace(0.001, 0.999, 300))
    assert np.all(np.diff(quantiles, axis=0) >= 0)


@pytest.mark.parametrize("q", [-0.1, 1.1, np.nan, [[0.5]], [0.5, 2]])
def test_levels_outside_are_refused(mixture, q):
    with pytest.raises(ValueError, match=r"needs levels in \[0, 1\], one or a list"):
        mixture_quantile(*mixture, q)


def test_blocks_of_rows_change_nothing(mixture, monkeypatch):
    whole = mixture_quantile(*mixture, LEVELS)
    monkeypatch.setattr("bayes_sbn.metrics.normal_mixture._BLOCK", 1)
    np.testing.assert_array_equal(mixture_quantile(*mixture, LEVELS), whole)


def test_distribution_and_density_equal_scipy(mixture):
    mean, scale = mixture
    y = np.linspace(-4, 5, 6)
    law = stats.norm(mean, scale)
    np.testing.assert_allclose(mixture_cdf(mean, scale, y), law.cdf(y).mean(axis=0), rtol=1e-14)
    expected = np.log(law.pdf(y).mean(axis=0))
    np.testing.assert_allclose(mixture_log_prob(mean, scale, y), expected, rtol=1e-13)
    several = np.stack([y, y + 1])
    np.testing.assert_array_equal(
        mixture_log_prob(mean, scale, several)[1], mixture_log_prob(mean, scale, y + 1)
    )
    np.testing.assert_array_equal(
        mixture_cdf(mean, scale, several)[1], mixture_cdf(mean, scale, y + 1)
    )


def test_log_density_does_not_underflow():
    value = mixture_log_prob(np.zeros((2, 1)), np.ones((2, 1)), np.array([100.0]))[0]
    np.testing.assert_allclose(value, -5000 - 0.5 * math.log(2 * math.pi), rtol=1e-15)


def test_distribution_of_point_masses_counts_them():
    draws, nothing = np.array([[1.0, 2.0], [1.0, 3.0], [2.0, 4.0]]), np.zeros((3, 2))
    y = np.array([1.0, 3.5])
    np.testing.assert_array_equal(mixture_cdf(draws, nothing, y), np.array([2, 2]) / 3)
    np.testing.assert_array_equal(mixture_cdf(draws, nothing, y, left=True), np.array([0, 2]) / 3)
    np.testing.assert_array_equal(mixture_log_prob(draws, nothing, y), [np.inf, -np.inf])


def test_moments_equal_those_of_integrals(mixture):
    mean, scale = mixture
    moments = mixture_moments(mean, scale)
    np.testing.assert_allclose(moments.mean, mean.mean(axis=0), rtol=1e-15)
    np.testing.assert_array_equal(moments.variance, moments.aleatoric + moments.epistemic)
    second = (scale**2 + mean**2).mean(axis=0) - mean.mean(axis=0) ** 2
    np.testing.assert_allclose(moments.variance, second, rtol=1e-12)
    np.testing.assert_allclose(moments.epistemic, mean.var(axis=0), rtol=1e-12, atol=1e-30)


def test_epistemic_variance_of_one_draw_is_zero(mixture):
    moments = mixture_moments(*(values[:1] for values in mixture))
    np.testing.assert_array_equal(moments.epistemic, np.zeros(6))
    np.testing.assert_array_equal(moments.aleatoric, mixture[1][0] ** 2)
