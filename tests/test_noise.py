"""The five laws of the injected noise, against their definitions and as mirror maps."""

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from scipy import stats

from bayes_sbn.noise import NOISES, Gaussian, Laplace, Logistic, Noise, Uniform, get_noise
from tests import oracle_noise

SCALES = (0.4, 1.0, 2.5)
UNBOUNDED = tuple(n for n in oracle_noise.NOISES if n not in oracle_noise.BOUNDED_NOISES)
KINKED = tuple(n for n in oracle_noise.NOISES if n not in oracle_noise.SMOOTH_NOISES)

every_noise = pytest.mark.parametrize("name", oracle_noise.NOISES)
every_scale = pytest.mark.parametrize("scale", SCALES)


def grid(scale: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Both sides of 0, and 0 itself, where ±1 operands often put a pre-activation."""
    return torch.arange(-120, 121, dtype=dtype) / 40 * scale


def derivative(function, a: torch.Tensor) -> torch.Tensor:
    a = a.clone().requires_grad_()
    return torch.autograd.grad(function(a).sum(), a)[0]


def test_names_are_the_oracles_names():
    assert set(NOISES) == set(oracle_noise.NOISES)
    assert {n for n, law in NOISES.items() if law.is_bounded} == set(oracle_noise.BOUNDED_NOISES)
    assert {n for n, law in NOISES.items() if law.is_smooth} == set(oracle_noise.SMOOTH_NOISES)


@every_scale
@every_noise
def test_cdf_and_density_equal_their_definitions(name, scale):
    noise, a = get_noise(name, scale), grid(scale)
    np.testing.assert_allclose(noise.cdf(a), oracle_noise.cdf(name, a, scale), rtol=1e-12)
    np.testing.assert_allclose(noise.density(a), oracle_noise.density(name, a, scale), rtol=1e-12)


@every_scale
@every_noise
def test_density_is_the_central_difference_of_the_cdf(name, scale):
    noise, step = get_noise(name, scale), 1e-5 * scale
    a = grid(scale) + 0.003 * scale  # away from the kinks
    slope = (noise.cdf(a + step) - noise.cdf(a - step)) / (2 * step)
    torch.testing.assert_close(noise.density(a), slope, rtol=1e-6, atol=1e-8)


@every_scale
@every_noise
def test_autograd_of_cdf_mean_and_log_is_the_density_at_zero_too(name, scale):
    # a side written by abs() has derivative 0 at 0, where straight-through would stop learning
    noise, a = get_noise(name, scale), grid(scale)
    inside = a[(noise.cdf(a) > 0) & (a.abs() < scale) | torch.tensor(not noise.is_bounded)]
    assert (inside == 0).any()
    density = torch.tensor(oracle_noise.density(name, inside, scale))
    torch.testing.assert_close(derivative(noise.cdf, inside), density, rtol=1e-10, atol=0)
    torch.testing.assert_close(derivative(noise.mean_sign, inside), 2 * density, rtol=1e-10, atol=0)
    slope = density / torch.tensor(oracle_noise.cdf(name, inside, scale))
    torch.testing.assert_close(derivative(noise.log_cdf, inside), slope, rtol=1e-10, atol=0)


@every_scale
@every_noise
def test_cdf_is_symmetric_and_the_mean_sign_is_twice_it_less_one(name, scale):
    noise, a = get_noise(name, scale), grid(scale)
    torch.testing.assert_close(noise.cdf(-a), 1 - noise.cdf(a), rtol=0, atol=1e-15)
    torch.testing.assert_close(noise.mean_sign(a), 2 * noise.cdf(a) - 1, rtol=0, atol=1e-15)
    assert torch.equal(noise.mean_sign(-a), -noise.mean_sign(a))


@every_noise
def test_mean_sign_does_not_cancel_near_zero_in_float32(name):
    noise = get_noise(name)
    a = torch.logspace(-30, -2, 200, dtype=torch.float32)
    a = torch.cat([-a, a])
    found, wanted = noise.mean_sign(a).double(), noise.mean_sign(a.double())
    assert ((found - wanted) / wanted).abs().max() < 4e-7
    naive = (2 * noise.cdf(a) - 1).double()  # what it must not be
    assert ((naive - wanted) / wanted).abs().max() > 0.1
    density = float(oracle_noise.density(name, 0.0))
    # to first order at the smallest arguments, so that float64 cannot err in the same way
    torch.testing.assert_close(found[:50], 2 * density * a[:50].double(), rtol=1e-6, atol=0)


@every_scale
@every_noise
def test_quantile_inverts_the_cdf(name, scale):
    noise = get_noise(name, scale)
    p = torch.linspace(0.001, 0.999, 333)
    torch.testing.assert_close(noise.cdf(noise.quantile(p)), p, rtol=1e-13, atol=0)
    torch.testing.assert_close(noise.quantile(1 - p), -noise.quantile(p), rtol=1e-10, atol=1e-13)
    assert noise.quantile(torch.tensor(0.5)).abs() < 1e-15


@every_noise
def test_quantile_at_zero_and_one_is_the_edge_of_the_support(name):
    noise = get_noise(name, 2.0)
    edge = 2.0 if noise.is_bounded else math.inf
    assert noise.quantile(torch.tensor([0.0, 1.0])).tolist() == [-edge, edge]


@every_scale
@every_noise
def test_log_cdf_equals_the_logarithm_of_the_cdf(name, scale):
    noise, a = get_noise(name, scale), grid(scale)
    with np.errstate(divide="ignore"):
        wanted = np.log(oracle_noise.cdf(name, a, scale))
    np.testing.assert_allclose(noise.log_cdf(a), wanted, rtol=1e-12, atol=1e-15)
    outside = torch.tensor(wanted) == -math.inf
    assert outside.any() == noise.is_bounded
    assert not noise.log_cdf(a).isnan().any()


@pytest.mark.parametrize(
    ("name", "left", "slope"),
    [
        ("logistic", -1e4, 1.0),
        ("gaussian", float(stats.norm.logcdf(-1e4)), 1e4),
        ("laplace", -1e4 - math.log(2), 1.0),
    ],
)
def test_log_cdf_is_right_ten_thousand_scales_out_in_float32(name, left, slope):
    noise = get_noise(name)
    a = torch.tensor([-1e4, 1e4], dtype=torch.float32)
    torch.testing.assert_close(
        noise.log_cdf(a).double(), torch.tensor([left, 0.0]), rtol=1e-6, atol=0
    )
    gradient = derivative(noise.log_cdf, a).double()
    torch.testing.assert_close(gradient, torch.tensor([slope, 0.0]), rtol=1e-6, atol=0)


def test_gaussian_log_cdf_has_an_accurate_gradient_far_in_the_tail():
    a = -torch.logspace(0, 4, 50, dtype=torch.float32)
    z = a.double().numpy()
    wanted = np.exp(stats.norm.logpdf(z) - stats.norm.logcdf(z))
    wanted = np.where(z < -30, -z + 1 / -z, wanted)  # the hazard is -z - 1/z + O(z^-3)
    np.testing.assert_allclose(derivative(Gaussian().log_cdf, a), wanted, rtol=1e-4)


def test_gaussian_log_cdf_has_second_derivatives():
    assert torch.autograd.gradgradcheck(Gaussian(1.3).log_cdf, torch.randn(4).requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", oracle_noise.BOUNDED_NOISES)
def test_log_cdf_of_a_bounded_law_is_never_nan(name, dtype):
    noise = get_noise(name, 0.5)
    a = torch.tensor([-1e4, -0.6, -0.5, -0.49, 0.0, 0.5, 0.6, 1e4], dtype=dtype)
    value = noise.log_cdf(a)
    assert value[:3].tolist() == [-math.inf] * 3
    assert value[3:].isfinite().all()
    assert value[5:].tolist() == [0.0] * 3
    gradient = derivative(noise.log_cdf, a)
    assert gradient.isfinite().all()
    assert gradient[3:5].gt(0).all()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", oracle_noise.SMOOTH_NOISES)
def test_curvature_is_the_derivative_of_the_density(name, scale):
    noise, a = get_noise(name, scale), grid(scale)
    torch.testing.assert_close(noise.curvature(a), derivative(noise.density, a), rtol=0, atol=1e-13)
    step = 1e-5 * scale
    slope = oracle_noise.density(name, a + step, scale) - oracle_noise.density(
        name, a - step, scale
    )
    np.testing.assert_allclose(noise.curvature(a), slope / (2 * step), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", KINKED)
def test_curvature_of_a_law_with_kinks_is_refused(name):
    with pytest.raises(TypeError, match=f"density of {name} noise has kinks.*real_inputs='exact'"):
        get_noise(name).curvature(torch.zeros(2))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", oracle_noise.SMOOTH_NOISES)
def test_third_derivative_bound_is_the_maximum(name, scale):
    noise, step = get_noise(name, scale), 1e-3 * scale
    a = np.linspace(-9, 9, 18001) * scale
    d = [oracle_noise.density(name, a + k * step, scale) for k in (-1, 0, 1)]
    third = np.abs(d[0] - 2 * d[1] + d[2]).max() / step**2
    bound = noise.third_derivative_bound / scale**3
    assert 0.9999 * bound < third <= bound


@pytest.mark.parametrize("name", KINKED)
def test_third_derivative_of_a_law_with_kinks_is_unbounded(name):
    assert get_noise(name).third_derivative_bound == math.inf


# what flips do: F(a + c (1 - x)) - F(a - c (1 + x)) --------------------------------------------


def flip_arguments(dtype, *, most: float):
    a = torch.linspace(-most, most, 101, dtype=dtype)[:, None, None]
    c = torch.cat([torch.linspace(-most, most, 81), torch.tensor([1e-3, -1e-3])])
    return a, c.to(dtype)[:, None], torch.tensor([-1.0, 1.0], dtype=dtype)


@every_scale
@every_noise
def test_flip_difference_is_the_plain_difference(name, scale):
    noise = get_noise(name, scale)
    a, c, x = flip_arguments(torch.float64, most=6.0)
    up = oracle_noise.cdf(name, a + c * (1 - x), scale)
    down = oracle_noise.cdf(name, a - c * (1 + x), scale)
    np.testing.assert_allclose(noise.flip_difference(a, c, x), up - down, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_logistic_flip_difference_neither_cancels_nor_overflows(dtype, scale):
    # 2 F'(a) t / (1 - x t tanh(a / 2)), t = tanh(c), has the same value and would be 0 / 0 here
    a, c, x = flip_arguments(dtype, most=1e3)
    found = Logistic(scale).flip_difference(a, c, x)
    assert found.isfinite().all()
    plain = Noise.flip_difference(Logistic(scale), a.double(), c.double(), x.double())
    torch.testing.assert_close(found.double(), plain, rtol=0, atol=3e-7)
    assert found.dtype == dtype


def test_logistic_flip_difference_has_a_small_relative_error_in_float32():
    a, c, x = (t.float() for t in flip_arguments(torch.float64, most=30.0))
    found = Logistic().flip_difference(a, c, x).double()
    a, c, x = a.double(), c.double(), x.double()
    u, v = a + c * (1 - x), a - c * (1 + x)
    turned = torch.where(u + v > 0, -1.0, 1.0)  # the side of the tail, where float64 is exact
    wanted = turned * (torch.sigmoid(turned * u) - torch.sigmoid(turned * v))
    seen = wanted.abs() > 1e-30
    assert ((found - wanted) / wanted)[seen].abs().max() < 1e-5


# names and scales ------------------------------------------------------------------------------


def test_get_noise_refuses_an_unknown_name_and_lists_the_known():
    for unknown in ("probit", None, ["logistic"], Logistic):
        with pytest.raises(ValueError, match="is not known; it is one of 'logistic', 'gaussian'"):
            get_noise(unknown)


def test_get_noise_refuses_a_scale_that_contradicts_the_law():
    law = Uniform(2.0)
    assert get_noise(law) is law
    assert get_noise(law, 2.0) is law
    with pytest.raises(ValueError, match=r"has a scale of its own; write .*'uniform', scale=3.0"):
        get_noise(law, 3.0)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
@every_noise
def test_scale_must_be_positive_and_finite(name, scale):
    with pytest.raises(ValueError, match=r"positive finite number; write .*\(scale=1.0\)"):
        get_noise(name, scale)


def test_scale_must_be_a_number():
    with pytest.raises(TypeError, match="the scale of a noise is a positive finite number"):
        Laplace(torch.ones(3))
    assert Laplace(np.float32(0.5)) == Laplace(0.5)


def test_law_is_a_constant_of_the_name_and_the_scale():
    assert get_noise("gaussian", 2) == Gaussian(2.0) != Gaussian(1.0)
    assert len({Logistic(), Logistic(1.0), Logistic(2.0), Gaussian()}) == 3
    with pytest.raises(FrozenInstanceError):
        Logistic().scale = 3.0


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("scale", [1.0, 0.7])
def test_flip_pair_is_the_mean_and_half_the_difference_of_the_two_flips(name, scale):
    noise = get_noise(name, scale)
    a = torch.linspace(-6, 6, 49)
    for step in (0.01, 0.3, 2.0, 9.0, 30.0):
        s = torch.tensor(step)
        up, down = noise.cdf(a) - noise.cdf(a - 2 * s), noise.cdf(a + 2 * s) - noise.cdf(a)
        mean, half = noise.flip_pair(a, s)
        torch.testing.assert_close(mean, 0.5 * (up + down), atol=1e-15, rtol=1e-13)
        torch.testing.assert_close(half, 0.5 * (up - down), atol=1e-15, rtol=1e-13)


def test_logistic_flip_pair_keeps_its_digits_in_float32():
    a = torch.cat([torch.linspace(-90, 90, 181), torch.zeros(1)])
    for step in (1e-3, 0.1, 1.0, 5.0, 12.0, 19.9, 20.1, 60.0):
        s = torch.tensor(step)
        wanted = Logistic().flip_pair(a, s)
        found = Logistic().flip_pair(a.float(), s.float())
        for single, double in zip(found, wanted, strict=True):
            # relative, but for what comes of numbers that float32 cannot hold
            torch.testing.assert_close(single.double(), double, rtol=2e-5, atol=1e-20)


def test_a_step_of_nothing_flips_nothing():
    for name in NOISES:
        mean, half = get_noise(name, 1.0).flip_pair(torch.linspace(-3, 3, 7), torch.zeros(()))
        assert torch.equal(mean, torch.zeros(7)), name
        assert torch.equal(half, torch.zeros(7)), name


@pytest.mark.parametrize("name", ["logistic", "gaussian"])
def test_derivatives_are_those_of_the_cdf(name):
    noise = get_noise(name, 1.3)
    a = torch.linspace(-4, 4, 17, requires_grad=True)
    first = torch.autograd.grad(noise.cdf(a).sum(), a, create_graph=True)[0]
    second = torch.autograd.grad(first.sum(), a)[0]
    found = noise.derivatives(a.detach())
    torch.testing.assert_close(found[0], first.detach(), atol=1e-14, rtol=1e-12)
    torch.testing.assert_close(found[1], second, atol=1e-14, rtol=1e-12)
