r"""Pareto-smoothed importance sampling: k-hat, and weights whose largest ones are smoothed.

Of S importance ratios the M largest, ``M = ceil(min(S / 5, 3 sqrt(S)))``, minus the next one, are
fitted by a generalised Pareto law of shape k.  Ratios have a finite variance where k < 1/2 and a
finite mean where k < 1; averages with smoothed weights can be relied upon up to
``min(1 - 1 / log10(S), 0.7)``.

Ratios of ±1 networks are discrete.  Where fewer than five of the largest differ from what they are
measured from there is no tail to fit, and k-hat is NaN: the caller says what that means.

References:
    A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry. Pareto smoothed importance sampling.
    Journal of Machine Learning Research 25, 2024.

    J. Zhang, M. A. Stephens. A new and efficient estimation method for the generalized Pareto
    distribution. Technometrics 51, 2009.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

_LEAST_TAIL = 5
_LOG_TINY = math.log(np.finfo(np.float64).tiny)
_PRIOR_DRAWS, _PRIOR_SHAPE = 10, 0.5  # of the shape, as in the reference


class Smoothed(NamedTuple):
    """Importance weights of draws.

    Attributes:
        log_weights: logarithms of weights of sum 1, (draws,).
        khat: shape of the tail; NaN where there is none to fit.
    """

    log_weights: Float64
    khat: float


def khat_limit(num_draws: int) -> float:
    """Up to which k-hat averages of so many draws can be relied upon."""
    return min(1 - 1 / math.log10(num_draws), 0.7) if num_draws > 1 else -math.inf


def pareto_smoothed(log_ratios: Float64) -> Smoothed:
    """Smoothed weights and k-hat of the logarithms of ratios, of which one at least is finite."""
    shifted = log_ratios - log_ratios.max()
    num_draws = len(shifted)
    order = np.argsort(shifted, kind="stable")
    tail_length = math.ceil(min(num_draws / 5, 3 * math.sqrt(num_draws)))
    khat = math.nan
    if tail_length < num_draws:
        cut = max(float(shifted[order[-tail_length - 1]]), _LOG_TINY)
        tail = order[-tail_length:]
        tail = tail[shifted[tail] > cut]
        if len(tail) >= _LEAST_TAIL:
            beyond = np.exp(shifted[tail]) - math.exp(cut)
            khat, sigma = generalised_pareto(beyond)
            if math.isfinite(khat):
                places = (np.arange(len(tail)) + 0.5) / len(tail)
                smooth = _quantile(places, khat, sigma) + math.exp(cut)
                shifted = shifted.copy()
                shifted[tail] = np.minimum(np.log(smooth), 0.0)
    return Smoothed(shifted - np.logaddexp.reduce(shifted), khat)


def generalised_pareto(beyond: Float64) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto law by Zhang and Stephens, with a weak prior.

    Args:
        beyond: positive, sorted.
    """
    n = len(beyond)
    num_candidates = 30 + int(math.sqrt(n))
    rank = np.arange(1, num_candidates + 1) - 0.5
    quartile = beyond[int(n / 4 + 0.5) - 1]
    thetas = 1 / beyond[-1] + (1 - np.sqrt(num_candidates / rank)) / (3 * quartile)
    shapes = np.log1p(-thetas[:, None] * beyond).mean(axis=1)
    profile = n * (np.log(-thetas / shapes) - shapes - 1)
    weights = np.exp(profile - np.logaddexp.reduce(profile))
    weights = np.where(weights >= 10 * np.finfo(float).eps, weights, 0.0)
    theta = float((weights * thetas).sum() / weights.sum())
    shape = float(np.log1p(-theta * beyond).mean())
    sigma = -shape / theta
    return (n * shape + _PRIOR_DRAWS * _PRIOR_SHAPE) / (n + _PRIOR_DRAWS), sigma


def _quantile(places: Float64, shape: float, sigma: float) -> Float64:
    if abs(shape) < 1e-12:
        return -sigma * np.log1p(-places)
    quantiles: Float64 = sigma * np.expm1(-shape * np.log1p(-places)) / shape
    return quantiles
