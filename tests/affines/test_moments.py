"""Moments of a pre-activation: those of enumeration, and what the noise absorbs of them."""

import itertools

import numpy as np
import pytest
import torch
from scipy import integrate, stats

import bayes_sbn as sbn
from bayes_sbn.affines.moments import variance
from bayes_sbn.signs import tag_moments, tag_sign
from tests.chance import numpy_generator
from tests.estimators.test_exact_expectation import NOISES
from tests.oracle_noise import cdf


def states_of(mean):
    """All states of independent ±1 variables and their probabilities."""
    states = np.array(list(itertools.product((-1.0, 1.0), repeat=mean.size)))
    p = np.where(states > 0, (1 + mean.reshape(-1)) / 2, (1 - mean.reshape(-1)) / 2).prod(-1)
    return states.reshape(-1, *mean.shape), p


def operand(kind, shape, generator, site):
    """A tensor of one kind, and its states with their probabilities."""
    if kind == "mean":
        mean = generator.uniform(-0.9, 0.9, shape)
        return tag_moments(torch.tensor(mean), site, "ap2"), *states_of(mean)
    value = generator.normal(size=shape)
    if kind == "sign":
        value = np.where(value < 0, -1.0, 1.0)
        return tag_sign(torch.tensor(value), site, None), value[None], np.ones(1)
    return torch.tensor(value), value[None], np.ones(1)


@pytest.mark.parametrize("rows", [None, 2])
@pytest.mark.parametrize(
    ("x_kind", "w_kind"),
    [k for k in itertools.product(("real", "sign", "mean"), repeat=2) if "mean" in k],
)
def test_moments_are_those_of_enumeration(x_kind, w_kind, rows):
    generator = numpy_generator(f"{x_kind}/{w_kind}/{rows}")
    x_shape = (3,) if rows is None else (rows, 3)
    x, x_states, p = operand(x_kind, x_shape, generator, "x")
    w, w_states, q = operand(w_kind, (2, 3), generator, "w")
    scale, bias = generator.uniform(0.4, 1.2, 2), generator.normal(size=2)
    pre = sbn.affine(x, w, torch.tensor(bias), scale=torch.tensor(scale))
    assert pre.holds_moments
    a = scale * np.einsum("s...i,tji->st...j", x_states, w_states) + bias
    weight = np.multiply.outer(p, q).reshape(len(p), len(q), *(1,) * len(x_shape))
    mean = (weight * a).sum((0, 1))
    np.testing.assert_allclose(pre.tensor, mean, rtol=0, atol=1e-12)
    wanted = (weight * (a - mean) ** 2).sum((0, 1))
    found = variance(pre).expand(pre.shape)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
    assert wanted.min() > 1e-2


def test_moments_of_particles_are_those_of_each():
    generator = numpy_generator("particles")
    means = torch.tensor(generator.uniform(-0.9, 0.9, (4, 1, 2, 3)))
    x = torch.tensor(np.where(generator.normal(size=(4, 5, 3)) < 0, -1.0, 1.0))
    for tagged in (
        lambda t: tag_sign(t, "x", None),
        lambda t: t,
        lambda t: tag_moments(t, "x", "ap2"),
    ):
        whole = sbn.affine(tagged(x), tag_moments(means, "w", "ap2"))
        for k in range(4):
            one = sbn.affine(tagged(x[k]), tag_moments(means[k, 0], "w", "ap2"))
            torch.testing.assert_close(whole.tensor[k], one.tensor)
            spread = variance(whole).expand(whole.shape)[k]
            torch.testing.assert_close(spread, variance(one).expand(one.shape))


@pytest.mark.parametrize("noise", NOISES)
def test_variance_of_the_noise_is_that_of_its_law(noise):
    law = sbn.noise.get_noise(noise, 1.3)
    density = lambda z: z * z * float(law.density(torch.tensor(z)))  # noqa: E731
    end = 1.3 if law.is_bounded else 80.0
    halves = [integrate.quad(density, *ends)[0] for ends in ((-end, 0), (0, end))]
    assert law.variance == pytest.approx(sum(halves), rel=1e-8)


def probability_of_normal(noise, m, v):
    """``E[F(a)]`` for normal a, scale 1."""

    def integrand(z):
        return stats.norm.pdf(z) * float(cdf(noise, m + np.sqrt(v) * z))

    kinks = sorted((k - m) / np.sqrt(v) for k in (-1.0, 0.0, 1.0))
    ends = [-12.0, *(k for k in kinks if -12 < k < 12), 12.0]
    return sum(
        integrate.quad(integrand, low, high, epsabs=1e-12)[0]
        for low, high in itertools.pairwise(ends)
    )


# the largest |P - F(stretched)| over means and variances up to 3; normal pre-activations
ERROR_OF_STRETCHING = {
    "logistic": 0.0159,
    "gaussian": 0.0,
    "laplace": 0.0548,
    "uniform": 0.0548,
    "triangular": 0.0159,
}


@pytest.mark.parametrize("noise", NOISES)
def test_noise_absorbs_a_normal_pre_activation(noise):
    worst = 0.0
    for m, v in itertools.product((-2.0, -0.5, 0.0, 1.0, 3.0), (0.1, 0.5, 1.0, 3.0)):
        # one weight of mean mu on the input x: E[a] = mu x, Var[a] = (1 - mu^2) x^2
        x = np.sqrt(m * m + v)
        w = tag_moments(torch.tensor([[m / x]]), "w", "ap2")
        law = sbn.NoisySign(sbn.affine(torch.tensor([x]), w), noise)
        assert not law.affine.holds_moments
        worst = max(worst, abs(float(law.probs) - probability_of_normal(noise, m, v)))
    assert worst == pytest.approx(ERROR_OF_STRETCHING[noise], abs=1e-4)


def test_sums_of_many_weights_are_normal_enough():
    # P(x = +1) of a Gaussian unit against the sum over all weights
    generator, errors = numpy_generator("clt"), {}
    for number in (2, 6, 12):
        worst = 0.0
        for _ in range(5):
            mean = generator.uniform(-0.5, 0.5, (1, number))
            x = generator.uniform(0.5, 1.0, number) / np.sqrt(number)
            w = tag_moments(torch.tensor(mean), "w", "ap2")
            law = sbn.NoisySign(sbn.affine(torch.tensor(x), w), "gaussian")
            states, p = states_of(mean)
            exact = (p * cdf("gaussian", (states[:, 0] * x).sum(-1))).sum()
            worst = max(worst, abs(float(law.probs) - exact))
        errors[number] = worst
    assert errors[2] > errors[6] > errors[12]
    assert errors[12] < 1.5e-3
