r"""Calibration errors in bins: do events come true as often as their probability says?

The events are those of the most probable class, whose probability is the confidence of the row; or
of each class; or of all classes in one heap (``kind``, see :mod:`bayes_sbn.metrics.events`).  They
are put into B bins by their probability, of equal width :math:`(b/B, (b+1)/B]` or of equal mass
(``bins``, see :mod:`bayes_sbn.metrics.calibration_bins`).  With :math:`n_b` events in bin b, N in
all, and :math:`g_b` the difference there of mean probability and share of events that came true,
over the bins that have events,

* expected calibration error: :math:`\sum_b \tfrac{n_b}{N} |g_b|`;
* maximum calibration error: :math:`\max_b |g_b|`;
* root mean squared calibration error: :math:`(\sum_b \tfrac{n_b}{N} g_b^2)^{1/2}`.

Of ``kind="classwise"`` it is the mean of the classes' expected errors, the largest of their maximum
errors, and the root of the mean of the squares of their root mean squared errors.

Binned errors are biased upwards: the chance differences within the bins add up also for a perfectly
calibrated model.  :func:`debiased_rmsce` subtracts, bin by bin, an unbiased estimate of what chance
added to the square,

.. math:: \sum_b \frac{n_b}{N} \Bigl( g_b^2 - \frac{\bar z_b (1 - \bar z_b)}{n_b - 1} \Bigr)

with :math:`\bar z_b` the share of events that came true.  A bin of a single event adds nothing,
since of one there is no estimate.

References:
    M. P. Naeini, G. F. Cooper, M. Hauskrecht. Obtaining well calibrated probabilities using
    Bayesian binning. AAAI 2015.

    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger. On calibration of modern neural networks. ICML
    2017.

    M. Kull, M. Perelló-Nieto, M. Kängsepp, T. Silva Filho, H. Song, P. Flach. Beyond temperature
    scaling. NeurIPS 2019 (each class by itself).

    A. Kumar, P. Liang, T. Ma. Verified uncertainty calibration. NeurIPS 2019 (the debiased square;
    its "marginal calibration error" is our ``rmsce(kind="classwise")``).

    J. Bröcker. Estimating reliability and resolution of probability forecasts through decomposition
    of the empirical score. Climate Dynamics 39, 2012 (the same correction of reliability).
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import (
    Predicted,
    UndefinedMetricWarning,
    check_count,
    probabilities_and_labels,
)
from bayes_sbn.metrics.calibration_bins import Bins, check_bins, sums_in_bins
from bayes_sbn.metrics.chance_alone import of_labels
from bayes_sbn.metrics.events import Kind, check_kind, events
from bayes_sbn.metrics.properties import metric_properties
from bayes_sbn.metrics.scores import correctness


@metric_properties(better="less", minimum=0, chance=of_labels)
def ece(
    pred: Predicted,
    y: npt.ArrayLike,
    *,
    kind: Kind = "top",
    bins: Bins = "width",
    num_bins: int = 15,
) -> float:
    """Expected calibration error: mean over the events of the absolute gap of their bin.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        kind: events of the "top" label, of each class, "classwise" (mean over the classes), or of
            all classes in one heap, "marginal".
        bins: of equal "width" or "mass".
        num_bins: bins, at least 1.
    """
    gap, count, _ = _sums("ece()", pred, y, kind, bins, num_bins)
    return float(np.mean(ece_of_sums(gap, count)))


@metric_properties(better="less", minimum=0, chance=of_labels)
def mce(
    pred: Predicted,
    y: npt.ArrayLike,
    *,
    kind: Kind = "top",
    bins: Bins = "width",
    num_bins: int = 15,
) -> float:
    """Maximum calibration error: the largest absolute gap of a bin that has events.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        kind: events of the "top" label, of each class, "classwise" (the largest of all classes), or
            of all classes in one heap, "marginal".
        bins: of equal "width" or "mass".
        num_bins: bins, at least 1.
    """
    gap, count, _ = _sums("mce()", pred, y, kind, bins, num_bins)
    return float(np.max(mce_of_sums(gap, count)))


@metric_properties(better="less", minimum=0, chance=of_labels)
def rmsce(
    pred: Predicted,
    y: npt.ArrayLike,
    *,
    kind: Kind = "top",
    bins: Bins = "width",
    num_bins: int = 15,
) -> float:
    """Root mean squared calibration error over events.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        kind: events of the "top" label, of each class, "classwise" (mean square over the classes),
            or of all classes in one heap, "marginal".
        bins: of equal "width" or "mass".
        num_bins: bins, at least 1.
    """
    gap, count, _ = _sums("rmsce()", pred, y, kind, bins, num_bins)
    return float(np.sqrt(np.mean(msce_of_sums(gap, count))))


@metric_properties(better="less", minimum=0, chance=of_labels)
def debiased_rmsce(
    pred: Predicted,
    y: npt.ArrayLike,
    *,
    kind: Kind = "top",
    bins: Bins = "mass",
    num_bins: int = 15,
    squared: bool = False,
) -> float:
    """Root mean squared calibration error without the bias that chance adds to the square.

    The square is unbiased for the binned one, and negative at times where the model is calibrated;
    the root of a negative square is given as 0.  It is NaN, with an UndefinedMetricWarning, where
    no bin has two events.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        kind: events of the "top" label, of each class, "classwise" (mean square over the classes),
            or of all classes in one heap, "marginal".
        bins: of equal "width" or "mass".
        num_bins: bins, at least 1.
        squared: give the square itself, which may be negative.

    Example:
        >>> pred = [[0.75, 0.25]] * 8
        >>> rmsce(pred, [0, 0, 0, 0, 1, 1, 1, 1]), debiased_rmsce(pred, [0, 0, 0, 0, 1, 1, 1, 1])
        (0.25, 0.1636634176769943)
    """
    gap, count, hits = _sums("debiased_rmsce()", pred, y, kind, bins, num_bins)
    several = count > 1
    if not several.any(axis=-1).all():
        warnings.warn(
            "debiased_rmsce(): no bin has two events, and of one there is no estimate of what "
            "chance added; the result is NaN. Score more rows, or write num_bins=5, say.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        return math.nan
    n = np.where(several, count, 2)
    by_chance = hits * (n - hits) / n**2 / (n - 1)
    squares = np.where(several, count * ((gap / n) ** 2 - by_chance), 0).sum(axis=-1)
    square = float(np.mean(squares / count.sum(axis=-1)))
    return square if squared else math.sqrt(max(square, 0))


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
    return np.asarray(np.sqrt(msce_of_sums(gap, count)))


def msce_of_sums(
    gap: npt.NDArray[np.float64], count: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Its square."""
    # n (gap / n)^2 = gap^2 / n, and an empty bin has gap 0.
    squares = (gap**2 / np.maximum(count, 1)).sum(axis=-1)
    return np.asarray(squares / count.sum(axis=-1))


def _sums(
    call: str, pred: Predicted, y: npt.ArrayLike, kind: Kind, bins: Bins, num_bins: int
) -> tuple[npt.NDArray[np.float64], ...]:
    probs, labels = probabilities_and_labels(call, pred, y)
    kind = check_kind(call, kind, ("top", "classwise", "marginal"))
    num_bins = check_count(call, "num_bins", num_bins, minimum=1, usual=15)
    return sums_in_bins(*events(probs, labels, kind), check_bins(call, bins), num_bins)
