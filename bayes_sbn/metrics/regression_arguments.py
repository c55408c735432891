"""What a metric of regression is given: a law of each row's target, and what was observed.

The law is a mixture of normal laws, one a draw (:mod:`bayes_sbn.metrics.normal_mixture`): a
RegressionPredictions, a :class:`NormalMixture` of arrays, or an array of draws of the target
(draws, rows), which is a mixture of point masses.
"""

from __future__ import annotations

import inspect
from typing import Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import to_numpy

Array = npt.NDArray[np.float64]


class NormalMixturePrediction(Protocol):
    """What the metrics read of a prediction of real targets."""

    @property
    def mean_per_draw(self) -> Array:
        """Mean of the target under each draw, (draws, rows)."""

    @property
    def scale_per_draw(self) -> Array:
        """Its standard deviation under each draw, (draws, rows); 0 for a point mass."""


RegressionPredicted = NormalMixturePrediction | npt.ArrayLike
"""A prediction of real targets, or draws of them (draws, rows) as an array or tensor."""


def is_normal_mixture(pred: object) -> TypeGuard[NormalMixturePrediction]:
    """Whether it has means and scales of draws, without computing them."""
    return all(
        inspect.getattr_static(pred, name, None) is not None
        for name in ("mean_per_draw", "scale_per_draw")
    )


class NormalMixture:
    """The law of each row's target as the equal mixture of normal laws, one a draw.

    Args:
        mean_per_draw: means (draws, rows); or (rows,) for a single normal law a row.
        scale_per_draw: standard deviations of the same shape, 0 for a point mass; or one number.

    Example:
        >>> NormalMixture([0.0, 1.0], 0.5)
        NormalMixture(draw=1, row=2)
    """

    def __init__(self, mean_per_draw: npt.ArrayLike, scale_per_draw: npt.ArrayLike) -> None:
        call = "NormalMixture()"
        mean = real_numbers(call, "means", mean_per_draw)
        if mean.ndim == 1:
            mean = mean[None]
        if mean.ndim != 2 or not mean.shape[0]:
            raise ValueError(
                f"{call} needs means of shape (draws, rows), or (rows,) for a single law a row: "
                f"received shape {mean.shape}. For a column of means write mean.reshape(-1)."
            )
        scale = real_numbers(call, "standard deviations", scale_per_draw)
        if scale.ndim and scale.shape != np.shape(to_numpy(mean_per_draw)):
            raise ValueError(
                f"{call} needs a standard deviation for each mean, or one number: received shapes "
                f"{np.shape(to_numpy(mean_per_draw))} and {scale.shape}. Write "
                "np.broadcast_to(scale, mean.shape) to share them."
            )
        if scale.size and scale.min() < 0:
            raise ValueError(
                f"{call} needs standard deviations of at least 0: received {scale.min():g}. Of "
                "their logarithms pass the exponentials, of variances the square roots."
            )
        self._mean = mean
        self._scale = np.broadcast_to(scale, mean.shape)

    @property
    def mean_per_draw(self) -> Array:
        """Means, (draws, rows)."""
        return self._mean

    @property
    def scale_per_draw(self) -> Array:
        """Standard deviations, (draws, rows)."""
        return self._scale

    def take(self, rows: npt.NDArray[np.int64]) -> NormalMixture:
        """Some of the rows, in the order given, with repetition."""
        taken = object.__new__(NormalMixture)
        taken._mean, taken._scale = self._mean[:, rows], self._scale[:, rows]
        return taken

    def __len__(self) -> int:
        return int(self._mean.shape[1])

    def __repr__(self) -> str:
        return f"NormalMixture(draw={len(self._mean)}, row={len(self)})"


def mixture_of(call: str, pred: RegressionPredicted) -> NormalMixturePrediction:
    """A prediction as means and scales of draws.

    Args:
        call: the call to name in errors, such as ``"crps()"``.
        pred: a prediction of real targets, or draws of them (draws, rows).
    """
    if is_normal_mixture(pred):
        mixture: NormalMixturePrediction = pred
    else:
        draws = real_numbers(call, "draws", pred)
        if draws.ndim != 2 or not draws.shape[0]:
            raise ValueError(
                f"{call} needs a RegressionPredictions, a NormalMixture or draws of shape (draws, "
                f"rows): received shape {draws.shape}. For means and standard deviations write "
                "sbn.metrics.NormalMixture(mean, scale); for a single draw write draws[None]."
            )
        mixture = NormalMixture(draws, 0)
    if not mixture.mean_per_draw.shape[1]:
        raise ValueError(f"{call} needs at least one row: received none. Pass rows to score.")
    return mixture


def mixture_and_targets(
    call: str, pred: RegressionPredicted, y: object
) -> tuple[NormalMixturePrediction, Array]:
    """The two arguments of a metric of regression: the law of each row and its target."""
    mixture = mixture_of(call, pred)
    return mixture, targets(call, y, mixture.mean_per_draw.shape[1])


def targets(call: str, y: object, num_rows: int) -> Array:
    """Observed targets as float64 of shape (rows,)."""
    values = real_numbers(call, "targets", y)
    if values.shape != (num_rows,):
        advice = (
            "For a column of targets write y.reshape(-1)."
            if values.size == num_rows
            else "Pass the targets of exactly the rows that were predicted."
        )
        raise ValueError(
            f"{call} needs one target a row, shape ({num_rows},): received shape {values.shape}. "
            + advice
        )
    return values


def real_numbers(call: str, what: str, values: object) -> Array:
    """Finite numbers as float64, whatever the shape."""
    raw = to_numpy(values)
    if raw.dtype.kind not in "fiub":
        raise TypeError(
            f"{call} needs real numbers as {what}: received values of type {raw.dtype}. Pass a "
            "floating-point array or tensor."
        )
    numbers = raw.astype(np.float64, copy=False)
    finite = np.isfinite(numbers)
    if not finite.all():
        index = np.unravel_index(int(np.argmin(finite)), numbers.shape)
        place = ", ".join(str(int(i)) for i in index)
        raise ValueError(
            f"{call} needs finite {what}: {float(numbers[index])} at [{place}]. Drop such rows, or "
            "look for a diverged fit where they were computed."
        )
    return numbers
