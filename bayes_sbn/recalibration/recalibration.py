"""What every recalibration is: options, numbers fitted to validation rows, and a file.

A method is made with its options, fitted once or again, and then called on predictions.  Each
class of a method says which numbers it fits and what it does with them; what is common is here.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import Predicted
from bayes_sbn.predictions import Predictions
from bayes_sbn.recalibration.arguments import class_draws, draws_and_labels, like_given
from bayes_sbn.recalibration.calibration_file import (
    Fitted,
    damaged,
    read_calibration,
    write_calibration,
)

Float64 = npt.NDArray[np.float64]


class Recalibration(ABC):
    """Options, and numbers that were fitted to validation rows or not yet."""

    _options: Mapping[str, Any] = {}
    """What the constructor was given, by the names of its arguments."""

    _fitted: Fitted | None = None

    @property
    def is_fitted(self) -> bool:
        """Whether it was fitted, or loaded."""
        return self._fitted is not None

    @property
    def num_rows(self) -> int:
        """Validation rows that it was fitted to."""
        return self._need("num_rows").num_rows

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write options and fitted numbers to a file of JSON text: whole, or not at all.

        Args:
            path: the file; used as given, no suffix is added.
        """
        write_calibration(path, type(self).__name__, self._options, self._need("save()"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file that :meth:`save` wrote; runs no code from it.

        Args:
            path: the file.

        Raises:
            ValueError: for a truncated, damaged or foreign file, or one of another method.
        """
        call = f"{cls.__name__}.load"
        method, options, fitted = read_calibration(call, path)
        if method != cls.__name__:
            raise ValueError(
                f"{call}({os.fspath(path)!r}): the file holds a {method}. Write "
                "sbn.recalibration.load(path), which reads every method."
            )
        try:
            made = cls(**options)
            made._check(fitted)
        except (TypeError, ValueError, LookupError) as error:
            raise damaged(call, Path(path), f"{type(error).__name__}: {error}") from error
        made._fitted = fitted
        return made

    def __repr__(self) -> str:
        options = [f"{name}={value!r}" for name, value in self._options.items()]
        fitted = self._fitted
        found = [self._words(fitted), f"rows={fitted.num_rows}"] if fitted else ["not fitted"]
        return f"{type(self).__name__}({', '.join([*options, *found])})"

    @abstractmethod
    def _check(self, fitted: Fitted) -> None:
        """Raise ValueError where the numbers are not such as this method fits."""

    @abstractmethod
    def _words(self, fitted: Fitted) -> str:
        """The fitted numbers in a few words."""

    def _need(self, what: str) -> Fitted:
        """The fitted numbers, or an error that says how to get them."""
        if self._fitted is None:
            raise RuntimeError(
                f"{type(self).__name__}.{what}: it was not fitted. Write "
                ".fit(pred_valid, y_valid) first, with rows that the model was not trained on."
            )
        return self._fitted


class ClassRecalibration(Recalibration):
    """A recalibration of class probabilities."""

    def fit(self, pred: Predicted, y: npt.ArrayLike) -> Self:
        """Fit to validation rows, which the model must not have been trained on.

        Args:
            pred: a Predictions of these rows, or probabilities (rows, classes).
            y: their labels (rows,), integers in 0 ... classes - 1.

        Returns:
            The object itself.
        """
        call = f"{type(self).__name__}.fit()"
        self._refuse(call, pred)
        draws, labels = draws_and_labels(call, pred, y)
        numbers = self._numbers(call, draws, labels)
        self._fitted = Fitted(numbers, len(labels), draws.shape[-1])
        return self

    def apply(self, pred: Predicted) -> Predictions | Float64:
        """The recalibrated predictions, draws and all.

        Args:
            pred: a Predictions, or probabilities (rows, classes).

        Returns:
            A Predictions with the same draws, rows and attrs, whose attrs have
            ``"recalibrated_by"`` in addition; of an array, an array (rows, classes).
        """
        call = f"{type(self).__name__}.apply()"
        fitted = self._need("apply()")
        self._refuse(call, pred)
        draws = class_draws(call, pred)
        if draws.shape[-1] != fitted.num_classes:
            raise ValueError(
                f"{call}: it was fitted to {fitted.num_classes} classes and received "
                f"{draws.shape[-1]}. Fit it to validation rows of the same model."
            )
        return like_given(pred, self._draws(draws, fitted), type(self).__name__)

    def __call__(self, pred: Predicted) -> Predictions | Float64:
        """:meth:`apply` by another name.

        Args:
            pred: a Predictions, or probabilities (rows, classes).
        """
        return self.apply(pred)

    @abstractmethod
    def _numbers(
        self, call: str, draws: Float64, labels: npt.NDArray[np.int64]
    ) -> dict[str, Float64]:
        """The numbers fitted to probabilities (draws, rows, classes) and labels (rows,)."""

    @abstractmethod
    def _draws(self, draws: Float64, fitted: Fitted) -> Float64:
        """Recalibrated probabilities (draws, rows, classes)."""

    def _refuse(self, call: str, pred: Predicted) -> None:
        """Raise where this method can't take these predictions."""
        del call, pred
