"""The arguments of a report, checked before anything is predicted."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
)
from bayes_sbn.html_report.material import Course, Float64, Material
from bayes_sbn.kernels.reference.inputs import input_values, round_inputs
from bayes_sbn.metrics.arguments import check_count, check_labels, check_level, to_numpy
from bayes_sbn.metrics.regression_arguments import check_targets
from bayes_sbn.metrics.resampling import rank_of_ends
from bayes_sbn.posterior import Posterior
from bayes_sbn.recalibration.recalibration import Recalibration
from bayes_sbn.training_log import read_log
from bayes_sbn.training_result import EpochRecord, Fit


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
