"""The reliability curve: share of events that came true against their probability, in bins.

The bins are those of :mod:`bayes_sbn.metrics.calibration_bins`, and the calibration errors of
:mod:`bayes_sbn.metrics.calibration` are sums over them: the expected one is the mean over the
events of the absolute difference of both in their bin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import Predicted, check_count, probabilities_and_labels
from bayes_sbn.metrics.calibration_bins import Bins, bin_edges, bin_of, check_bins, mass_edges
from bayes_sbn.metrics.events import Of, events_of


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Confidence against accuracy in bins of confidence; of a class, probability against share.

    Args:
        edges: float64 (bins + 1,), the edges; bin b is (edges[b], edges[b + 1]].
        confidence: float64 (bins,), mean probability of a bin's events; NaN in an empty bin.
        accuracy: float64 (bins,), share of a bin's events that came true; NaN in an empty bin.
        count: int64 (bins,), events in each bin.
    """

    edges: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]


def reliability_curve(
    pred: Predicted,
    y: npt.ArrayLike,
    *,
    of: Of = "top",
    bins: Bins = "width",
    num_bins: int = 15,
) -> ReliabilityCurve:
    """Mean probability, share that came true and number of events in bins of the probability.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        of: events of the "top" label, one a row, whether it is right; of a class against the rest,
            by its number, as in ``kind="classwise"`` of the errors; or of "all" classes in one
            heap, their ``kind="marginal"``.
        bins: of equal "width" or "mass".
        num_bins: bins, at least 1.

    Example:
        >>> curve = reliability_curve([[0.75, 0.25], [0.6, 0.4]], [0, 1], of=1, num_bins=2)
        >>> curve.confidence, curve.accuracy, curve.count
        (array([0.325,   nan]), array([0.5, nan]), array([2, 0]))
    """
    call = "reliability_curve()"
    probs, labels = probabilities_and_labels(call, pred, y)
    probability, outcome = events_of(call, probs, labels, of, ("top", "all"))
    num_bins = check_count(call, "num_bins", num_bins, minimum=1, usual=15)
    of_width = check_bins(call, bins) == "width"
    edges = bin_edges(num_bins) if of_width else mass_edges(probability, num_bins)
    at = bin_of(probability, edges)
    count = np.bincount(at, minlength=num_bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of an empty bin
        return ReliabilityCurve(
            edges=edges,
            confidence=np.bincount(at, probability, num_bins) / count,
            accuracy=np.bincount(at, outcome, num_bins) / count,
            count=count.astype(np.int64, copy=False),
        )
