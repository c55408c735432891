r"""Conformal sets of classes.

From calibration rows the scores :math:`s_n` of their labels are taken, and their
:math:`\lceil (N + 1)\, c \rceil`-th smallest, q, for a confidence c.  A set holds the classes whose
score is at most q.  For exchangeable rows the label of one more row is in its set with probability
at least c, and below :math:`c + \tfrac{1}{N + 1}` where scores do not tie and sets are the score's.

* ``"lac"``, least ambiguous: :math:`s = 1 - p_y`.  The smallest sets on average; a set may be empty
  where no class is probable enough.
* ``"aps"``, adaptive: the probability of the classes before the label, in falling order, and a
  random share of its own, :math:`s = \sum_{p_c > p_y} p_c + (1 - u)\, p_y`.  Larger where a row is
  harder.  In predicting the class that reaches q is kept whole, which covers more than c and never
  leaves a set empty.
* ``"raps"``, regularised: the same with :math:`\lambda\,(\text{rank} - k)_+` added, which keeps
  long tails of improbable classes out.  k and :math:`\lambda` are chosen on a tenth of the
  calibration rows, which leaves nine tenths for q.

MAPIE has the last two for three labels and more; of two classes LAC is the one to take.

References:
    M. Sadinle, J. Lei, L. Wasserman. Least ambiguous set-valued classifiers with bounded error
    levels. Journal of the American Statistical Association 114, 2019.

    Y. Romano, M. Sesia, E. J. Candès. Classification with valid and adaptive coverage. NeurIPS
    2020.

    A. N. Angelopoulos, S. Bates, M. Jordan, J. Malik. Uncertainty sets for image classifiers using
    conformal prediction. ICLR 2021.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from bayes_sbn.conformal_mapie import (
    check_confidence,
    check_enough_rows,
    given_classes,
    import_mapie,
    missing_labels_allowed,
)
from bayes_sbn.metrics.arguments import (
    Predicted,
    check_labels,
    check_probabilities,
    is_prediction,
    to_numpy,
)

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

METHODS = ("lac", "aps", "raps")
_SHARE_OF_RAPS = 0.1  # of the calibration rows, MAPIE's choice


class ConformalClassifier:
    """Sets of classes that hold the label in a given share of rows.

    Args:
        method: ``"lac"``, or of three classes and more ``"aps"`` or ``"raps"``.
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
        self._method = method
        self._confidence = check_confidence("ConformalClassifier()", confidence)
        self._seed = seed
        self._mapie: Any = None
        self._num_rows = self._num_classes = 0

    @property
    def method(self) -> str:
        """The score."""
        return self._method

    @property
    def confidence(self) -> float:
        """The share of rows whose sets shall hold the label."""
        return self._confidence

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
        module = import_mapie(call, "classification")
        probs = _probabilities(call, pred)
        labels = check_labels(call, y, *probs.shape)
        self._check_rows(call, labels)
        mapie = module.SplitConformalClassifier(
            given_classes(probs.shape[1]),
            confidence_level=self._confidence,
            conformity_score=self._method,
            prefit=True,
            random_state=self._seed,
        )
        with missing_labels_allowed():
            mapie.conformalize(probs, labels)
        self._mapie, self._num_rows, self._num_classes = mapie, *probs.shape
        return self

    def predict_sets(self, pred: Predicted) -> Bool:
        """Which classes are in the set of each row; (rows, classes).

        Args:
            pred: a Predictions, or probabilities (rows, classes).
        """
        call = "ConformalClassifier.predict_sets()"
        if self._mapie is None:
            raise RuntimeError(
                f"{call}: it was not fitted. Write .fit(pred_calibration, y_calibration) first."
            )
        probs = _probabilities(call, pred)
        if probs.shape[1] != self._num_classes:
            raise ValueError(
                f"{call}: it was fitted to {self._num_classes} classes and received "
                f"{probs.shape[1]}. Fit it to calibration rows of the same model."
            )
        if not len(probs):
            return np.zeros(probs.shape, dtype=np.bool_)
        _, sets = self._mapie.predict_set(probs)
        return np.asarray(sets[:, :, 0], dtype=np.bool_)

    def __repr__(self) -> str:
        fitted = f"rows={self._num_rows}" if self._mapie is not None else "not fitted"
        return f"ConformalClassifier({self._method!r}, confidence={self._confidence:g}, {fitted})"

    def _check_rows(self, call: str, labels: npt.NDArray[np.int64]) -> None:
        if self._method == "lac":
            check_enough_rows(call, len(labels), self._confidence, "calibration rows")
            return
        counts = np.bincount(labels)
        if np.count_nonzero(counts) < 3:
            raise ValueError(
                f"{call} with method={self._method!r} needs three different labels among the "
                "calibration rows at least. For two classes write ConformalClassifier('lac')."
            )
        if self._method == "aps":
            check_enough_rows(call, len(labels), self._confidence, "calibration rows")
            return
        apart = int(np.ceil(_SHARE_OF_RAPS * len(labels) - 1e-9))
        what = "calibration rows in the tenth that RAPS sets apart"
        check_enough_rows(call, apart, self._confidence, what)
        single = np.flatnonzero(counts == 1)
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
