"""CRPS: its integral, its double sums by loops, scoringrules, properscoring, fairness, limits."""

import itertools
import math
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from bayes_sbn.metrics import NormalMixture, bootstrap_interval, crps
from bayes_sbn.metrics.crps import crps_of_rows
from bayes_sbn.predictions_regression import RegressionPredictions
from tests.metrics.golden_cases import regression


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means and standard deviations of five draws of thirty rows, and their targets."""
    return regression()


def by_integral(mean: np.ndarray, scale: np.ndarray, y: float) -> float:
    """The integral of the squared difference of distribution functions, piece by piece."""

    def below(t: float) -> float:
        return float(np.mean(special.ndtr((t - mean) / scale)))

    edges = np.concatenate([[y], *(mean + k * scale for k in (-40, -8, -3, -1, 0, 1, 3, 8, 40))])
    pieces = itertools.pairwise(np.unique(edges))
    return sum(
        integrate.quad(lambda t: (below(t) - (t >= y)) ** 2, a, b, epsabs=1e-13, epsrel=1e-12)[0]
        for a, b in pieces
    )


def by_loops(draws: np.ndarray, y: float, *, fair: bool) -> float:
    count = len(draws)
    distance = sum(abs(x - y) for x in draws) / count
    apart = sum(abs(a - b) for a, b in itertools.product(draws, draws))
    return distance - apart / (2 * count * (count - 1 if fair else count))


def test_score_of_a_mixture_is_its_integral(case):
    mean, scale, y = case
    expected = [by_integral(mean[:, n], scale[:, n], y[n]) for n in range(12)]
    np.testing.assert_allclose(crps_of_rows(mean[:, :12], scale[:, :12], y[:12]), expected, 1e-9)


def test_score_of_a_normal_law_is_its_closed_form_and_integral(case):
    mean, scale, y = (values[:1] if values.ndim == 2 else values for values in case)
    scores = crps_of_rows(mean, scale, y)
    z = (y - mean[0]) / scale[0]
    closed = scale[0] * (
        z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / math.sqrt(math.pi)
    )
    np.testing.assert_allclose(scores, closed, rtol=1e-12)
    np.testing.assert_allclose(scores[3], by_integral(mean[:, 3], scale[:, 3], y[3]), rtol=1e-9)


def test_score_of_draws_is_the_integral_of_their_steps(case):
    draws, _, y = case
    for n in range(6):
        edges = np.sort(np.append(draws[:, n], y[n]))
        total = sum(
            ((draws[:, n] <= a).mean() - (a >= y[n])) ** 2 * (b - a)
            for a, b in itertools.pairwise(edges)
        )
        np.testing.assert_allclose(crps(draws[:, n : n + 1], y[n : n + 1]), total, rtol=1e-12)


def test_scores_of_draws_equal_loops(case):
    draws, _, y = case
    for fair in (False, True):
        expected = [by_loops(draws[:, n], y[n], fair=fair) for n in range(30)]
        found = crps_of_rows(draws, np.zeros_like(draws), y, fair=fair)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(crps(draws, y, fair=fair), np.mean(expected), rtol=1e-12)


def test_scores_equal_other_packages(case):
    mean, scale, y = case
    # scoringrules 0.10.0: crps_ensemble(y, m, m_axis=0, estimator="nrg" | "fair"), of which "pwm"
    # gives the latter too; properscoring 0.1: crps_ensemble(y, m, axis=0).
    np.testing.assert_allclose(crps(mean, y), 0.758188250143011, rtol=1e-12)
    np.testing.assert_allclose(crps(mean, y, fair=True), 0.6123435311437676, rtol=1e-12)
    # scoringrules crps_normal; crps_gaussian of properscoring and of uncertainty-toolbox 0.1.1.
    one = NormalMixture(mean[0], scale[0])
    np.testing.assert_allclose(crps(one, y), 1.019546116363578, rtol=1e-12)
    # scoringrules crps_mixnorm(y, m, s, m_axis=0).
    np.testing.assert_allclose(crps(NormalMixture(mean, scale), y), 0.736386181034197, rtol=1e-12)


def test_a_point_mass_costs_the_absolute_error():
    assert crps([[1.0, 5.0]], [3.0, 4.0]) == 1.5
    assert crps(NormalMixture([1.0], 0.0), [3.0]) == 2


def test_point_masses_are_the_limit_of_narrow_laws(case):
    mean, _, y = case
    points = crps(mean, y)
    for scale in (1e-6, 1e-160, 1e-300):
        np.testing.assert_allclose(crps(NormalMixture(mean, scale), y), points, rtol=1e-5)
    # Some draws points, others not.
    some = np.where(np.arange(5) % 2, 0.0, 1.0)[:, None] * np.ones(30)
    nearly = np.where(some == 0, 1e-9, some)
    np.testing.assert_allclose(
        crps_of_rows(mean, some, y), crps_of_rows(mean, nearly, y), rtol=1e-6
    )


def test_draws_that_are_all_alike_are_one(case):
    mean, scale, y = (values[:1] if values.ndim == 2 else values for values in case)
    repeated = np.repeat(mean, 7, axis=0), np.repeat(scale, 7, axis=0)
    np.testing.assert_allclose(crps_of_rows(*repeated, y), crps_of_rows(mean, scale, y), rtol=1e-12)
    assert crps([[2.0], [2.0], [2.0]], [5.0]) == 3


def test_score_has_the_unit_of_the_target_and_no_origin(case):
    mean, scale, y = case
    scores = crps_of_rows(mean, scale, y)
    moved = crps_of_rows(1e3 + 4 * mean, 4 * scale, 1e3 + 4 * y)
    np.testing.assert_allclose(moved, 4 * scores, rtol=1e-10)
    np.testing.assert_allclose(crps_of_rows(-mean, scale, -y), scores, rtol=1e-12)


def test_far_targets_and_extreme_units_keep_their_digits():
    np.testing.assert_allclose(
        crps(NormalMixture([0.0], 1.0), [1e10]), 1e10 - 1 / math.sqrt(math.pi), rtol=1e-15
    )
    for unit in (1e-200, 1e200):
        value = crps(NormalMixture([[0.0], [unit]], unit), [unit])
        expected = crps(NormalMixture([[0.0], [1.0]], 1.0), [1.0])
        np.testing.assert_allclose(value / unit, expected, rtol=1e-12)


@pytest.mark.parametrize("of_points", [True, False])
def test_fair_score_is_the_mean_over_subsets_of_the_draws(case, of_points):
    # A U-statistic: its mean over all samples of three of five draws is that of the five.  The
    # plain score's mean is larger, since each draw meets itself.
    mean, scale, y = case
    scale = np.zeros_like(scale) if of_points else scale
    subsets = [list(chosen) for chosen in itertools.combinations(range(5), 3)]
    means = {
        fair: np.mean([crps_of_rows(mean[c], scale[c], y, fair=fair) for c in subsets], axis=0)
        for fair in (True, False)
    }
    of_all = crps_of_rows(mean, scale, y, fair=True)
    np.testing.assert_allclose(means[True], of_all, rtol=1e-10, atol=1e-13)
    assert np.all(means[False] > of_all)
    assert np.all(means[False] > crps_of_rows(mean, scale, y))


def test_fair_score_of_normal_laws_leaves_pairs_of_a_draw_with_itself_out(case):
    mean, scale, y = case

    def distance(centre, width):
        return stats.foldnorm.mean(abs(centre) / width, scale=width)

    for n in range(5):
        near = np.mean([distance(y[n] - mean[s, n], scale[s, n]) for s in range(5)])
        apart = np.mean(
            [
                distance(mean[s, n] - mean[t, n], math.hypot(scale[s, n], scale[t, n]))
                for s, t in itertools.permutations(range(5), 2)
            ]
        )
        found = crps_of_rows(mean[:, n : n + 1], scale[:, n : n + 1], y[n : n + 1], fair=True)
        np.testing.assert_allclose(found, near - apart / 2, rtol=1e-10)


def test_fair_score_needs_two_draws():
    with pytest.raises(ValueError, match=r"crps\(..., fair=True\) needs at least 2 draws"):
        crps([[1.0]], [1.0], fair=True)


def test_the_true_law_has_the_least_expected_score():
    # Expectations over y ~ N(0, 1) by quadrature: 1/sqrt(pi) for the truth, more for all others.
    y, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()

    def expected(mean: float, scale: float) -> float:
        laws = np.full((1, 80), mean), np.full((1, 80), scale)
        return float(weights @ crps_of_rows(*laws, y))

    np.testing.assert_allclose(expected(0, 1), 1 / math.sqrt(math.pi), rtol=1e-10)
    for mean, scale in [(0.1, 1), (0, 0.9), (0, 1.1), (-0.1, 0.95)]:
        assert expected(mean, scale) > expected(0, 1)


def test_blocks_of_rows_change_nothing(case, monkeypatch):
    mean, scale, y = case
    whole = crps_of_rows(mean, scale, y)
    monkeypatch.setattr(sys.modules["bayes_sbn.metrics.crps"], "_BLOCK", 1)
    np.testing.assert_array_equal(crps_of_rows(mean, scale, y), whole)


def test_memory_is_bounded():
    draws, rows = 400, 5_000
    mean, y = np.zeros((draws, rows)), np.zeros(rows)
    tracemalloc.start()
    try:
        crps_of_rows(mean, np.zeros((draws, rows)), y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The zeros above are 16 MB each; all pairs of draws would be 6.4 GB.
    assert peak < 60e6


def test_predictions_tensors_and_float32(case):
    mean, scale, y = case
    value = crps(NormalMixture(mean, scale), y)
    assert crps(RegressionPredictions(mean, scale), y) == value
    assert crps(NormalMixture(torch.tensor(mean), torch.tensor(scale)), torch.tensor(y)) == value
    assert crps(torch.tensor(mean), torch.tensor(y)) == crps(mean, y)
    rounded = mean.astype(np.float32)
    assert crps(rounded, y) == crps(rounded.astype(np.float64), y)


def test_interval_is_of_the_means_of_the_rows_scores(case):
    mean, scale, y = case
    pred = NormalMixture(mean, scale)
    found = bootstrap_interval(crps, pred, y, bootstrap=39, level=0.9, seed=3)
    scores = crps_of_rows(mean, scale, y)
    resamples = np.random.default_rng(3).integers(30, size=(39, 30))
    means = np.sort(scores[resamples].mean(axis=1))
    np.testing.assert_allclose([found.low, found.high], [means[1], means[37]], rtol=1e-12)
