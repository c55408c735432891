"""What a metric of regression is given: a law of each row's target, and what was observed.

The law is a mixture of normal laws, one a draw (:mod:`bayes_sbn.metrics.normal_mixture`): a
RegressionPredictions, a :class:`NormalMixture` of arrays, or an array of draws of the target
(draws, rows), which is a mixture of point masses.

As in :mod:`bayes_sbn.metrics.arguments`, what is given is checked once and made float64, and every
check takes the name of the call on whose behalf it is made.
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
        scale_per_draw: standard deviations of the same shape, or what broadcasts to it, such as one
            number; 0 makes a point mass.

    Example:
        >>> NormalMixture([0.0, 1.0], 0.5)
        NormalMixture(draw=1, row=2)
    """

    def __init__(self, mean_per_draw: npt.ArrayLike, scale_per_draw: npt.ArrayLike) -> None:
        means = to_numpy(mean_per_draw)
        self._mean, self._scale = check_mixture(
            "NormalMixture()", means[None] if means.ndim == 1 else means, scale_per_draw
        )

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
        if mixture.mean_per_draw.ndim != 2:
            raise TypeError(
                f"{call} needs means of shape (draws, rows): received a {type(pred).__name__} with "
                f"means of shape {mixture.mean_per_draw.shape}. Of predictions with draws of the "
                "activations for each of the weights pass pred.predictions."
            )
    else:
        draws = real_numbers(call, "draws", pred)
        if draws.ndim != 2 or not len(draws):
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
    return mixture, check_targets(call, y, mixture.mean_per_draw.shape[1])


def check_mixture(call: str, mean: object, scale: object) -> tuple[Array, Array]:
    """Means and standard deviations, float64 of shape (draws, rows); there may be no rows.

    Args:
        call: the call to name in errors.
        mean: means (draws, rows).
        scale: standard deviations, of the same shape or broadcast to it; 0 is a point mass.
    """
    means = real_numbers(call, "mean_per_draw", mean)
    if means.ndim != 2 or not len(means):
        raise ValueError(
            f"{call} needs means of shape (draws, rows), one draw at least: received shape "
            f"{means.shape}. For a single draw write mean[None]."
        )
    scales = real_numbers(call, "scale_per_draw", scale)
    try:
        scales = np.broadcast_to(scales, means.shape)
    except ValueError:
        raise ValueError(
            f"{call} needs a standard deviation for each of the means {means.shape}, or what "
            f"broadcasts to that: received shape {scales.shape}. For one a draw write "
            "sigma[:, None]."
        ) from None
    if (scales < 0).any():
        raise ValueError(
            f"{call} needs standard deviations that are not negative: received "
            f"{float(scales.min())!r}. Of their logarithms pass the exponentials, of variances the "
            "square roots."
        )
    return means, scales


def check_targets(call: str, y: object, num_rows: int) -> Array:
    """Real targets as float64 of shape (rows,).

    Args:
        call: the call to name in errors.
        y: finite numbers.
        num_rows: how many there must be.
    """
    values = real_numbers(call, "y", y)
    if values.shape != (num_rows,):
        advice = (
            "For a column write y.reshape(-1)."
            if values.size == num_rows
            else "Pass the targets of exactly the rows that were predicted."
        )
        raise ValueError(
            f"{call} needs one target a row, shape ({num_rows},): received shape {values.shape}. "
            + advice
        )
    return values


def real_numbers(call: str, name: str, values: object) -> Array:
    """Finite numbers as float64, whatever the shape.

    Args:
        call: the call to name in errors.
        name: of the argument, to name in errors.
        values: an array or tensor.
    """
    raw = to_numpy(values)
    if raw.dtype.kind not in "fiub":
        raise TypeError(
            f"{call} needs real numbers as {name}: received values of type {raw.dtype}. Pass a "
            "floating-point array or tensor."
        )
    numbers = raw.astype(np.float64, copy=False)
    finite = np.isfinite(numbers)
    if not finite.all():
        index = tuple(int(i) for i in np.unravel_index(int(np.argmin(finite)), numbers.shape))
        place = f"{name}{list(index)}" if index else name
        raise ValueError(
            f"{call} needs finite numbers: {place} is {numbers[index]}. Drop such rows, or look "
            "for a diverged fit where they were computed."
        )
    return numbers
