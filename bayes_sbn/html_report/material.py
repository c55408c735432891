"""What a report is made from: the arguments of the call, checked before anything is predicted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.html_report.arguments import (
    CALL,
    check_image_shape,
    check_names,
    check_rescale,
    check_rescale_inputs,
    no_class_names,
    numbered,
)
from bayes_sbn.kernels.reference.inputs import input_values, round_inputs
from bayes_sbn.metrics.arguments import check_count, check_labels, check_level, to_numpy
from bayes_sbn.metrics.regression_arguments import check_targets
from bayes_sbn.metrics.resampling import rank_of_ends
from bayes_sbn.posterior import Posterior
from bayes_sbn.predictions import Predictions
from bayes_sbn.predictions_regression import RegressionPredictions
from bayes_sbn.recalibration.recalibration import Recalibration
from bayes_sbn.training_log import read_log
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


def gather(
    posterior: Posterior,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    draws: int,
    seed: int,
    bootstrap: int,
    level: float,
    detail: bool,
    fit: Fit | Sequence[EpochRecord] | str | os.PathLike[str] | None,
    train: tuple[npt.ArrayLike, npt.ArrayLike] | None,
    ood: npt.ArrayLike | None,
    class_names: Sequence[object] | None,
    feature_names: Sequence[object] | None,
    image_shape: tuple[int, ...] | None,
    row_names: Sequence[object] | None,
    rescale: tuple[float, float] | None,
    rescale_inputs: tuple[npt.ArrayLike, npt.ArrayLike] | None,
    recalibration: Recalibration | None,
    backend: str,
    progress: bool | None,
) -> Material:
    """The arguments of a report, checked; as for :class:`Material`."""
    if not isinstance(posterior, Posterior):
        raise TypeError(
            f"{CALL} needs a Posterior: received {type(posterior).__name__}. Write "
            "sbn.report(sbn.Posterior.from_guide(model, guide), x, y)."
        )
    is_classes = posterior.likelihood == "categorical"
    inputs = _inputs("x", x, posterior)
    if is_classes and rescale is not None:
        raise ValueError(
            f"{CALL}: rescale={rescale!r} is for real targets, and this posterior is of "
            f"{posterior.num_classes} classes. Leave it out."
        )
    trained = None
    if train is not None:
        if not isinstance(train, Sequence) or len(train) != 2:
            raise TypeError(
                f"{CALL} needs train=(x, y), the inputs and targets that were fitted: received a "
                f"{type(train).__name__}. Write train=(x_train, y_train)."
            )
        rows = _inputs("train[0]", train[0], posterior)
        if getattr(to_numpy(train[0]), "dtype", None) == np.float32:
            rows = rows.astype(np.float32)  # exact, and half the memory
        trained = (rows, _targets("train[1]", train[1], len(rows), posterior))
    elif any(layer.is_recalibrated for layer in posterior.components[0].layers):
        raise ValueError(
            f"{CALL}: layers of this posterior measure their statistics on rows such as those of "
            "training, which it has not got. Write train=(x_train, y_train)."
        )
    rank_of_ends(CALL, bootstrap, check_level(CALL, level))
    return Material(
        posterior=posterior,
        x=inputs,
        y=_targets("y", y, len(inputs), posterior),
        draws=check_count(CALL, "draws", draws, minimum=1, usual=200),
        seed=check_count(CALL, "seed", seed, minimum=0, usual=0),
        bootstrap=bootstrap,
        level=float(level),
        detail=bool(detail),
        course=None if fit is None else _course(fit),
        train=trained,
        ood=None if ood is None else _inputs("ood", ood, posterior),
        class_names=check_names("class_names", class_names, posterior.num_classes, "class ")
        if is_classes
        else no_class_names(class_names),
        feature_names=check_names("feature_names", feature_names, posterior.num_inputs, "x"),
        image_shape=check_image_shape(image_shape, posterior.num_inputs),
        row_names=check_names("row_names", row_names, len(inputs), "row "),
        rescale=None if rescale is None else check_rescale(rescale),
        rescale_inputs=check_rescale_inputs(rescale_inputs, posterior.num_inputs),
        recalibration=_checked(recalibration),
        backend=backend,
        progress=progress,
    )


def _inputs(name: str, x: npt.ArrayLike, posterior: Posterior) -> Float64:
    call = f"report({name}=...)"
    values: Float64 = input_values(call, x, posterior.num_inputs)
    if not len(values):
        raise ValueError(
            f"{call} needs at least one row: received none. Pass the rows to judge by."
        )
    round_inputs(call, values, posterior.num_inputs, posterior.input_scale)  # finite, in range
    return values


def _targets(name: str, y: object, rows: int, posterior: Posterior) -> npt.NDArray[Any]:
    call = f"report({name}=...)"
    if posterior.likelihood == "categorical":
        return check_labels(call, y, rows, posterior.num_classes)
    return check_targets(call, y, rows)


def _checked(recalibration: object) -> Recalibration | None:
    if recalibration is None or isinstance(recalibration, Recalibration):
        return recalibration
    raise TypeError(
        f"{CALL} needs recalibration as a fitted sbn.recalibration method: received a "
        f"{type(recalibration).__name__}. Write recalibration="
        "sbn.recalibration.TemperatureScaling().fit(pred_valid, y_valid)."
    )


def _recalibrated(recalibration: Any, pred: Any) -> Any:
    found = recalibration.apply(pred)
    if not isinstance(found, Predictions | RegressionPredictions):
        raise TypeError(
            f"{CALL}: {type(recalibration).__name__} makes {type(found).__name__} of predictions, "
            "of which there is no report. Leave recalibration out."
        )
    return found


def _course(fit: object) -> Course:
    if isinstance(fit, Fit):
        return Course(fit.history, fit)
    if isinstance(fit, str | os.PathLike):
        return Course(read_log(fit), folder=str(Path(fit)))
    records = tuple(fit) if isinstance(fit, Sequence) else ()
    if not records or not all(isinstance(record, EpochRecord) for record in records):
        raise TypeError(
            f"{CALL} needs fit as the result of sbn.fit, its records, or the folder of its "
            f'checkpoint: received a {type(fit).__name__}. Write fit="run/", say.'
        )
    return Course(records)
