"""Probability integral transforms: scipy, ranks by counting, exact uniformity, and its test."""

import math

import numpy as np
import torch
from scipy import stats

from bayes_sbn.metrics import NormalMixture, UniformityTest, pit, pit_test
from bayes_sbn.predictions_regression import RegressionPredictions
from tests.metrics.golden_cases import fractions, regression

MEAN, SCALE, Y = regression()


def test_transforms_of_mixtures_are_their_distribution_functions():
    expected = stats.norm(MEAN, SCALE).cdf(Y).mean(axis=0)
    np.testing.assert_allclose(pit(NormalMixture(MEAN, SCALE), Y), expected, rtol=1e-13)
    np.testing.assert_array_equal(
        pit(RegressionPredictions(MEAN, SCALE), Y, seed=3), pit(NormalMixture(MEAN, SCALE), Y)
    )


def test_transforms_of_draws_are_randomised_ranks():
    draws = np.round(MEAN)  # with ties
    y = np.round(Y)
    uniform = np.random.default_rng(7).random(30)
    below, equal = (draws < y).sum(axis=0), (draws == y).sum(axis=0)
    assert equal.max() > 1
    assert equal.min() == 0
    np.testing.assert_allclose(
        pit(draws, y, seed=7), (below + uniform * (1 + equal)) / 6, rtol=1e-13
    )


def test_one_more_draw_of_the_same_law_has_a_uniform_rank():
    # Whichever of S + 1 values is the target, its transform is uniform on an interval; together the
    # intervals cover [0, 1] evenly, ties or none.
    for values in ([0.3, 1.0, -2.0, 5.0, 0.1], [1.0, 1.0, 2.0, 2.0, 2.0], [4.0] * 5):
        edges = np.linspace(0, 1, 6)
        density = np.zeros(5)
        for target in range(5):
            draws = np.delete(values, target)[:, None].repeat(2000, axis=1)
            found = pit(draws, np.full(2000, values[target]))
            low, high = np.round(5 * found.min()) / 5, np.round(5 * found.max()) / 5
            assert low <= found.min() < low + 0.01
            assert high - 0.01 < found.max() <= high
            inside = (edges[:-1] >= low - 1e-9) & (edges[1:] <= high + 1e-9)
            density[inside] += 1 / (high - low)
        np.testing.assert_allclose(density, 5, rtol=1e-9)


def test_point_masses_beside_normal_laws_are_randomised_over_their_jump():
    mean, scale = np.array([[0.0] * 4, [1.0] * 4]), np.array([[0.0] * 4, [1.0] * 4])
    y = np.array([0.0, -0.5, 0.5, 0.0])
    uniform = np.random.default_rng(0).random(4)
    continuous = stats.norm.cdf(y, 1, 1) / 2
    expected = continuous + 0.5 * np.array([uniform[0], 0, 1, uniform[3]])
    np.testing.assert_allclose(pit(NormalMixture(mean, scale), y), expected, rtol=1e-13)


def test_rows_of_points_and_rows_of_laws_in_one_prediction():
    mean, scale = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 1.0], [0.0, 1.0]])
    uniform = np.random.default_rng(0).random(2)
    expected = [
        (1 + uniform[0]) / 3,
        (stats.norm.cdf(0.5) + stats.norm.cdf(-0.5)) / 2,
    ]
    np.testing.assert_allclose(pit(NormalMixture(mean, scale), [0.5, 0.5]), expected, rtol=1e-13)


def test_far_targets_of_draws_do_not_heap_up_at_the_ends():
    values = pit(np.zeros((9, 1000)), np.full(1000, 5.0))
    assert values.min() >= 0.9
    assert values.max() < 1
    assert values.std() > 0.02
    below = pit(np.zeros((9, 1000)), np.full(1000, -5.0))
    assert below.min() >= 0
    assert below.max() <= 0.1


def test_a_single_draw():
    assert 0.5 <= pit([[0.0]], [1.0])[0] <= 1
    assert pit([[0.0]], [-1.0])[0] <= 0.5


def test_seeds_repeat_and_differ():
    np.testing.assert_array_equal(pit(MEAN, Y, seed=1), pit(MEAN, Y, seed=1))
    assert np.any(pit(MEAN, Y, seed=1) != pit(MEAN, Y, seed=2))


def test_tensors():
    np.testing.assert_array_equal(pit(torch.tensor(MEAN), torch.tensor(Y)), pit(MEAN, Y))


def test_statistic_is_the_largest_difference_from_the_identity():
    found = pit_test(NormalMixture(MEAN, SCALE), Y)
    values = np.sort(pit(NormalMixture(MEAN, SCALE), Y))
    steps = np.arange(31) / 30
    largest = max(np.max(steps[1:] - values), np.max(values - steps[:-1]))
    np.testing.assert_allclose(found.statistic, largest, rtol=1e-12)
    np.testing.assert_allclose(found.p_value, stats.kstwo.sf(largest, 30), rtol=1e-6)
    assert found.num_rows == 30


def test_one_row_has_the_exact_p_value():
    # Of one value u the statistic is max(u, 1 - u), at least so large with probability 2 min.
    found = pit_test(NormalMixture([0.0], 1.0), [1.0])
    u = stats.norm.cdf(1)
    np.testing.assert_allclose([found.statistic, found.p_value], [u, 2 * (1 - u)], rtol=1e-9)
    assert isinstance(found, UniformityTest)


def test_calibrated_laws_pass_and_narrow_wide_and_shifted_ones_do_not():
    # Targets at evenly spread quantiles of their laws: there is no chance in this.
    y = MEAN[0] + SCALE[0] * stats.norm.ppf(fractions(30))
    assert pit_test(NormalMixture(MEAN[0], SCALE[0]), y).p_value > 0.99
    for mean, scale in (
        (MEAN[0], SCALE[0] / 4),
        (MEAN[0], SCALE[0] * 4),
        (MEAN[0] + SCALE[0], SCALE[0]),
    ):
        assert pit_test(NormalMixture(mean, scale), y).p_value < 0.01


def test_draws_of_the_right_law_pass_however_few():
    # 400 rows, each target one of 4 + 1 values by turns: ranks are even without chance, and the
    # distribution function of the draws alone would put a fifth of the rows at 0, another at 1.
    values = np.random.default_rng(1).normal(size=(5, 400))
    which = np.arange(400) % 5
    y = np.sort(values, axis=0)[which, np.arange(400)]
    draws = np.sort(values, axis=0)[[[k for k in range(5) if k != w] for w in range(5)]]
    draws = np.stack([draws[w, :, n] for n, w in enumerate(which)], axis=1)
    assert pit_test(draws, y).p_value > 0.1
    naive = (draws < y).mean(axis=0)
    assert stats.kstest(naive, "uniform").pvalue < 1e-3
    assert math.isclose(np.mean(naive == 0), 0.2)
