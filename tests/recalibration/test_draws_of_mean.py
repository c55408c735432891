"""Draws that follow their mean: against a channel written out, and what the channel promises."""

import numpy as np
import pytest

from bayes_sbn.predictions import Predictions
from bayes_sbn.recalibration.draws_of_mean import draws_of_mean


def by_channel(draws: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """A matrix of relabelling for each row, entry by entry."""
    result = np.zeros_like(draws)
    for n in range(draws.shape[1]):
        old, new = draws[:, n].mean(axis=0), mean[n]
        gains = [max(b - a, 0.0) for a, b in zip(old, new, strict=True)]
        classes = len(old)
        channel = np.eye(classes)
        for c in range(classes):
            if new[c] < old[c]:
                channel[c] = [(1 - new[c] / old[c]) * gain / sum(gains) for gain in gains]
                channel[c, c] = new[c] / old[c]
        result[:, n] = draws[:, n] @ channel
    return result


@pytest.fixture(params=[(1, 2, 0.5), (6, 3, 0.3), (40, 10, 0.1)])
def case(request) -> tuple[np.ndarray, np.ndarray]:
    draws, classes, concentration = request.param
    generator = np.random.default_rng(classes)
    probs = generator.dirichlet(np.full(classes, concentration), (draws, 50))
    probs[:, :5] = np.eye(classes)[generator.integers(classes, size=(draws, 5))]  # 0 and 1
    mean = generator.dirichlet(np.full(classes, concentration), 50)
    mean[:3] = np.eye(classes)[generator.integers(classes, size=3)]
    mean[3] = probs[:, 3].mean(axis=0)
    return probs, mean


def test_draws_equal_the_channel_written_out(case):
    np.testing.assert_allclose(draws_of_mean(*case), by_channel(*case), atol=1e-14)


def test_draws_average_to_the_mean_and_are_distributions(case):
    result = draws_of_mean(*case)
    np.testing.assert_allclose(result.mean(axis=0), case[1], atol=1e-14)
    np.testing.assert_allclose(result.sum(axis=-1), 1, atol=1e-14)
    assert result.min() >= 0
    assert result.max() <= 1


def test_draws_stay_where_the_mean_does(case):
    draws, _ = case
    np.testing.assert_array_equal(draws_of_mean(draws, draws.mean(axis=0)), draws)


def test_epistemic_entropy_never_grows(case):
    draws, mean = case
    before, after = Predictions(draws), Predictions(draws_of_mean(draws, mean))
    assert np.all(after.epistemic <= before.epistemic + 1e-12)


def test_draws_are_relabelled_as_little_as_can_be(case):
    # The labels that move are those of the mean that must: half the distance of the two means.
    draws, mean = case
    moved = 0.5 * np.abs(draws_of_mean(draws, mean) - draws).sum(axis=-1).mean(axis=0)
    needed = 0.5 * np.abs(mean - draws.mean(axis=0)).sum(axis=-1)
    assert np.all(moved <= needed + 1e-12)  # and no less, by the triangle inequality
    assert np.all(moved >= needed - 1e-12)
