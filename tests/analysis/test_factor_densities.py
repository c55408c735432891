"""log q of weights that share factors: against the trapezoidal rule, and where there are none."""

import dataclasses

import numpy as np
import pytest
from scipy.special import logsumexp

import bayes_sbn as sbn
from bayes_sbn.analysis.factor_densities import factor_log_prob
from bayes_sbn.kernels.packing import unpack
from bayes_sbn.kernels.reference.low_rank import draw_factors
from bayes_sbn.philox import fold_stream
from bayes_sbn.posterior_low_rank_layer import LowRankPosteriorLayer
from tests.analysis.posteriors import labelled
from tests.chance import numpy_generator
from tests.plain_networks import random_posterior

X, Y = labelled(6)


def shared(rank=2, size=1.0):
    """A network whose layers share factors, the middle one of which is mean-field."""
    posterior = random_posterior(label="shared")
    g = numpy_generator(f"loadings {rank}")
    layers = list(posterior.layers)
    for index in (0, 2):
        old = layers[index]
        shape = old.probabilities.shape
        layers[index] = LowRankPosteriorLayer(
            name=old.name,
            site=old.site,
            natural=g.normal(size=shape),
            loadings=size * g.normal(size=(rank, *shape)),
            scale=old.scale,
            bias=old.bias,
            noise=old.noise,
            noise_scale=old.noise_scale,
            prior=old.prior,
        )
    return sbn.Posterior(layers, posterior.input_scale)


def signs(ensemble):
    return [unpack(weights).numpy().astype(np.int8) for weights in ensemble.weights]


def by_trapezoids(layers, weights, rank):
    """The logarithm of the integral on a grid, which is exact to many digits for such functions."""
    line = np.linspace(-8, 8, 1601 if rank == 1 else 201)
    z = np.stack(np.meshgrid(*[line] * rank, indexing="ij"), -1).reshape(-1, rank)
    found = []
    for draw in range(len(weights[0])):
        logs = -0.5 * (z**2).sum(1) - 0.5 * rank * np.log(2 * np.pi)
        for layer, drawn in zip(layers, weights, strict=True):
            given = layer.natural + np.tensordot(z, layer.loadings, axes=1)
            logs = logs - np.log1p(np.exp(-2 * drawn[draw] * given)).sum((1, 2))
        found.append(logsumexp(logs) + rank * np.log(line[1] - line[0]))
    return np.array(found)


@pytest.mark.parametrize("rank", [1, 2])
def test_integral_is_that_of_the_trapezoidal_rule(rank):
    posterior = shared(rank)
    weights = signs(posterior.draw(8, 3))
    layers = [posterior.layers[0], posterior.layers[2]]
    found = factor_log_prob(layers, [weights[0], weights[2]])
    exact = by_trapezoids(layers, [weights[0], weights[2]], rank)
    assert found == pytest.approx(exact, abs=0.05)
    # given the draw's own factors the weights are likelier than on average over factors
    factors = draw_factors(fold_stream(3, 0), np.arange(8), rank)
    given = np.zeros(8)
    for layer, drawn in zip(layers, [weights[0], weights[2]], strict=True):
        natural = layer.natural + np.tensordot(factors, layer.loadings, axes=1)
        given -= np.log1p(np.exp(-2 * drawn * natural)).sum((1, 2))
    assert (given > exact).mean() > 0.8


def test_without_loadings_it_is_mean_field():
    posterior = shared(3, size=0.0)
    weights = signs(posterior.draw(8, 3))
    layers = [posterior.layers[0], posterior.layers[2]]
    exact = np.zeros(8)
    for layer, drawn in zip(layers, [weights[0], weights[2]], strict=True):
        exact -= np.log1p(np.exp(-2 * drawn * layer.natural)).sum((1, 2))
    found = factor_log_prob(layers, [weights[0], weights[2]])
    # the integrand is then normal, and all draws share what is left of the error
    assert found == pytest.approx(exact, abs=0.1)
    assert np.ptp(found - exact) < 1e-9


def test_probabilities_sum_to_one():
    posterior = shared(1)
    small = dataclasses.replace(
        posterior.layers[2],
        natural=posterior.layers[2].natural[:2, :4],
        loadings=posterior.layers[2].loadings[:, :2, :4],
        scale=np.ones(2),
        bias=np.zeros(2),
        prior=0.5,
    )
    states = 2 * ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(np.int8) - 1
    found = factor_log_prob([small], [states.reshape(-1, 2, 4)])
    assert np.exp(found).sum() == pytest.approx(1.0, abs=0.02)


def test_export_has_it_for_the_whole_network():
    posterior = shared()
    idata = sbn.to_arviz(posterior, X, Y, num_draws=30, num_prior_draws=0, num_defensive_draws=8)
    weights = signs(posterior.draw(30))
    layers = [posterior.layers[0], posterior.layers[2]]
    own = by_trapezoids(layers, [weights[0], weights[2]], 2)
    middle = posterior.layers[1].probabilities
    with np.errstate(divide="ignore"):
        own += np.log(np.where(weights[1] > 0, middle, 1 - middle)).sum((1, 2))
    assert idata["sample_stats"]["log_q"].values[0] == pytest.approx(own, abs=0.05)
    found = sbn.diagnose(idata)
    assert np.isfinite(found.importance[0].bound)
    assert np.isnan(found.layers[0].gain)  # that of weights that depend on each other is not known
    assert found.layers[0].bits == pytest.approx(
        posterior.layers[0].entropy / posterior.layers[0].num_weights
    )
