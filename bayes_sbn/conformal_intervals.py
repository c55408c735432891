r"""Conformal intervals of real targets.

From calibration rows the scores :math:`s_n` of their targets are taken, and their
:math:`\lceil (N + 1)\, c \rceil`-th smallest, q, for a confidence c.  For exchangeable rows the
target of one more row is in its interval with probability at least c, and below
:math:`c + \tfrac{1}{N + 1}` where scores do not tie, whatever the predictions are.  With the mean
m, the standard deviation :math:`\sigma` and the quantiles :math:`q_{lo}, q_{hi}` of the predictive
law at levels :math:`(1 \mp c) / 2`,

* ``"residual"``: :math:`s = |y - m|`, and the interval :math:`m \pm q`, of the same width
  everywhere;
* ``"normalised"``: :math:`s = |y - m| / \sigma`, and :math:`m \pm q\,\sigma`, wider where the
  prediction is less sure;
* ``"cqr"``, conformalised quantiles: :math:`s = \max(q_{lo} - y,\; y - q_{hi})`, and
  :math:`[q_{lo} - q,\; q_{hi} + q]`, which keeps the law's asymmetry.  q is negative where the law
  was too wide; where that makes the ends cross, the interval is the point between them.

References:
    V. Vovk, A. Gammerman, G. Shafer. Algorithmic Learning in a Random World. Springer 2005.

    J. Lei, M. G'Sell, A. Rinaldo, R. J. Tibshirani, L. Wasserman. Distribution-free predictive
    inference for regression. Journal of the American Statistical Association 113, 2018.

    Y. Romano, E. Patterson, E. J. Candès. Conformalized quantile regression. NeurIPS 2019.
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
from bayes_sbn.conformal_scores import quantile_of
from bayes_sbn.metrics.regression_arguments import check_targets
from bayes_sbn.predictions_regression import RegressionPredictions
from bayes_sbn.recalibration.calibration_file import Fitted
from bayes_sbn.recalibration.recalibrated_law import RecalibratedLaw

Float64 = npt.NDArray[np.float64]
PredictedLaw = RegressionPredictions | RecalibratedLaw
"""A predictive law of real targets, recalibrated or not."""

METHODS = ("residual", "normalised", "cqr")


class ConformalRegressor(ConformalPredictor):
    """Intervals that hold the target in a given share of rows.

    Args:
        method: ``"residual"``, ``"normalised"`` or ``"cqr"``.
        confidence: the share of rows whose intervals shall hold the target, in (0, 1).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> pred = RegressionPredictions(rng.standard_normal((5, 1000)), 0.1)  # too sure
        >>> y = pred.mean + rng.standard_normal(1000)
        >>> conformal = ConformalRegressor("cqr", confidence=0.9)
        >>> fitted = conformal.fit(pred.take(slice(500)), y[:500])
        >>> low, high = fitted.predict_interval(pred.take(slice(500, None)))
        >>> float(np.mean((low <= y[500:]) & (y[500:] <= high)))
        0.904
    """

    def __init__(
        self,
        method: Literal["residual", "normalised", "cqr"] = "normalised",
        confidence: float = 0.9,
    ) -> None:
        if method not in METHODS:
            raise ValueError(
                "ConformalRegressor() needs method='residual', 'normalised' or 'cqr': received "
                f"{method!r}. Write ConformalRegressor('normalised')."
            )
        self._options = {
            "method": method,
            "confidence": check_confidence("ConformalRegressor()", confidence),
        }

    def fit(self, pred: PredictedLaw, y: npt.ArrayLike) -> Self:
        """Take the quantile of the scores of calibration rows.

        Args:
            pred: predictions of rows that the model was not trained on, nor recalibrated or chosen
                by.  Of saved means and standard deviations write
                ``sbn.RegressionPredictions(mean[None], sigma[None])``.
            y: their targets (rows,).

        Returns:
            The object itself.
        """
        call = "ConformalRegressor.fit()"
        low, centre, high, scale = self._columns(call, pred)
        targets = check_targets(call, y, len(pred))
        check_enough_rows(call, len(targets), self.confidence, "calibration rows")
        if self.method == "cqr":
            scores = np.maximum(low - targets, targets - high)
        else:
            scores = np.abs(targets - centre) / scale
        quantile = np.asarray(quantile_of(scores, self.confidence))
        self._fitted = Fitted({"quantile": quantile}, len(targets), 0)
        return self

    def predict_interval(self, pred: PredictedLaw) -> tuple[Float64, Float64]:
        """The ends of the interval of each row.

        Args:
            pred: predictions.

        Returns:
            Low and high, each (rows,).
        """
        call = "ConformalRegressor.predict_interval()"
        self._need("predict_interval()")
        low, centre, high, scale = self._columns(call, pred)
        if self.method == "cqr":
            low, high = low - self.quantile, high + self.quantile
            middle = (low + high) / 2
            return np.minimum(low, middle), np.maximum(high, middle)
        return centre - self.quantile * scale, centre + self.quantile * scale

    def _check(self, fitted: Fitted) -> None:
        check_numbers(fitted, {"quantile"})

    def _columns(self, call: str, pred: PredictedLaw) -> tuple[Float64, Float64, Float64, Float64]:
        """Low quantile, centre, high quantile and the scale of the score, each (rows,)."""
        if not isinstance(pred, RegressionPredictions | RecalibratedLaw):
            raise TypeError(
                f"{call} needs RegressionPredictions or a RecalibratedLaw: received "
                f"{type(pred).__name__}. Of means and standard deviations make "
                "sbn.RegressionPredictions(mean[None], sigma[None])."
            )
        if self.method == "cqr":
            tail = (1 - self.confidence) / 2
            low, middle, high = pred.quantile([tail, 0.5, 1 - tail])
            return low, middle, high, np.ones(len(pred))
        mean = np.asarray(pred.mean)
        if self.method == "residual":
            return mean, mean, mean, np.ones(len(pred))
        scale = np.asarray(pred.std)
        certain = np.flatnonzero(scale == 0)
        if len(certain):
            raise ValueError(
                f"{call} with method='normalised' divides by standard deviations, and that of row "
                f"{certain[0]} is 0. Write ConformalRegressor('residual')."
            )
        return mean, mean, mean, scale
