"""What a recalibration is given: predictions with their draws, and the outcomes of validation rows.

Every function takes the name of the call on whose behalf it checks.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import Predicted, check_labels, check_probabilities, is_prediction
from bayes_sbn.predictions import Predictions
from bayes_sbn.predictions_base import PredictionsBase

Float64 = npt.NDArray[np.float64]

SMALLEST_LABEL_PROBABILITY = 1e-12
"""In a fit, a label that was less probable counts as this probable: one row decides nothing."""


class RecalibrationWarning(UserWarning):
    """A recalibration was fitted, and something about its validation rows speaks against it."""


def class_draws(call: str, pred: Predicted) -> Float64:
    """Class probabilities of every draw, (draws, rows, classes), each row divided by its sum.

    The sums are 1 within 1e-6, the rounding of float32; afterwards they are 1 in float64.

    Args:
        call: the call to name in errors.
        pred: a Predictions, or probabilities (rows, classes), which are one draw.
    """
    if is_prediction(pred):
        probs = pred.probs_per_draw
    elif isinstance(pred, PredictionsBase) or hasattr(pred, "num_draws"):
        raise TypeError(_other_predictions(call, pred))
    else:
        probs = check_probabilities(call, pred, ("row", "class"), may_have_no_rows=True)[None]
    return np.asarray(probs / probs.sum(axis=-1, keepdims=True))


def draws_and_labels(
    call: str, pred: Predicted, y: npt.ArrayLike
) -> tuple[Float64, npt.NDArray[np.int64]]:
    """The arguments of a fit: probabilities (draws, rows, classes) and labels (rows,).

    Args:
        call: the call to name in errors.
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,).
    """
    draws = class_draws(call, pred)
    if not draws.shape[1]:
        raise ValueError(f"{call} needs validation rows: received none. Hold some rows out.")
    return draws, check_labels(call, y, *draws.shape[1:])


def like_given(pred: Predicted, draws: Float64, name: str) -> Predictions | Float64:
    """Recalibrated draws as what they were made from: a Predictions, or an array (rows, classes).

    Args:
        pred: what was recalibrated.
        draws: probabilities (draws, rows, classes).
        name: of the method, noted in the attrs.
    """
    if not is_prediction(pred):
        return np.asarray(draws[0])
    return Predictions(draws, attrs=with_note(getattr(pred, "attrs", {}), name))


def with_note(attrs: object, name: str) -> dict[str, object]:
    """The attrs with the method added to the list ``"recalibrated_by"``.

    Args:
        attrs: of the predictions before.
        name: of the method.
    """
    noted = dict(attrs) if isinstance(attrs, Mapping) else {}
    before = noted.get("recalibrated_by", [])
    noted["recalibrated_by"] = [*(before if isinstance(before, list) else []), name]
    return noted


def warn(message: str) -> None:
    """Warn whoever called ``fit``, which called ``_numbers``, which called this.

    Args:
        message: what speaks against the fit, and what to do.
    """
    warnings.warn(message, RecalibrationWarning, stacklevel=4)


def few_rows(call: str, num_rows: int, enough: int, fitted: str) -> str:
    """The warning of fewer rows than the method's numbers need.

    Args:
        call: the call to name.
        num_rows: validation rows.
        enough: how many there should be.
        fitted: what is fitted to them.
    """
    return (
        f"{call}: {num_rows} validation rows are few for {fitted}; it wants about {enough}. Hold "
        "out more rows, or take a method that fits fewer numbers."
    )


def missing_classes(call: str, labels: npt.NDArray[np.int64], num_classes: int) -> str:
    """The warning of classes that no validation row has, or nothing.

    Args:
        call: the call to name.
        labels: of the validation rows.
        num_classes: how many classes there are.
    """
    missing = sorted(set(range(num_classes)) - set(labels.tolist()))
    if not missing:
        return ""
    return (
        f"{call}: no validation row has the label {', '.join(map(str, missing))}; what is fitted "
        "takes it for impossible, or nearly so. Hold out rows of every class, or use "
        "TemperatureScaling()."
    )


def _other_predictions(call: str, pred: object) -> str:
    name = type(pred).__name__
    advice = {
        "NestedPredictions": "Pass its .predictions, whose draws are those of the weights.",
        "PredictionMoments": "Pass its .mean, an array; its draws were not kept.",
    }.get(name, "Methods for real targets are VarianceScaling and IsotonicQuantiles.")
    return f"{call} needs Predictions or class probabilities: received {name}. {advice}"
