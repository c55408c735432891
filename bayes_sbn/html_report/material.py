"""What a report is made from: the posterior, the data and what is asked for; and what it predicts.

It is made of the arguments of the call by :mod:`bayes_sbn.html_report.gather`, which checks them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.html_report.arguments import CALL, numbered
from bayes_sbn.metrics import RegressionReport, Report, report
from bayes_sbn.posterior import Posterior
from bayes_sbn.predictions import Predictions
from bayes_sbn.predictions_regression import RegressionPredictions
from bayes_sbn.recalibration.recalibration import Recalibration
from bayes_sbn.training_result import EpochRecord, Fit

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """The course of a fit.

    Args:
        records: one an epoch.
        fit: the result that they are of, if that is known.
        folder: the folder that they were read from, if they were.
    """

    records: tuple[EpochRecord, ...]
    fit: Fit | None = None
    folder: str | None = None


@dataclass(frozen=True)
class Material:
    """Checked arguments; what is predicted from them is computed once, when it is first used.

    Args:
        posterior: the fitted network.
        x: test inputs (rows, inputs).
        y: their labels, or real targets in their own unit.
        draws: networks.
        seed: of the draws, the resampling and the figures' random orders.
        bootstrap: resamples behind an interval.
        level: of the intervals.
        detail: whether to give the longer report of class probabilities.
        course: of the fit.
        train: inputs and targets that were fitted.
        ood: inputs from elsewhere.
        class_names: one a class.
        feature_names: one an input.
        image_shape: of an input, if it is an image.
        row_names: one a test row.
        rescale: factor and shift that turn a standardised target into that of ``y``.
        rescale_inputs: factors and shifts that turn inputs into what is shown of them.
        recalibration: what is done to predictions before they are judged.
        backend: of the predictions.
        progress: whether to show progress bars.
    """

    posterior: Posterior
    x: Float64
    y: npt.NDArray[Any]
    draws: int
    seed: int
    bootstrap: int
    level: float
    detail: bool
    course: Course | None
    train: tuple[Float64, npt.NDArray[Any]] | None
    ood: Float64 | None
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    image_shape: tuple[int, ...] | None
    row_names: tuple[str, ...]
    rescale: tuple[float, float] | None
    rescale_inputs: tuple[Float64, Float64]
    recalibration: Recalibration | None
    backend: str
    progress: bool | None

    @property
    def is_classes(self) -> bool:
        """Whether targets are labels of classes; else they are real."""
        return self.posterior.likelihood == "categorical"

    @property
    def has_class_names(self) -> bool:
        """Whether classes have names beside their numbers."""
        return self.class_names != numbered("class ", len(self.class_names))

    @property
    def has_feature_names(self) -> bool:
        """Whether inputs have names beside their numbers."""
        return self.feature_names != numbered("x", len(self.feature_names))

    @property
    def has_row_names(self) -> bool:
        """Whether test rows have names beside their numbers."""
        return self.row_names != numbered("row ", len(self.row_names))

    @cached_property
    def ensemble(self) -> Any:
        """The networks that predict."""
        needs_rows = any(layer.is_recalibrated for layer in self.posterior.components[0].layers)
        rows = self.train[0] if needs_rows and self.train is not None else None
        return self.posterior.draw(self.draws, seed=self.seed, calibrate=rows)

    @cached_property
    def predicted(self) -> Any:
        """Predictions of the test inputs."""
        return self.predict(self.x)

    @property
    def classes(self) -> Predictions:
        """Predictions of the test inputs, where targets are labels."""
        assert isinstance(self.predicted, Predictions)
        return self.predicted

    @property
    def reals(self) -> RegressionPredictions:
        """Predictions of the test inputs, where targets are real."""
        assert isinstance(self.predicted, RegressionPredictions)
        return self.predicted

    @cached_property
    def scores(self) -> Report | RegressionReport:
        """The scores of the test rows with their intervals, which all sections take from here."""
        options: dict[str, Any] = {
            "bootstrap": self.bootstrap,
            "level": self.level,
            "seed": self.seed,
        }
        if self.is_classes:
            return report(self.classes, self.y, detail=self.detail, **options)
        return report(self.reals, self.y, **options)

    @cached_property
    def brightness(self) -> tuple[float, float]:
        """The smallest and the largest value of a test input: black and white of its picture."""
        return float(self.shown_x.min()), float(self.shown_x.max())

    @cached_property
    def shown_x(self) -> Float64:
        """The test inputs in the unit in which they are shown."""
        return self.shown(self.x)

    def shown(self, x: Float64) -> Float64:
        """Inputs in the unit in which they are shown."""
        scale, shift = self.rescale_inputs
        return x * scale + shift

    @cached_property
    def usual_inputs(self) -> tuple[Float64, Float64]:
        """Mean and standard deviation of each input over the training rows, or the test rows."""
        rows = self.x if self.train is None else self.train[0]
        scale, shift = self.rescale_inputs
        centre = rows.mean(axis=0, dtype=np.float64) * scale + shift
        return centre, rows.std(axis=0, dtype=np.float64) * np.abs(scale)

    def predict(self, x: Float64) -> Any:
        """Predictions of any inputs, in the unit of ``y``."""
        found = self.ensemble.predict(x, backend=self.backend, progress=self.progress)
        if self.rescale is not None:
            found = found.rescaled(*self.rescale)
        return found if self.recalibration is None else _recalibrated(self.recalibration, found)


def _recalibrated(recalibration: Any, pred: Any) -> Any:
    found = recalibration.apply(pred)
    if not isinstance(found, Predictions | RegressionPredictions):
        raise TypeError(
            f"{CALL}: {type(recalibration).__name__} makes {type(found).__name__} of predictions, "
            "of which there is no report. Leave recalibration out."
        )
    return found
