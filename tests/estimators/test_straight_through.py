"""The options of straight-through: a proxy's density, and the more probable state."""

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators import StraightThrough
from tests.estimators.test_exact_expectation import lean, network, wanted
from tests.oracle_estimators import expected_st_gradient, relative_bias, st_gradient_of_path
from tests.oracle_noise import cdf
from tests.oracle_rivals import expected_proxy_gradient
from tests.oracles import exact_gradient, pre_activation
from tests.pyro_networks import assert_same_gradient, expected_gradient

NAMES = ("one_hidden_layer", "one_hidden_layer_real_weights", "two_hidden_layers")


def by_proxy(proxy) -> StraightThrough:
    with pytest.warns(UserWarning, match=r"biased even where straight-through is exact"):
        return StraightThrough(proxy=proxy)


@pytest.mark.parametrize("proxy", ["uniform", "gaussian"])
@pytest.mark.parametrize("name", NAMES)
def test_a_proxy_gives_its_density_to_the_backward_alone(name, proxy):
    net = network(name)
    loss, found = expected_gradient(net, lean(by_proxy(proxy)))
    definition = expected_proxy_gradient(net.net, net.problem.x, net.problem.y, proxy)
    assert_same_gradient(found, wanted(net, definition))
    matched_loss, matched = expected_gradient(net, lean("st"))
    assert loss == pytest.approx(matched_loss, abs=1e-12)
    assert abs(found["layers.0.bias"] - matched["layers.0.bias"]).max() > 1e-3


def test_the_injected_noise_as_its_own_proxy_is_straight_through():
    net = network("two_hidden_layers", "triangular")
    estimator = by_proxy(sbn.noise.Triangular(3.0))
    _, found = expected_gradient(net, lean(estimator))
    definition = expected_st_gradient(net.net, net.problem.x, net.problem.y)
    assert_same_gradient(found, wanted(net, definition))


def mode_path(net):
    """The more probable state of every bit, given those above it."""
    weights = [
        layer.weight if layer.weight_mean is None else np.where(layer.weight_mean > 0, 1.0, -1.0)
        for _, layer in net.net.maps
    ]
    states, x = [], net.problem.x
    for layer, weight in zip(net.net.layers, weights, strict=False):
        p = cdf(net.net.noise, pre_activation(layer, weight, x), net.net.noise_scale)
        x = np.where(p > 0.5, 1.0, -1.0)
        states.append(x)
    return weights, states


@pytest.mark.parametrize("name", NAMES)
def test_deterministic_draws_the_more_probable_states_and_keeps_the_backward(name):
    net = network(name)
    elbo = sbn.TraceEstimator_ELBO(StraightThrough(deterministic=True))
    (run,) = elbo._get_traces(net.model, net.guide, (net.x, net.y), {})
    weights, states = mode_path(net)
    for k, state in enumerate(states):
        value = run.guide_trace.nodes[f"layers.{k}"]["value"].detach()
        assert torch.equal(value, torch.tensor(state))
    of_path = st_gradient_of_path(net.net, weights, states, net.problem.x, net.problem.y)
    elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    found = net.gradients()
    assert_same_gradient(found, wanted(net, of_path))
    exact = wanted(net, exact_gradient(net.net, net.problem.x, net.problem.y))
    assert relative_bias(found, exact)["layers.0.bias"] > 0.1


def test_deterministic_draws_minus_one_where_both_states_are_equally_probable():
    law = sbn.SignBernoulli(logits=torch.zeros(3))
    site = sbn.Site("w", law)
    drawn = StraightThrough(deterministic=True).draw(site, torch.zeros(3))
    assert torch.equal(drawn, -torch.ones(3))


def test_other_values_cannot_be_forced_on_a_deterministic_draw():
    net = network("one_hidden_layer_real_weights")
    _, (state,) = mode_path(net)
    elbo = sbn.TraceEstimator_ELBO(StraightThrough(deterministic=True))
    with (
        pytest.raises(ValueError, match="needs more than its value"),
        sbn.force_draws({"layers.0": -torch.tensor(state)}),
    ):
        elbo.loss(net.model, net.guide, net.x, net.y)


def test_unknown_proxies_are_errors():
    with pytest.raises(ValueError, match="hard_tanh"):
        StraightThrough(proxy="hard_tanh")
    assert repr(StraightThrough()) == "StraightThrough(proxy=None, deterministic=False)"
