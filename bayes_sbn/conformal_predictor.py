"""What every conformal predictor is: options, numbers taken from calibration rows, and a file.

The file is that of a recalibration (:mod:`bayes_sbn.recalibration.calibration_file`) under a name
of its own: a few numbers of JSON text, written whole, with a version and a checksum.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from bayes_sbn.recalibration.calibration_file import (
    FileKind,
    Fitted,
    damaged,
    read_calibration,
    write_calibration,
)

CONFORMAL = FileKind("bayes_sbn.conformal", "conformal predictor")


class ConformalPredictor(ABC):
    """Options, and numbers that were taken from calibration rows or not yet."""

    _options: Mapping[str, Any]
    """What the constructor was given, by the names of its arguments."""

    _fitted: Fitted | None = None

    @property
    def method(self) -> str:
        """The score."""
        return str(self._options["method"])

    @property
    def confidence(self) -> float:
        """The share of rows that shall be covered."""
        return float(self._options["confidence"])

    @property
    def num_rows(self) -> int:
        """Calibration rows that it was fitted to."""
        return self._need("num_rows").num_rows

    @property
    def quantile(self) -> float:
        """The quantile of the scores of the calibration rows."""
        return float(self._need("quantile").numbers["quantile"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write options and quantile to a file of JSON text: whole, or not at all.

        Args:
            path: the file; used as given, no suffix is added.
        """
        fitted = self._need("save()")
        write_calibration(path, type(self).__name__, self._options, fitted, CONFORMAL)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file that :meth:`save` wrote; runs no code from it.

        Args:
            path: the file.

        Raises:
            ValueError: for a truncated, damaged or foreign file, or one of another class.
        """
        call = f"{cls.__name__}.load"
        name, options, fitted = read_calibration(call, path, CONFORMAL)
        if name != cls.__name__:
            raise ValueError(
                f"{call}({os.fspath(path)!r}): the file holds a {name}. Write "
                f"sbn.conformal.{name}.load(path)."
            )
        try:
            made = cls(**options)
            made._check(fitted)
        except (TypeError, ValueError, LookupError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise damaged(call, Path(path), reason, CONFORMAL) from error
        made._fitted = fitted
        return made

    def __repr__(self) -> str:
        fitted = f"rows={self._fitted.num_rows}" if self._fitted else "not fitted"
        name = type(self).__name__
        return f"{name}({self.method!r}, confidence={self.confidence:g}, {fitted})"

    @abstractmethod
    def _check(self, fitted: Fitted) -> None:
        """Raise ValueError where the numbers are not such as this class takes."""

    def _need(self, what: str) -> Fitted:
        """The fitted numbers, or an error that says how to get them."""
        if self._fitted is None:
            raise RuntimeError(
                f"{type(self).__name__}.{what}: it was not fitted. Write "
                ".fit(pred_calibration, y_calibration) first."
            )
        return self._fitted


def check_numbers(fitted: Fitted, names: set[str]) -> None:
    """Raise ValueError unless the numbers are single ones of these names.

    Args:
        fitted: what came from a file.
        names: of the numbers.
    """
    if set(fitted.numbers) != names or any(v.shape != () for v in fitted.numbers.values()):
        raise ValueError(f"the numbers are not {', '.join(sorted(names))}")
    if not fitted.num_rows:
        raise ValueError("it was fitted to no rows")


def check_confidence(call: str, confidence: float) -> float:
    """A share of rows strictly between 0 and 1.

    Args:
        call: the call to name.
        confidence: what came.
    """
    is_number = isinstance(confidence, float | int | np.number) and not isinstance(confidence, bool)
    if not is_number or not 0 < confidence < 1:
        raise ValueError(
            f"{call} needs a confidence strictly between 0 and 1, the share of rows that shall be "
            f"covered: received {confidence!r}. Write confidence=0.9."
        )
    return float(confidence)


def check_enough_rows(call: str, num_rows: int, confidence: float, what: str) -> None:
    """Raise where there are fewer rows than 1 / (1 - confidence) or 1 / confidence.

    With fewer no score is the quantile.

    Args:
        call: the call to name.
        num_rows: calibration rows.
        confidence: the share of rows that shall be covered.
        what: the rows, in words.
    """
    needed = math.ceil(max(1 / (1 - confidence), 1 / confidence) - 1e-9)
    if num_rows < needed:
        raise ValueError(
            f"{call} needs at least {needed} {what} for a confidence of {confidence:g}: received "
            f"{num_rows}. Hold out more rows, or ask for a lower confidence."
        )
