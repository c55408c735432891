r"""The metrics of a prediction of real targets in one table, each with its convention and interval.

As in :mod:`bayes_sbn.metrics.report` the intervals come from resampling the rows, all metrics on
the same resamples, and say how far a metric would move with another test set of the same size.
They are those that :func:`~bayes_sbn.metrics.bootstrap_interval` gives: percentile intervals for
means over rows, and functions of such means (rmse, r2, sharpness); for the miscalibration area,
which chance moves upwards, the interval of bounded bias (:mod:`bayes_sbn.metrics.resampling`),
whose lower end is 0 unless the rows speak against calibration.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import UndefinedMetricWarning, check_level
from bayes_sbn.metrics.bootstrap import usual_ends
from bayes_sbn.metrics.chance_alone import num_redraws, of_transforms, values_by_chance
from bayes_sbn.metrics.crps import crps_of_rows
from bayes_sbn.metrics.intervals import central_interval
from bayes_sbn.metrics.normal_mixture import mixture_log_prob, mixture_moments
from bayes_sbn.metrics.pit import pit_values
from bayes_sbn.metrics.properties import properties_of
from bayes_sbn.metrics.regression_arguments import (
    NormalMixturePrediction,
    mixture_and_targets,
)
from bayes_sbn.metrics.regression_calibration import (
    NUM_LEVELS,
    area_from_diagonal,
    miscalibration_area,
)
from bayes_sbn.metrics.report_base import MetricRow, ReportBase, counted
from bayes_sbn.metrics.resampling import rank_of_ends, resampled_sums

INTERVAL_LEVEL = 0.9
"""Level of the central intervals whose coverage, width and score are reported."""

_IN_WORDS = f"{100 * INTERVAL_LEVEL:g} % interval"

CONVENTIONS = {
    "rmse": "root mean squared error of the predicted mean",
    "mae": "mean absolute error of the predicted mean",
    "r2": "1 - squared errors of the predicted mean / those of the targets' own mean",
    "nlpd": "minus log density of the mixture of the draws, nats, mean over rows",
    "crps": "continuous ranked probability score of the mixture of the draws, mean over rows",
    "coverage": f"share of targets in the central {_IN_WORDS} of the mixture",
    "width": f"mean width of the central {_IN_WORDS}",
    "interval_score": f"{_IN_WORDS}: width + 2 / {1 - INTERVAL_LEVEL:.1g} distance of a miss",
    "miscalibration_area": f"between coverage and level of central intervals, {NUM_LEVELS} levels",
    "sharpness": "root mean predicted variance",
}
"""What each row of a report measures, in words."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RegressionReport(ReportBase):
    """The metrics of one prediction of real targets; ``print`` shows them as a table.

    Args:
        rows: the metrics.
        num_rows: rows of the test set.
        num_draws: draws whose laws are mixed.
        bootstrap: resamples behind each interval.
        level: level of the intervals.
        seed: seed of the resampling, and of the randomised transforms of draws of the targets.
    """

    num_draws: int
    bootstrap: int
    level: float
    seed: int

    def __str__(self) -> str:
        draws = "1 draw" if self.num_draws == 1 else f"mixture of {self.num_draws} draws"
        return self._table(
            f"{counted(self.num_rows, 'row')}, real target, {draws}",
            f"{100 * self.level:g} % interval",
            self.note,
            ".5g",
        )

    @property
    def note(self) -> str:
        """Where the intervals come from."""
        return (
            f"Intervals: {self.bootstrap} resamples of the rows, seed {self.seed}; that of "
            "the miscalibration area allows for what chance alone makes."
        )


def regression_report(
    pred: NormalMixturePrediction,
    y: npt.ArrayLike,
    *,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> RegressionReport:
    """Errors, proper scores, intervals and calibration of a prediction of real targets.

    It is what :func:`bayes_sbn.metrics.report` gives for such a prediction.  Point masses have no
    density: nlpd is NaN then, with an UndefinedMetricWarning; so is r2 where all targets are the
    same.

    Args:
        pred: a RegressionPredictions, or a NormalMixture.
        y: targets (rows,).
        bootstrap: resamples of the rows.
        level: level of the bootstrap intervals, between 0 and 1.
        seed: seed of the resampling; the same seed gives the same report.

    Example:
        >>> from bayes_sbn.metrics import NormalMixture
        >>> pred = NormalMixture([0.0, 1.0, 2.0], 1.0)
        >>> print(regression_report(pred, [0.5, 0.5, 3.0]))  # doctest: +ELLIPSIS
        3 rows, real target, 1 draw
        metric                 value  95 % interval ... convention
        rmse                 0.70711  [0.5, 1]      ... root mean squared error of ...
        ...
    """
    call = "report()"
    mixture, target = mixture_and_targets(call, pred, y)
    rank_of_ends(call, bootstrap, check_level(call, level))
    generator = np.random.default_rng(seed)
    undefined = _undefined(call, mixture, target)

    losses = _losses(mixture, target, has_density="nlpd" not in undefined)
    # Row n is inside the central intervals from the first level on that reaches its distance.
    levels = np.linspace(0, 1, NUM_LEVELS)
    distance = np.abs(2 * pit_values(call, mixture, target, seed) - 1)
    first = np.eye(NUM_LEVELS)[np.searchsorted(levels, distance, side="left")]
    columns = np.concatenate([*losses.values(), *first.T]).reshape(-1, len(target)).T
    sums = resampled_sums(columns, bootstrap, generator)
    resampled = _metrics(dict(zip(losses, sums.T, strict=False)), len(target))
    values = _metrics({name: loss.sum(keepdims=True) for name, loss in losses.items()}, len(target))

    rows = []
    for name, (number,) in values.items():
        value, low, high = float(number), math.nan, math.nan
        if name not in undefined:
            low, high, _ = usual_ends(
                call, value, resampled[name], level, properties=None, chance=None
            )
        rows.append(MetricRow(name, value, low, high, CONVENTIONS[name]))

    area = float(_areas(levels, first.sum(axis=0)))
    areas = _areas(levels, sums[:, len(losses) :])
    by_chance = values_by_chance(
        of_transforms, miscalibration_area, mixture, target, num_redraws(bootstrap, level), seed
    )
    known = properties_of(miscalibration_area)
    low, high, _ = usual_ends(call, area, areas, level, properties=known, chance=by_chance)
    name = "miscalibration_area"
    rows.insert(-1, MetricRow(name, area, low, high, CONVENTIONS[name]))
    num_draws = len(mixture.mean_per_draw)
    return RegressionReport(tuple(rows), len(target), num_draws, bootstrap, float(level), seed)


def _undefined(call: str, mixture: NormalMixturePrediction, target: Array) -> set[str]:
    """Metrics that are not defined for these rows, after a warning for each."""
    reasons = {}
    if np.any(mixture.scale_per_draw == 0):
        reasons["nlpd"] = "some draws are point masses, which have no density"
    if np.all(target == target[0]):
        reasons["r2"] = "all targets are the same, so that there is no variance to explain"
    for name, reason in reasons.items():
        warnings.warn(
            f"{call}: {name} is NaN, since {reason}.", UndefinedMetricWarning, stacklevel=4
        )
    return set(reasons)


def _losses(
    mixture: NormalMixturePrediction, target: Array, *, has_density: bool
) -> dict[str, Array]:
    """What is summed over the rows, each (rows,)."""
    mean, scale = mixture.mean_per_draw, mixture.scale_per_draw
    moments = mixture_moments(mean, scale)
    error, deviation = target - moments.mean, target - target.mean()
    low, high = central_interval(mixture, INTERVAL_LEVEL)
    outside = np.maximum(low - target, 0) + np.maximum(target - high, 0)
    nlpd = np.full(len(target), np.nan)
    if has_density:
        nlpd = -mixture_log_prob(mean, scale, target)
    # An infinite loss is counted apart: 0 resamples of it times infinity would be NaN.
    infinite = np.isposinf(nlpd)
    return {
        "squared error": error**2,
        "absolute error": np.abs(error),
        "deviation": deviation,
        "squared deviation": deviation**2,
        "nlpd": np.where(infinite, 0, nlpd),
        "infinite nlpd": infinite.astype(np.float64),
        "crps": crps_of_rows(mean, scale, target),
        "covered": ((low <= target) & (target <= high)).astype(np.float64),
        "width": high - low,
        "interval score": high - low + 2 / (1 - INTERVAL_LEVEL) * outside,
        "variance": moments.variance,
    }


def _metrics(sums: Mapping[str, Array], num_rows: int) -> dict[str, Array]:
    """All metrics but the area, from sums over the rows of each resample; arrays (resamples,)."""
    mean = {name: total / num_rows for name, total in sums.items()}
    variance = mean["squared deviation"] - mean["deviation"] ** 2
    # Of targets all alike the difference is 0 but for rounding.
    is_constant = variance <= 1e-12 * mean["squared deviation"]
    explained = 1 - mean["squared error"] / np.where(is_constant, np.nan, variance)
    return {
        "rmse": np.sqrt(mean["squared error"]),
        "mae": mean["absolute error"],
        "r2": explained,
        "nlpd": np.where(mean["infinite nlpd"] > 0, np.inf, mean["nlpd"]),
        "crps": mean["crps"],
        "coverage": mean["covered"],
        "width": mean["width"],
        "interval_score": mean["interval score"],
        "sharpness": np.sqrt(mean["variance"]),
    }


def _areas(levels: Array, counts: npt.NDArray[Any]) -> Array:
    """Miscalibration areas of counts (..., levels) of rows that each level reaches first."""
    observed = np.cumsum(counts, axis=-1)
    return area_from_diagonal(levels, observed / observed[..., -1:])
