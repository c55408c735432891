"""Trapezoid straight-through: its definition, its orders of exactness, and ReinMax."""

import functools

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators.trapezoid_straight_through import trapezoid_straight_through
from tests.estimators.test_exact_expectation import NOISES, SIZES, lean, network, wanted
from tests.oracle_estimators import relative_bias
from tests.oracle_rivals import expected_zgr_gradient, reinmax
from tests.oracles import Layer, Net, exact_gradient
from tests.problems import Problem
from tests.pyro_networks import PyroNetwork, assert_same_gradient, expected_gradient


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", SIZES)
def test_zgr_equals_its_definition(name, noise):
    net = network(name, noise)
    _, found = expected_gradient(net, lean("zgr"))
    definition = expected_zgr_gradient(net.problem.net, net.problem.x, net.problem.y)
    assert_same_gradient(found, wanted(net, definition))


def one_bit_under_a_square(noise: str) -> PyroNetwork:
    layer = Layer(np.array([0.8]), np.array([0.3]), weight=np.array([[1.1]]))
    head = Layer(np.array([0.9]), np.array([-0.2]), weight=np.array([[1.3]]))
    scale = {"uniform": 2.5, "triangular": 3.0}.get(noise, 1.0)
    net = Net((layer,), head, noise, scale, "normal", np.array([0.7]))
    x, y = np.array([[0.6], [-0.4]]), np.array([[0.5], [1.0]])
    return PyroNetwork(Problem("one_bit_under_a_square", net, x, y))


@pytest.mark.parametrize("noise", NOISES)
def test_zgr_is_exact_for_a_quadratic_loss_of_one_bit_and_st_is_not(noise):
    net = one_bit_under_a_square(noise)
    exact = wanted(net, exact_gradient(net.net, net.problem.x, net.problem.y))
    _, found = expected_gradient(net, lean("zgr"))
    assert_same_gradient(found, exact)
    _, straight = expected_gradient(net, lean("st"))
    assert relative_bias(straight, exact)["layers.0.weight"] > 0.05


def test_zgr_is_exact_for_a_quadratic_loss_of_one_weight():
    # the head's one weight is the only bit: no hidden layer moves with it
    w = torch.tensor([[0.4]]).atanh().requires_grad_()
    found, straight = [], []
    for sign, probability in ((1.0, 0.7), (-1.0, 0.3)):
        for rule, into in ((trapezoid_straight_through, found), (sbn.straight_through, straight)):
            law = sbn.SignBernoulli.from_natural(w)
            drawn = rule(law, torch.full((1, 1), -1.0 if sign > 0 else 2.0))
            assert float(drawn.detach()) == sign
            loss = ((1.7 * drawn - 0.6) ** 2).sum()
            into.append(probability * float(torch.autograd.grad(loss, w)[0]))
    exact = ((1.7 - 0.6) ** 2 - (1.7 + 0.6) ** 2) / 2
    assert sum(found) == pytest.approx(exact, abs=1e-12)
    assert abs(sum(straight) - exact) > 1.0


@pytest.mark.parametrize("a", [-3.0, -0.7, 0.0, 0.4, 2.5])
@pytest.mark.parametrize("state", [-1, 1])
def test_zgr_is_reinmax(a, state):
    leaf = torch.tensor([[a]], requires_grad=True)
    law = sbn.NoisySign(sbn.affine(torch.ones(1, 1), leaf))
    drawn = trapezoid_straight_through(law, torch.full((1, 1), -1.0 if state > 0 else 2.0))
    (1.3 * drawn).sum().backward(retain_graph=True)
    assert float(leaf.grad) == pytest.approx(reinmax(a, state, 1.3), abs=1e-13)
    (matched,) = torch.autograd.grad((1.3 * law.mean).sum(), leaf)
    assert (abs(float(matched - leaf.grad)) > 1e-3) == (a != 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("noise", NOISES)
def test_states_of_vanishing_probability_leave_gradients_finite(noise, dtype):
    leaf = torch.tensor([[60.0], [-60.0], [1.0]], dtype=dtype, requires_grad=True)
    for side in (-1.0, 2.0):
        law = sbn.NoisySign(sbn.affine(torch.ones(1, 1, dtype=dtype), leaf), noise=noise)
        drawn = trapezoid_straight_through(law, torch.full((1, 3), side, dtype=dtype))
        (g,) = torch.autograd.grad((1e3 * drawn).sum(), leaf)
        assert torch.isfinite(g).all()


# Relative bias of each block, logistic noise; straight-through's on the same networks is in
# test_exact_expectation. Blocks that are not listed are exact.
RECORDED_BIAS = {
    "one_hidden_layer": {
        "layers.0.scale": 0.32372287224274404,
        "layers.0.bias": 0.23519632905150936,
        "layers.0.weight_mean": 0.2273065326876893,
    },
    "two_hidden_layers": {
        "layers.0.scale": 0.5508489316889653,
        "layers.0.bias": 0.4975492494336054,
        "layers.0.weight_mean": 0.29810717651376756,
        "layers.1.scale": 0.11318798103597377,
        "layers.1.bias": 0.2400678116249463,
        "layers.1.weight_mean": 0.1402505450404255,
    },
    "two_hidden_layers_real_weights": {
        "layers.0.scale": 0.10749191196751516,
        "layers.0.bias": 0.11074565599792595,
        "layers.0.weight": 0.10903366496216424,
        "layers.1.scale": 0.08942053142929877,
        "layers.1.bias": 0.011841508200433053,
        "layers.1.weight": 0.12841175781790004,
    },
}


@pytest.mark.parametrize("name", RECORDED_BIAS)
def test_bias_is_the_recorded_one(name):
    net = network(name)
    make = functools.partial(sbn.TraceEstimator_ELBO, "zgr", weight_kl=False)
    _, found = expected_gradient(net, make)
    problem = net.problem
    exact = {k: -g for k, g in exact_gradient(problem.net, problem.x, problem.y).items()}
    for block, value in relative_bias(found, exact).items():
        recorded = RECORDED_BIAS[name].get(block, 0.0)
        assert value == pytest.approx(recorded, rel=1e-8, abs=1e-12), block
