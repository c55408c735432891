r"""One class against the rest: a curve of the probability of each class, and what they sum to.

A method for two classes recalibrates the mean probability of class c against whether c was the
label, by a curve :math:`g_c`.  Of two classes only that of class 1 is fitted; of more, the curves
are fitted one by one and their values divided by their sum,

.. math:: \bar q_c = g_c(\bar p_c) \Big/ \sum_j g_j(\bar p_j) ,

uniform where all of them are 0.  With a floor :math:`\varepsilon` no class falls below it:
:math:`\varepsilon + (1 - C \varepsilon)\, \bar q_c`.  These are scikit-learn's conventions, but for
the floor.  The draws follow the mean by the least relabelling
(:mod:`bayes_sbn.recalibration.draws_of_mean`).

References:
    B. Zadrozny, C. Elkan. Transforming classifier scores into accurate multiclass probability
    estimates. KDD 2002.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, cast

import numpy as np
import numpy.typing as npt

from bayes_sbn.recalibration.arguments import few_rows, missing_classes, warn
from bayes_sbn.recalibration.calibration_file import Fitted
from bayes_sbn.recalibration.draws_of_mean import draws_of_mean
from bayes_sbn.recalibration.recalibration import ClassRecalibration

Float64 = npt.NDArray[np.float64]


class OneAgainstRest(ClassRecalibration):
    """A recalibration of the mean by a curve for each class."""

    _parts: ClassVar[tuple[str, ...]]
    """The arrays that make a curve, by name."""

    def _numbers(
        self, call: str, draws: Float64, labels: npt.NDArray[np.int64]
    ) -> dict[str, Float64]:
        mean = draws.mean(axis=0)
        num_rows, num_classes = mean.shape
        curves = fitted_classes(num_classes)
        check_floor(type(self).__name__, self._options.get("floor", 0.0), num_classes)
        enough = self._enough_rows(len(curves))
        if num_rows < enough:
            warn(few_rows(call, num_rows, enough, f"the curves of {num_classes} classes"))
        missing = missing_classes(call, labels, num_classes)
        if missing:
            warn(missing)
        numbers: dict[str, Float64] = {}
        for c in curves:
            curve = self._curve(mean[:, c], (labels == c).astype(np.float64))
            numbers |= {f"{part}_{c}": a for part, a in zip(self._parts, curve, strict=True)}
        runaway = self._runaway(mean, labels, numbers)
        if runaway:
            warn(f"{call}: {runaway}")
        return numbers

    def _draws(self, draws: Float64, fitted: Fitted) -> Float64:
        mean = draws.mean(axis=0)
        curves = fitted_classes(fitted.num_classes)
        values = np.empty((len(mean), len(curves)))
        for i, c in enumerate(curves):
            values[:, i] = self._at(mean[:, c], *self._curve_of(fitted, c))
        return draws_of_mean(draws, joined(values, float(self._options.get("floor", 0.0))))

    def _curve_of(self, fitted: Fitted, c: int) -> list[Float64]:
        return [fitted.numbers[f"{part}_{c}"] for part in self._parts]

    def _check(self, fitted: Fitted) -> None:
        curves = fitted_classes(fitted.num_classes)
        names = {f"{part}_{c}" for part in self._parts for c in curves}
        if set(fitted.numbers) != names:
            raise ValueError(f"there are not the curves of {fitted.num_classes} classes")
        floor = self._options.get("floor", 0.0)
        check_floor(type(self).__name__, floor, fitted.num_classes)
        for c in curves:
            self._check_curve(*self._curve_of(fitted, c))

    @abstractmethod
    def _curve(self, probs: Float64, outcomes: Float64) -> tuple[Float64, ...]:
        """The arrays of the curve fitted to probabilities and outcomes 0 or 1, each (rows,)."""

    @abstractmethod
    def _at(self, probs: Float64, *curve: Float64) -> Float64:
        """The values of a curve at probabilities (rows,)."""

    @abstractmethod
    def _check_curve(self, *curve: Float64) -> None:
        """Raise ValueError where the arrays make no curve."""

    @abstractmethod
    def _enough_rows(self, num_curves: int) -> int:
        """How many validation rows the curves want."""

    def _runaway(
        self, mean: Float64, labels: npt.NDArray[np.int64], numbers: dict[str, Float64]
    ) -> str:
        """What to warn of where the rows do not hold the numbers, or nothing."""
        del mean, labels, numbers
        return ""


def fitted_classes(num_classes: int) -> range:
    """The classes whose curves are fitted: class 1 of two, every one of more.

    Args:
        num_classes: classes of the predictions.
    """
    if num_classes < 2:
        raise ValueError(f"{num_classes} classes")
    return range(1, 2) if num_classes == 2 else range(num_classes)


def joined(values: Float64, floor: float) -> Float64:
    """Probabilities (rows, classes) from the values of the curves (rows, curves).

    Args:
        values: in [0, 1]; a single column is the probability of class 1 of two.
        floor: what no probability falls below.

    Example:
        >>> joined(np.array([[0.4, 0.4, 0.0], [0.0, 0.0, 0.0]]), 0.0).round(3)
        array([[0.5  , 0.5  , 0.   ],
               [0.333, 0.333, 0.333]])
    """
    if values.shape[1] == 1:
        probs = np.concatenate([1 - values, values], axis=1)
    else:
        total = values.sum(axis=1, keepdims=True)
        probs = np.full_like(values, 1 / values.shape[1])
        np.divide(values, total, out=probs, where=total > 0)
    return floor + (1 - probs.shape[1] * floor) * probs if floor else probs


def check_floor(name: str, floor: object, num_classes: int = 2) -> float:
    """A floor of probabilities, in [0, 1 / classes).

    Args:
        name: of the method.
        floor: what came.
        num_classes: classes of the predictions, where they are known.
    """
    is_number = isinstance(floor, int | float | np.number) and not isinstance(floor, bool)
    value = float(cast(float, floor)) if is_number else math.nan
    if not 0 <= value < 1 / num_classes:
        raise ValueError(
            f"{name}() needs a floor in [0, 1 / {num_classes}), the probability that no class "
            f"falls below: received {floor!r}. Write floor=1e-3, say."
        )
    return value
