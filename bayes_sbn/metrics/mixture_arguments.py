"""What a mixture of normal laws and its targets are given as, checked once and made float64.

As in :mod:`bayes_sbn.metrics.arguments`, every function takes the name of the call on whose behalf
it checks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import to_numpy

Float64 = npt.NDArray[np.float64]


def check_mixture(call: str, mean: object, scale: object) -> tuple[Float64, Float64]:
    """Means and standard deviations, float64 of shape (draws, rows); there may be no rows.

    Args:
        call: the call to name in errors.
        mean: means (draws, rows).
        scale: standard deviations, of the same shape or broadcast to it; 0 is a point mass.
    """
    means = _numbers(call, mean, "mean_per_draw")
    if means.ndim != 2 or not len(means):
        raise ValueError(
            f"{call} needs means of shape (draws, rows), one draw at least: received shape "
            f"{means.shape}. For a single draw write mean[None]."
        )
    scales = _numbers(call, scale, "scale_per_draw")
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
            f"{call} needs standard deviations that are not negative: received {scales.min()!r}. "
            "Pass sigma, not its logarithm."
        )
    return means, scales


def check_targets(call: str, y: object, num_rows: int) -> Float64:
    """Real targets, float64 of shape (rows,).

    Args:
        call: the call to name in errors.
        y: finite numbers.
        num_rows: how many there must be.
    """
    values = _numbers(call, y, "y")
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


def _numbers(call: str, values: object, name: str) -> Float64:
    raw = to_numpy(values)
    if raw.dtype.kind not in "fiub":
        raise TypeError(f"{call} needs real numbers: received {name} of type {raw.dtype}.")
    numbers = raw.astype(np.float64, copy=False)
    if not np.isfinite(numbers).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(numbers))[0])
        raise ValueError(
            f"{call} needs finite numbers: {name}{list(index)} is {numbers[index]}. Look for a "
            "diverged fit or missing values where they were computed."
        )
    return numbers
