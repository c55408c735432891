"""What every recalibration of real targets does with its arguments."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.regression_arguments import check_targets
from bayes_sbn.predictions_regression import RegressionPredictions
from bayes_sbn.recalibration.arguments import few_rows, warn
from bayes_sbn.recalibration.calibration_file import Fitted
from bayes_sbn.recalibration.recalibration import Recalibration

Float64 = npt.NDArray[np.float64]


class RegressionRecalibration(Recalibration):
    """A recalibration of the laws of real targets."""

    def fit(self, pred: RegressionPredictions, y: npt.ArrayLike) -> Self:
        """Fit to validation rows, which the model must not have been trained on.

        Args:
            pred: predictions of these rows.
            y: their targets (rows,), in the same units.

        Returns:
            The object itself.
        """
        call = f"{type(self).__name__}.fit()"
        check_predictions(call, pred)
        if not len(pred):
            raise ValueError(f"{call} needs validation rows: received none. Hold some rows out.")
        targets = check_targets(call, y, len(pred))
        if len(targets) < self._enough_rows():
            warn(few_rows(call, len(targets), self._enough_rows(), "what is fitted"))
        self._fitted = Fitted(self._numbers(call, pred, targets), len(targets), 0)
        return self

    @abstractmethod
    def _numbers(
        self, call: str, pred: RegressionPredictions, targets: Float64
    ) -> dict[str, Float64]:
        """The numbers fitted to predictions and targets (rows,)."""

    @abstractmethod
    def _enough_rows(self) -> int:
        """How many validation rows the numbers want."""


def check_predictions(call: str, pred: object) -> None:
    """Raise TypeError where these are not predictions of real targets.

    Args:
        call: the call to name.
        pred: what came.
    """
    if isinstance(pred, RegressionPredictions):
        return
    name = type(pred).__name__
    advice = {
        "NestedRegressionPredictions": "Pass its .predictions, one mixture of all draws.",
        "Predictions": "Methods for classes are TemperatureScaling and its neighbours.",
        "RecalibratedLaw": "Its quantiles were fitted already; fit to the predictions before.",
    }.get(
        name,
        "Of means and standard deviations make sbn.RegressionPredictions(mean[None], sigma[None]).",
    )
    raise TypeError(f"{call} needs RegressionPredictions: received {name}. {advice}")
