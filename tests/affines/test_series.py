"""±1 weights on real inputs: two terms of Taylor's series, or every flip evaluated."""

import numpy as np
import pytest
import torch

from bayes_sbn.affines import MeanSign
from bayes_sbn.affines.flips import flip_weights
from bayes_sbn.noise import get_noise
from bayes_sbn.signs import FlipRule
from tests.affines.literal_affine import EXACT, operands, unit
from tests.affines.test_flips import LargestTensor
from tests.oracle_noise import NOISES, SMOOTH_NOISES

SERIES = FlipRule(real_inputs="series")


def reals(seed: int = 0, size: float = 1.0, **shapes):
    case = operands(seed, x_is_sign=False, **shapes)
    case.x = size * case.x
    return case


def both_rules(case, h, g):
    return [flip_weights(case.affine(rule)[0], h, g) for rule in (SERIES, EXACT)]


@pytest.mark.parametrize("noise_scale", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("noise", SMOOTH_NOISES)
@pytest.mark.parametrize("size", [0.1, 1.0, 3.0])
def test_series_errs_within_its_stated_remainder(noise, noise_scale, size):
    case = reals(size=size, x_shape=(40, 7), w_shape=(5, 7), bias=(5,))
    law = get_noise(noise, noise_scale)
    g = torch.randn(40, 5)
    series, exact = both_rules(case, MeanSign(law), g)
    third = 2 * law.third_derivative_bound / noise_scale**3  # h = 2 F - 1
    step = np.abs(2 * case.scale[:, None] * case.x[:, None, :])
    remainder = 0.5 * (np.abs(g.numpy())[:, :, None] * third * step**3 / 6).sum(0)
    error = (series - exact).abs().numpy()
    assert (error <= remainder + 1e-15).all()
    assert error.max() > 1e-3 * remainder.max()  # it is a series and not the difference


@pytest.mark.parametrize("noise", SMOOTH_NOISES)
def test_series_has_an_error_of_third_order_in_the_inputs(noise):
    g = torch.randn(4, 2)
    case, errors = reals(1, bias=None), []
    inputs = case.x
    case.bias = np.random.default_rng(0).normal(size=(4, 2))
    for size in (1e-2, 5e-3):
        case.x = size * inputs
        series, exact = both_rules(case, MeanSign(get_noise(noise)), g)
        errors.append((series - exact).abs())
    torch.testing.assert_close(errors[0] / errors[1], torch.full((2, 3), 8.0), rtol=0.1, atol=0)


@pytest.mark.parametrize("noise", sorted(set(NOISES) - set(SMOOTH_NOISES)))
def test_series_of_a_noise_with_kinks_is_exact(noise):
    case = reals(2)
    h = unit("mean", (4, 2), noise)
    series, exact = both_rules(case, h.torch, torch.ones(4, 2))
    assert torch.equal(series, exact)
    _, literal = case.flips(lambda a: h.numpy(a).sum())
    np.testing.assert_allclose(series.numpy(), literal, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["log_prob", "bernoulli", "normal"])
def test_series_of_a_likelihood_is_exact(name):
    # the first two have no series; that of a quadratic ends after two terms
    case = reals(3)
    h, g = unit(name, (4, 2)), np.random.default_rng(1).normal(size=(4, 2))
    series = flip_weights(case.affine(SERIES)[0], h.torch, torch.tensor(g))
    _, literal = case.flips(lambda a: (g * h.numpy(a)).sum())
    np.testing.assert_allclose(series.numpy(), literal, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "is_product"), [("mean", True), ("normal", True)])
def test_series_holds_nothing_of_the_size_of_all_flips(name, is_product):
    case = reals(4, x_shape=(16, 32), w_shape=(24, 32), bias=(24,), scale="number")
    pre, _, w = case.affine(SERIES)
    with LargestTensor() as largest:
        pre.through(unit(name, (16, 24)).torch).sum().backward()
    assert w.grad is not None
    assert (largest.numel <= 24 * 32) == is_product


def test_rule_of_real_inputs_does_not_touch_signs():
    case = operands(5)
    h = MeanSign(get_noise("gaussian"))
    series, exact = both_rules(case, h, torch.ones(4, 2))
    assert torch.equal(series, exact)


def test_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="real_inputs='taylor' is not known; it is 'series'"):
        FlipRule(real_inputs="taylor")
