r"""An interval of any metric, by resampling the rows.

It is the percentile interval, or for metrics that chance moves upwards, such as calibration errors,
the interval of bounded bias: both are defined in :mod:`bayes_sbn.metrics.resampling`.  Unless a
method is named, it contains the value of the rows as they are: an end that resampling moved beyond
the value is put there.  The rows of a report have the same intervals, by the same function.

The intervals say how far a number would move with another test set of the same size.  Neither the
chance in which the training set came, nor the Monte-Carlo error of finitely many draws is in them.
They are approximate, and too narrow for few rows.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import UndefinedMetricWarning, check_level, to_numpy
from bayes_sbn.metrics.chance_alone import num_redraws, values_by_chance
from bayes_sbn.metrics.properties import Metric, MetricProperties, name_of, properties_of
from bayes_sbn.metrics.resampling import (
    Method,
    ends_of,
    rank_of_ends,
    resampled_means,
    resampled_rows,
)
from bayes_sbn.metrics.rows import rows_of


@dataclass(frozen=True)
class MetricInterval:
    """A metric's value with the ends of an interval.

    Args:
        value: the metric of the rows as they are.
        low: lower end.
        high: upper end.
        level: level of the interval.
        method: "percentile", "basic" or "bounded bias".
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
        method: "percentile" or "basic", as textbooks have them.  If None, "bounded bias" for the
            metrics of this package that chance moves upwards (calibration errors), else
            "percentile", widened to contain the value where it does not.
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
    chosen = method_of(call, method, metric)
    value = value_of(call, metric, pred, y)
    labels = to_numpy(y)
    resampled = values_on_resamples(call, metric, pred, labels, bootstrap, seed, axis)
    if method is not None:
        low, high, undefined = ends_of(call, value, resampled, level, chosen)
    else:
        by_chance = None
        if known is not None and known.chance is not None:
            redraws = num_redraws(bootstrap, level)
            by_chance = values_by_chance(known.chance, metric, pred, labels, redraws, seed)
        low, high, undefined = usual_ends(
            call, value, resampled, level, properties=known, chance=by_chance
        )
    return MetricInterval(value, low, high, float(level), chosen, bootstrap, undefined, seed)


def values_on_resamples(
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


def usual_ends(
    call: str,
    value: float,
    resampled: npt.NDArray[np.float64],
    level: float,
    *,
    properties: MetricProperties | None,
    chance: npt.NDArray[np.float64] | None,
) -> tuple[float, float, int]:
    """Both ends and how many resamples were NaN, of the interval that suits a metric.

    Args:
        call: the call to name in the warning that there is no interval.
        value: the metric of the rows as they are.
        resampled: the metric on each resample.
        level: level of the interval.
        properties: of the metric; None of a function of which nothing is known.
        chance: what chance alone makes of it, where chance moves it upwards.
    """
    method: Method = "percentile" if chance is None else "bounded bias"
    minimum = -math.inf if properties is None else properties.minimum
    low, high, undefined = ends_of(
        call, value, resampled, level, method, stacklevel=4, chance=chance, minimum=minimum
    )
    return min(low, value), max(high, value), undefined


def method_of(call: str, method: object, metric: Metric) -> Method:
    """The method asked for, or the one that suits the metric."""
    if method is None:
        known = properties_of(metric)
        return "percentile" if known is None or known.chance is None else "bounded bias"
    if method == "percentile":
        return "percentile"
    if method == "basic":
        return "basic"
    raise ValueError(
        f"{call} needs method='percentile' or method='basic': received {method!r}. Leave it out "
        "for the one that suits the metric."
    )


def value_of(call: str, metric: Metric, pred: object, y: npt.ArrayLike) -> float:
    """The metric of the rows as they are, which has to be one number of pairs."""
    if not callable(metric):
        raise TypeError(
            f"{call} needs a metric to call: received {metric!r}. Write sbn.metrics.nll, say."
        )
    known = properties_of(metric)
    if known is not None and known.of_two_sides:
        raise TypeError(
            f"{call} resamples rows that have a prediction and an observation each: "
            f"{name_of(metric)} is of the scores of two sets of rows. Write "
            "detection_interval(metric, score_in, score_out), or compare_detection(...) for two "
            "scores."
        )
    value = metric(pred, y)
    if np.ndim(value) != 0:
        raise TypeError(
            f"{call} needs a metric that gives a number: {name_of(metric)} gave a value of type "
            f"{type(value).__name__}. Choose one of its numbers, as in lambda pred, y: f(pred, "
            "y).value."
        )
    return float(value)
