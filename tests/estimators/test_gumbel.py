"""Straight-through Gumbel and Gumbel-Rao: slopes, limits, expectations."""

import itertools

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators import (
    Concrete,
    GumbelRao,
    GumbelStraightThrough,
    StraightThrough,
)
from tests.chance import numpy_generator, torch_generator
from tests.estimators.conformance import assert_nonzero, step, uniforms_of
from tests.estimators.test_concrete import chain_of_one
from tests.estimators.test_exact_expectation import NOISES, lean, network
from tests.oracle_noise import cdf
from tests.oracle_relaxed import (
    expected_gumbel_gradient,
    expected_slope,
    quantile,
    relaxed_slope,
)
from tests.oracles import exact_gradient
from tests.pyro_networks import assert_same_gradient
from tests.uniform_cells import expected_gradient_over_uniforms

SCALE = 1.4


def slope(estimator, a, u, noise="logistic"):
    """``dx/da`` and the states of units with these pre-activations, one uniform each."""
    leaf = torch.tensor(a, requires_grad=True)
    law = sbn.NoisySign(
        sbn.affine(torch.zeros(1), torch.zeros(len(a), 1), leaf),
        sbn.noise.get_noise(noise, SCALE),
    )
    value = estimator.draw(sbn.Site("h", law), torch.as_tensor(u))
    (g,) = torch.autograd.grad(value.sum(), leaf)
    return g.numpy(), value.detach().numpy()


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("noise", NOISES)
def test_gumbel_st_has_the_slope_of_the_relaxed_draw(noise, temperature):
    generator = numpy_generator(f"slopes/{noise}")
    a, u = generator.normal(0, 1, 40), generator.uniform(size=40)
    found, states = slope(GumbelStraightThrough(temperature=temperature), a, u, noise)
    z = quantile(noise, u, SCALE)
    np.testing.assert_array_equal(states, np.where(z < a, 1.0, -1.0))
    np.testing.assert_allclose(found, relaxed_slope(a, z, SCALE * temperature), atol=1e-12)


@pytest.mark.parametrize("noise", NOISES)
def test_gumbel_rao_of_one_draw_is_gumbel_st(noise):
    generator = numpy_generator(f"one/{noise}")
    a, u = generator.normal(0, 1, 100), generator.uniform(size=100)
    one, states = slope(GumbelRao(temperature=0.4, num_draws=1), a, u, noise)
    wanted_slope, same = slope(GumbelStraightThrough(temperature=0.4), a, u, noise)
    np.testing.assert_array_equal(states, same)
    np.testing.assert_allclose(one, wanted_slope, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["two_hidden_layers", "two_hidden_layers_real_weights"])
def test_gumbel_rao_of_one_draw_is_gumbel_st_in_a_network(name):
    net = network(name)
    uniforms = uniforms_of(net, "one draw")
    one, straight = (
        step(sbn.TraceEstimator_ELBO(e), net, uniforms)
        for e in (GumbelRao(num_draws=1), "gumbel_st")
    )
    assert_same_gradient(one.gradients, straight.gradients, 1e-9)
    assert_nonzero(one.gradients)


@pytest.mark.parametrize("noise", NOISES)
def test_gumbel_rao_tends_to_the_conditional_expectation_at_first_order(noise):
    a = np.array([-1.1, -0.2, 0.0, 0.5, 1.2])
    generator = numpy_generator(f"rao/{noise}")
    errors = {}
    for number in (8, 64, 512):
        worst = 0.0
        for _ in range(10):
            u = generator.uniform(size=5)
            found, states = slope(GumbelRao(temperature=0.5, num_draws=number), a, u, noise)
            exact = [
                expected_slope(noise, p, x, 0.5, SCALE) for p, x in zip(a, states, strict=True)
            ]
            worst = max(worst, np.abs(found - exact).max())
        errors[number] = worst
    # evenly spaced draws: independent ones would gain a factor of 2.8 each time
    assert errors[8] > 4 * errors[64] > 16 * errors[512]
    assert errors[8] > 1e-3
    assert errors[512] < 1e-3


def rao_slope_of_weight(mean, state, temperature, number):
    leaf = torch.tensor(np.arctanh([mean]), requires_grad=True)
    law = sbn.SignBernoulli.from_natural(leaf)
    p = (1 + mean) / 2
    u = p * 0.3 if state > 0 else p + (1 - p) * 0.3
    value = GumbelRao(temperature=temperature, num_draws=number).draw(
        sbn.Site("w", law), torch.tensor([u])
    )
    assert float(value.detach()) == state
    return float(torch.autograd.grad(value.sum(), leaf)[0])


@pytest.mark.parametrize("state", [-1, 1])
@pytest.mark.parametrize("mean", [-0.8, 0.0, 0.6])
def test_gumbel_rao_of_a_weight_tends_to_the_conditional_expectation_in_its_mean(mean, state):
    a = np.log1p(mean) - np.log1p(-mean)
    exact = 2 * expected_slope("logistic", a, state, 0.5, 1.0) / (1 - mean**2)
    assert rao_slope_of_weight(mean, state, 0.5, 2000) == pytest.approx(exact, rel=2e-3)


@pytest.mark.parametrize("state", [-1, 1])
@pytest.mark.parametrize("mean", [-0.8, 0.0, 0.6])
def test_gumbel_rao_of_a_weight_tends_to_zgr_at_zero_temperature(mean, state):
    zgr = 1 / (1 + state * mean)
    errors = [abs(rao_slope_of_weight(mean, state, t, 20_000) / zgr - 1) for t in (0.04, 0.01)]
    assert errors[1] < 0.02
    if mean != 0:  # at 0 the density of the noise is flat, and there is no first-order term
        assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("noise", NOISES)
def test_gumbel_rao_tends_to_zgr_at_zero_temperature(noise):
    # away from the kinks of the density
    a, gaps = np.array([-0.9, -0.3, 0.4, 0.8]), []
    for temperature in (0.04, 0.01):
        rao = GumbelRao(temperature=temperature, num_draws=20_000)
        for u in (np.full(4, 1e-3), np.full(4, 0.999)):
            found, states = slope(rao, a, u, noise)
            limit, same = slope(sbn.estimators.get_estimator("zgr"), a, u, noise)
            np.testing.assert_array_equal(states, same)
            gaps.append(np.abs(found / limit - 1).max())
    assert max(gaps[2:]) < 0.05
    if noise != "uniform":  # a flat density has no first-order term
        assert max(gaps[2:]) < max(gaps[:2]) / 2


@pytest.mark.parametrize("estimator", ["gumbel_st", "gumbel_rao"])
def test_slopes_at_high_temperature_are_those_of_a_linear_unit(estimator):
    a, u = np.linspace(-2, 2, 9), np.linspace(0.05, 0.95, 9)
    kind = {"gumbel_st": GumbelStraightThrough, "gumbel_rao": GumbelRao}[estimator]
    for temperature in (1e2, 1e3):
        found, _ = slope(kind(temperature=temperature), a, u)
        np.testing.assert_allclose(
            2 * SCALE * temperature * found, 1.0, rtol=0, atol=20 / temperature**2
        )


GAUSS = np.polynomial.legendre.leggauss(400)


def mean_slope(estimator, a, noise="logistic", parts=1, of=np.array):
    """``E_u[dx/da]``, or of a function of it, by Gauss's rule on parts of each state's side."""
    law = sbn.noise.get_noise(noise, SCALE)
    p = float(law.cdf(torch.tensor(a)))
    place, weight = (1 + GAUSS[0]) / 2, GAUSS[1] / 2
    ends = [*np.linspace(0, p, parts + 1), *np.linspace(p, 1, parts + 1)[1:]]
    u = np.concatenate([low + (high - low) * place for low, high in itertools.pairwise(ends)])
    w = np.concatenate([(high - low) * weight for low, high in itertools.pairwise(ends)])
    return float((w * of(slope(estimator, np.full(len(u), a), u, noise)[0])).sum())


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("a", [-1.1, 0.0, 0.7])
def test_mean_slope_of_gumbel_st_and_of_gumbel_rao_is_the_same(a, noise):
    p = float(cdf(noise, a, SCALE))
    for temperature in (0.5, 1.0):
        straight = mean_slope(GumbelStraightThrough(temperature=temperature), a, noise)
        exact = sum(
            share * expected_slope(noise, a, x, temperature, SCALE)
            for x, share in ((1.0, p), (-1.0, 1 - p))
        )
        assert straight == pytest.approx(exact, abs=1e-6)
        for number in (2, 5):
            # the parts end where a draw of the noise wraps around
            rao = GumbelRao(temperature=temperature, num_draws=number)
            assert mean_slope(rao, a, noise, parts=number) == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("a", [-1.1, 0.7])
def test_mean_slope_at_temperature_one_has_a_closed_form(a):
    # two logistic densities convolved; straight-through's slope is the density itself
    z = a / SCALE
    e = np.exp(z)
    convolved = 2 * e * ((z - 2) * e + z + 2) / (e - 1) ** 3 / SCALE
    assert mean_slope(GumbelStraightThrough(temperature=1.0), a) == pytest.approx(
        convolved, abs=1e-10
    )


@pytest.mark.parametrize("noise", NOISES)
def test_mean_slope_tends_to_that_of_straight_through_at_zero_temperature(noise):
    a = 0.37 * SCALE
    straight = mean_slope(StraightThrough(), a, noise)
    gaps = [
        abs(mean_slope(GumbelStraightThrough(temperature=t), a, noise, parts=4) / straight - 1)
        for t in (0.5, 0.1, 0.02)
    ]
    assert gaps[0] > 0.05
    assert gaps[2] < 0.01
    assert gaps[2] < gaps[1] < gaps[0]


@pytest.mark.parametrize("kind", [GumbelStraightThrough, Concrete])
def test_second_moment_of_the_slope_grows_like_one_over_the_temperature(kind):
    def moment(temperature):
        estimator = kind(temperature=temperature)
        return mean_slope(estimator, 0.7, parts=8, of=np.square)

    low, lower = 0.02 * moment(0.02), 0.01 * moment(0.01)
    assert lower == pytest.approx(low, rel=0.01)
    # F'(a) times the integral of sech^4(m / 2 s tau) / (2 s tau)^2 over all distances m
    density = float(sbn.noise.Logistic(SCALE).density(torch.tensor(0.7)))
    assert lower == pytest.approx(density * 2 / (3 * SCALE), rel=0.01)


@pytest.mark.parametrize(
    ("kind", "name", "tolerance"),
    [
        (GumbelStraightThrough, "one_hidden_layer_real_weights", 1e-7),
        (GumbelStraightThrough, "chain_of_one", 1e-7),
        # its slope jumps where a draw of the noise wraps around, which costs the rule accuracy
        (GumbelRao, "one_hidden_layer_real_weights", 5e-4),
    ],
)
def test_expected_gradient_is_that_of_the_expected_slopes(kind, name, tolerance):
    net = chain_of_one() if name == "chain_of_one" else network(name, num_data=1)
    chosen = lean(kind(temperature=0.5), weight_kl=False)
    _, found = expected_gradient_over_uniforms(net, chosen, nodes=14)
    definition = expected_gumbel_gradient(net.net, net.problem.x, net.problem.y, 0.5)
    assert_same_gradient(found, {k: -g for k, g in definition.items()}, tolerance)
    exact = exact_gradient(net.net, net.problem.x, net.problem.y)
    assert any(np.abs(found[k] + g).max() > 1e-2 for k, g in exact.items())


def test_average_over_draws_lowers_the_variance_and_keeps_the_mean():
    a = np.full(4000, 0.5)
    u = torch.rand(4000, generator=torch_generator("variance")).numpy()
    spread = {}
    for number in (1, 4, 16):
        found, states = slope(GumbelRao(temperature=0.3, num_draws=number), a, u)
        spread[number] = found[states > 0].std()
    assert spread[1] > 3 * spread[4] > 9 * spread[16]


@pytest.mark.parametrize("number", [0, -1, 2.0, True])
def test_number_of_draws_is_a_positive_integer(number):
    with pytest.raises(ValueError, match=r"GumbelRao\(num_draws=.*integer of at least 1"):
        GumbelRao(num_draws=number)
