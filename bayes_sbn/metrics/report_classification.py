r"""The report of class probabilities: six metrics, each with its convention and an interval.

The intervals say how far a metric would move with another test set of the same size.  They come
from resampling the rows with replacement, all metrics on the same resamples, and are those that
:func:`~bayes_sbn.metrics.bootstrap_interval` gives for each metric by itself: of accuracy, nll and
brier, which are means over rows, percentile intervals; of the calibration errors, which chance
moves upwards, intervals of bounded bias, whose lower end is 0 unless the rows speak against
calibration (:mod:`bayes_sbn.metrics.resampling`).  Here both are made from sums over bins, without
computing a metric anew on every resample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import (
    Predicted,
    check_level,
    is_prediction,
    probabilities_and_labels,
)
from bayes_sbn.metrics.bootstrap import usual_ends
from bayes_sbn.metrics.calibration import (
    calibration_gap,
    ece,
    ece_of_sums,
    mce,
    mce_of_sums,
    rmsce,
    rmsce_of_sums,
)
from bayes_sbn.metrics.calibration_bins import bin_of
from bayes_sbn.metrics.chance_alone import labels_drawn_from, num_redraws, redraw_generator
from bayes_sbn.metrics.properties import Metric, name_of, properties_of
from bayes_sbn.metrics.report_base import MetricRow, ReportBase, counted
from bayes_sbn.metrics.resampling import blocks, rank_of_ends, resampled_sums
from bayes_sbn.metrics.scores import (
    accuracy,
    brier,
    correctness,
    negative_log_probability,
    nll,
    squared_distance,
)

NUM_BINS = 15
"""Bins of the calibration errors in a report."""

CONVENTIONS = {
    "accuracy": "share of rows whose most probable class is the label",
    "nll": "minus log mean probability of the label, nats, unclipped, mean over rows",
    "brier": "squared error summed over classes (0 to 2, not halved), mean over rows",
    "ece": f"top label, {NUM_BINS} equal-width bins (a, b], mean |confidence - accuracy|",
    "mce": f"top label, {NUM_BINS} equal-width bins (a, b], largest |confidence - accuracy|",
    "rmsce": f"top label, {NUM_BINS} equal-width bins (a, b], root mean square of the gaps",
}
"""What each row of a report measures, in words."""

Array = npt.NDArray[np.float64]

_ERRORS: dict[Callable[..., float], Callable[[Array, Array], Array]] = {
    ece: ece_of_sums,
    mce: mce_of_sums,
    rmsce: rmsce_of_sums,
}


@dataclass(frozen=True)
class Report(ReportBase):
    """The metrics of one prediction on one set of labels; ``print`` shows them as a table.

    Args:
        rows: the metrics.
        num_rows: rows of the test set.
        num_classes: classes.
        num_draws: draws whose probabilities were averaged; None for an array of probabilities.
        bootstrap: resamples behind each interval.
        level: level of the intervals.
        seed: seed of the resampling.
    """

    num_classes: int
    num_draws: int | None
    bootstrap: int
    level: float
    seed: int

    def __str__(self) -> str:
        draws = "" if self.num_draws is None else f", mean of {counted(self.num_draws, 'draw')}"
        return self._table(
            f"{counted(self.num_rows, 'row')}, {self.num_classes} classes{draws}",
            f"{100 * self.level:g} % interval",
            self.note,
            ".4f",
        )

    @property
    def note(self) -> str:
        """Where the intervals come from."""
        return (
            f"Intervals: {self.bootstrap} resamples of the rows, seed {self.seed}; those of "
            "calibration errors allow for what chance alone makes."
        )


def classification_report(
    pred: Predicted, y: npt.ArrayLike, *, bootstrap: int, level: float, seed: int
) -> Report:
    """Accuracy, nll, brier, ece, mce and rmsce with intervals.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        bootstrap: resamples of the rows.
        level: level of the intervals, between 0 and 1.
        seed: seed of the resampling.
    """
    probs, labels = probabilities_and_labels("report()", pred, y)
    rank_of_ends("report()", bootstrap, check_level("report()", level))

    losses = negative_log_probability(probs, labels)
    # An infinite loss is counted apart: 0 resamples of it times infinity would be NaN.
    infinite = np.isinf(losses)
    means = np.stack(
        [
            correctness(probs, labels),
            np.where(infinite, 0, losses),
            squared_distance(probs, labels),
            infinite,
        ],
        axis=-1,
    )
    confidence = probs.max(axis=-1)
    in_bin = np.eye(NUM_BINS)[bin_of(confidence, NUM_BINS)]
    gaps = in_bin * calibration_gap(probs, labels)[:, None]
    columns = np.concatenate([means, gaps, in_bin], axis=-1)
    resampled = resampled_sums(columns, bootstrap, np.random.default_rng(seed))
    bin_count = in_bin.sum(axis=0)
    by_chance = _gaps_by_chance(probs, in_bin, num_redraws(bootstrap, level), seed)

    def row(metric: Metric, value: float, values: Array, chance: Array | None = None) -> MetricRow:
        name = name_of(metric)
        low, high, _ = usual_ends(
            f"report(): {name}",
            value,
            values,
            level,
            properties=properties_of(metric),
            chance=chance,
        )
        return MetricRow(name, value, low, high, CONVENTIONS[name])

    rows = []
    value_of_mean = _means(means.sum(axis=0), len(probs))
    for i, metric in enumerate((accuracy, nll, brier)):
        values = _means(resampled[:, :4], len(probs))[:, i]
        rows.append(row(metric, float(value_of_mean[i]), values))
    gap_resampled, count_resampled = np.split(resampled[:, 4:], 2, axis=-1)
    for metric, error in _ERRORS.items():
        value = float(error(gaps.sum(axis=0), bin_count))
        values = error(gap_resampled, count_resampled)
        rows.append(row(metric, value, values, error(by_chance, bin_count)))

    num_draws = len(pred.probs_per_draw) if is_prediction(pred) else None
    num_rows, num_classes = probs.shape
    return Report(tuple(rows), num_rows, num_classes, num_draws, bootstrap, float(level), seed)


def _gaps_by_chance(probs: Array, in_bin: Array, redraws: int, seed: int) -> Array:
    """The bins' sums of gaps on labels drawn from the probabilities, (redraws, bins)."""
    draw, generator = labels_drawn_from(probs), redraw_generator(seed)
    confidence, top = probs.max(axis=-1), probs.argmax(axis=-1)
    sums = np.empty((redraws, in_bin.shape[1]))
    for block in blocks(redraws, probs.size):
        labels = draw(generator, block.stop - block.start)
        sums[block] = (confidence - (labels == top)) @ in_bin
    return sums


def _means(sums: npt.NDArray[np.float64], num_rows: int) -> npt.NDArray[np.float64]:
    """Accuracy, nll and brier from sums of correct, finite losses, squares and infinite losses."""
    means = sums[..., :3] / num_rows
    means[..., 1] = np.where(sums[..., 3] > 0, np.inf, means[..., 1])
    return np.asarray(means)
