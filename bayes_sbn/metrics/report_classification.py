r"""The report of class probabilities: six metrics, each with its convention and an interval.

The intervals say how far a metric would move with another test set of the same size.  They come
from resampling the rows with replacement, all metrics on the same resamples; :math:`t` is the
metric's value, :math:`t_{(1)} \le \dots \le t_{(B)}` its sorted values on the resamples and
:math:`k = \lfloor (B + 1)(1 - \text{level}) / 2 \rfloor`.

* Accuracy, nll and brier are means over rows.  Their interval is the percentile interval
  :math:`[t_{(k)}, t_{(B+1-k)}]`.
* The calibration errors are binned and biased upwards, and each resample adds the same bias again:
  percentile intervals of a calibrated model lie above the truth nearly always.  They get the
  basic interval :math:`[2t - t_{(B+1-k)}, 2t - t_{(k)}]`, in which that bias cancels, cut at 0 and
  widened to contain t.  Its lower end is 0 unless the rows speak against calibration: t exceeds the
  level-quantile of the errors on labels redrawn as if every confidence were true.

The intervals are approximate, those of the calibration errors more so, and least to be trusted is
that of mce, which the emptiest bin rules; the tests simulate how often they cover the truth.

References:
    A. C. Davison, D. V. Hinkley. Bootstrap Methods and their Application. Cambridge University
    Press 1997, chapter 5.

    J. Bröcker, L. A. Smith. Increasing the reliability of reliability diagrams. Weather and
    Forecasting 22, 2007 (labels redrawn from the forecast: consistency resampling).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import (
    Predicted,
    check_level,
    is_prediction,
    probabilities_and_labels,
)
from bayes_sbn.metrics.calibration import (
    calibration_gap,
    ece_of_sums,
    mce_of_sums,
    rmsce_of_sums,
)
from bayes_sbn.metrics.calibration_bins import bin_of
from bayes_sbn.metrics.report_base import MetricRow, ReportBase, counted
from bayes_sbn.metrics.resampling import blocks, rank_of_ends, resampled_sums
from bayes_sbn.metrics.scores import correctness, negative_log_probability, squared_distance

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

_CALIBRATION_ERRORS = {"ece": ece_of_sums, "mce": mce_of_sums, "rmsce": rmsce_of_sums}


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
            f"Intervals: {self.bootstrap} resamples of the rows, seed {self.seed}; calibration "
            "errors corrected for the bias of binning.",
            ".4f",
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
    rank = rank_of_ends("report()", bootstrap, check_level("report()", level))
    generator = np.random.default_rng(seed)

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
    resampled = resampled_sums(columns, bootstrap, generator)
    redrawn = _gaps_if_calibrated(confidence, in_bin, bootstrap, generator)

    rows = []
    value_of_mean = _means(means.sum(axis=0), len(probs))
    resampled_means = np.sort(_means(resampled[:, :4], len(probs)), axis=0)
    for i, metric in enumerate(("accuracy", "nll", "brier")):
        low, high = resampled_means[rank - 1, i], resampled_means[bootstrap - rank, i]
        rows.append(_row(metric, value_of_mean[i], low, high))

    bin_gap, bin_count = np.split(resampled[:, 4:], 2, axis=-1)
    for metric, error in _CALIBRATION_ERRORS.items():
        value = float(error(gaps.sum(axis=0), in_bin.sum(axis=0)))
        errors = np.sort(error(bin_gap, bin_count))
        if_calibrated = np.sort(error(redrawn, in_bin.sum(axis=0)))
        is_rejected = value > if_calibrated[bootstrap - 2 * rank]
        low = min(max(2 * value - errors[bootstrap - rank], 0), value) if is_rejected else 0
        rows.append(_row(metric, value, low, max(2 * value - errors[rank - 1], value)))

    num_draws = len(pred.probs_per_draw) if is_prediction(pred) else None
    num_rows, num_classes = probs.shape
    return Report(tuple(rows), num_rows, num_classes, num_draws, bootstrap, float(level), seed)


def _gaps_if_calibrated(
    confidence: npt.NDArray[np.float64],
    in_bin: npt.NDArray[np.float64],
    bootstrap: int,
    generator: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """The bins' sums of gaps with every row correct at the rate it claims, (bootstrap, bins)."""
    sums = np.empty((bootstrap, in_bin.shape[1]))
    for block in blocks(bootstrap, len(confidence)):
        uniform = generator.random((block.stop - block.start, len(confidence)))
        sums[block] = (confidence - (uniform < confidence)) @ in_bin
    return sums


def _means(sums: npt.NDArray[np.float64], num_rows: int) -> npt.NDArray[np.float64]:
    """Accuracy, nll and brier from sums of correct, finite losses, squares and infinite losses."""
    means = sums[..., :3] / num_rows
    means[..., 1] = np.where(sums[..., 3] > 0, np.inf, means[..., 1])
    return np.asarray(means)


def _row(metric: str, value: float, low: float, high: float) -> MetricRow:
    return MetricRow(metric, float(value), float(low), float(high), CONVENTIONS[metric])
