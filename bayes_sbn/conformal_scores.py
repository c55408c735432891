r"""The scores of conformal sets, their quantile, and the sets that it gives, from arrays alone.

With the classes of a row in falling order of their probabilities, :math:`r_c` the rank of class c
from 1 on, and a penalty :math:`\lambda \ge 0` beyond rank k,

.. math:: S_c = \sum_{c': r_{c'} \le r_c} p_{c'} + \lambda\,(r_c - k)_+ .

The adaptive score of label y is :math:`S_y - u\,p_y`, with u uniform on [0, 1], and the set of a
row that of its classes down to the first whose :math:`S_c` reaches the quantile.  Classes tied with
it are in the set too, and classes of probability 0 are not.  The least ambiguous score is
:math:`1 - p_y`.

The quantile of N scores for a confidence c is the :math:`\lceil (N + 1)\,c \rceil`-th smallest.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

PENALTIES = (0.001, 0.01, 0.1, 0.2, 0.5)
"""What RAPS chooses from, the paper's."""

ROUNDING = 1e-8
"""Sums of probabilities that differ by less are the same."""


class Penalty(NamedTuple):
    """What is added to the score of improbable classes; nothing for APS.

    Attributes:
        weight: for each rank beyond ``rank``.
        rank: up to which nothing is added.
    """

    weight: float = 0.0
    rank: float = 0.0


def quantile_of(scores: Float64, confidence: float) -> float:
    """The score that as many of the calibration rows reach as the confidence asks for.

    Args:
        scores: of the calibration rows, enough of them for the confidence.
        confidence: the share of rows that shall be covered.
    """
    place = math.ceil((len(scores) + 1) * confidence - 1e-9)
    return float(np.sort(scores)[place - 1])


def ranks(probs: Float64) -> Int64:
    """The rank of each class from 1 on, of equal probabilities the last first; (rows, classes)."""
    falling = np.argsort(probs, axis=1)[:, ::-1]
    found = np.empty(probs.shape, dtype=np.int64)
    np.put_along_axis(found, falling, np.arange(1, probs.shape[1] + 1)[None], axis=1)
    return found


def sums_down_to(probs: Float64, penalty: Penalty) -> Float64:
    """S of each class: probabilities down to it, and the penalty; (rows, classes)."""
    rank = ranks(probs)
    falling = np.argsort(rank, axis=1)
    in_order = np.take_along_axis(probs, falling, axis=1).cumsum(axis=1)
    sums = np.take_along_axis(in_order, rank - 1, axis=1)
    return np.asarray(sums + penalty.weight * np.maximum(rank - penalty.rank, 0))


def adaptive_scores(
    probs: Float64, labels: Int64, penalty: Penalty, uniform: Float64 | float
) -> Float64:
    """The scores of the labels, (rows,).

    Args:
        probs: (rows, classes).
        labels: (rows,).
        penalty: of ranks.
        uniform: the random share of the label's own probability that is taken off.
    """
    rows = np.arange(len(labels))
    return np.asarray(sums_down_to(probs, penalty)[rows, labels] - uniform * probs[rows, labels])


def adaptive_sets(probs: Float64, quantile: float, penalty: Penalty) -> Bool:
    """Which classes are in the set of each row, (rows, classes)."""
    sums = sums_down_to(probs, penalty)
    reaches = np.where(sums >= quantile - ROUNDING, sums, np.inf)
    last = np.take_along_axis(probs, reaches.argmin(axis=1)[:, None], axis=1)
    least = np.where(probs > ROUNDING, probs, np.inf).min(axis=1, keepdims=True)
    return np.asarray(probs >= np.maximum(last, least) - ROUNDING)


def least_ambiguous_scores(probs: Float64, labels: Int64) -> Float64:
    """1 minus the probability of each label, (rows,)."""
    return np.asarray(1 - probs[np.arange(len(labels)), labels])


def least_ambiguous_sets(probs: Float64, quantile: float) -> Bool:
    """Which classes are in the set of each row, (rows, classes)."""
    return np.asarray(1 - probs <= quantile + ROUNDING)


def chosen_penalty(probs: Float64, labels: Int64, confidence: float) -> Penalty:
    """The rank that the labels need, and the weight beyond it whose sets are smallest.

    Args:
        probs: of rows that the quantile is not taken from.
        labels: of the same rows.
        confidence: the share of rows that shall be covered.
    """
    rank = quantile_of(ranks(probs)[np.arange(len(labels)), labels].astype(np.float64), confidence)
    best, smallest = Penalty(0.0, rank), math.inf
    for weight in PENALTIES:
        penalty = Penalty(weight, rank)
        quantile = quantile_of(adaptive_scores(probs, labels, penalty, 0.0), confidence)
        size = float(adaptive_sets(probs, quantile, penalty).sum(axis=1).mean())
        if size < smallest - ROUNDING:
            best, smallest = penalty, size
    return best
