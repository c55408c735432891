"""Annealed mirror descent at the mean, against the latents that the papers write."""

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.dual import register_leaf
from bayes_sbn.optim.md_tanh import MDTanh
from bayes_sbn.optim.mirror_descent import MirrorDescent
from tests.chance import numpy_generator

GENERATOR = numpy_generator("annealed")
BETA, START, TARGET = 0.7, GENERATOR.normal(0, 1, 20), GENERATOR.uniform(-0.9, 0.9, 20)
OPTIONS = {"beta": BETA, "factor": 1.3, "every": 4}
STEPS = 30


def gradient(w):
    """Of a loss that is not linear in the weights, so that where it is taken shows."""
    return np.sinh(2 * (w - TARGET))


def adam(g, moments, t):
    moments[0] = 0.9 * moments[0] + 0.1 * g
    moments[1] = 0.999 * moments[1] + 0.001 * g * g
    return (moments[0] / (1 - 0.9**t)) / (np.sqrt(moments[1] / (1 - 0.999**t)) + 1e-8)


def latent_path(lr, *, through_tanh, adaptive):
    """Weights by the latents v themselves; beta grows after every fourth step."""
    v, beta, path, moments = START.copy(), BETA, [], [0.0, 0.0]
    for t in range(1, STEPS + 1):
        w = np.tanh(beta * v)
        g = gradient(w)
        if through_tanh:
            g = g * beta * (1 - w**2)
        v = v - lr * (adam(g, moments, t) if adaptive else g)
        if t % 4 == 0:
            beta *= 1.3
        path.append(np.tanh(beta * v))
    return np.array(path)


def softmax_path(lr, *, adaptive, through=False):
    """Two latents a weight; to each the derivative in its probability (MD) or in itself (PMF)."""
    u, beta, path, moments = np.stack([START, -START]), BETA, [], [0.0, 0.0]
    for t in range(1, STEPS + 1):
        p = np.exp(beta * u) / np.exp(beta * u).sum(0)
        g = gradient(p[0] - p[1]) * np.array([[1.0], [-1.0]])
        if through:
            g = beta * p * (g - (p * g).sum(0))
        u = u - lr * (adam(g, moments, t) if adaptive else g)
        if t % 4 == 0:
            beta *= 1.3
        p = np.exp(beta * u) / np.exp(beta * u).sum(0)
        path.append(p[0] - p[1])
    return np.array(path)


def leaf_path(rule_of, start=BETA * START):
    leaf = torch.nn.Parameter(torch.tensor(start))
    rule, path = rule_of(leaf), []
    for _ in range(STEPS):
        leaf.grad = torch.tensor(gradient(np.tanh(leaf.detach().numpy())))
        rule.step()
        path.append(np.tanh(leaf.detach().numpy()))
    return np.array(path)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("through_tanh", [False, True])
def test_the_leaf_is_beta_times_the_latent_of_the_paper(through_tanh, adaptive):
    wanted = latent_path(0.02, through_tanh=through_tanh, adaptive=adaptive)
    found = leaf_path(
        lambda v: MDTanh([v], 0.02, through_tanh=through_tanh, adaptive=adaptive, **OPTIONS)
    )
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
    assert np.abs(wanted[-1] - wanted[0]).max() > 0.05


@pytest.mark.parametrize("adaptive", [False, True])
def test_softmax_is_tanh_for_two_states(adaptive):
    wanted = softmax_path(0.02, adaptive=adaptive)
    found = leaf_path(lambda v: MDTanh([v], 0.02, adaptive=adaptive, **OPTIONS))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)


def test_softmax_through_which_derivatives_go_has_half_the_step():
    wanted = softmax_path(0.04, adaptive=False, through=True)
    found = leaf_path(lambda v: MDTanh([v], 0.02, adaptive=False, through_tanh=True, **OPTIONS))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)


def test_one_latent_of_log_odds_has_twice_the_step():
    """``P(+1) = sigmoid(beta z)`` with the derivative in P(+1), which is twice that in w."""
    z, beta, path = 2 * START, BETA, []
    for t in range(1, STEPS + 1):
        z = z - 0.02 * 2 * gradient(2 / (1 + np.exp(-beta * z)) - 1)
        if t % 4 == 0:
            beta *= 1.3
        path.append(2 / (1 + np.exp(-beta * z)) - 1)
    found = leaf_path(lambda v: MDTanh([v], 0.02, adaptive=False, **OPTIONS))
    np.testing.assert_allclose(found, path, rtol=0, atol=1e-12)


def test_without_growth_it_is_mirror_descent_with_beta_times_the_step():
    for adaptive in (False, True):
        found = leaf_path(
            lambda v, a=adaptive: MDTanh([v], 0.05, beta=BETA, factor=1.0, adaptive=a)
        )
        wanted = leaf_path(lambda v, a=adaptive: MirrorDescent([v], 0.05 * BETA, adaptive=a))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


def test_beta_grows_by_the_steps_done_and_ends():
    leaf = torch.nn.Parameter(torch.tensor([0.5]))
    rule = MDTanh([leaf], 0.0, beta=1.0, factor=2.0, every=3, max_beta=5.0)
    betas = []
    for _ in range(10):
        leaf.grad = torch.zeros(1)
        rule.step()
        betas.append(rule.beta_of(leaf))
        assert leaf.item() == pytest.approx(0.5 * betas[-1])
    assert betas == [1.0, 1.0, 2.0, 2.0, 2.0, 4.0, 4.0, 4.0, 5.0, 5.0]


def test_a_long_run_ends_at_signs_and_stays_finite():
    leaf = torch.nn.Parameter(torch.tensor([1e-3, -2.0]))
    rule = MDTanh([leaf], 0.0, factor=10.0, every=1)
    for _ in range(2000):
        leaf.grad = torch.zeros(2)
        rule.step()
    assert leaf.tolist() == pytest.approx([10.0, -2e4])


def test_another_beta_of_is_refused():
    rule = MDTanh([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(KeyError, match="no leaf of this optimiser"):
        rule.beta_of(torch.zeros(1))


@pytest.mark.parametrize("noise", ["uniform", "logistic"])
def test_leaves_that_are_no_natural_parameters_are_refused(noise):
    leaf = torch.nn.Parameter(torch.zeros(2))
    law = sbn.noise.get_noise(noise)
    register_leaf(leaf, "posterior.w", is_dual=True, noise=law)
    leaf.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match=r'MDTanh: the leaves of the weights "posterior.w" are'):
        sbn.optim.MDTanh({"lr": 0.1})([leaf])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lr": -1.0}, r"MDTanh\(lr=-1.0\)"),
        ({"beta": 2.0, "max_beta": 1.0}, r"MDTanh\(beta=2.0, max_beta=1.0\)"),
        ({"factor": 0.5}, r"MDTanh\(factor=0.5\)"),
        ({"every": 0}, r"MDTanh\(every=0\)"),
        ({"betas": (0.9, 1.0)}, r"MDTanh\(betas=\(0.9, 1.0\)\)"),
    ],
)
def test_options_that_make_no_rule_are_errors(options, words):
    with pytest.raises(ValueError, match=words):
        sbn.optim.MDTanh(options)
