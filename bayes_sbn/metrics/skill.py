r"""D²: how much of the score of a constant prediction a model takes away.

With :math:`S` the mean loss of the model over the rows and :math:`S_0` that of predicting, for
every row, the frequencies of the classes among the labels of these very rows,

.. math:: D^2 = 1 - S / S_0.

It is 1 for certain and right predictions, 0 for the frequencies and negative for what is worse than
they are.  Of the Brier score it is also called the Brier skill score.  In closed form, with
:math:`f_c` the frequencies,

* of the negative log-likelihood, :math:`S_0 = -\sum_c f_c \log f_c`, the entropy of the labels;
* of the Brier score, :math:`S_0 = 1 - \sum_c f_c^2`, the Gini impurity of the labels.

Both are 0, and D² is not defined, where all rows have the same label.

References:
    T. Hastie, R. Tibshirani, M. Wainwright. Statistical Learning with Sparsity. CRC Press 2015,
    equation 3.11 (fraction of deviance explained).

    A. H. Murphy. Skill scores based on the mean square error and their relationships to the
    correlation coefficient. Monthly Weather Review 116, 1988.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import (
    Predicted,
    UndefinedMetricWarning,
    probabilities_and_labels,
)
from bayes_sbn.metrics.properties import metric_properties
from bayes_sbn.metrics.scores import negative_log_probability, squared_distance


@metric_properties(better="greater")
def d2_nll(pred: Predicted, y: npt.ArrayLike) -> float:
    """Fraction of the entropy of the labels that the predictions take away: 1 - nll / entropy.

    Minus infinity where a label was given probability 0.  NaN, with an UndefinedMetricWarning,
    where all rows have the same label.  scikit-learn's ``d2_log_loss_score`` is the same number but
    for its clipping: there the two cases are finite.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.

    Example:
        >>> round(d2_nll([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1]), 4)
        0.3481
    """
    probs, labels = probabilities_and_labels("d2_nll()", pred, y)
    frequency = label_frequencies(labels, probs.shape[1])
    occurring = frequency[frequency > 0]
    entropy = float(-occurring @ np.log(occurring))
    return _skill("d2_nll()", float(np.mean(negative_log_probability(probs, labels))), entropy)


@metric_properties(better="greater")
def d2_brier(pred: Predicted, y: npt.ArrayLike) -> float:
    """Brier skill score: 1 - brier / brier of the frequencies of the labels.

    NaN, with an UndefinedMetricWarning, where all rows have the same label; else it is
    scikit-learn's ``d2_brier_score``.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.

    Example:
        >>> round(d2_brier([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1]), 4)
        0.385
    """
    probs, labels = probabilities_and_labels("d2_brier()", pred, y)
    frequency = label_frequencies(labels, probs.shape[1])
    impurity = float(frequency @ (1 - frequency))
    return _skill("d2_brier()", float(np.mean(squared_distance(probs, labels))), impurity)


def label_frequencies(labels: npt.NDArray[np.int64], num_classes: int) -> npt.NDArray[np.float64]:
    """Share of the rows that have each label, (classes,)."""
    return np.asarray(np.bincount(labels, minlength=num_classes) / len(labels))


def _skill(call: str, loss: float, constant: float) -> float:
    if constant > 0:
        return 1 - loss / constant
    warnings.warn(
        f"{call}: all rows have the same label, which their frequencies predict without loss; the "
        "result is NaN. Score rows of several classes, or take the loss itself.",
        UndefinedMetricWarning,
        stacklevel=3,
    )
    return math.nan
