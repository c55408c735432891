r"""Conformal sets of classes.

From calibration rows the scores :math:`s_n` of their labels are taken, and their
:math:`\lceil (N + 1)\, c \rceil`-th smallest, q, for a confidence c.  A set holds the classes whose
score is at most q.  For exchangeable rows the label of one more row is in its set with probability
at least c, and below :math:`c + \tfrac{1}{N + 1}` where scores do not tie and sets are the score's.
The formulas are in :mod:`bayes_sbn.conformal_scores`.

* ``"lac"``, least ambiguous: 1 minus the probability of the label.  The smallest sets on average; a
  set may be empty where no class is probable enough.
* ``"aps"``, adaptive: the probability of the classes before the label, in falling order, and a
  random share of its own.  Larger where a row is harder.  In predicting the class that reaches q is
  kept whole, which covers more than c and never leaves a set empty.
* ``"raps"``, regularised: the same with :math:`\lambda\,(\text{rank} - k)_+` added, which keeps
  long tails of improbable classes out.  k and :math:`\lambda` are chosen on a tenth of the
  calibration rows, which leaves nine tenths for q.

References:
    M. Sadinle, J. Lei, L. Wasserman. Least ambiguous set-valued classifiers with bounded error
    levels. Journal of the American Statistical Association 114, 2019.

    Y. Romano, M. Sesia, E. J. Candès. Classification with valid and adaptive coverage. NeurIPS
    2020.

    A. N. Angelopoulos, S. Bates, M. Jordan, J. Malik. Uncertainty sets for image classifiers using
    conformal prediction. ICLR 2021.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from bayes_sbn.conformal_predictor import (
    ConformalPredictor,
    check_confidence,
    check_enough_rows,
    check_numbers,
)
from bayes_sbn.conformal_scores import (
    Penalty,
    adaptive_scores,
    adaptive_sets,
    chosen_penalty,
    least_ambiguous_scores,
    least_ambiguous_sets,
    quantile_of,
)
from bayes_sbn.metrics.arguments import (
    Predicted,
    check_labels,
    check_probabilities,
    is_prediction,
    to_numpy,
)
from bayes_sbn.recalibration.calibration_file import Fitted

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

METHODS = ("lac", "aps", "raps")
_SHARE_OF_RAPS = 0.1  # of the calibration rows


class ConformalClassifier(ConformalPredictor):
    """Sets of classes that hold the label in a given share of rows.

    Args:
        method: ``"lac"``, ``"aps"`` or ``"raps"``.
        confidence: the share of rows whose sets shall hold the label, in (0, 1).
        seed: of the random shares of APS and RAPS and of the rows that RAPS sets apart.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> p = rng.dirichlet([1.0, 1.0, 1.0], 1000)
        >>> y = (p.cumsum(-1) < rng.random((1000, 1))).sum(-1)
        >>> conformal = ConformalClassifier("lac", confidence=0.9).fit(p[:500], y[:500])
        >>> sets = conformal.predict_sets(p[500:])
        >>> sets.shape, sets.dtype, set_coverage(sets, y[500:])
        ((500, 3), dtype('bool'), 0.922)
    """

    def __init__(
        self,
        method: Literal["lac", "aps", "raps"] = "lac",
        confidence: float = 0.9,
        *,
        seed: int = 0,
    ) -> None:
        if method not in METHODS:
            raise ValueError(
                f"ConformalClassifier() needs method='lac', 'aps' or 'raps': received {method!r}. "
                "Write ConformalClassifier('lac')."
            )
        self._options = {
            "method": method,
            "confidence": check_confidence("ConformalClassifier()", confidence),
            "seed": seed,
        }

    def fit(self, pred: Predicted, y: npt.ArrayLike) -> Self:
        """Take the quantile of the scores of calibration rows.

        Args:
            pred: a Predictions of rows that the model was not trained on, nor recalibrated or
                chosen by; or their probabilities (rows, classes).
            y: their labels (rows,).

        Returns:
            The object itself.
        """
        call = "ConformalClassifier.fit()"
        probs = _probabilities(call, pred)
        labels = check_labels(call, y, *probs.shape)
        self._check_rows(call, labels)
        penalty = Penalty()
        if self.method == "lac":
            scores = least_ambiguous_scores(probs, labels)
        else:
            if self.method == "raps":
                kept, apart = self._split(probs, labels)
                penalty = chosen_penalty(probs[apart], labels[apart], self.confidence)
                probs_kept, labels_kept = probs[kept], labels[kept]
            else:
                probs_kept, labels_kept = probs, labels
            # The legacy generator gives MAPIE's numbers, with which the tests compare.
            uniform = np.random.RandomState(self._options["seed"]).uniform(size=len(labels_kept))
            scores = adaptive_scores(probs_kept, labels_kept, penalty, uniform)
        numbers = {"quantile": quantile_of(scores, self.confidence), **penalty._asdict()}
        arrays = {name: np.asarray(value, dtype=np.float64) for name, value in numbers.items()}
        self._fitted = Fitted(arrays, *probs.shape)
        return self

    def predict_sets(self, pred: Predicted) -> Bool:
        """Which classes are in the set of each row; (rows, classes).

        Args:
            pred: a Predictions, or probabilities (rows, classes).
        """
        call = "ConformalClassifier.predict_sets()"
        fitted = self._need("predict_sets()")
        probs = _probabilities(call, pred)
        if probs.shape[1] != fitted.num_classes:
            raise ValueError(
                f"{call}: it was fitted to {fitted.num_classes} classes and received "
                f"{probs.shape[1]}. Fit it to calibration rows of the same model."
            )
        if not len(probs):
            return np.zeros(probs.shape, dtype=np.bool_)
        if self.method == "lac":
            return least_ambiguous_sets(probs, self.quantile)
        penalty = Penalty(float(fitted.numbers["weight"]), float(fitted.numbers["rank"]))
        return adaptive_sets(probs, self.quantile, penalty)

    def _check(self, fitted: Fitted) -> None:
        check_numbers(fitted, {"quantile", "weight", "rank"})
        if fitted.num_classes < 2:
            raise ValueError(f"{fitted.num_classes} classes")

    def _split(
        self, probs: Float64, labels: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The rows that the quantile is taken from, and those that RAPS sets apart."""
        from sklearn.model_selection import StratifiedShuffleSplit

        split = StratifiedShuffleSplit(
            1, test_size=_SHARE_OF_RAPS, random_state=self._options["seed"]
        )
        kept, apart = next(split.split(probs, labels))
        return kept, apart

    def _check_rows(self, call: str, labels: npt.NDArray[np.int64]) -> None:
        if self.method != "raps":
            check_enough_rows(call, len(labels), self.confidence, "calibration rows")
            return
        apart = int(np.ceil(_SHARE_OF_RAPS * len(labels) - 1e-9))
        what = "calibration rows in the tenth that RAPS sets apart"
        check_enough_rows(call, apart, self.confidence, what)
        single = np.flatnonzero(np.bincount(labels) == 1)
        if len(single):
            raise ValueError(
                f"{call} with method='raps' splits the rows of each label, and label {single[0]} "
                "has one row. Hold out more rows, or write ConformalClassifier('aps')."
            )


def set_coverage(sets: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Share of rows whose set holds the label.

    Args:
        sets: which classes are in the set of each row, (rows, classes).
        y: labels (rows,).

    Example:
        >>> set_coverage([[True, True], [False, True]], [0, 0])
        0.5
    """
    members = _sets("set_coverage()", sets)
    labels = check_labels("set_coverage()", y, *members.shape)
    return float(members[np.arange(len(labels)), labels].mean())


def mean_set_size(sets: npt.ArrayLike) -> float:
    """Mean number of classes in a set.

    Args:
        sets: which classes are in the set of each row, (rows, classes).

    Example:
        >>> mean_set_size([[True, True], [False, True]])
        1.5
    """
    return float(_sets("mean_set_size()", sets).sum(axis=1).mean())


def _sets(call: str, sets: object) -> Bool:
    members = to_numpy(sets)
    if members.dtype != np.bool_ or members.ndim != 2 or not len(members):
        raise ValueError(
            f"{call} needs booleans (rows, classes), one row at least: received {members.dtype} of "
            f"shape {members.shape}. Pass what predict_sets(pred) returns."
        )
    return np.asarray(members, dtype=np.bool_)


def _probabilities(call: str, pred: Predicted) -> Float64:
    """The mean over the draws, each row divided by its sum, which is 1 within 1e-6."""
    if is_prediction(pred):
        probs = pred.mean
    else:
        probs = check_probabilities(call, pred, ("row", "class"), may_have_no_rows=True)
    return np.asarray(probs / probs.sum(axis=1, keepdims=True))
