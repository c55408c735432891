r"""Relaxed draws and their slopes by definition, in NumPy, and expectations of them by quadrature.

A unit with noise Z of scale s, ``P(x = +1) = P(Z < a)``, is relaxed to
:math:`r = 2 / (1 + e^{-(a - Z) / s \tau}) - 1`, with slope :math:`dr/da = (1 - r^2) / 2 s \tau`.  A
±1 weight of mean :math:`\mu` is the unit with logistic noise and :math:`a = \log (1 + \mu) / (1 -
\mu)`; its slope is taken in :math:`\mu`.

Given the state x, the noise lies on one side of a, at a distance m of density
:math:`F'(a - x m) / P(x)`: the expected slope of straight-through Gumbel given the state is an
integral over m.  As the slopes of different variables are independent given the states and no
product contains one twice, back-propagation with expected slopes is the expected gradient.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import integrate, stats

from tests.oracle_estimators import Gradient, _expectation
from tests.oracle_noise import cdf, density
from tests.oracle_rivals import _backward
from tests.oracles import Array, Net

_LAWS = {
    "logistic": stats.logistic,
    "gaussian": stats.norm,
    "laplace": stats.laplace,
    "uniform": stats.uniform(loc=-1, scale=2),
    "triangular": stats.triang(0.5, loc=-1, scale=2),
}


def quantile(noise: str, u: ArrayLike, scale: float = 1.0) -> Array:
    """``Z`` with ``P(Z' < Z) = u``."""
    value: Array = scale * _LAWS[noise].ppf(np.asarray(u, dtype=np.float64))
    return value


def relaxed(a: ArrayLike, z: ArrayLike, width: float) -> Array:
    """The relaxed draw; width is the temperature times the noise's scale."""
    value: Array = 2 / (1 + np.exp(-(np.asarray(a) - np.asarray(z)) / width)) - 1
    return value


def relaxed_slope(a: ArrayLike, z: ArrayLike, width: float) -> Array:
    """Its derivative in a."""
    value: Array = (1 - relaxed(a, z, width) ** 2) / (2 * width)
    return value


def expected_slope(noise: str, a: float, state: float, temperature: float, scale: float) -> float:
    """``E[dr/da | x]`` of one unit, 0 where the state is impossible."""
    probability = float(cdf(noise, state * a, scale))
    if probability == 0:
        return 0.0
    width = temperature * scale

    def integrand(m: float) -> float:
        return float(relaxed_slope(m, 0.0, width) * density(noise, a - state * m, scale))

    # where the density has kinks, and where the slope has decayed to nothing
    end = 45 * width
    kinks = sorted(m for z in (-scale, 0.0, scale) if 0 < (m := state * (a - z)) < end)
    points = [0.0, *kinks, end]
    parts = [
        integrate.quad(integrand, low, high, epsabs=1e-13, epsrel=1e-12, limit=200)[0]
        for low, high in itertools.pairwise(points)
    ]
    return float(sum(parts)) / probability


def _each(function: Callable[[float, float], float], a: Array, state: Array) -> Array:
    """A function of a pre-activation and a state, evaluated once for each pair that occurs."""
    a, state = np.broadcast_arrays(a, state)
    pairs, place = np.unique(
        np.stack([a.reshape(-1), state.reshape(-1)]), axis=1, return_inverse=True
    )
    values = np.array([function(float(p), float(x)) for p, x in pairs.T])
    return values[place.reshape(-1)].reshape(a.shape)


def expected_gumbel_gradient(net: Net, x: Array, y: ArrayLike, temperature: float) -> Gradient:
    """Straight-through Gumbel averaged over every path and all noise, and Gumbel-Rao likewise."""

    def unit_slope(a: float, state: float) -> float:
        return expected_slope(net.noise, a, state, temperature, net.noise_scale)

    def weight_slope(mean: float, state: float) -> float:
        a = float(np.log1p(mean) - np.log1p(-mean))
        return expected_slope("logistic", a, state, temperature, 1.0) * 2 / (1 - mean**2)

    def of_datum(
        net: Net, weights: Sequence[Array], states: Sequence[Array], x: Array, y: ArrayLike
    ) -> Gradient:
        def slope(a: Array, state: Array) -> Array:
            return _each(unit_slope, np.round(a, 13), state)

        def weigh(d_weight: Array, weight: Array, mean: Array) -> Array:
            return d_weight * _each(weight_slope, np.broadcast_to(mean, weight.shape), weight)

        return _backward(net, weights, states, x, y, slope, weigh)

    return _expectation(of_datum, net, x, y)
