r"""Top-label calibration: does the most probable class come true as often as its probability says?

A row's confidence is the largest of its probabilities, and it is correct where the class that has
it is the label.  Rows are binned by confidence into B bins of equal width,

.. math:: \bigl(\tfrac{b}{B}, \tfrac{b+1}{B}\bigr], \quad b = 0, \dots, B - 1,

so a confidence of exactly 1 is in the last bin and one on an edge is in the bin below it.  The
edges are the quotients b/B rounded to float64.  With :math:`n_b` rows in bin b and :math:`g_b` the
difference there of mean confidence and share of correct rows, over the bins that have rows,

* expected calibration error: :math:`\sum_b \tfrac{n_b}{N} |g_b|`;
* maximum calibration error: :math:`\max_b |g_b|`;
* root mean squared calibration error: :math:`(\sum_b \tfrac{n_b}{N} g_b^2)^{1/2}`.

Binned errors are biased upwards: the chance differences within the bins add up also for a perfectly
calibrated model.

References:
    M. P. Naeini, G. F. Cooper, M. Hauskrecht. Obtaining well calibrated probabilities using
    Bayesian binning. AAAI 2015.

    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger. On calibration of modern neural networks. ICML
    2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import Predicted, check_count, probabilities_and_labels
from bayes_sbn.metrics.properties import metric_properties
from bayes_sbn.metrics.scores import correctness


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Confidence against accuracy in bins of confidence.

    Args:
        edges: float64 (bins + 1,), the edges b/B; bin b is (edges[b], edges[b + 1]].
        confidence: float64 (bins,), mean confidence of a bin's rows; NaN in an empty bin.
        accuracy: float64 (bins,), share of a bin's rows that are correct; NaN in an empty bin.
        count: int64 (bins,), rows in each bin.
    """

    edges: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]


def reliability_curve(pred: Predicted, y: npt.ArrayLike, *, num_bins: int = 15) -> ReliabilityCurve:
    """Mean confidence, accuracy and number of rows in bins of top-label confidence.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        num_bins: bins of equal width, at least 1.
    """
    call = "reliability_curve()"
    probs, labels = probabilities_and_labels(call, pred, y)
    num_bins = check_count(call, "num_bins", num_bins, minimum=1, usual=15)
    confidence = probs.max(axis=-1)
    bins = bin_of(confidence, num_bins)
    count = np.bincount(bins, minlength=num_bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of an empty bin
        return ReliabilityCurve(
            edges=bin_edges(num_bins),
            confidence=np.bincount(bins, confidence, num_bins) / count,
            accuracy=np.bincount(bins, correctness(probs, labels), num_bins) / count,
            count=count.astype(np.int64, copy=False),
        )


@metric_properties(better="less", minimum=0, biased_upwards=True)
def ece(pred: Predicted, y: npt.ArrayLike, *, num_bins: int = 15) -> float:
    """Expected calibration error: mean over rows of the gap of their bin; top label, equal widths.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        num_bins: bins of equal width, at least 1.
    """
    return float(ece_of_sums(*_sums("ece()", pred, y, num_bins)))


@metric_properties(better="less", minimum=0, biased_upwards=True)
def mce(pred: Predicted, y: npt.ArrayLike, *, num_bins: int = 15) -> float:
    """Maximum calibration error: the largest gap of a bin that has rows; top label, equal widths.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        num_bins: bins of equal width, at least 1.
    """
    return float(mce_of_sums(*_sums("mce()", pred, y, num_bins)))


@metric_properties(better="less", minimum=0, biased_upwards=True)
def rmsce(pred: Predicted, y: npt.ArrayLike, *, num_bins: int = 15) -> float:
    """Root mean squared calibration error over rows; top label, equal widths.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        num_bins: bins of equal width, at least 1.
    """
    return float(rmsce_of_sums(*_sums("rmsce()", pred, y, num_bins)))


def bin_edges(num_bins: int) -> npt.NDArray[np.float64]:
    """The quotients b/B, each correctly rounded; a multiple of the width 1/B would not be."""
    return np.asarray(np.arange(num_bins + 1) / num_bins)


def bin_of(confidence: npt.NDArray[np.float64], num_bins: int) -> npt.NDArray[np.intp]:
    """The bin (edge, next edge] that holds each confidence; confidences are positive."""
    return np.searchsorted(bin_edges(num_bins), confidence, side="left") - 1


def calibration_gap(
    probs: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Confidence minus correctness of each row; its mean over a bin is the bin's gap."""
    return np.asarray(probs.max(axis=-1) - correctness(probs, labels))


# The errors as functions of each bin's sum of gaps and number of rows, bins along the last axis, so
# that one definition serves the rows as they are and every resample of them.


def ece_of_sums(
    gap: npt.NDArray[np.float64], count: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Expected calibration error from the bins' sums of gaps and counts."""
    return np.asarray(np.abs(gap).sum(axis=-1) / count.sum(axis=-1))


def mce_of_sums(
    gap: npt.NDArray[np.float64], count: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Maximum calibration error from the bins' sums of gaps and counts."""
    return np.asarray(np.max(np.abs(gap) / np.maximum(count, 1), axis=-1))


def rmsce_of_sums(
    gap: npt.NDArray[np.float64], count: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Root mean squared calibration error from the bins' sums of gaps and counts."""
    # n (gap / n)^2 = gap^2 / n, and an empty bin has gap 0.
    squares = (gap**2 / np.maximum(count, 1)).sum(axis=-1)
    return np.asarray(np.sqrt(squares / count.sum(axis=-1)))


def _sums(
    call: str, pred: Predicted, y: npt.ArrayLike, num_bins: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    probs, labels = probabilities_and_labels(call, pred, y)
    num_bins = check_count(call, "num_bins", num_bins, minimum=1, usual=15)
    bins = bin_of(probs.max(axis=-1), num_bins)
    gap = np.bincount(bins, calibration_gap(probs, labels), num_bins)
    return np.asarray(gap), np.bincount(bins, minlength=num_bins).astype(np.float64)
