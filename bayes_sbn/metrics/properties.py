"""What is known of a metric beyond its value: which way is better, its bias, its row losses.

A metric is a function ``metric(pred, y) -> float``.  Resampling it goes better for knowing these of
it (:mod:`bayes_sbn.metrics.bootstrap`); the function's own file states them by a decorator:

>>> @metric_properties(better="less", minimum=0)
... def error_rate(pred, y):
...     return float(np.mean(np.argmax(pred, axis=-1) != y))
>>> properties_of(error_rate).better
'less'
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

Metric = Callable[[Any, Any], float]
"""A scalar of predictions and observations, ``metric(pred, y)``."""

RowLosses = Callable[..., npt.NDArray[np.float64]]
"""The numbers (rows,) whose mean is the metric; takes what the metric takes."""

OneByChance = Callable[[np.random.Generator], float]
"""One value that chance alone makes."""

Chance = Callable[[Metric, Any, Any], OneByChance]
"""What chance alone adds to a metric, of ``(metric, pred, y)``, where it adds most."""

Better = Literal["less", "greater"]

_Function = TypeVar("_Function", bound=Callable[..., float])


@dataclass(frozen=True)
class MetricProperties:
    """What is known of a metric.

    Args:
        better: whether "less" or "greater" is better; None where neither is, as of a share that
            should be the level of the intervals.
        minimum: the least value it can take.
        chance: for metrics in which chance differences add up, as in a binned calibration error,
            what chance alone makes of them; see :mod:`bayes_sbn.metrics.chance_alone`.
        row_losses: the numbers whose mean over rows it is, if it is one.
        of_two_sides: whether it is of the scores of two sets of rows, and not of one set.
    """

    better: Better | None
    minimum: float = -math.inf
    chance: Chance | None = None
    row_losses: RowLosses | None = None
    of_two_sides: bool = False


_PROPERTIES: dict[Callable[..., float], MetricProperties] = {}


def metric_properties(
    *,
    better: Better | None,
    minimum: float = -math.inf,
    chance: Chance | None = None,
    row_losses: RowLosses | None = None,
    of_two_sides: bool = False,
) -> Callable[[_Function], _Function]:
    """A decorator that notes the properties of a metric and leaves the function as it is.

    Args:
        better: whether "less" or "greater" is better; None where neither is.
        minimum: the least value it can take.
        chance: what chance alone makes of it, where it is positive by chance although the
            population's is 0: ``chance_alone.of_labels``, say.
        row_losses: a function that gives the numbers whose mean it is, of ``(pred, y)`` and the
            metric's options under the same names.
        of_two_sides: whether it is of the scores of two sets of rows.
    """
    properties = MetricProperties(better, minimum, chance, row_losses, of_two_sides)

    def note(metric: _Function) -> _Function:
        _PROPERTIES[metric] = properties
        return metric

    return note


def properties_of(metric: Callable[..., float]) -> MetricProperties | None:
    """The properties of a metric, or None for a function of which nothing was said.

    ``functools.partial(ece, num_bins=10)`` has those of ``ece``.
    """
    if isinstance(metric, functools.partial):
        of_whole = properties_of(metric.func)
        if of_whole is None or of_whole.row_losses is None:
            return of_whole
        with_options = functools.partial(of_whole.row_losses, *metric.args, **metric.keywords)
        return replace(of_whole, row_losses=with_options)
    return _PROPERTIES.get(metric)


def name_of(metric: Callable[..., float]) -> str:
    """What an error calls it."""
    return getattr(metric, "__name__", repr(metric))
