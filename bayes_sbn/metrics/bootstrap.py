r"""Intervals of any metric, and the difference of two models, by resampling the rows.

With :math:`t` the metric's value, :math:`t_{(1)} \le \dots \le t_{(B)}` its sorted values on B
resamples of the rows, drawn with replacement and as many as there are, and
:math:`k = \lfloor (B + 1)(1 - \text{level}) / 2 \rfloor`,

* the percentile interval is :math:`[t_{(k)}, t_{(B+1-k)}]`;
* the basic interval is :math:`[2t - t_{(B+1-k)}, 2t - t_{(k)}]`: what resampling adds to t once
  more is taken off.  It is for metrics that chance moves upwards, such as binned calibration
  errors, of which every resample adds the bias again.

Two models are compared on the same resamples of the same rows, so that what makes a row hard for
both cancels in the difference.

The intervals say how far a number would move with another test set of the same size.  Neither the
chance in which the training set came, nor the Monte-Carlo error of finitely many draws is in them.
They are approximate, and too narrow for few rows.

References:
    A. C. Davison, D. V. Hinkley. Bootstrap Methods and their Application. Cambridge University
    Press 1997, chapter 5.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import UndefinedMetricWarning, check_level, to_numpy
from bayes_sbn.metrics.properties import Metric, properties_of
from bayes_sbn.metrics.rows import rows_of

Method = Literal["percentile", "basic"]

_BLOCK = 2**21  # entries of a block of resampling weights, 16 MB


@dataclass(frozen=True)
class MetricInterval:
    """A metric's value with the ends of an interval.

    Args:
        value: the metric of the rows as they are.
        low: lower end.
        high: upper end.
        level: level of the interval.
        method: "percentile" or "basic".
        bootstrap: resamples behind it.
        undefined: resamples on which the metric was NaN; they were left out.
        seed: seed of the resampling.
    """

    value: float
    low: float
    high: float
    level: float
    method: Method
    bootstrap: int
    undefined: int
    seed: int

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


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
        method: "percentile" or "basic".
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
    better: Literal["less", "greater"]
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


def bootstrap_interval(
    metric: Metric,
    pred: object,
    y: npt.ArrayLike,
    *,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    method: Method | None = None,
    axis: int = 0,
) -> MetricInterval:
    """A metric and an interval from resamples of the rows.

    Args:
        metric: a function ``metric(pred, y)`` that gives a number: one of ``sbn.metrics``, one with
            its options given by ``functools.partial``, or your own.  One whose order of rows
            matters can't be resampled.
        pred: what the metric takes: predictions, or an array.
        y: what the metric takes, one entry a row.
        bootstrap: resamples of the rows.
        level: level of the interval, between 0 and 1.
        seed: seed of the resampling; the same seed gives the same interval.
        method: "percentile" or "basic".  If None, basic for the metrics of this package that chance
            moves upwards (calibration errors), cut at 0 and widened to contain the value; else
            percentile.
        axis: the axis of the rows, where ``pred`` is an array.

    Returns:
        A record; its ends are NaN, with an UndefinedMetricWarning, where the metric is NaN on so
        many resamples that those left are too few for the level.

    Example:
        >>> from bayes_sbn.metrics import accuracy
        >>> found = bootstrap_interval(accuracy, [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1])
        >>> round(found.value, 4), found.low <= found.value <= found.high
        (0.6667, True)
    """
    call = "bootstrap_interval()"
    rank_of_ends(call, bootstrap, check_level(call, level))
    known = properties_of(metric)
    chosen = _method(call, method, known is not None and known.biased_upwards)
    value = _evaluate(call, metric, pred, y)
    labels = to_numpy(y)
    resampled = _resampled(call, metric, pred, labels, bootstrap, seed, axis)
    low, high, undefined = ends_of(call, value, resampled, level, chosen)
    if method is None and chosen == "basic" and known is not None:
        low = min(max(low, known.minimum), value)
        high = max(high, value)
    return MetricInterval(value, low, high, float(level), chosen, bootstrap, undefined, seed)


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
    better: Literal["less", "greater"] | None = None,
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
    known = properties_of(metric)
    if better is None:
        if known is None or known.better is None:
            raise ValueError(
                f"{call} does not know which way {_name(metric)} is better. Write better='less' "
                "for a loss or an error, better='greater' for a share or a score."
            )
        better = known.better
    elif better not in ("less", "greater"):
        raise ValueError(
            f"{call} needs better='less' or better='greater': received {better!r}. Write "
            "better='less' for a loss or an error."
        )
    chosen = _method(call, method, known is not None and known.biased_upwards)
    values = [_evaluate(call, metric, pred, y) for pred in (pred_a, pred_b)]
    labels = to_numpy(y)
    a, b = (
        _resampled(call, metric, pred, labels, bootstrap, seed, axis) for pred in (pred_a, pred_b)
    )
    difference = values[0] - values[1]
    with np.errstate(invalid="ignore"):  # of two infinite losses there is no difference
        differences = a - b
    low, high, undefined = ends_of(call, difference, differences, level, chosen)
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
        chosen,
        bootstrap,
        undefined,
        seed,
    )


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
) -> tuple[float, float, int]:
    """Lower and upper end, and how many resamples were NaN and left out.

    Args:
        call: the call to name in the warning that there is no interval.
        value: the metric of the rows as they are.
        resampled: the metric on each resample.
        level: level of the interval.
        method: "percentile" or "basic".
    """
    defined = np.sort(resampled[~np.isnan(resampled)])
    undefined = len(resampled) - len(defined)
    rank = _rank(len(defined), level)
    if rank < 1 or math.isnan(value) or (method == "basic" and math.isinf(value)):
        warnings.warn(
            f"{call}: no interval of a value of {value} with {len(defined)} of {len(resampled)} "
            "resamples on which the metric is defined; its ends are NaN.",
            UndefinedMetricWarning,
            stacklevel=3,
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


def _resampled(
    call: str,
    metric: Metric,
    pred: object,
    y: npt.NDArray[np.generic],
    bootstrap: int,
    seed: int,
    axis: int,
) -> npt.NDArray[np.float64]:
    """The metric on each resample, (bootstrap,)."""
    generator = np.random.default_rng(seed)
    known = properties_of(metric)
    if known is not None and known.row_losses is not None:
        losses = np.asarray(known.row_losses(pred, y), dtype=np.float64)
        return resampled_means(losses[:, None], bootstrap, generator)[:, 0]
    take = rows_of(call, pred, len(y), axis)
    values = np.empty(bootstrap)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # counted instead
        for block, drawn in resampled_rows(bootstrap, len(y), generator):
            values[block] = [metric(take(rows), y[rows]) for rows in drawn]
    return values


def _rank(bootstrap: int, level: float) -> int:
    # The slack keeps 40 * (1 - 0.95) / 2, which is 1 in exact numbers, at 1.
    return math.floor((bootstrap + 1) * (1 - level) / 2 + 1e-9)


def _method(call: str, method: object, biased_upwards: bool) -> Method:
    if method is None:
        return "basic" if biased_upwards else "percentile"
    if method == "percentile":
        return "percentile"
    if method == "basic":
        return "basic"
    raise ValueError(
        f"{call} needs method='percentile' or method='basic': received {method!r}. Leave it out "
        "for the one that suits the metric."
    )


def _evaluate(call: str, metric: Metric, pred: object, y: npt.ArrayLike) -> float:
    if not callable(metric):
        raise TypeError(
            f"{call} needs a metric to call: received {metric!r}. Write sbn.metrics.nll, say."
        )
    known = properties_of(metric)
    if known is not None and known.of_two_sides:
        raise TypeError(
            f"{call} resamples rows that have a prediction and an observation each: "
            f"{_name(metric)} is of the scores of two sets of rows. Write "
            "detection_interval(metric, score_in, score_out), or compare_detection(...) for two "
            "scores."
        )
    value = metric(pred, y)
    if np.ndim(value) != 0:
        raise TypeError(
            f"{call} needs a metric that gives a number: {_name(metric)} gave a value of type "
            f"{type(value).__name__}. Choose one of its numbers, as in lambda pred, y: f(pred, "
            "y).value."
        )
    return float(value)


def _name(metric: Metric) -> str:
    return getattr(metric, "__name__", repr(metric))
