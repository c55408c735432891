r"""Rows drawn with replacement, and the ends of an interval from a number's values on them.

With :math:`t` the number of the rows as they are, :math:`t_{(1)} \le \dots \le t_{(B)}` its sorted
values on B resamples of the rows, drawn with replacement and as many as there are, and
:math:`k = \lfloor (B + 1)(1 - \text{level}) / 2 \rfloor`,

* the percentile interval is :math:`[t_{(k)}, t_{(B+1-k)}]`;
* the basic interval is :math:`[2t - t_{(B+1-k)}, 2t - t_{(k)}]`: what resampling adds to t once
  more is taken off;
* the interval of bounded bias, with :math:`m` the median of the values on resamples and
  :math:`c_{(1)} \le \dots \le c_{(B')}` those that chance alone makes
  (:mod:`bayes_sbn.metrics.chance_alone`), of which k' is the rank, is

  .. math:: [\, t - \max(t_{(B+1-k)} - m,\; c_{(B'+1-k')}),\;\; t + m - t_{(k)} \,],

  cut at the least value that the metric can take.

The last is for errors that chance moves upwards, as it does every sum of absolute differences.  By
how much depends on the error itself, which is unknown: by nothing where all differences are larger
than what chance makes, and most where there are none.  No resampling law is right in both cases,
and one estimated from the rows is wrong in between: t lies above the truth there, and so do most of
its resamples.  So the upper end takes off no bias, but only what resamples scatter below
their median; the lower end takes off the larger of what they scatter above it, and of what chance
alone makes, bias and scatter (the larger of the critical values of both cases, as hybrid tests do).
Thus t is in it, and 0 is, unless t exceeds what chance alone makes: that is a Monte-Carlo test of
calibration.  Where the truth is one of both cases each end misses it with probability of about (1 -
level) / 2 or less; in between with less, at the price of ends that are too low for large errors.

Of the difference of two such errors the bias has an unknown sign, and what chance alone makes
cancels in part.  It is taken to be between none and what resampling adds: the interval is
:math:`[t - (t_{(B+1-k)} - \min(m, t)), t + \max(m, t) - t_{(k)}]`.

References:
    A. C. Davison, D. V. Hinkley. Bootstrap Methods and their Application. Cambridge University
    Press 1997, chapter 5.

    D. W. K. Andrews. Inconsistency of the bootstrap when a parameter is on the boundary of the
    parameter space. Econometrica 68, 2000.

    D. W. K. Andrews, P. Guggenberger. Hybrid and size-corrected subsampling methods. Econometrica
    77, 2009 (the larger of two critical values).

    Y. Sun, P. Chaudhari, I. J. Barnett, E. Dobriban. A confidence interval for the l2 expected
    calibration error. arXiv:2408.08998, 2024 (the two cases have laws of different rates).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import UndefinedMetricWarning

Method = Literal["percentile", "basic", "bounded bias"]

_BLOCK = 2**21  # entries of a block of resampling weights, 16 MB


def rank_of_ends(call: str, bootstrap: object, level: float) -> int:
    """How far from either end of the sorted resamples the interval's ends are."""
    if isinstance(bootstrap, bool) or not isinstance(bootstrap, int):
        raise TypeError(
            f"{call} needs an integer number of resamples: received bootstrap={bootstrap!r}. "
            "Write bootstrap=1000, say."
        )
    rank = _rank(bootstrap, level)
    if rank < 1:
        needed = math.ceil(2 / (1 - level) - 1 - 1e-6)
        raise ValueError(
            f"{call} needs at least {needed} resamples for intervals of level {level:g}: "
            f"received bootstrap={bootstrap}. Write bootstrap={max(1000, needed)}, say."
        )
    return rank


def ends_of(
    call: str,
    value: float,
    resampled: npt.NDArray[np.float64],
    level: float,
    method: Method,
    stacklevel: int = 3,
    *,
    chance: npt.NDArray[np.float64] | None = None,
    minimum: float = -math.inf,
) -> tuple[float, float, int]:
    """Lower and upper end, and how many resamples were NaN and left out.

    Args:
        call: the call to name in the warning that there is no interval.
        value: the metric of the rows as they are.
        resampled: the metric on each resample.
        level: level of the interval.
        method: "percentile", "basic" or "bounded bias".
        stacklevel: how far above is the call that a user wrote, which the warning points at.
        chance: what chance alone makes of the metric, for "bounded bias"; None for a difference.
        minimum: the least value that the metric can take, for "bounded bias".
    """
    defined = np.sort(resampled[~np.isnan(resampled)])
    undefined = len(resampled) - len(defined)
    rank = _rank(len(defined), level)
    if rank < 1 or math.isnan(value) or (method != "percentile" and math.isinf(value)):
        warnings.warn(
            f"{call}: no interval of a value of {value} with {len(defined)} of {len(resampled)} "
            "resamples on which the metric is defined; its ends are NaN.",
            UndefinedMetricWarning,
            stacklevel=stacklevel,
        )
        return math.nan, math.nan, undefined
    low, high = float(defined[rank - 1]), float(defined[len(defined) - rank])
    if method == "basic":
        low, high = 2 * value - high, 2 * value - low
    elif method == "bounded bias":
        middle = float(np.median(defined))
        if chance is None:
            low, high = value - (high - min(middle, value)), value + max(middle, value) - low
        else:
            most = max(high - middle, _upper(chance, level))
            low, high = min(max(value - most, minimum), value), value + middle - low
    return low, high, undefined


def resampled_rows(
    bootstrap: int, num_rows: int, generator: np.random.Generator
) -> Iterator[tuple[slice, npt.NDArray[np.int64]]]:
    """Rows drawn with replacement, a block of resamples at a time: which, and (size, rows)."""
    for block in blocks(bootstrap, num_rows):
        yield block, generator.integers(num_rows, size=(block.stop - block.start, num_rows))


def resampled_sums(
    columns: npt.NDArray[np.float64], bootstrap: int, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Sums of the columns over rows drawn with replacement, (bootstrap, columns)."""
    num_rows = len(columns)
    sums = np.empty((bootstrap, columns.shape[1]))
    for block, drawn in resampled_rows(bootstrap, num_rows, generator):
        size = len(drawn)
        drawn += num_rows * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * num_rows).reshape(size, num_rows)
        sums[block] = times.astype(np.float64) @ columns
    return sums


def resampled_means(
    losses: npt.NDArray[np.float64], bootstrap: int, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Means of each column of losses (rows, columns) on resamples; infinite where a loss is."""
    # Infinite losses are counted apart: 0 resamples of one times infinity would be NaN.
    columns = [np.where(np.isinf(losses), 0, losses), losses == np.inf, losses == -np.inf]
    sums = resampled_sums(np.concatenate(columns, axis=-1), bootstrap, generator)
    finite, above, below = np.split(sums, 3, axis=-1)
    means = np.where(above > 0, np.inf, finite / len(losses))
    return np.where(below > 0, np.where(above > 0, np.nan, -np.inf), means)


def blocks(bootstrap: int, num_rows: int) -> Iterator[slice]:
    """Resamples in blocks of bounded memory."""
    size = max(1, _BLOCK // num_rows)
    for start in range(0, bootstrap, size):
        yield slice(start, min(start + size, bootstrap))


def _upper(values: npt.NDArray[np.float64], level: float) -> float:
    """The upper end of values of which some may be NaN; infinite where too few are left."""
    defined = np.sort(values[~np.isnan(values)])
    rank = _rank(len(defined), level)
    return float(defined[len(defined) - rank]) if rank >= 1 else math.inf


def _rank(bootstrap: int, level: float) -> int:
    # The slack keeps 40 * (1 - 0.95) / 2, which is 1 in exact numbers, at 1.
    return math.floor((bootstrap + 1) * (1 - level) / 2 + 1e-9)
