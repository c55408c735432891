"""Low-rank laws of ±1 weights: quadrature against enumeration, bounds in order, exact gradients."""

import itertools

import numpy as np
import pytest
import torch

from bayes_sbn.distributions.sign_low_rank import (
    at_factors,
    log_mean_ratio,
    marginal_probs,
    mean_variance,
)

BITS = 5


def states(number=BITS):
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=number)))


def gauss_hermite(points):
    places, weights = np.polynomial.hermite_e.hermegauss(points)
    return torch.tensor(places), torch.tensor(weights / weights.sum())


def conditional_log_probs(given):
    """``ln q(w | z_k)`` of every joint state, (number, 2^n)."""
    return torch.nn.functional.logsigmoid(2 * given[:, None] * states(given.shape[1])).sum(-1)


def ratio_of_enumeration(given):
    """``E h(w)`` for ``w ~ q(. | z_0)`` by enumeration, differentiable in ``lam(z_k)``."""
    log_q = conditional_log_probs(given)
    h = torch.logsumexp(log_q - log_q[0], 0) - np.log(len(given))
    return (log_q[0].exp() * h).sum()


@pytest.fixture
def law():
    return torch.randn(BITS), 0.8 * torch.randn(1, BITS)


def test_marginals_and_variances_are_those_of_dense_quadrature(law):
    natural, loadings = torch.randn(BITS), 0.6 * torch.randn(3, BITS)
    size = loadings.square().sum(0).sqrt()
    places = torch.linspace(-9, 9, 20001)
    weights = torch.exp(-places.square() / 2)
    weights = (weights / weights.sum())[:, None]
    lam = natural + places[:, None] * size
    probs = (weights * torch.sigmoid(2 * lam)).sum(0)
    torch.testing.assert_close(marginal_probs(natural, loadings), probs, rtol=0, atol=1e-12)
    spread = (weights * (1 - lam.tanh() ** 2)).sum(0)
    found = mean_variance(natural, loadings, points=64)
    torch.testing.assert_close(found, spread, rtol=0, atol=1e-3)


def test_the_gradient_through_the_factors_is_natural_in_the_leaf_and_real_in_the_loadings(law):
    factors = torch.randn(4, 1)
    cost = torch.randn(4, BITS)  # a function linear in the means mu(z)
    leaves = [t.clone().requires_grad_() for t in law]
    given = at_factors(*leaves, factors)
    given.backward(cost)
    plain = [t.clone().requires_grad_() for t in law]
    ((plain[0] + factors @ plain[1]).tanh() * cost).sum().backward()
    torch.testing.assert_close(leaves[0].grad * mean_variance(*law), plain[0].grad)
    torch.testing.assert_close(leaves[1].grad, plain[1].grad)
    none = [law[0].clone().requires_grad_(), torch.zeros(1, BITS, requires_grad=True)]
    at_factors(*none, factors).backward(cost)
    torch.testing.assert_close(none[0].grad, cost.sum(0), rtol=1e-12, atol=0)  # mean field's


def test_the_ratio_has_the_value_and_in_expectation_the_gradient_of_enumeration(law):
    given = at_factors(*law, torch.randn(4, 1)).requires_grad_()
    chances = conditional_log_probs(given.detach())[0].exp()
    value, gradient = 0.0, torch.zeros_like(given)
    for state, chance in zip(states(), chances, strict=True):
        leaf = given.detach().clone().requires_grad_()
        found = log_mean_ratio([leaf[:, :2], leaf[:, 2:]], [state[:2], state[2:]])
        found.backward()
        value = value + chance * found.detach()
        gradient += chance * leaf.grad
    wanted = ratio_of_enumeration(given)
    wanted.backward()
    torch.testing.assert_close(value, wanted.detach(), rtol=0, atol=1e-12)
    in_natural = gradient * (1 - given.detach().tanh() ** 2)  # the estimate is in the means
    torch.testing.assert_close(in_natural, given.grad, rtol=0, atol=1e-12)


def test_equal_conditionals_cost_nothing_and_have_no_gradient():
    leaf = torch.randn(1, BITS).expand(5, BITS).clone().requires_grad_()
    found = log_mean_ratio([leaf], [states()[7]])
    found.backward()
    assert float(found.detach()) == pytest.approx(0, abs=1e-14)
    torch.testing.assert_close(leaf.grad, torch.zeros_like(leaf.grad), rtol=0, atol=1e-14)


def test_bounds_fall_towards_the_divergence():
    natural, loadings = torch.randn(3), torch.tensor([[1.2, -0.9, 0.8]])
    places, weights = gauss_hermite(12)
    given = at_factors(natural, loadings, places[:, None])
    log_q = conditional_log_probs(given)  # (points, 8)
    prior = -3 * np.log(2)
    log_joint = torch.logsumexp(log_q + weights.log()[:, None], 0)
    divergence = (log_joint.exp() * (log_joint - prior)).sum()
    bounds = [(weights[:, None] * log_q.exp() * (log_q - prior)).sum()]
    for number in (1, 2, 3):
        total = torch.zeros(())
        for chosen in itertools.product(range(len(places)), repeat=number + 1):
            if list(chosen[1:]) != sorted(chosen[1:]):
                continue  # the further draws are exchangeable
            orders = len(set(itertools.permutations(chosen[1:])))
            index = list(chosen)
            log_mean = torch.logsumexp(log_q[index], 0) - np.log(number + 1)
            each = (log_q[index[0]].exp() * (log_mean - prior)).sum()
            total = total + orders * weights[index].prod() * each
        bounds.append(total)
    assert divergence + 1e-3 < bounds[-1]
    assert all(low + 1e-3 < high for high, low in itertools.pairwise(bounds))


@pytest.mark.parametrize("size", [8.0, 60.0, 500.0])
def test_values_and_gradients_are_finite_far_out_in_single_precision(size):
    leaf = (size * torch.randn(30)).float().requires_grad_()
    loadings = (size * torch.randn(2, 30)).float().requires_grad_()
    given = at_factors(leaf, loadings, torch.randn(4, 2).float())
    state = torch.where(given[0] > 0, 1.0, -1.0).detach()
    found = log_mean_ratio([given], [state])
    found.backward()
    assert torch.isfinite(found)
    assert torch.isfinite(leaf.grad).all()
    assert torch.isfinite(loadings.grad).all()
