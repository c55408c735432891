"""Uniformly scaled straight-through: exact for one bit under any loss, and nowhere else."""

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators import ImportanceStraightThrough
from tests.chance import numpy_generator
from tests.estimators.test_exact_expectation import NOISES

ESTIMATOR = ImportanceStraightThrough()
GAUSS = np.polynomial.legendre.leggauss(40)
LOSSES = {
    "softplus": lambda x: torch.nn.functional.softplus(3 * x - 1),
    "tanh": lambda x: torch.tanh(2 * x + 0.5) * x,
    "square": lambda x: (1.7 * x - 0.6) ** 2,
}


def nodes_of(p):
    """Nodes and weights in u on both sides of P(+1)."""
    place, weight = (1 + GAUSS[0]) / 2, GAUSS[1] / 2
    return (
        torch.tensor(np.concatenate([p * place, p + (1 - p) * place])),
        torch.tensor(np.concatenate([p * weight, (1 - p) * weight])),
    )


def drawn(law, uniform):
    return ESTIMATOR.draw(sbn.Site("h", law), uniform)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("noise", NOISES)
def test_it_is_exact_for_one_unit_under_any_loss(noise, loss):
    f, scale, a = LOSSES[loss], 1.6, 0.45
    noise = sbn.noise.get_noise(noise, scale)
    leaf = torch.tensor([a], requires_grad=True)
    u, weight = nodes_of(float(noise.cdf(torch.tensor(a))))
    law = sbn.NoisySign(sbn.affine(torch.zeros(80, 1), torch.zeros(1, 1), leaf), noise)
    (weight * f(drawn(law, u[:, None])[:, 0])).sum().backward()
    one = torch.ones(())
    exact = noise.density(torch.tensor(a)) * (f(one) - f(-one))
    assert float(leaf.grad) == pytest.approx(float(exact), abs=1e-10)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("mean", [-0.7, 0.0, 0.4])
def test_it_is_exact_for_one_weight_under_any_loss(mean, loss):
    f = LOSSES[loss]
    leaf = torch.tensor([mean]).atanh().requires_grad_()
    u, weight = nodes_of((1 + mean) / 2)
    law = sbn.SignBernoulli.from_natural(leaf).expand((80,))
    (weight * f(drawn(law, u))).sum().backward()
    one = torch.ones(())
    assert float(leaf.grad) == pytest.approx(float(f(one) - f(-one)) / 2, abs=1e-10)


def test_it_halves_the_gradient_of_a_product_of_two_bits():
    # E[t_2 x_2] is half of E[x_2]: the other bit is scaled too
    means = torch.tensor([0.3, -0.6])
    leaf = means.atanh().requires_grad_()
    (u, weight), (v, other) = nodes_of(0.65), nodes_of(0.2)
    grid = torch.stack(torch.meshgrid(u, v, indexing="ij"), -1)
    law = sbn.SignBernoulli.from_natural(leaf).expand(grid.shape)
    (torch.outer(weight, other) * drawn(law, grid).prod(-1)).sum().backward()
    torch.testing.assert_close(leaf.grad, means.flip(0) / 2, rtol=0, atol=1e-10)


def test_values_are_the_draws_times_numbers_uniform_given_the_state():
    generator = numpy_generator("importance")
    u = torch.tensor(generator.uniform(size=(1000,)))
    law = sbn.SignBernoulli(mean=torch.full((1000,), -0.4))
    value = drawn(law, u)
    assert torch.equal(value > 0, u < 0.3)
    up = value > 0
    torch.testing.assert_close(value[up], u[up] / 0.3)
    torch.testing.assert_close(value[~up], -(1 - u[~up]) / 0.7)
