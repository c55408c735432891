r"""The laws of the injected noise, from their definitions, in float64 NumPy.

A unit is ``x = sign(a - Z)`` with ``Z`` of the law F, hence ``P(x = +1) = F(a)``.  With
``z = a / scale``:

==========  =====================  ==========================================
law         density of Z / scale   F
==========  =====================  ==========================================
logistic    1 / (4 cosh^2(z / 2))  1 / (1 + exp(-z))
gaussian    exp(-z^2 / 2) / sqrt   integral of the density
            (2 pi)
laplace     exp(-|z|) / 2          exp(z) / 2 below 0, 1 - exp(-z) / 2 above
uniform     1/2 on [-1, 1]         (1 + z) / 2, clipped
triangular  1 - |z| on [-1, 1]     (1 + z)^2 / 2 below 0, 1 - (1 - z)^2 / 2 above
==========  =====================  ==========================================
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]


def _logistic_cdf(z: Array) -> Array:
    decay = np.exp(-np.abs(z))
    return np.where(z < 0, decay / (1 + decay), 1 / (1 + decay))


def _logistic_density(z: Array) -> Array:
    decay = np.exp(-np.abs(z))
    return decay / (1 + decay) ** 2


def _gaussian_cdf(z: Array) -> Array:
    # erfc rather than 1 + erf: no cancellation in the lower tail.
    return 0.5 * special.erfc(-z / math.sqrt(2))


def _gaussian_density(z: Array) -> Array:
    return np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)


def _laplace_cdf(z: Array) -> Array:
    half = 0.5 * np.exp(-np.abs(z))
    return np.where(z < 0, half, 1 - half)


def _laplace_density(z: Array) -> Array:
    return 0.5 * np.exp(-np.abs(z))


def _uniform_cdf(z: Array) -> Array:
    return np.clip((1 + z) / 2, 0.0, 1.0)


def _uniform_density(z: Array) -> Array:
    return np.where(np.abs(z) <= 1, 0.5, 0.0)


def _triangular_cdf(z: Array) -> Array:
    clipped = np.clip(z, -1.0, 1.0)
    return np.where(clipped < 0, 0.5 * (1 + clipped) ** 2, 1 - 0.5 * (1 - clipped) ** 2)


def _triangular_density(z: Array) -> Array:
    return np.maximum(1 - np.abs(z), 0.0)


_LAWS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "logistic": (_logistic_cdf, _logistic_density),
    "gaussian": (_gaussian_cdf, _gaussian_density),
    "laplace": (_laplace_cdf, _laplace_density),
    "uniform": (_uniform_cdf, _uniform_density),
    "triangular": (_triangular_cdf, _triangular_density),
}

NOISES = tuple(_LAWS)
"""Every law by name."""

SMOOTH_NOISES = ("logistic", "gaussian")
"""The laws whose density has a derivative everywhere."""

BOUNDED_NOISES = ("uniform", "triangular")
"""The laws under which some states have probability exactly 0."""


def cdf(noise: str, a: ArrayLike, scale: float = 1.0) -> Array:
    """``F(a) = P(scale * Z <= a)``, elementwise."""
    return _LAWS[noise][0](np.asarray(a, dtype=np.float64) / scale)


def density(noise: str, a: ArrayLike, scale: float = 1.0) -> Array:
    """``F'(a)``, elementwise."""
    return _LAWS[noise][1](np.asarray(a, dtype=np.float64) / scale) / scale
