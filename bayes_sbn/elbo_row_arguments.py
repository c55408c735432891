"""The arguments of a step whose rows are split over processes: every tensor has the rows first."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor

CALL = "DataParallel_ELBO"


def tensors(args: Any, kwargs: Any) -> Iterator[tuple[str, Tensor]]:
    """The arguments that are tensors, and what to call them."""
    for place, value in [*enumerate(args, 1), *sorted(kwargs.items())]:
        if isinstance(value, Tensor):
            yield f"argument {place}", value


def num_rows(args: Any, kwargs: Any) -> int:
    """The rows of a batch, which all tensors have."""
    counts = {place: len(t) if t.dim() else 0 for place, t in tensors(args, kwargs)}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        shown = ", ".join(f"{place}: {count}" for place, count in counts.items()) or "no tensors"
        raise ValueError(
            f"{CALL}: the arguments have these numbers of rows: {shown}; all tensors have the rows "
            "of the batch as their first dim, at least one. Give other tensors to the model by a "
            "closure or an attribute, not as an argument of the step."
        )
    return next(iter(counts.values()))


def of_rows(values: Any, first: int, last: int) -> Any:
    """The same arguments with the rows of one rank."""
    if isinstance(values, dict):
        return {name: of_rows(value, first, last) for name, value in values.items()}
    if isinstance(values, tuple):
        return tuple(of_rows(value, first, last) for value in values)
    return values[first:last] if isinstance(values, Tensor) else values


def shapes_of(args: Any, kwargs: Any) -> int:
    """A number for the shapes and dtypes of all tensors, to compare ranks by."""
    described = [(place, tuple(t.shape), str(t.dtype)) for place, t in tensors(args, kwargs)]
    return zlib.crc32(repr(described).encode())
