"""Intervals and quantiles: scoringrules, uncertainty-toolbox, scikit-learn, identities, edges."""

import functools

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.metrics import mean_pinball_loss

from bayes_sbn.metrics import (
    NormalMixture,
    bootstrap_interval,
    crps,
    interval_coverage,
    interval_score,
    interval_width,
    pinball,
)
from bayes_sbn.metrics.normal_mixture import mixture_quantile
from bayes_sbn.predictions_regression import RegressionPredictions
from tests.metrics.golden_cases import regression

OF_LEVEL = (interval_coverage, interval_score)


@pytest.fixture(scope="module")
def targets() -> np.ndarray:
    return regression()[2]


@pytest.fixture(scope="module")
def one() -> NormalMixture:
    """A single normal law a row."""
    mean, scale, _ = regression()
    return NormalMixture(mean[0], scale[0])


@pytest.fixture(scope="module")
def several() -> NormalMixture:
    return NormalMixture(*regression()[:2])


def ends(pred: NormalMixture, level: float) -> tuple[np.ndarray, np.ndarray]:
    levels = [(1 - level) / 2, (1 + level) / 2]
    low, high = mixture_quantile(pred.mean_per_draw, pred.scale_per_draw, levels)
    return low, high


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9, 0.99])
def test_metrics_equal_loops_over_ends_of_the_mixture(several, targets, level):
    covered, width, score = 0, 0.0, 0.0
    for low, high, y in zip(*ends(several, level), targets, strict=True):
        covered += low <= y <= high
        width += high - low
        penalty = low - y if y < low else y - high if y > high else 0
        score += high - low + 2 / (1 - level) * penalty
    assert interval_coverage(several, targets, level) == covered / 30
    np.testing.assert_allclose(interval_width(several, level=level), width / 30, rtol=1e-12)
    np.testing.assert_allclose(interval_score(several, targets, level), score / 30, rtol=1e-12)


def test_interval_score_equals_other_packages(one, targets):
    # scoringrules 0.10.0: interval_score(y, low, high, 1 - level), the ends from scipy's norm.ppf.
    np.testing.assert_allclose(interval_score(one, targets, 0.9), 10.85175493572415, rtol=1e-10)
    np.testing.assert_allclose(interval_score(one, targets, 0.5), 4.465860863409189, rtol=1e-10)
    # uncertainty-toolbox 0.1.1: interval_score, the mean over the levels 0.01, 0.02, ..., 0.99.
    mean = np.mean([interval_score(one, targets, level) for level in np.linspace(0.01, 0.99, 99)])
    np.testing.assert_allclose(mean, 6.482862174489449, rtol=1e-10)


def test_pinball_equals_other_packages(one, several, targets):
    # scoringrules 0.10.0: quantile_score(y, quantile, q), the quantile from scipy's norm.ppf.
    for q, value in ((0.1, 0.46640147865809134), (0.5, 0.6678343658602781), (0.9, 0.2578245144441)):
        np.testing.assert_allclose(pinball(one, targets, q), value, rtol=1e-10)
    # uncertainty-toolbox 0.1.1: check_score, the mean over the levels 0.01, 0.02, ..., 0.99.
    of_levels = pinball(one, targets, np.linspace(0.01, 0.99, 99))
    np.testing.assert_allclose(of_levels, 0.5135727676323623, rtol=1e-10)
    for q in (0.05, 0.5, 0.7):
        quantile = mixture_quantile(several.mean_per_draw, several.scale_per_draw, q)
        expected = mean_pinball_loss(targets, quantile, alpha=q)
        np.testing.assert_allclose(pinball(several, targets, q), expected, rtol=1e-12)


def test_coverage_equals_uncertainty_toolbox(one, targets):
    # uncertainty-toolbox 0.1.1: get_proportion_lists_vectorized(..., num_bins=11), interval.
    shares = np.array([0, 1, 1, 4, 4, 5, 7, 8, 12, 15, 30]) / 30
    for level, share in zip(np.linspace(0, 1, 11)[1:-1], shares[1:-1], strict=True):
        np.testing.assert_allclose(interval_coverage(one, targets, level), share, rtol=1e-14)


def test_pinball_of_several_levels_is_their_mean(several, targets):
    levels = [0.1, 0.25, 0.9]
    expected = np.mean([pinball(several, targets, q) for q in levels])
    np.testing.assert_allclose(pinball(several, targets, levels), expected, rtol=1e-13)
    assert pinball(several, targets, [0.25]) == pinball(several, targets, 0.25)


def test_interval_score_is_the_pinball_loss_of_both_ends(several, targets):
    for level in (0.2, 0.9):
        tails = [(1 - level) / 2, (1 + level) / 2]
        expected = 4 / (1 - level) * pinball(several, targets, tails)
        np.testing.assert_allclose(interval_score(several, targets, level), expected, rtol=1e-10)


def test_crps_is_twice_the_integral_of_the_pinball_loss():
    pred, y = NormalMixture([[0.0], [3.0]], [[1.0], [0.5]]), [1.2]
    at_y = float(np.mean([stats.norm.cdf(1.2), stats.norm.cdf((1.2 - 3) / 0.5)]))
    total = 0.0
    for a, b in ((0, 1e-4), (1e-4, at_y), (at_y, 1 - 1e-4), (1 - 1e-4, 1)):
        total += integrate.quad(lambda q: pinball(pred, y, q), a, b, epsabs=1e-10)[0]
    np.testing.assert_allclose(2 * total, crps(pred, y), rtol=1e-7)


def test_interval_is_that_of_the_mixture_and_not_of_its_draws():
    # Two laws far apart: the mean of their own intervals would miss both modes.
    pred = NormalMixture([[-10.0], [10.0]], 1.0)
    assert interval_coverage(pred, [10.0]) == 1
    tail = stats.norm.ppf(0.9)
    np.testing.assert_allclose(interval_width(pred), 20 + 2 * tail, rtol=1e-9)


def test_ends_belong_to_the_interval():
    draws = np.arange(1.0, 21.0)[:, None]
    # Of twenty draws the central 90 % is from the first to the nineteenth: quantiles are the
    # smallest value whose distribution function reaches the level.
    assert [interval_coverage(draws, [y]) for y in (0.999, 1, 19, 19.001)] == [0, 1, 1, 0]
    assert interval_width(draws) == 18
    assert interval_score(draws, [0.5]) == pytest.approx(18 + 20 * 0.5)


def test_a_point_mass_covers_itself_alone():
    assert interval_coverage(NormalMixture([1.0, 1.0], 0.0), [1.0, 1.5]) == 0.5
    assert interval_width(NormalMixture([1.0], 0.0)) == 0
    assert interval_score(NormalMixture([1.0], 0.0), [1.5], 0.5) == 2
    assert pinball([[1.0]], [1.5], 0.5) == 0.25


def test_median_loss_is_half_the_absolute_error(one, targets):
    expected = np.abs(targets - one.mean_per_draw[0]).mean() / 2
    np.testing.assert_allclose(pinball(one, targets), expected, rtol=1e-13)


def test_predictions_tensors_and_lists(several, targets):
    same = RegressionPredictions(several.mean_per_draw, several.scale_per_draw)
    draws = several.mean_per_draw
    for metric in (*OF_LEVEL, pinball):
        assert metric(same, targets) == metric(several, targets)
        assert metric(torch.tensor(draws), torch.tensor(targets)) == metric(draws, targets)
        assert metric(draws.tolist(), targets.tolist()) == metric(draws, targets)
    assert interval_width(same) == interval_width(several)
    levels = torch.tensor([0.1, 0.9])
    assert pinball(several, targets, levels) == pinball(several, targets, [0.1, 0.9])


@pytest.mark.parametrize("level", [0, 1, 1.5, -0.1, float("nan")])
def test_levels_outside_are_refused(several, targets, level):
    for metric in OF_LEVEL:
        with pytest.raises(ValueError, match=rf"^{metric.__name__}\(\) needs a level strictly"):
            metric(several, targets, level)
    with pytest.raises(ValueError, match=r"interval_width\(\) needs a level strictly"):
        interval_width(several, level=level)
    with pytest.raises(ValueError, match=r"pinball\(\) needs levels strictly between 0 and 1"):
        pinball(several, targets, level)


@pytest.mark.parametrize("q", [[], [[0.5]], [0.5, np.nan], [0.5, 1.0]])
def test_lists_of_levels_are_checked(several, targets, q):
    with pytest.raises(ValueError, match="needs levels strictly between 0 and 1, one or a list"):
        pinball(several, targets, q)


def test_intervals_by_resampling(several, targets):
    for metric in (interval_score, functools.partial(interval_score, level=0.5), pinball):
        found = bootstrap_interval(metric, several, targets, bootstrap=99)
        assert found.low <= found.value <= found.high


@pytest.mark.parametrize("level", ["0.9", None, True, [0.9]])
def test_levels_that_are_no_numbers_are_refused(several, targets, level):
    for metric in (*OF_LEVEL, interval_width):
        call = rf"^{metric.__name__}\(\) needs a number as level: received"
        with pytest.raises(TypeError, match=call):
            metric(several, targets, level=level)
