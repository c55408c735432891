"""F64: the bits of a scalar transcription, accuracy to 40 digits, monotone without exception."""

import mpmath
import numpy as np
import pytest
import torch

from bayes_sbn.kernels.reference import cdf64
from bayes_sbn.kernels.reference.cdf64 import CDF64, exp64
from bayes_sbn.noise import NOISES, get_noise
from tests.chance import numpy_generator
from tests.kernels.reference import draw_oracle

SMOOTH = ("logistic", "gaussian", "laplace")
BOUNDED = ("uniform", "triangular")
EXACT = {
    "logistic": lambda z: 1 / (1 + mpmath.exp(-z)),
    "gaussian": lambda z: mpmath.erfc(-max(min(z, 60), -60) / mpmath.sqrt(2)) / 2,
    "laplace": lambda z: mpmath.exp(z) / 2 if z < 0 else 1 - mpmath.exp(-z) / 2,
    "uniform": lambda z: min(max((1 + z) / 2, 0), 1),
    "triangular": lambda z: max(1 + z, 0) ** 2 / 2 if z < 0 else 1 - max(1 - z, 0) ** 2 / 2,
}


def arguments(label: str) -> np.ndarray:
    """Arguments of all sizes, both signs, the seams of every branch included."""
    g = numpy_generator(label)
    seams = np.array([0.0, 1.0, 9.0, 60.0, 0.5, 2.0**-26, 2.0**-27, 1e-300, 5e-324, 1e300])
    around = np.concatenate([seams, np.nextafter(seams, 0), np.nextafter(seams, np.inf)])
    sizes = 10.0 ** g.uniform(-12, 2, 400)
    a = np.concatenate([around, sizes, g.normal(size=600), g.uniform(-12, 12, 600)])
    return np.concatenate([a, -a])


def consecutive(start: float, count: int) -> np.ndarray:
    """So many float64 numbers in a row from a positive one."""
    return (np.float64(start).view(np.int64) + np.arange(count)).view(np.float64)


def test_cdf64_knows_every_noise():
    assert set(CDF64) == set(NOISES)


@pytest.mark.parametrize("noise", CDF64)
@pytest.mark.parametrize("scale", [1.0, 0.75, 3.1])
def test_cdf64_has_the_bits_of_the_scalar_transcription(noise, scale):
    a = arguments(f"bits/{noise}/{scale}")
    expected = np.array([draw_oracle.cdf(noise, float(v), scale) for v in a])
    assert CDF64[noise](a, scale).tobytes() == expected.tobytes()


@pytest.mark.parametrize("noise", CDF64)
def test_cdf64_is_accurate_to_3e_16(noise):
    a = arguments(f"accuracy/{noise}")
    with mpmath.workdps(40):
        exact = [EXACT[noise](mpmath.mpf(float(v))) for v in a]
        error = [
            abs(mpmath.mpf(float(f)) - e) for f, e in zip(CDF64[noise](a, 1.0), exact, strict=True)
        ]
        assert max(error) < 3e-16  # a threshold's step is 2**-48 = 3.6e-15


@pytest.mark.parametrize(("noise", "reach"), [("logistic", 59.0), ("gaussian", 8.9)])
def test_cdf64_lower_tail_has_relative_accuracy(noise, reach):
    a = -numpy_generator(f"tail/{noise}").uniform(0, reach, 2000)
    with mpmath.workdps(40):
        exact = [EXACT[noise](mpmath.mpf(float(v))) for v in a]
        error = [
            abs(mpmath.mpf(float(f)) / e - 1)
            for f, e in zip(CDF64[noise](a, 1.0), exact, strict=True)
        ]
        assert max(error) < 1e-14


@pytest.mark.parametrize("noise", CDF64)
def test_cdf64_agrees_with_the_noise_that_is_trained(noise):
    a = np.linspace(-6, 6, 1001)
    trained = get_noise(noise, 1.7).cdf(torch.from_numpy(a)).numpy()
    np.testing.assert_allclose(CDF64[noise](a, 1.7), trained, atol=5e-16, rtol=0)


@pytest.mark.parametrize("noise", CDF64)
def test_cdf64_is_one_half_at_zero_exactly(noise):
    assert (CDF64[noise](np.array([0.0, -0.0]), 1.3) == 0.5).all()


@pytest.mark.parametrize("noise", CDF64)
def test_cdf64_is_symmetric_to_rounding(noise):
    a = arguments(f"symmetry/{noise}")
    np.testing.assert_allclose(
        CDF64[noise](-a, 1.0), 1 - CDF64[noise](a, 1.0), atol=2.0**-53, rtol=0
    )


@pytest.mark.parametrize("noise", BOUNDED)
def test_cdf64_is_exactly_0_and_1_outside_a_bounded_support(noise):
    a = np.array([0.75, np.nextafter(0.75, 1), 5.0, 1e300])
    assert (CDF64[noise](a, 0.75) == 1.0).all()
    assert (CDF64[noise](-a, 0.75) == 0.0).all()
    inside = np.array([-0.74, 0.74])
    assert ((CDF64[noise](inside, 0.75) > 0) & (CDF64[noise](inside, 0.75) < 1)).all()


@pytest.mark.parametrize("noise", CDF64)
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_cdf64_never_decreases(noise, scale):
    runs = [
        np.sort(arguments(f"monotone/{noise}/{scale}")),
        np.linspace(-10, 10, 200_001),
        np.linspace(0.1, 0.1 + 2.0**-22, 50_000),  # sixteen cells of the grid
    ]
    for start in (2.0**-30, 2.0**-26, 0.1, 0.3, 1.0 - 2.0**-40, 1.0, 2.2, 3.0, 5.0, 8.9, 30.0):
        runs.append(consecutive(start, 5000))
        runs.append(-consecutive(start, 5000)[::-1])
        border = scale * np.round(start * 2.0**26) / 2.0**26
        runs.append(consecutive(border, 2000) - 1000 * np.spacing(border))
    for a in runs:
        assert (np.diff(a) >= 0).all()
        assert (np.diff(CDF64[noise](a, scale)) >= 0).all()


def test_monotonicity_is_not_had_for_nothing():
    """Without the grid the same polynomials do go up here and there."""
    for tail, low, high in ((cdf64._logistic_tail, 0.3, 3.0), (cdf64._laplace_tail, 1e-3, 0.5)):
        starts = np.random.default_rng(0).uniform(low, high, 100)
        assert any((np.diff(tail(consecutive(s, 5000))) > 0).any() for s in starts)


@pytest.mark.parametrize("name", SMOOTH)
def test_tails_fall_strictly_on_the_grid(name):
    tail = getattr(cdf64, f"_{name}_tail")
    reach = 9 if name == "gaussian" else 60
    for start in (0, 1, 1000, *numpy_generator(f"grid/{name}").integers(0, reach << 26, 40)):
        grid = (start + np.arange(2000)) / 2.0**26
        values = tail(grid)
        assert (values[1:] < values[:-1] * (1 - 2.0**-28)).all()


def test_exp64_is_accurate_to_2_to_the_minus_52():
    t = -numpy_generator("exp64").uniform(0, 700, 4000)
    t[:1000] /= 1000
    with mpmath.workdps(40):
        error = [
            abs(mpmath.mpf(float(y)) / mpmath.exp(mpmath.mpf(float(v))) - 1)
            for y, v in zip(exp64(t), t, strict=True)
        ]
        assert max(error) < mpmath.mpf(2) ** -52


def test_exp64_ends():
    values = exp64(np.array([0.0, -0.0, -744.0, -746.0, -1e300, -np.inf]))
    assert values[0] == values[1] == 1.0
    assert values[2] == 1e-323  # two of the smallest numbers there are
    assert (values[3:] == 0.0).all()


def test_high_part_of_ln2_times_an_exponent_is_exact():
    with mpmath.workprec(200):
        for n in (1, 87, 1075, 1443):
            assert mpmath.mpf(n * cdf64.LN2_HIGH) == n * mpmath.mpf(cdf64.LN2_HIGH)
        assert abs(mpmath.ln(2) - cdf64.LN2_HIGH - mpmath.mpf(cdf64.LN2_LOW)) < 2.0**-97
