r"""Rows drawn with replacement, and the ends of an interval from a number's values on them.

With :math:`t` the number of the rows as they are, :math:`t_{(1)} \le \dots \le t_{(B)}` its sorted
values on B resamples of the rows, drawn with replacement and as many as there are, and
:math:`k = \lfloor (B + 1)(1 - \text{level}) / 2 \rfloor`,

* the percentile interval is :math:`[t_{(k)}, t_{(B+1-k)}]`;
* the basic interval is :math:`[2t - t_{(B+1-k)}, 2t - t_{(k)}]`: what resampling adds to t once
  more is taken off.

References:
    A. C. Davison, D. V. Hinkley. Bootstrap Methods and their Application. Cambridge University
    Press 1997, chapter 5.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import UndefinedMetricWarning

Method = Literal["percentile", "basic"]

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
) -> tuple[float, float, int]:
    """Lower and upper end, and how many resamples were NaN and left out.

    Args:
        call: the call to name in the warning that there is no interval.
        value: the metric of the rows as they are.
        resampled: the metric on each resample.
        level: level of the interval.
        method: "percentile" or "basic".
        stacklevel: how far above is the call that a user wrote, which the warning points at.
    """
    defined = np.sort(resampled[~np.isnan(resampled)])
    undefined = len(resampled) - len(defined)
    rank = _rank(len(defined), level)
    if rank < 1 or math.isnan(value) or (method == "basic" and math.isinf(value)):
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


def _rank(bootstrap: int, level: float) -> int:
    # The slack keeps 40 * (1 - 0.95) / 2, which is 1 in exact numbers, at 1.
    return math.floor((bootstrap + 1) * (1 - level) / 2 + 1e-9)
