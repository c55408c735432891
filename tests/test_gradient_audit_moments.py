"""Means, variances and their errors from repeats: unbiased, and equal to their definitions."""

import numpy as np
import pytest
import torch

from bayes_sbn.gradient_audit_moments import (
    NUM_GROUPS,
    Accumulator,
    Moments,
    cosine,
    dots,
    jackknife_error,
    squared_distances,
)
from tests import chance

PROBABILITY = np.array([0.3, 0.5, 0.9])
MEAN = np.array([0.4, -0.2, 0.5])
"""Of +-1 entries with these probabilities of +1, halved and shifted."""


def samples(label: str, experiments: int, repeats: int) -> np.ndarray:
    """(experiments, repeats, 3), independent, with the mean above, in [-2, 2]."""
    uniform = chance.numpy_generator(label).random((experiments, repeats, 3))
    signs = np.where(uniform < PROBABILITY, 1.0, -1.0)
    return signs - (2 * PROBABILITY - 1) + MEAN


def gathered(values: np.ndarray) -> Moments:
    accumulator = Accumulator(len(values))
    for value in torch.tensor(values):
        accumulator.add([value[:2], value[2:]])
    return accumulator.moments()


def total(function, *arguments):
    return sum(function(*arguments, block)[0][0] for block in (0, 1))


def test_estimates_are_unbiased():
    number, repeats = 6000, 8
    here, there = samples("audit here", number, repeats), samples("audit there", number, repeats)
    found = np.empty((number, 4))
    for row, (a, b) in enumerate(zip(here, there, strict=True)):
        one, other = gathered(a), gathered(b)
        found[row] = [
            sum(v[0] for v in one.variance),
            sum(one.squared_norm(block)[0] for block in (0, 1)),
            total(squared_distances, one, other),
            total(dots, one, other),
        ]
    variance = (4 * PROBABILITY * (1 - PROBABILITY)).sum()
    wanted = [variance, MEAN @ MEAN, 0.0, MEAN @ MEAN]
    # an entry has one of two values, 2 apart: its variance is at most 8/7, |mean| below 1.5
    bounds = (np.array([0.0, -0.5, -1.0, -6.75]), np.array([3.5, 6.75, 12.0, 6.75]))
    chance.assert_mean(found, wanted, bounds=bounds, detects=[0.2, 0.35, 0.55, 0.35])


def test_error_of_a_linear_statistic_has_the_variance_it_claims():
    number, repeats = 4000, 8
    direction = torch.tensor([0.2, -0.1, 0.3])
    fixed = Moments.exact([direction[:2], direction[2:]], [0.0, 0.0])
    found = np.empty(number)
    for row, values in enumerate(samples("audit error", number, repeats)):
        moments = gathered(values)
        pairs = [dots(moments, fixed, block) for block in (0, 1)]
        found[row] = jackknife_error(*(sum(p[i] for p in pairs) for i in (0, 1))) ** 2
    spread = 4 * PROBABILITY * (1 - PROBABILITY)
    wanted = (direction.numpy() ** 2 * spread).sum() / repeats
    # the statistic is within 1.2 of 0, and an error at most its range
    chance.assert_mean(found, wanted, bounds=(0.0, 1.5), detects=0.1 * 0.3)


@pytest.mark.parametrize("repeats", [4, 23, 60])
def test_moments_equal_their_definitions_for_all_and_for_each_subset(repeats):
    values = samples(f"definition {repeats}", 1, repeats)[0]
    moments = gathered(values)
    group = np.arange(repeats) * min(NUM_GROUPS, repeats) // repeats
    subsets = [values, *(values[group != g] for g in range(min(NUM_GROUPS, repeats)))]
    assert len(moments.count) == len(subsets)
    for k, subset in enumerate(subsets):
        mean = np.concatenate([m[k].numpy() for m in moments.means])
        assert mean == pytest.approx(subset.mean(0), abs=1e-12)
        for block, columns in enumerate((slice(0, 2), slice(2, 3))):
            variance = subset[:, columns].var(0, ddof=1).sum()
            assert moments.variance[block][k] == pytest.approx(variance, abs=1e-12)
            square = (subset[:, columns].mean(0) ** 2).sum() - variance / len(subset)
            assert moments.squared_norm(block)[k] == pytest.approx(square, abs=1e-12)


def test_distances_and_errors_equal_their_definitions():
    first, second = samples("one", 1, 40)[0], samples("other", 1, 30)[0] + 0.3
    a, b = gathered(first), gathered(second)

    def distance(x, y):
        noise = x.var(0, ddof=1).sum() / len(x) + y.var(0, ddof=1).sum() / len(y)
        return ((x.mean(0) - y.mean(0)) ** 2).sum() - noise

    pairs = [squared_distances(a, b, block) for block in (0, 1)]
    found = [sum(p[i] for p in pairs) for i in (0, 1)]
    assert found[0][0] == pytest.approx(distance(first, second), abs=1e-12)
    assert found[1][0] == pytest.approx(distance(first, second), abs=1e-12)
    without = []
    for values, make in (
        (first, lambda x: distance(x, second)),
        (second, lambda x: distance(first, x)),
    ):
        groups = np.arange(len(values)) * NUM_GROUPS // len(values)
        left_out = np.array([make(values[groups != g]) for g in range(NUM_GROUPS)])
        without.append((NUM_GROUPS - 1) / NUM_GROUPS * ((left_out - left_out.mean()) ** 2).sum())
    assert jackknife_error(*found) == pytest.approx(np.sqrt(sum(without)), rel=1e-9)


def test_a_constant_gradient_has_no_variance_and_no_error():
    value = 1e6 * np.array([1.0, np.pi, -np.e]) / 3
    moments = gathered(np.tile(value, (12, 1)))
    assert [v.max() for v in moments.variance] == [0.0, 0.0]
    assert jackknife_error(moments.squared_norm(0)) == 0.0


def test_cosine_is_not_a_number_where_noise_hides_a_mean():
    found = cosine(np.array([1.0, 1.0]), np.array([2.0, -1.0]), 2.0)
    assert found[0] == pytest.approx(0.5)
    assert np.isnan(found[1])


def test_accumulator_refuses_too_few_and_too_few_so_far():
    with pytest.raises(ValueError, match="at least 4"):
        Accumulator(3)
    accumulator = Accumulator(4)
    accumulator.add([torch.ones(1)])
    with pytest.raises(RuntimeError, match="1 gradients came, 4 were announced"):
        accumulator.moments()
