r"""Bins of probabilities, and the sums of gaps in them of which calibration errors are made.

Bins of equal *width* are :math:`(b/B, (b+1)/B]`: a probability of exactly 1 is in the last bin, one
on an edge in the bin below it, and 0 in the first.  The edges are the quotients rounded to float64.

Bins of equal *mass* have as inner edges order statistics of the n probabilities themselves, edge b
the :math:`\lceil n b / B \rceil`-th smallest, each bin again without its lower edge and with its
upper: they hold n / B events each, rounded up or down.  Equal probabilities are in one bin whatever
the order of the rows, so that where there are many of them bins are unequal, or empty.

The gap of an event is its probability minus 1 if it came true, minus 0 if not.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

Bins = Literal["width", "mass"]
"""Bins of equal width, or of equally many events."""


def bin_edges(num_bins: int) -> Array:
    """The quotients b/B, each correctly rounded; a multiple of the width 1/B would not be."""
    return np.asarray(np.arange(num_bins + 1) / num_bins)


def mass_edges(probability: Array, num_bins: int) -> Array:
    """Inner edges at order statistics of the probabilities, between 0 and 1; (bins + 1,)."""
    rank = -(-len(probability) * np.arange(1, num_bins) // num_bins)  # n b / B rounded up
    return np.concatenate([[0.0], np.sort(probability)[rank - 1], [1.0]])


def bin_of(probability: Array, edges: int | Array) -> npt.NDArray[np.intp]:
    """The bin (edge, next edge] that holds each probability; 0 is in the first.

    Args:
        probability: in [0, 1], of any shape.
        edges: rising from 0 to 1, or how many bins of equal width.
    """
    inner = (bin_edges(edges) if isinstance(edges, int) else edges)[1:-1]
    return np.searchsorted(inner, probability, side="left")


def sums_in_bins(
    probability: Array, outcome: npt.NDArray[np.bool_], bins: Bins, num_bins: int
) -> tuple[Array, Array, Array]:
    """Each bin's sum of gaps, number of events, and number of those that came true; (sets, bins).

    Args:
        probability: (sets, events).
        outcome: (sets, events).
        bins: of equal width or mass.
        num_bins: bins of each set.
    """
    gap, count, hits = np.zeros((3, len(probability), num_bins))
    for k, (p, z) in enumerate(zip(probability, outcome, strict=True)):
        at = bin_of(p, num_bins if bins == "width" else mass_edges(p, num_bins))
        gap[k] = np.bincount(at, p - z, num_bins)
        count[k] = np.bincount(at, minlength=num_bins)
        hits[k] = np.bincount(at, z, num_bins)
    return gap, count, hits


def check_bins(call: str, bins: object) -> Bins:
    """Which bins a call asks for."""
    if bins == "width":
        return "width"
    if bins == "mass":
        return "mass"
    raise ValueError(
        f"{call} needs bins='width' or bins='mass': received {bins!r}. Write bins='width' for bins "
        "of equal width; how many there are is num_bins."
    )
