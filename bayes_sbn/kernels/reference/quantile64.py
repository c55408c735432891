r"""Q64: the quantile function of the standard normal law, defined to the last bit.

Real weights are ``loc + spread * Q64(u)``, rounded to a grid, so every backend must compute Q64
with the same bits.  As those of :mod:`bayes_sbn.kernels.reference.cdf64`, the routines here are the
definition: float64 additions, subtractions, multiplications, divisions and square roots, each
rounded on its own to nearest even (never a fused multiply-add), comparisons, and splitting a number
into mantissa and exponent; no other library function.

Q64 is Wichura's AS 241 (PPND16).  With ``q = p - 0.5``:

* ``|q| <= 0.425``: ``r = 0.180625 - q * q``, ``z = q * A(r) / B(r)``;
* else ``r = sqrt(-log64(min(p, 1 - p)))``; ``r <= 5``: ``z = C(r - 1.6) / D(r - 1.6)``, otherwise
  ``z = E(r - 5) / F(r - 5)``; the sign is that of q;

polynomials by Horner's rule, one rounded product and one rounded sum a step.  For the uniforms
``p = (u32 + 1/2) / 2**32`` that are used, ``p`` and ``1 - p`` are exact and ``|z|`` is at most
:data:`LARGEST_NORMAL`; the relative error is about 1e-15.

Reference:
    Wichura. Algorithm AS 241: the percentage points of the normal distribution. Applied Statistics
    37(3), 1988.
"""

from __future__ import annotations

import numpy as np

from bayes_sbn.kernels.reference.cdf64 import LN2_HIGH, LN2_LOW, Float64, horner

LOGARITHM = tuple(2.0 / k for k in range(21, 0, -2))
"""Coefficients of :func:`log64`, highest power first: ``2/21, 2/19, ..., 2``."""

CENTRE = (
    (
        2509.0809287301226727,
        33430.575583588128105,
        67265.770927008700853,
        45921.953931549871457,
        13731.693765509461125,
        1971.5909503065514427,
        133.14166789178437745,
        3.3871328727963666080,
    ),
    (
        5226.4952788528545610,
        28729.085735721942674,
        39307.895800092710610,
        21213.794301586595867,
        5394.1960214247511077,
        687.18700749205790830,
        42.313330701600911252,
        1.0,
    ),
)
"""Numerator A and denominator B of the centre, highest power first."""

TAIL = (
    (
        7.74545014278341407640e-4,
        0.0227238449892691845833,
        0.241780725177450611770,
        1.27045825245236838258,
        3.64784832476320460504,
        5.76949722146069140550,
        4.63033784615654529590,
        1.42343711074968357734,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        0.0151986665636164571966,
        0.148103976427480074590,
        0.689767334985100004550,
        1.67638483018380384940,
        2.05319162663775882187,
        1.0,
    ),
)
"""Numerator C and denominator D of the tails."""

FAR_TAIL = (
    (
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        0.00124266094738807843860,
        0.0265321895265761230930,
        0.296560571828504891230,
        1.78482653991729133580,
        5.46378491116411436990,
        6.65790464350110377720,
    ),
    (
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        0.0148753612908506148525,
        0.136929880922735805310,
        0.599832206555887937690,
        1.0,
    ),
)
"""Numerator E and denominator F of the far tails."""

_SPLIT_CENTRE = 0.425
_CENTRE_CONSTANT = 0.180625
_SPLIT_TAIL = 5.0
_TAIL_SHIFT = 1.6
_ROOT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")

LARGEST_NORMAL = 6.375
"""No ``|Q64|`` of a 32-bit uniform is larger: that of ``2**-33`` is 6.3379..."""


def log64(x: Float64) -> Float64:
    """The natural logarithm of normal positive numbers, defined by its operations.

    ``x = m * 2**n`` with m in [0.5, 1), or twice m and n - 1 where m is below ``sqrt(1/2)``;
    ``s = (m - 1) / (m + 1)``; the polynomial of :data:`LOGARITHM` in ``s * s`` by Horner's rule,
    times s, plus ``n * LN2_LOW``, plus ``n * LN2_HIGH``.
    """
    mantissa, exponent = np.frexp(x)
    is_small = mantissa < _ROOT_HALF
    m = np.where(is_small, mantissa + mantissa, mantissa)
    n = (exponent - is_small).astype(np.float64)
    s = (m - 1.0) / (m + 1.0)
    series = horner(LOGARITHM, s * s) * s
    result: Float64 = (series + n * LN2_LOW) + n * LN2_HIGH
    return result


def normal_quantile64(p: Float64) -> Float64:
    """Q64 of probabilities strictly between 0 and 1."""
    q = p - 0.5
    is_centre = np.abs(q) <= _SPLIT_CENTRE
    c = _CENTRE_CONSTANT - q * q
    centre = q * horner(CENTRE[0], c) / horner(CENTRE[1], c)
    # of the centre a place holder, whose tail is not used
    tail = np.where(is_centre, 0.25, np.minimum(p, 1.0 - p))
    r = np.sqrt(-log64(tail))
    near, far = r - _TAIL_SHIFT, r - _SPLIT_TAIL
    z = np.where(
        r <= _SPLIT_TAIL,
        horner(TAIL[0], near) / horner(TAIL[1], near),
        horner(FAR_TAIL[0], far) / horner(FAR_TAIL[1], far),
    )
    return np.where(is_centre, centre, np.where(q < 0.0, -z, z))
