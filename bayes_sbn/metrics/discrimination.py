r"""AUROC of labels: does a class's probability rank its rows above the others?

For two classes it is the probability that a row of class 1 has a higher probability of class 1 than
a row of class 0, ties counting half.  For more classes each is told from all others by its own
probability, and the mean over the classes is taken, each with the same weight (one against the
rest, macro).  For detection of rows from elsewhere see :mod:`bayes_sbn.metrics.detection`.

References:
    T. Fawcett. An introduction to ROC analysis. Pattern Recognition Letters 27, 2006.
"""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import (
    Predicted,
    UndefinedMetricWarning,
    probabilities_and_labels,
)
from bayes_sbn.metrics.detection import detection_auroc
from bayes_sbn.metrics.properties import metric_properties


@metric_properties(better="greater", minimum=0)
def auroc(pred: Predicted, y: npt.ArrayLike) -> float:
    """Area under the ROC curve; of more than two classes the mean of each against the rest.

    NaN, with an UndefinedMetricWarning, where a class has no rows, or all of them.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.

    Example:
        >>> auroc([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]], [0, 0, 1, 1])
        0.75
    """
    probs, labels = probabilities_and_labels("auroc()", pred, y)
    count = np.bincount(labels, minlength=probs.shape[1])
    empty = np.flatnonzero(count == 0)
    if len(empty):
        warnings.warn(
            f"auroc(): class {int(empty[0])} has none of the {len(labels)} rows, and is told from "
            "the others by none; the result is NaN. Score rows of all classes, or give auroc() the "
            "columns of those that occur.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        return float("nan")
    classes = [1] if len(count) == 2 else range(len(count))
    areas = [detection_auroc(probs[labels != c, c], probs[labels == c, c]) for c in classes]
    return float(np.mean(areas))
