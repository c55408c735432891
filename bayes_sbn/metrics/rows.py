"""Some rows of a prediction, drawn with repetition: what resampling hands to a metric."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import ProbabilisticPrediction, is_prediction, to_numpy

Rows = npt.NDArray[np.int64]


class RowsOf:
    """Rows of class probabilities; the draws are not copied unless they are asked for.

    Args:
        pred: class probabilities of every draw.
        rows: indices of rows, with repetition.
    """

    def __init__(self, pred: ProbabilisticPrediction, rows: Rows) -> None:
        self._pred = pred
        self._rows = rows

    @cached_property
    def mean(self) -> npt.NDArray[np.float64]:
        """Class probabilities averaged over the draws, (rows, classes)."""
        return self._pred.mean[self._rows]

    @cached_property
    def probs_per_draw(self) -> npt.NDArray[np.float64]:
        """Class probabilities, (draws, rows, classes)."""
        return self._pred.probs_per_draw[:, self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getattr__(self, name: str) -> object:
        """Whatever else the prediction has, of these rows."""
        take = getattr(self._pred, "take", None)
        if name.startswith("_") or take is None:
            raise AttributeError(f"{type(self._pred).__name__} of resampled rows has no {name!r}")
        return getattr(take(self._rows), name)


def rows_of(call: str, pred: object, num_rows: int, axis: int) -> Callable[[Rows], object]:
    """A function that takes rows of a prediction.

    Args:
        call: the call to name in errors.
        pred: class probabilities of every draw, whatever has a method ``take(rows)``, or an array.
        num_rows: how many rows there must be.
        axis: the axis of the rows of an array.
    """
    is_array = isinstance(pred, np.ndarray | list | tuple) or hasattr(pred, "detach")
    if is_array:
        values = to_numpy(pred)
        received = values.shape[axis] if -values.ndim <= axis < values.ndim else 0
        if received != num_rows:
            raise ValueError(
                f"{call} needs the predictions' rows along axis {axis}, one for each of the "
                f"{num_rows} entries of y: received shape {values.shape}. For draws of shape "
                "(draws, rows) write axis=1."
            )
        return lambda rows: values.take(rows, axis=axis)
    if is_prediction(pred):
        return lambda rows: RowsOf(pred, rows)
    take = getattr(pred, "take", None)
    if not callable(take):
        raise TypeError(
            f"{call} needs predictions whose rows it can take: received a {type(pred).__name__}. "
            "Pass an array, or an object with a method take(rows)."
        )
    return lambda rows: take(rows)
