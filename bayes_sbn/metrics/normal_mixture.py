r"""The equal mixture of normal laws, one a draw: moments, distribution, density and quantiles.

With means :math:`m_s` and standard deviations :math:`\sigma_s` of a row under draws
:math:`s = 1, \dots, S`, the predictive law of its target has

.. math::
    F(y) &= \tfrac1S \sum_s \Phi\bigl(\tfrac{y - m_s}{\sigma_s}\bigr), \qquad
    p(y) = \tfrac1S \sum_s \tfrac{1}{\sigma_s} \varphi\bigl(\tfrac{y - m_s}{\sigma_s}\bigr), \\
    \mathrm{E}\,y &= \bar m, \qquad
    \mathrm{Var}\,y = \underbrace{\tfrac1S \sum_s \sigma_s^2}_{\text{aleatoric}} +
    \underbrace{\tfrac1S \sum_s (m_s - \bar m)^2}_{\text{epistemic}},

the law of total variance.  A standard deviation of 0 is a point mass, so that draws of y itself are
a mixture too, whose F is their empirical distribution.  Quantiles are those of the mixture, the
smallest y with :math:`F(y) \ge q`; the average of the draws' quantiles would be too narrow.

The quantile lies between the least and the greatest quantile of the draws, where it is found by
Newton's method, safeguarded by bisection.  What is solved for is :math:`F(y) - q` written as

.. math:: \bigl(\tfrac{\#\{s : m_s < y\}}{S} - q\bigr) + \tfrac1S \sum_s \pm \Phi(-|z_s|),
    \qquad z_s = \tfrac{y - m_s}{\sigma_s},

minus for the draws below y: this keeps its digits in both tails and in the gaps between modes.

Arrays are float64 and were checked by the caller; means and scales are (draws, rows).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_BLOCK = 2**18  # entries of a block of draws, levels and rows, 2 MB
_SLACK = 4 * np.finfo(np.float64).eps  # 1 - 0.05 is a little more than 19 / 20
_LOG_SQRT_2_PI = 0.5 * np.log(2 * np.pi)

Array = npt.NDArray[np.float64]


class MixtureMoments(NamedTuple):
    """Mean and variance of each row, the variance in its parts; arrays (rows,).

    Attributes:
        mean: mean of the draws' means.
        variance: ``aleatoric + epistemic``.
        aleatoric: mean of the draws' variances.
        epistemic: variance of the draws' means, divided by the number of draws.
    """

    mean: Array
    variance: Array
    aleatoric: Array
    epistemic: Array


def mixture_moments(mean: Array, scale: Array) -> MixtureMoments:
    """Mean and variance of each row, by the law of total variance.

    Args:
        mean: means (draws, rows).
        scale: standard deviations (draws, rows), 0 for a point mass.

    Example:
        >>> mixture_moments(np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]])).variance
        array([2.])
    """
    centre = mean.mean(axis=0)
    aleatoric = np.einsum("sr,sr->r", scale, scale) / len(scale)
    gap = mean - centre
    epistemic = np.einsum("sr,sr->r", gap, gap) / len(mean)
    return MixtureMoments(centre, aleatoric + epistemic, aleatoric, epistemic)


def mixture_cdf(mean: Array, scale: Array, y: Array, *, left: bool = False) -> Array:
    """Probability of at most y under each row's mixture; the shape of y.

    Args:
        mean: means (draws, rows).
        scale: standard deviations (draws, rows), 0 for a point mass.
        y: one point a row, (rows,), or several, (..., rows).
        left: leave a point mass at y itself out: the probability of less than y.

    Example:
        >>> mixture_cdf(np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]]), np.array([1.0]))
        array([0.5])
    """
    from scipy.special import ndtr

    probability = np.zeros(np.broadcast_shapes(y.shape, mean.shape[1:]))
    for mean_of_draw, scale_of_draw in zip(mean, scale, strict=True):
        probability += ndtr(_standardised(mean_of_draw, scale_of_draw, y, left=left))
    return np.asarray(probability / len(mean))


def mixture_log_prob(mean: Array, scale: Array, y: Array) -> Array:
    """Log density at y of each row's mixture; the shape of y.

    A point mass has no density: the limit for a vanishing scale is given, plus infinity at the
    point and nothing elsewhere, so that draws of y alone give infinities.

    Args:
        mean: means (draws, rows).
        scale: standard deviations (draws, rows).
        y: one point a row, (rows,), or several, (..., rows).

    Example:
        >>> mixture_log_prob(np.zeros((1, 1)), np.ones((1, 1)), np.array([0.0])).round(4)
        array([-0.9189])
    """
    total = np.full(np.broadcast_shapes(y.shape, mean.shape[1:]), -np.inf)
    for mean_of_draw, scale_of_draw in zip(mean, scale, strict=True):
        is_point = scale_of_draw == 0
        width = np.where(is_point, 1, scale_of_draw)
        with np.errstate(over="ignore"):  # beyond 1e154 standard deviations the density is 0
            z = (y - mean_of_draw) / width
            log_density = -0.5 * z * z - np.log(width) - _LOG_SQRT_2_PI
        of_point = np.where(y == mean_of_draw, np.inf, -np.inf)
        total = np.logaddexp(total, np.where(is_point, of_point, log_density))
    return np.asarray(total - np.log(len(mean)))


def mixture_quantile(mean: Array, scale: Array, q: float | npt.ArrayLike) -> Array:
    """Smallest y whose distribution function reaches q, for each row's mixture.

    Exact for a single draw, for draws that agree and for point masses; otherwise the error is a
    few units in the last place of the largest of the draws' quantiles.  Where the distribution
    function is flat in all its digits, as between modes 80 standard deviations apart, any point of
    the flat piece may come.  A q of 0 or 1 gives the ends of the support, which are infinite but
    for point masses.

    Args:
        mean: means (draws, rows).
        scale: standard deviations (draws, rows), 0 for a point mass.
        q: one level in [0, 1], or several (levels,).

    Returns:
        (rows,) for one level, (levels, rows) for several.

    Example:
        >>> mixture_quantile(np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]]), 0.5)
        array([1.])
    """
    levels = np.asarray(q, dtype=np.float64)
    if levels.ndim > 1 or not np.all((levels >= 0) & (levels <= 1)):
        raise ValueError(
            f"quantile() needs levels in [0, 1], one or a list: received {q!r}. "
            "Write quantile(0.5) for the median."
        )
    flat = levels.reshape(-1)
    draws, rows = mean.shape
    if not scale.any():
        place = np.ceil(draws * (flat - _SLACK * flat)).astype(np.int64) - 1
        return np.asarray(
            np.sort(mean, axis=0)[np.maximum(place, 0)].reshape((*levels.shape, rows))
        )
    quantiles = np.empty((len(flat), rows))
    inside = (flat > 0) & (flat < 1)
    for level in np.flatnonzero(~inside):
        quantiles[level] = _end_of_support(mean, scale, upper=bool(flat[level] == 1))
    if inside.any():
        size = max(1, _BLOCK // (draws * int(inside.sum())))
        for start in range(0, rows, size):
            block = slice(start, start + size)
            quantiles[inside, block] = _quantiles(mean[:, block], scale[:, block], flat[inside])
    return quantiles.reshape((*levels.shape, rows))


def _standardised(mean: Array, scale: Array, y: Array, *, left: bool = False) -> Array:
    """The standard score of y; for a point mass infinite, on the side that counts it."""
    is_point = scale == 0
    with np.errstate(over="ignore"):
        z = (y - mean) / np.where(is_point, 1, scale)
    if not is_point.any():
        return np.asarray(z)
    is_below = mean < y if left else mean <= y
    return np.where(is_point, np.where(is_below, np.inf, -np.inf), z)


def _end_of_support(mean: Array, scale: Array, *, upper: bool) -> Array:
    end = mean.max(axis=0) if upper else mean.min(axis=0)
    return np.where((scale > 0).any(axis=0), np.inf if upper else -np.inf, end)


def _quantiles(mean: Array, scale: Array, levels: Array) -> Array:
    """Quantiles (levels, rows) at levels strictly between 0 and 1."""
    from scipy.special import ndtri

    z = ndtri(levels)
    low, high = np.empty((2, len(levels), mean.shape[1]))
    for i in range(len(levels)):
        of_draws = mean + scale * z[i]
        low[i], high[i] = of_draws.min(axis=0), of_draws.max(axis=0)
    moments = mixture_moments(mean, scale)
    guess = moments.mean + np.sqrt(moments.variance) * z[:, None]

    # From here on one entry is one level of one row.
    shape = low.shape
    row = np.broadcast_to(np.arange(shape[1]), shape).ravel()
    target = np.repeat(levels, shape[1])
    low, high = low.ravel(), high.ravel()
    has_points = (scale == 0).any(axis=0)[row]
    if has_points.any():
        some = np.flatnonzero(has_points & (low < high))
        low[some], high[some] = _between_points(
            mean[:, row[some]], scale[:, row[some]], target[some], low[some], high[some]
        )
    y = np.clip(guess.ravel(), low, high)
    open_ = np.flatnonzero(low < high)
    y[open_] = _root(
        mean[:, row[open_]], scale[:, row[open_]], target[open_], low[open_], high[open_], y[open_]
    )
    return np.asarray(y.reshape(shape))


def _between_points(
    mean: Array, scale: Array, target: Array, low: Array, high: Array
) -> tuple[Array, Array]:
    """The bracket cut at the point masses around the quantile; both ends at one that it is."""
    is_point = scale == 0
    num_points = is_point.sum(axis=0)
    points = np.sort(np.where(is_point, mean, np.inf), axis=0)
    entry = np.arange(len(target))
    slack = _SLACK * target
    # The first point at which the level is reached lies in (before, after].
    before, after = np.full(len(target), -1), num_points.copy()
    while (after - before > 1).any():
        middle = (before + after) // 2
        at = points[np.clip(middle, 0, num_points - 1), entry]
        reached = _excess(mean, scale, target, at) >= -slack
        is_open = after - before > 1
        after = np.where(is_open & reached, middle, after)
        before = np.where(is_open & ~reached, middle, before)
    first = points[np.clip(after, 0, num_points - 1), entry]
    is_there = after < num_points
    is_reached_before = _excess(mean, scale, target, first, left=True) >= -slack
    previous = points[np.clip(before, 0, num_points - 1), entry]
    low = np.where(before >= 0, np.maximum(low, previous), low)
    high = np.where(is_there, np.minimum(high, first), high)
    is_point_mass = is_there & ~is_reached_before
    return np.where(is_point_mass, first, low), np.where(is_point_mass, first, high)


def _root(mean: Array, scale: Array, target: Array, low: Array, high: Array, y: Array) -> Array:
    """Newton's method from y, halving the bracket wherever it would not halve its steps."""
    result = y.copy()
    tolerance = 2.0**-51 * np.maximum(np.abs(low), np.abs(high))
    last, last_but_one = high - low, high - low
    entry = np.arange(len(y))  # where an entry still at work stands in the result
    while len(entry):
        excess = _excess(mean, scale, target, y)
        density = _density(mean, scale, y)
        low = np.where(excess < 0, y, low)
        high = np.where(excess < 0, high, y)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            newton = y - excess / density
            is_good = (
                (newton > low)
                & (newton < high)
                & np.isfinite(density)
                & (2 * np.abs(excess) <= last_but_one * density)
            )
        following = np.where(is_good, newton, low + 0.5 * (high - low))
        following = np.where(excess == 0, y, following)
        last_but_one, last = last, np.abs(following - y)
        result[entry] = y = following
        at_work = last > tolerance
        entry, mean, scale = entry[at_work], mean[:, at_work], scale[:, at_work]
        target, low, high, y = target[at_work], low[at_work], high[at_work], y[at_work]
        last, last_but_one = last[at_work], last_but_one[at_work]
        tolerance = tolerance[at_work]
    return result


def _excess(mean: Array, scale: Array, target: Array, y: Array, *, left: bool = False) -> Array:
    """F(y) minus the target, from the tails on either side of y."""
    from scipy.special import ndtr

    z = _standardised(mean, scale, y, left=left)
    is_below = z > 0
    tail = ndtr(-np.abs(z))
    tail = np.where(is_below, -tail, tail)
    return np.asarray((is_below.mean(axis=0) - target) + tail.mean(axis=0))


def _density(mean: Array, scale: Array, y: Array) -> Array:
    """Density of the part that has one."""
    z = _standardised(mean, scale, y)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        density = np.exp(-0.5 * z * z - _LOG_SQRT_2_PI) / scale
    return np.asarray(np.where(scale > 0, density, 0).mean(axis=0))
