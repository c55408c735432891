"""The difference of a metric between two predictions of the same rows, by resampling the rows.

Both are compared on the same resamples of the same rows, so that what makes a row hard for both
cancels in the difference.  The interval is one of :mod:`bayes_sbn.metrics.resampling`, and contains
the difference unless a method is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_level, to_numpy
from bayes_sbn.metrics.bootstrap import method_of, value_of, values_on_resamples
from bayes_sbn.metrics.properties import Metric, name_of, properties_of
from bayes_sbn.metrics.resampling import Method, ends_of, rank_of_ends

Better = Literal["less", "greater"]


@dataclass(frozen=True)
class Comparison:
    """The difference of a metric between two predictions of the same rows.

    Args:
        value_a: the metric of the first prediction.
        value_b: that of the second.
        difference: ``value_a - value_b``.
        low: lower end of the difference's interval.
        high: upper end.
        share_a_better: share of resamples on which the first is better, a tie counting half.
        better: whether "less" or "greater" is better.
        level: level of the interval.
        method: "percentile", "basic" or "bounded bias".
        bootstrap: resamples behind it.
        undefined: resamples on which there was no difference; they were left out.
        seed: seed of the resampling.
    """

    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    share_a_better: float
    better: Better
    level: float
    method: Method
    bootstrap: int
    undefined: int
    seed: int

    def __str__(self) -> str:
        return (
            f"{self.value_a:.4f} - {self.value_b:.4f} = {self.difference:.4f} "
            f"[{self.low:.4f}, {self.high:.4f}]; the first is better on "
            f"{100 * self.share_a_better:.1f} % of the resamples"
        )


def compare(
    metric: Metric,
    pred_a: object,
    pred_b: object,
    y: npt.ArrayLike,
    *,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    method: Method | None = None,
    better: Better | None = None,
    axis: int = 0,
) -> Comparison:
    """The difference of a metric between two predictions of the same rows, with an interval.

    Args:
        metric: a function ``metric(pred, y)`` that gives a number.
        pred_a: the first prediction.
        pred_b: the second, of the same rows in the same order.
        y: what was observed, one entry a row.
        bootstrap: resamples of the rows, the same for both.
        level: level of the interval, between 0 and 1.
        seed: seed of the resampling.
        method: "percentile" or "basic"; None as in :func:`bootstrap_interval`.
        better: whether "less" or "greater" is better; known of the metrics of this package.
        axis: the axis of the rows, where the predictions are arrays.

    Example:
        >>> from bayes_sbn.metrics import nll
        >>> bold, modest = [[0.9, 0.1], [0.2, 0.8]], [[0.6, 0.4], [0.4, 0.6]]
        >>> found = compare(nll, bold, modest, [0, 1])
        >>> found.difference < 0, found.share_a_better
        (True, 1.0)
    """
    call = "compare()"
    rank_of_ends(call, bootstrap, check_level(call, level))
    direction = direction_of(call, metric, better)
    chosen = method_of(call, method, metric)
    values = [value_of(call, metric, pred, y) for pred in (pred_a, pred_b)]
    labels = to_numpy(y)
    a, b = (
        values_on_resamples(call, metric, pred, labels, bootstrap, seed, axis)
        for pred in (pred_a, pred_b)
    )
    return comparison_of(
        call,
        values,
        a,
        b,
        better=direction,
        level=level,
        method=chosen,
        widened=method is None,
        seed=seed,
    )


def direction_of(call: str, metric: Callable[..., float], better: Better | None) -> Better:
    """Which way is better: what was asked for, or what is known of the metric."""
    ways = "better='less' for a loss or an error, better='greater' for a share, a score or an area"
    if better is None:
        known = properties_of(metric)
        if known is None or known.better is None:
            raise ValueError(
                f"{call} does not know which way {name_of(metric)} is better. Write {ways}."
            )
        return known.better
    if better not in ("less", "greater"):
        raise ValueError(
            f"{call} needs better='less' or better='greater': received {better!r}. Write {ways}."
        )
    return better


def comparison_of(
    call: str,
    values: Sequence[float],
    a: npt.NDArray[np.float64],
    b: npt.NDArray[np.float64],
    *,
    better: Better,
    level: float,
    method: Method,
    widened: bool,
    seed: int,
) -> Comparison:
    """The comparison that follows from what both came to on the same resamples.

    Args:
        call: the call to name in the warning that there is no interval.
        values: of both, of the rows as they are.
        a: of the first on each resample.
        b: of the second on the same resamples.
        better: whether "less" or "greater" is better.
        level: level of the interval.
        method: "percentile", "basic" or "bounded bias".
        widened: whether an end beyond the difference is put there.
        seed: seed of the resampling.
    """
    difference = values[0] - values[1]
    with np.errstate(invalid="ignore"):  # of two infinite losses there is no difference
        differences = a - b
    low, high, undefined = ends_of(call, difference, differences, level, method, stacklevel=4)
    if widened:
        low, high = min(low, difference), max(high, difference)
    wins = a < b if better == "less" else a > b
    comparable = ~(np.isnan(a) | np.isnan(b))
    share = np.nan
    if comparable.any():
        share = float(np.mean((wins + 0.5 * (a == b))[comparable]))
    return Comparison(
        values[0],
        values[1],
        difference,
        low,
        high,
        share,
        better,
        float(level),
        method,
        len(a),
        undefined,
        seed,
    )
