r"""Real inputs as 16-bit integers: the definition of ``rint(x / input_scale)``.

Values are taken to float64, divided (one rounded division) and rounded to the nearest integer, ties
to even.  What is not a finite number, or lies beyond 32767 steps, is an error and is never clipped.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bayes_sbn.kernels.reference.cdf64 import Float64

LARGEST_INPUT = 32767
"""Inputs are integers of 16 bits, from -32767 to 32767."""

Inputs = NDArray[np.int16]


def round_inputs(
    call: str, x: ArrayLike | torch.Tensor, num_inputs: int, input_scale: float
) -> Inputs:
    """Inputs in whole steps of the grid.

    Args:
        call: the call to name in errors, such as ``"predict()"``.
        x: rows, shape (rows, num_inputs).
        num_inputs: number of features.
        input_scale: the size of a step.

    Returns:
        int16, shape (rows, num_inputs).

    Raises:
        TypeError: x is not numbers.
        ValueError: x has another shape, a value that is not finite, or one beyond the grid.
    """
    values = input_values(call, x, num_inputs)
    with np.errstate(over="ignore"):  # a quotient that overflows is beyond the range
        steps = np.divide(values, input_scale)
    np.rint(steps, out=steps)
    if steps.min(initial=0) >= -LARGEST_INPUT and steps.max(initial=0) <= LARGEST_INPUT:
        return steps.astype(np.int16)
    finite = np.isfinite(values)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ValueError(
            f"{call} needs finite inputs: row {row} has {values[row, column]} in column {column}, "
            f"and {int((~finite).sum())} values in all are not finite. Drop or fill such rows."
        )
    beyond = np.abs(steps) > LARGEST_INPUT
    row, column = np.argwhere(beyond)[0]
    limit, largest = LARGEST_INPUT * input_scale, float(np.abs(values).max())
    raise ValueError(
        f"{call} received {int(beyond.sum())} values beyond the posterior's input range of "
        f"±{limit:g}: the first is {values[row, column]:g} in row {row}, the largest magnitude "
        f"{largest:g}. Clip them with x.clip(-{limit:.9g}, {limit:.9g}), or make the posterior "
        f"with Posterior.from_guide(..., input_range={largest:.9g})."
    )


def input_values(call: str, x: ArrayLike | torch.Tensor, num_inputs: int) -> Float64:
    """The inputs as a float64 array of shape (rows, num_inputs)."""
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu()
        x = (x.to(torch.float64) if x.is_floating_point() else x).numpy()
    array = np.asarray(x)
    if array.dtype.kind not in "fiu":
        advice = "Map it with 2.0 * x - 1.0." if array.dtype.kind == "b" else "Pass real numbers."
        raise TypeError(f"{call} needs inputs that are numbers: received {array.dtype}. {advice}")
    if array.ndim != 2 or array.shape[1] != num_inputs:
        is_one_row = array.shape == (num_inputs,)
        advice = "Write x[None]" if is_one_row else f"Write x.reshape(-1, {num_inputs})"
        raise ValueError(
            f"{call} needs inputs of shape (rows, {num_inputs}): received shape {array.shape}. "
            f"{advice}, or use the posterior of a network of that width."
        )
    return array.astype(np.float64, copy=False)
