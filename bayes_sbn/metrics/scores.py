r"""Scores of predicted class probabilities, row by row, then averaged over the rows.

With :math:`p_n` the probabilities of row n (those of a Predictions averaged over its draws) and
:math:`y_n` its label,

* accuracy: share of rows with :math:`\arg\max_c p_{nc} = y_n`, the lowest class winning a tie;
* negative log-likelihood: :math:`-\log p_{n y_n}`, in nats, not clipped;
* Brier score: :math:`\sum_c (p_{nc} - [c = y_n])^2`, between 0 and 2, not halved;
* spherical score: :math:`p_{n y_n} / \lVert p_n \rVert_2`, between 0 and 1, more is better.

The last three are strictly proper: every other prediction has a worse expectation than the true
probabilities.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import Predicted, probabilities_and_labels
from bayes_sbn.metrics.properties import metric_properties


def _correct(pred: Predicted, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return correctness(*probabilities_and_labels("accuracy()", pred, y)).astype(np.float64)


def _log_losses(pred: Predicted, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return negative_log_probability(*probabilities_and_labels("nll()", pred, y))


def _squares(pred: Predicted, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return squared_distance(*probabilities_and_labels("brier()", pred, y))


def _cosines(pred: Predicted, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return cosine(*probabilities_and_labels("spherical()", pred, y))


@metric_properties(better="greater", minimum=0, row_losses=_correct)
def accuracy(pred: Predicted, y: npt.ArrayLike) -> float:
    """Share of rows whose most probable class is the label; the lowest class wins a tie.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
    """
    return float(np.mean(_correct(pred, y)))


@metric_properties(better="less", minimum=0, row_losses=_log_losses)
def nll(pred: Predicted, y: npt.ArrayLike) -> float:
    """Mean negative log of the probability given to the label, in nats.

    Of a Predictions it is the probability averaged over the draws whose logarithm is taken.
    Nothing is clipped: one label of probability 0 makes the result infinite.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
    """
    return float(np.mean(_log_losses(pred, y)))


@metric_properties(better="less", minimum=0, row_losses=_squares)
def brier(pred: Predicted, y: npt.ArrayLike) -> float:
    """Squared distance from the one-hot label, summed over classes and averaged over rows.

    Between 0 and 2; never halved, also for two classes.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.

    References:
        G. W. Brier. Verification of forecasts expressed in terms of probability. Monthly Weather
        Review 78, 1950.
    """
    return float(np.mean(_squares(pred, y)))


@metric_properties(better="greater", minimum=0, row_losses=_cosines)
def spherical(pred: Predicted, y: npt.ArrayLike) -> float:
    """Probability of the label over the length of the row of probabilities, averaged over rows.

    It is the cosine of the angle between the prediction and the one-hot label: 1 for a certain and
    right row, 0 for one that excludes its label, and more is better.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.

    Example:
        >>> round(spherical([[0.75, 0.25], [0.0, 1.0]], [0, 1]), 4)
        0.9743

    References:
        T. Gneiting, A. E. Raftery. Strictly proper scoring rules, prediction, and estimation.
        Journal of the American Statistical Association 102, 2007, example 2.
    """
    return float(np.mean(_cosines(pred, y)))


def correctness(
    probs: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Whether the most probable class of each row is its label."""
    return np.asarray(probs.argmax(axis=-1) == labels)


def negative_log_probability(
    probs: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Minus the log-probability of each row's label; infinite where the probability is 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(0.0 - np.log(_of_label(probs, labels)))


def squared_distance(
    probs: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Squared Euclidean distance of each row of probabilities from its one-hot label."""
    # Written out instead of |p|^2 - 2 p_y + 1, which cancels for confident predictions.
    gap = probs.copy()
    gap[np.arange(len(labels)), labels] -= 1
    return np.asarray(np.einsum("rc,rc->r", gap, gap))


def cosine(
    probs: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Cosine of the angle between each row of probabilities and its one-hot label."""
    return np.asarray(_of_label(probs, labels) / np.linalg.norm(probs, axis=-1))


def _of_label(
    probs: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    return np.take_along_axis(probs, labels[:, None], axis=-1)[:, 0]
