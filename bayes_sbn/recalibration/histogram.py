r"""Histogram binning: in each bin of probability, how often the class was the label.

The mean probability of a class falls into one of B bins (a, b], the first of which has 0 too, and
becomes the frequency of the class among the validation rows of its bin.  Bins are of equal width,
with edges b/B, or of equal mass, with edges half-way between the order statistics that divide the
validation rows into B parts (fewer where equal probabilities fill a part).  In a bin without rows
the probability becomes its middle.

A map in B steps: it makes ties of what it sorts into one bin, and frequencies of 0 where a bin has
no such label, off which a floor keeps.

References:
    B. Zadrozny, C. Elkan. Obtaining calibrated probability estimates from decision trees and naive
    Bayesian classifiers. ICML 2001.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_count
from bayes_sbn.metrics.calibration_bins import bin_edges
from bayes_sbn.recalibration.calibration_file import Fitted
from bayes_sbn.recalibration.one_against_rest import OneAgainstRest, check_floor

Float64 = npt.NDArray[np.float64]

_ENOUGH_ROWS_A_BIN = 10


class HistogramBinning(OneAgainstRest):
    """Frequencies in bins of probability, for each class against the rest.

    Args:
        num_bins: bins, at least 1.
        binning: ``"equal-width"`` or ``"equal-mass"``.
        floor: what no probability falls below, in [0, 1 / classes).

    Example:
        >>> p = np.tile([0.2, 0.4, 0.6, 0.8], 50)
        >>> y = np.tile([0, 0, 1, 1, 0, 1, 0, 1], 25)
        >>> binning = HistogramBinning(num_bins=2).fit(np.stack([1 - p, p], axis=-1), y)
        >>> binning([[0.9, 0.1], [0.1, 0.9]])
        array([[0.75, 0.25],
               [0.25, 0.75]])
    """

    _parts = ("edge", "frequency")

    def __init__(
        self,
        num_bins: int = 15,
        binning: Literal["equal-width", "equal-mass"] = "equal-width",
        floor: float = 0.0,
    ) -> None:
        if binning not in ("equal-width", "equal-mass"):
            raise ValueError(
                "HistogramBinning() needs binning='equal-width' or 'equal-mass': received "
                f"{binning!r}. Write HistogramBinning() for 15 bins of equal width."
            )
        self._options = {
            "num_bins": check_count(
                "HistogramBinning()", "num_bins", num_bins, minimum=1, usual=15
            ),
            "binning": binning,
            "floor": check_floor("HistogramBinning", floor),
        }

    def _curve(self, probs: Float64, outcomes: Float64) -> tuple[Float64, ...]:
        num_bins = self._options["num_bins"]
        if self._options["binning"] == "equal-width":
            edges = bin_edges(num_bins)
        else:
            edges = equal_mass_edges(probs, num_bins)
        inner = edges[1:-1]
        bins = np.searchsorted(inner, probs, side="left")
        count = np.bincount(bins, minlength=len(inner) + 1)
        sums = np.bincount(bins, outcomes, len(inner) + 1)
        frequency = (edges[:-1] + edges[1:]) / 2
        np.divide(sums, count, out=frequency, where=count > 0)
        return inner, frequency

    def _at(self, probs: Float64, *curve: Float64) -> Float64:
        edge, frequency = curve
        return frequency[np.searchsorted(edge, probs, side="left")]

    def _check_curve(self, *curve: Float64) -> None:
        edge, frequency = curve
        if edge.ndim != 1 or frequency.shape != (len(edge) + 1,):
            raise ValueError(f"bins have edges {edge.shape} and frequencies {frequency.shape}")
        if (np.diff(edge) <= 0).any() or ((edge < 0) | (edge > 1)).any():
            raise ValueError("edges do not rise in [0, 1]")
        if ((frequency < 0) | (frequency > 1)).any():
            raise ValueError("frequencies leave [0, 1]")

    def _enough_rows(self, num_curves: int) -> int:
        del num_curves
        return _ENOUGH_ROWS_A_BIN * int(self._options["num_bins"])

    def _words(self, fitted: Fitted) -> str:
        return f"curves={len(fitted.numbers) // 2}"


def equal_mass_edges(probs: Float64, num_bins: int) -> Float64:
    """Edges from 0 to 1 of bins that hold the same number of probabilities, as nearly as can be.

    Args:
        probs: (rows,), in [0, 1].
        num_bins: how many bins; there are fewer where equal probabilities fill one.

    Example:
        >>> equal_mass_edges(np.array([0.1, 0.2, 0.3, 0.7]), 2)
        array([0.  , 0.25, 1.  ])
    """
    ordered = np.sort(probs)
    # The first row of each part but the first; with few rows several parts begin at the same.
    first = np.unique(np.arange(1, num_bins) * len(probs) // num_bins)
    first = first[first > 0]
    below, above = ordered[first - 1], ordered[first]
    inner = np.unique((below + above)[below < above] / 2)
    return np.concatenate([[0.0], inner[(inner > 0) & (inner < 1)], [1.0]])
