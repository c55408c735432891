r"""How probable ±1 weights are that share normal factors: an integral over the factors.

    ``q(w) = int N(z; 0, I) prod_i sigmoid(2 w_i lam_i(z)) dz``,  ``lam(z) = lam + sum_k z_k L_k``,

over the factors of the whole network.  The logarithm of the integrand is concave, so its mode
:math:`\hat z` is found by Newton steps, and the integral is estimated by importance sampling from a
Student law of 5 degrees of freedom about the mode, with the integrand's curvature.  The estimate is
unbiased, its weights are bounded, and its error is a few hundredths of a nat; all draws have the
same random numbers, so that what is left of it is much the same for all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

_DEGREES = 5
_SEED = 0
_TERMS = 1 << 20
_FEWEST, _MOST = 8, 512
_MAX_STEPS = 100
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def factor_log_prob(layers: Sequence[Any], weights: Sequence[npt.NDArray[Any]]) -> Float64:
    """``log q`` of the ±1 weights of layers that share their factors; (draws,).

    Args:
        layers: with natural parameters and loadings of one rank.
        weights: of each, ±1, shape (draws, out, in).
    """
    natural = np.concatenate([layer.natural.ravel() for layer in layers])
    loadings = np.concatenate([la.loadings.reshape(len(la.loadings), -1) for la in layers], axis=1)
    signs = np.concatenate([w.reshape(len(w), -1) for w in weights], axis=1)
    rank, size = loadings.shape
    number = min(_MOST, max(_FEWEST, _TERMS // size))
    generator = np.random.default_rng(_SEED)
    normal = generator.standard_normal((number, rank))
    student = normal * np.sqrt(_DEGREES / generator.chisquare(_DEGREES, number))[:, None]
    log_proposal = _log_student(student)
    found = np.empty(len(signs))
    for draw, own in enumerate(signs):
        a, b = 2.0 * own * natural, 2.0 * own * loadings  # log q(w | z) = sum log sigmoid(a + z b)
        mode, factor = _mode(a, b)
        z = mode + student @ factor.T
        logs = np.array([_log_integrand(place, a, b) for place in z]) - log_proposal
        found[draw] = np.logaddexp.reduce(logs) - math.log(number) + np.linalg.slogdet(factor)[1]
    return found


def _log_integrand(z: Float64, a: Float64, b: Float64) -> float:
    x = a + z @ b
    given = np.minimum(x, 0.0).sum() - np.log1p(np.exp(-np.abs(x))).sum()
    return float(given - 0.5 * z @ z - len(z) * _HALF_LOG_2PI)


def _mode(a: Float64, b: Float64) -> tuple[Float64, Float64]:
    """The mode of the integrand, and a root of its inverse curvature."""
    z = np.zeros(len(b))
    value = _log_integrand(z, a, b)
    for _ in range(_MAX_STEPS):
        p = 0.5 - 0.5 * np.tanh(0.5 * (a + z @ b))  # sigmoid(-(a + z b))
        gradient = b @ p - z
        curvature = np.eye(len(b)) + (b * (p * (1 - p))) @ b.T
        step = np.linalg.solve(curvature, gradient)
        gain = float(gradient @ step)
        if gain < 1e-10:
            break
        size = 1.0
        while (there := _log_integrand(z + size * step, a, b)) < value + 0.1 * size * gain:
            size /= 2
            if size < 1e-12:
                break
        z, value = z + size * step, there
    p = 0.5 - 0.5 * np.tanh(0.5 * (a + z @ b))
    curvature = np.eye(len(b)) + (b * (p * (1 - p))) @ b.T
    return z, np.linalg.inv(np.linalg.cholesky(curvature)).T


def _log_student(t: Float64) -> Float64:
    """The log density of a Student law of unit scale matrix; (numbers,)."""
    rank = t.shape[1]
    constant = math.lgamma((_DEGREES + rank) / 2) - math.lgamma(_DEGREES / 2)
    constant -= 0.5 * rank * math.log(_DEGREES * math.pi)
    logs: Float64 = constant - 0.5 * (_DEGREES + rank) * np.log1p((t**2).sum(axis=1) / _DEGREES)
    return logs
