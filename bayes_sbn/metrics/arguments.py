"""What a metric is given: class probabilities and labels, checked once and made float64 and int64.

Every function takes the name of the call on whose behalf it checks, so that an error speaks of what
the user typed.  Tensors are taken without importing their library: whatever has a ``detach`` method
is detached, brought to the host and read as NumPy.
"""

from __future__ import annotations

import inspect
from typing import Protocol, TypeGuard, runtime_checkable

import numpy as np
import numpy.typing as npt

ROW_SUM_TOLERANCE = 1e-6
"""How far the probabilities of a row may sum from 1: the rounding of a float32 softmax, no more."""


class UndefinedMetricWarning(UserWarning):
    """A metric is not defined for what it was given, and its value is NaN."""


@runtime_checkable
class ProbabilisticPrediction(Protocol):
    """What the metrics read of a :class:`bayes_sbn.predictions.Predictions`."""

    @property
    def probs_per_draw(self) -> npt.NDArray[np.float64]:
        """Class probabilities, (draws, rows, classes)."""

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Class probabilities averaged over the draws, (rows, classes)."""


def is_prediction(pred: object) -> TypeGuard[ProbabilisticPrediction]:
    """Whether it has probabilities of draws; unlike ``isinstance``, without computing them."""
    return all(
        inspect.getattr_static(pred, name, None) is not None for name in ("probs_per_draw", "mean")
    )


Predicted = ProbabilisticPrediction | npt.ArrayLike
"""A Predictions, or probabilities of shape (rows, classes) as an array or tensor."""


def to_numpy(values: object) -> npt.NDArray[np.generic]:
    """An array or tensor as NumPy, without a copy where that is possible.

    Floating-point tensors come as float64: NumPy does not know all of their types (bfloat16).
    """
    detach = getattr(values, "detach", None)
    if detach is None:
        return np.asarray(values)
    tensor = detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.double()
    return np.asarray(tensor.numpy())


def check_probabilities(
    call: str, values: object, dims: tuple[str, ...], *, may_have_no_rows: bool = False
) -> npt.NDArray[np.float64]:
    """Class probabilities as float64, of the named dims, of which the last is the classes.

    Args:
        call: the call to name in errors, such as ``"nll()"``.
        values: array or tensor of probabilities, each in [0, 1], summing to 1 over the last axis.
        dims: the name of each axis, such as ``("row", "class")``.
        may_have_no_rows: whether the axis before the last may be empty.
    """
    raw = to_numpy(values)
    if raw.dtype.kind not in "fiub":
        is_object = raw.dtype.kind == "O" and raw.ndim == 0
        received = f"a {type(values).__name__}" if is_object else f"values of type {raw.dtype}"
        raise TypeError(
            f"{call} needs real numbers: received {received}. "
            + (
                "Of predictions with draws of the activations for each of the weights pass "
                "pred.predictions."
                if hasattr(values, "predictions")
                else "Pass probabilities as a floating-point array or tensor."
            )
        )
    expected = f"({', '.join(dims)})"
    if raw.ndim != len(dims):
        raise ValueError(
            f"{call} needs probabilities of shape {expected}: received shape {raw.shape}. "
            + _shape_advice(raw.ndim, dims)
        )
    needed = raw.shape[:-2] + raw.shape[-1:] if may_have_no_rows else raw.shape
    if 0 in needed:
        raise ValueError(
            f"{call} needs at least one entry along every axis of {expected}: received shape "
            f"{raw.shape}. Pass at least one row."
        )
    if raw.shape[-1] == 1:
        raise ValueError(
            f"{call} needs a probability for each of at least two classes: received shape "
            f"{raw.shape}. For the probability p of class 1 of two write "
            "np.concatenate([1 - p, p], axis=-1)."
        )
    probs = raw.astype(np.float64, copy=False)
    if not probs.size:
        return probs
    _check_range(call, probs, dims)
    # A product with ones is several times faster than a sum over a short last axis.
    sums = probs @ np.ones(probs.shape[-1])
    if max(float(sums.max()) - 1, 1 - float(sums.min())) > ROW_SUM_TOLERANCE:
        index = np.unravel_index(int(np.argmax(np.abs(sums - 1))), sums.shape)
        raise ValueError(
            f"{call} needs probabilities that sum to 1 over the classes (within "
            f"{ROW_SUM_TOLERANCE:g}): {_place(index, dims[:-1])} they sum to {sums[index]:.9g}. "
            "For logits pass their softmax; for unnormalised weights write "
            "p / p.sum(axis=-1, keepdims=True)."
        )
    return probs


def check_labels(call: str, y: object, num_rows: int, num_classes: int) -> npt.NDArray[np.int64]:
    """Labels as int64 of shape (rows,), each in 0 ... classes - 1.

    Args:
        call: the call to name in errors.
        y: integers, or floating-point numbers that are integers, as array or tensor.
        num_rows: how many labels there must be.
        num_classes: how many classes the labels number.
    """
    raw = to_numpy(y)
    if raw.dtype.kind not in "fiub":
        raise TypeError(
            f"{call} needs integer labels: received values of type {raw.dtype}. Number the classes "
            "0, 1, ..., for instance with np.unique(y, return_inverse=True)[1]."
        )
    if raw.ndim != 1:
        if raw.shape == (num_rows, num_classes):
            advice = "For one-hot labels write y.argmax(-1)."
        else:
            advice = "For a column of labels write y.reshape(-1)."
        raise ValueError(
            f"{call} needs one label a row, shape ({num_rows},): received shape {raw.shape}. "
            + advice
        )
    if len(raw) != num_rows:
        raise ValueError(
            f"{call} needs one label a row: received {len(raw)} labels for {num_rows} rows. "
            "Pass the labels of exactly the rows that were predicted."
        )
    numbers = raw.astype(np.float64)
    broken = np.flatnonzero(~(np.isfinite(numbers) & (numbers == np.floor(numbers))))
    if len(broken):
        row = int(broken[0])
        raise ValueError(
            f"{call} needs integer labels: y[{row}] is {raw[row]}. Drop rows without a label "
            "and pass class numbers, as in y.astype(int)."
        )
    outside = np.flatnonzero((numbers < 0) | (numbers >= num_classes))
    if len(outside):
        row = int(outside[0])
        if num_classes == 2 and np.all(np.abs(numbers) == 1):
            advice = "For labels in {-1, +1} write (y + 1) // 2."
        else:
            advice = "Number the classes from 0, in the order of the columns of the probabilities."
        raise ValueError(
            f"{call} needs labels in 0 ... {num_classes - 1} for {num_classes} classes: "
            f"y[{row}] is {raw[row]}. {advice}"
        )
    return raw.astype(np.int64, copy=False)


def probabilities_and_labels(
    call: str, pred: Predicted, y: object
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The two arguments of a metric: probabilities (rows, classes) and labels (rows,)."""
    if is_prediction(pred):
        probs = pred.mean  # A Predictions was checked when it was built, but may have no rows.
        if not len(probs):
            raise ValueError(
                f"{call} needs at least one row: received predictions of none. Predict some."
            )
    else:
        probs = check_probabilities(call, pred, ("row", "class"))
    return probs, check_labels(call, y, *probs.shape)


def check_count(call: str, name: str, value: object, *, minimum: int, usual: int) -> int:
    """An integer argument of at least ``minimum``; ``usual`` is the value an error proposes."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(
            f"{call} needs an integer {name}: received {value!r}. Write {name}={usual}, say."
        )
    if value < minimum:
        raise ValueError(
            f"{call} needs {name} of at least {minimum}: received {value}. "
            f"Write {name}={usual}, say."
        )
    return int(value)


def check_level(call: str, level: float) -> float:
    """A probability level strictly between 0 and 1."""
    if isinstance(level, bool) or not isinstance(level, int | float | np.number):
        raise TypeError(
            f"{call} needs a number as level: received {level!r}. For nine tenths write level=0.9."
        )
    if not 0 < level < 1:
        raise ValueError(
            f"{call} needs a level strictly between 0 and 1: received level={level!r}. "
            "For nine tenths write level=0.9."
        )
    return float(level)


def _check_range(call: str, probs: npt.NDArray[np.float64], dims: tuple[str, ...]) -> None:
    # Minimum and maximum carry a NaN along, so that the common case costs two passes and no mask.
    low, high = float(probs.min()), float(probs.max())
    if low >= 0 and high <= 1:
        return
    finite = np.isfinite(probs)
    if not finite.all():
        index = np.unravel_index(int(np.argmin(finite)), probs.shape)
        raise ValueError(
            f"{call} needs finite probabilities: {probs[index]} {_place(index, dims)}. "
            "Look for a diverged fit or a division 0 / 0 where they were computed."
        )
    outside = (probs < 0) | (probs > 1)
    index = np.unravel_index(int(np.argmax(outside)), probs.shape)
    raise ValueError(
        f"{call} needs probabilities in [0, 1]: {float(probs[index])!r} {_place(index, dims)}. "
        "For logits pass their softmax; for values beyond by rounding write p.clip(0, 1)."
    )


def _place(index: tuple[np.intp, ...], dims: tuple[str, ...]) -> str:
    return "at " + ", ".join(f"{dim} {int(i)}" for dim, i in zip(dims, index, strict=True))


def _shape_advice(ndim: int, dims: tuple[str, ...]) -> str:
    if dims[0] == "draw" and ndim == 2:
        return "For a single draw of probabilities (row, class) write probs[None]."
    if dims[0] == "row" and ndim == 3:
        return "For probabilities of several draws pass Predictions(probs) or probs.mean(axis=0)."
    if dims[0] == "row" and ndim == 1:
        return "For the probability p of class 1 of two write np.stack([1 - p, p], axis=-1)."
    return f"Give it {len(dims)} axes in this order."
