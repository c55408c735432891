"""Decoupled straight-through: what it is at some temperatures, and what each of them scales."""

import dataclasses

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators import (
    DecoupledStraightThrough,
    GumbelStraightThrough,
    StraightThrough,
)
from tests import problems
from tests.estimators.conformance import assert_nonzero, step, uniforms_of
from tests.estimators.test_exact_expectation import network
from tests.pyro_networks import PyroNetwork, assert_same_gradient


@pytest.mark.parametrize("backward", [0.3, 1.0])
@pytest.mark.parametrize("name", ["two_hidden_layers", "two_hidden_layers_real_weights"])
def test_decoupled_with_the_noise_as_it_is_is_gumbel_st(name, backward):
    net = network(name)
    uniforms = uniforms_of(net, "decoupled")
    found, gumbel = (
        step(sbn.TraceEstimator_ELBO(e), net, uniforms)
        for e in (
            DecoupledStraightThrough(backward=backward),
            GumbelStraightThrough(temperature=backward),
        )
    )
    assert_same_gradient(found.gradients, gumbel.gradients, 1e-12)
    assert_nonzero(found.gradients)


@pytest.mark.parametrize("name", ["two_hidden_layers", "two_hidden_layers_real_weights"])
def test_decoupled_by_means_at_temperature_one_is_straight_through(name):
    net = network(name, "logistic")
    uniforms = uniforms_of(net, "decoupled")
    found, straight = (
        step(sbn.TraceEstimator_ELBO(e), net, uniforms)
        for e in (DecoupledStraightThrough(slope="mean"), "st")
    )
    assert_same_gradient(found.gradients, straight.gradients, 1e-12)


def test_decoupled_by_means_is_straight_through_by_proxy_in_the_units():
    net = network("two_hidden_layers_real_weights")
    uniforms = uniforms_of(net, "proxy")
    with pytest.warns(UserWarning, match="proxy"):
        proxy = StraightThrough(proxy=sbn.noise.Logistic(scale=2.5))
    found, other = (
        step(sbn.TraceEstimator_ELBO(e), net, uniforms)
        for e in (DecoupledStraightThrough(backward=2.5, slope="mean"), proxy)
    )
    assert_same_gradient(found.gradients, other.gradients, 1e-12)
    assert_nonzero(found.gradients)


def test_decoupled_by_means_takes_the_mean_of_a_weight_at_the_backward_temperature():
    lam = torch.tensor([-1.3, 0.2, 2.0])
    leaf = lam.clone().requires_grad_()
    law = sbn.SignBernoulli.from_natural(leaf, gradient="euclidean")
    estimator = DecoupledStraightThrough(backward=1.7, slope="mean")
    value = estimator.draw(sbn.Site("w", law), torch.tensor([0.2, 0.5, 0.9]))
    assert torch.equal(value.detach().abs(), torch.ones(3))
    (g,) = torch.autograd.grad(value.sum(), leaf)
    other = lam.clone().requires_grad_()
    (wanted_slope,) = torch.autograd.grad(torch.tanh(other / 1.7).sum(), other)
    torch.testing.assert_close(g, wanted_slope)


def test_forward_temperature_is_a_scale_of_the_noise_and_warns():
    with pytest.warns(UserWarning, match=r"forward=2.0\).*noise is 2.0 times"):
        decoupled = DecoupledStraightThrough(forward=2.0, backward=0.6)
    problem = problems.two_hidden_layers_real_weights("gaussian", 0.7)
    net = PyroNetwork(problem)
    doubled = dataclasses.replace(problem, net=dataclasses.replace(problem.net, noise_scale=1.4))
    uniforms = uniforms_of(net, "forward")
    found = step(sbn.TraceEstimator_ELBO(decoupled), net, uniforms)
    # its relaxation has the width of the noise as it was: 0.6 * 0.7
    same = step(
        sbn.TraceEstimator_ELBO(GumbelStraightThrough(temperature=0.3)),
        PyroNetwork(doubled),
        uniforms,
    )
    assert found.loss == same.loss
    assert_same_gradient(found.gradients, same.gradients, 1e-12)
    assert step(sbn.TraceEstimator_ELBO("gumbel_st"), net, uniforms).loss != found.loss


def test_forward_temperature_draws_weights_of_tempered_log_odds():
    with pytest.warns(UserWarning, match="forward"):
        decoupled = DecoupledStraightThrough(forward=3.0)
    law = sbn.SignBernoulli(logits=torch.tensor(1.5)).expand((100_001,))
    u = torch.linspace(0, 1, 100_001)
    value = decoupled.draw(sbn.Site("w", law), u)
    share = float((value > 0).double().mean())
    assert share == pytest.approx(1 / (1 + np.exp(-0.5)), abs=2e-5)


def test_slope_of_decoupled_is_one_of_two():
    with pytest.raises(ValueError, match=r'slope=\'sign\'\): the slope is "gumbel" or "mean"'):
        DecoupledStraightThrough(slope="sign")
