"""Sums over the states of activations: in blocks, where they underflow, in how much memory."""

import math
import tracemalloc

import numpy as np
import pytest
import torch

from bayes_sbn.analysis import activation_sums, exact_posterior
from tests.analysis.networks import classifier, regressor


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_do_not_change_the_numbers(block, monkeypatch):
    for model, x, y in (
        classifier(1, (2, 1), 2, rows=3, noise="gaussian"),
        regressor(1, (1, 2, 1), rows=3),
        classifier(3, (), 2),
    ):
        whole = exact_posterior(model, x, y)
        wanted = whole.predictive(x)
        wanted.parts, wanted.log_prob(y)
        with monkeypatch.context() as patch:
            patch.setattr(activation_sums, "_BLOCK", block)
            parts = exact_posterior(model, x, y)
            found = parts.predictive(x)
            np.testing.assert_allclose(parts.log_probs, whole.log_probs, rtol=0, atol=1e-12)
            np.testing.assert_allclose(found.mean, wanted.mean, atol=1e-12)
            np.testing.assert_allclose(found.parts.weights, wanted.parts.weights, atol=1e-12)
            np.testing.assert_allclose(found.log_prob(y), wanted.log_prob(y), atol=1e-12)


def test_sums_that_underflow_are_added_as_logarithms(monkeypatch):
    """Units whose states nearly rule each other out, and targets far from all means."""
    model, x, y = regressor(1, (2,), rows=3, sigma=0.01)
    with torch.no_grad():
        model.hidden[0].scale = torch.full((2,), 900.0)
    x = torch.tensor([[1.0], [-1.0], [0.5]])
    found = exact_posterior(model, x, y)
    assert found.log_likelihood.min() < -700
    with monkeypatch.context() as patch:
        patch.setattr(activation_sums, "_SMALLEST_SUM", math.inf)  # every sum
        logs = exact_posterior(model, x, y)
    np.testing.assert_allclose(found.log_likelihood, logs.log_likelihood, rtol=1e-12)
    # by hand: the state z of the units costs what it costs
    w = found.weights([0])
    total = 0.0
    for row, target in zip(x[:, 0].tolist(), y.tolist(), strict=True):
        terms = []
        for z in ([1, 1], [1, -1], [-1, 1], [-1, -1]):
            log_mass = 0.0
            for j in range(2):
                a = 900 * w["hidden.0.weight"][0, j, 0] * row + model.hidden[0].bias[j].item()
                log_mass += -math.log1p(math.exp(-z[j] * a)) if z[j] * a > -700 else z[j] * a
            mean = (
                model.output.scale.item() * (w["output.weight"][0, 0] @ np.array(z))
                + model.output.bias.item()
            )
            terms.append(
                log_mass
                - 0.5 * ((target - mean) / 0.01) ** 2
                - math.log(0.01 * math.sqrt(2 * math.pi))
            )
        total += np.logaddexp.reduce(terms)
    assert found.log_likelihood[0] == pytest.approx(total, rel=1e-12)


def test_memory_does_not_grow_with_rows_times_states():
    model, x, y = classifier(4, (3,), 2, rows=64)  # 18 weights: 134 MB for all rows and states
    tracemalloc.start()
    exact_posterior(model, x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20
