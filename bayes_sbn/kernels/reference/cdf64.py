r"""F64: the cumulative distribution functions that decide random bits, defined to the last bit.

A ±1 activation is +1 where a 48-bit uniform lies below ``rint(F64(a) * 2**48)``, so every backend
must compute F64 with the same bits.  The routines here are that definition.  They use float64
additions, subtractions, multiplications and divisions, each rounded on its own to nearest even
(never a fused multiply-add), comparisons, ``floor``, ``rint`` (to nearest even) and scaling by a
power of two, and no library function.  A C or CUDA port that performs the same operations in the
same order, compiled with contraction off, gives the same bits.

With ``z = a / scale`` (one division):

* uniform: ``0.5 * (1 + z)``, then the smaller of it and 1, then the larger of it and 0;
* triangular: ``r = max(1 - |z|, 0)``, ``T = 0.5 * (r * r)``;
* logistic: ``T = e / (1 + e)`` with ``e = exp64(-|z|)``;
* laplace: ``T = 0.5 * exp64(-|z|)``;
* gaussian: ``T = exp64(-(0.5 * (|z| * |z|))) * R``, where ``R``, which approximates
  ``exp(z^2 / 2) (1 - Phi(|z|))``, is the polynomial of :data:`GAUSSIAN_TAIL` in
  ``t = (|z| - 5) / (|z| + 5)`` by Horner's rule; exactly 1/2 at z = 0;

and for all but the uniform law ``F = T`` where ``z < 0``, else ``1 - T``.

**Monotonicity.**  The uniform and triangular routines never decrease because each of their rounded
operations is monotone.  A tail that goes through a polynomial need not be monotone in its last bit,
so the other three are evaluated on a grid of step :math:`h = 2^{-26}` and interpolated:
``y = |z| * 2**26``, ``i = floor(y)``, ``z0 = i * 2**-26``, ``z1 = (i + 1) * 2**-26``, and

    ``T = T(z0) - (T(z0) - T(z1)) * (y - i)``.

On the grid a tail falls by at least a factor :math:`1 - h/2` a step, a million times its rounding
error, so it is monotone there; within a cell each operation is monotone.  The cells join, because
``T(z0) - T(z1)`` is exact (the two are within a factor of two), hence the rounded product at most
that, and the last difference at least ``T(z1)``, which is a float64 number.  The interpolation
costs at most :math:`h^2/8 = 2^{-55}` relative for the exponential tails.
F64 thus never decreases in ``a``, which makes a unit's noise a single integer threshold.

``|z|`` is first clamped to 60 (logistic, laplace) or 9 (gaussian), where the tail is below
:math:`2^{-62}` and every 48-bit threshold has long been 0 or :math:`2^{48}`.

The largest absolute errors, measured against 40-digit arithmetic in the tests, are below 3e-16
(the step of a 48-bit threshold is 3.6e-15); ``F(0) = 1/2`` exactly; ``F(-a) =
1 - F(a)`` to one rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

LOG2_E = float.fromhex("0x1.71547652b82fep+0")
LN2_HIGH = float.fromhex("0x1.62e42fefa3800p-1")  # 42 bits: times an integer below 2**11 is exact
LN2_LOW = float.fromhex("0x1.ef35793c76730p-45")
EXPONENTIAL = tuple(
    float.fromhex(c)
    for c in (  # 1/13!, 1/12!, ..., 1/0!: on |r| <= ln(2)/2 the next term is below 2**-57
        "0x1.6124613a86d09p-33",
        "0x1.1eed8eff8d898p-29",
        "0x1.ae64567f544e4p-26",
        "0x1.27e4fb7789f5cp-22",
        "0x1.71de3a556c734p-19",
        "0x1.a01a01a01a01ap-16",
        "0x1.a01a01a01a01ap-13",
        "0x1.6c16c16c16c17p-10",
        "0x1.1111111111111p-7",
        "0x1.5555555555555p-5",
        "0x1.5555555555555p-3",
        "0x1p-1",
        "0x1p+0",
        "0x1p+0",
    )
)
"""Coefficients of :func:`exp64`, highest power first."""

GAUSSIAN_TAIL = tuple(
    float.fromhex(c)
    for c in (
        "-0x1.18317318b5bdcp-28",
        "-0x1.e3235c4ddfae3p-26",
        "-0x1.c494c36883668p-25",
        "0x1.43eba2186cb09p-24",
        "0x1.0afb6d82669e9p-22",
        "-0x1.6875dce5ab18bp-21",
        "-0x1.54dcde33fe2cep-20",
        "0x1.bddb81744ac04p-18",
        "0x1.01fe234099bb7p-20",
        "-0x1.fae6f8e0330e5p-15",
        "0x1.199957f06f6edp-13",
        "0x1.cc6e67cdd27dcp-13",
        "-0x1.37ccc56fa9aa0p-9",
        "0x1.26a1153aec04bp-7",
        "-0x1.7f9d04377381ap-6",
        "0x1.8807f29ff88a5p-5",
        "-0x1.4b4ce479f83aap-4",
        "0x1.db6af8722ce46p-4",
        "-0x1.25cd1321c8cb5p-3",
        "0x1.3b0fbcb4c77bep-4",
    )
)
r"""Coefficients in ``t = (z - 5) / (z + 5)``, highest power first.

They approximate :math:`e^{z^2/2} (1 - \Phi(z))`: the polynomial through the 20 Chebyshev nodes of t
 for ``z`` in [0, 9], of relative error 1.2e-18.
"""

_GRID = 2.0**26
_LARGEST_EXPONENTIAL_ARGUMENT = 60.0
_LARGEST_GAUSSIAN_ARGUMENT = 9.0
_GAUSSIAN_CENTRE = 5.0
_SMALLEST_EXPONENT = -1000.0  # exp(-1000) is 0 in float64


def exp64(t: Float64) -> Float64:
    """The exponential of ``t <= 0``, defined by its operations; exactly 1 at 0.

    ``t`` is clamped to at least -1000; ``n = rint(t * LOG2_E)``; ``r = (t - n * LN2_HIGH) -
    n * LN2_LOW``; the polynomial of :data:`EXPONENTIAL` in ``r`` by Horner's rule, one rounded
    product and one rounded sum a step; the result scaled by ``2**n``, which is exact unless it is
    subnormal, when it is rounded once.  The relative error is below 2**-52.
    """
    t = np.maximum(t, _SMALLEST_EXPONENT)
    n = np.rint(t * LOG2_E)
    r = (t - n * LN2_HIGH) - n * LN2_LOW
    return np.ldexp(horner(EXPONENTIAL, r), n.astype(np.int32))


def logistic_cdf64(a: Float64, scale: float) -> Float64:
    """F64 of the logistic law of that scale."""
    return _from_smooth_tail(a / scale, _logistic_tail, _LARGEST_EXPONENTIAL_ARGUMENT)


def laplace_cdf64(a: Float64, scale: float) -> Float64:
    """F64 of the two-sided exponential law of that scale."""
    return _from_smooth_tail(a / scale, _laplace_tail, _LARGEST_EXPONENTIAL_ARGUMENT)


def gaussian_cdf64(a: Float64, scale: float) -> Float64:
    """F64 of the normal law of that standard deviation."""
    return _from_smooth_tail(a / scale, _gaussian_tail, _LARGEST_GAUSSIAN_ARGUMENT)


def uniform_cdf64(a: Float64, scale: float) -> Float64:
    """F64 of the uniform law on ``[-scale, scale]``; exactly 0 and 1 outside."""
    return np.maximum(np.minimum(0.5 * (1.0 + a / scale), 1.0), 0.0)


def triangular_cdf64(a: Float64, scale: float) -> Float64:
    """F64 of the triangular law on ``[-scale, scale]``; exactly 0 and 1 outside."""
    z = a / scale
    r = np.maximum(1.0 - np.abs(z), 0.0)
    tail = 0.5 * (r * r)
    return np.where(z < 0.0, tail, 1.0 - tail)


CDF64: dict[str, Callable[[Float64, float], Float64]] = {
    "logistic": logistic_cdf64,
    "gaussian": gaussian_cdf64,
    "laplace": laplace_cdf64,
    "uniform": uniform_cdf64,
    "triangular": triangular_cdf64,
}
"""F64 of each noise by name: ``CDF64[noise](a, scale)`` for a float64 array without NaN."""


def horner(coefficients: tuple[float, ...], x: Float64) -> Float64:
    """A polynomial, highest power first: one rounded product and one rounded sum a step."""
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        np.multiply(value, x, out=value)
        np.add(value, coefficient, out=value)
    return value


def _logistic_tail(z: Float64) -> Float64:
    e = exp64(-z)
    return e / (1.0 + e)


def _laplace_tail(z: Float64) -> Float64:
    return 0.5 * exp64(-z)


def _gaussian_tail(z: Float64) -> Float64:
    t = (z - _GAUSSIAN_CENTRE) / (z + _GAUSSIAN_CENTRE)
    tail = exp64(-(0.5 * (z * z))) * horner(GAUSSIAN_TAIL, t)
    return np.where(z == 0.0, 0.5, tail)


def _from_smooth_tail(
    z: Float64, tail: Callable[[Float64], Float64], largest_argument: float
) -> Float64:
    y = np.minimum(np.abs(z), largest_argument) * _GRID
    i = np.floor(y)
    upper = tail(i / _GRID)
    lower = tail((i + 1.0) / _GRID)
    value = upper - (upper - lower) * (y - i)
    return np.where(z < 0.0, value, 1.0 - value)
