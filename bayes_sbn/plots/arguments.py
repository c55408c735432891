"""What figures are given besides predictions and labels: numbers a row, checked once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import to_numpy

Float64 = npt.NDArray[np.float64]


def check_values(call: str, name: str, values: object, num_rows: int | None = None) -> Float64:
    """Finite real numbers of shape (rows,), at least one.

    Args:
        call: the call to name in errors, such as ``"pit_histogram()"``.
        name: the argument.
        values: array or tensor.
        num_rows: how many there must be, if that is known.
    """
    raw = to_numpy(values)
    if raw.dtype.kind not in "fiub":
        raise TypeError(
            f"{call} needs real numbers: {name} has values of type {raw.dtype}. Pass {name} as an "
            "array or tensor of numbers."
        )
    if raw.ndim == 2 and 1 in raw.shape:
        raise ValueError(
            f"{call} needs one number a row: {name} has shape {raw.shape}. Write "
            f"{name}.reshape(-1)."
        )
    if raw.ndim != 1 or not len(raw):
        raise ValueError(
            f"{call} needs one number a row, shape (rows,): {name} has shape {raw.shape}. Pass at "
            "least one row, and one axis."
        )
    if num_rows is not None and len(raw) != num_rows:
        raise ValueError(
            f"{call} needs one number a row: {name} has {len(raw)} for {num_rows} rows. Pass those "
            "of exactly the rows that were predicted."
        )
    numbers = raw.astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(numbers))
    if len(broken):
        row = int(broken[0])
        raise ValueError(
            f"{call} needs finite numbers: {name}[{row}] is {numbers[row]}. Drop such rows, or "
            "look for the division or logarithm that made them."
        )
    return numbers


def one_of(call: str, name: str, value: object, allowed: tuple[str, ...]) -> str:
    """A word out of a few."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(
            f"{call} knows {name}={', '.join(map(repr, allowed))}: received {value!r}. Write "
            f"{name}={allowed[0]!r}, say."
        )
    return value
