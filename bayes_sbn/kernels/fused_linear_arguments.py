"""What fused layers are given, checked: rows, weights, scales, and the numbers that key a draw."""

from __future__ import annotations

import operator

import torch
from torch import Tensor

from bayes_sbn.bits import PackedBits
from bayes_sbn.kernels.layers import PackedProbabilities

Rows = PackedBits | Tensor
Weights = PackedBits | PackedProbabilities

_LARGEST_LENGTH = 2**31 - 1
_LARGEST_SITE = 0xFFFF


def rows_of(call: str, x: Rows) -> tuple[Tensor, int]:
    """Words or integers of rows, and their length."""
    if isinstance(x, PackedBits):
        return x.data, x.length
    if not isinstance(x, Tensor) or x.dtype != torch.int16 or x.ndim == 0:
        what = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(
            f"{call} received rows of {what}; they are packed ±1 values or int16 integers, "
            "(..., K). Write pack(x), or torch.round(x / step).to(torch.int16) and scale * step."
        )
    return x, x.shape[-1]


def units_of(call: str, w: Weights, inputs: int, *, may_draw: bool = False) -> int:
    """The number of units, once weights are such that rows of so many inputs can meet."""
    if may_draw and isinstance(w, PackedProbabilities):
        length, units = w.inputs, w.units
    elif isinstance(w, PackedBits):
        if w.data.ndim != 2:
            raise ValueError(
                f"{call} received weights of shape {tuple(w.shape)}; they are a matrix (units, "
                "inputs). Write one call for each draw."
            )
        length, units = w.length, w.data.shape[0]
    elif isinstance(w, PackedProbabilities):
        raise TypeError(
            f"{call} received weights of PackedProbabilities; they are packed bits. Write "
            "bits = w.draw([draw], site=...), and give PackedBits(bits.data[0], bits.length)."
        )
    else:
        kinds = "packed bits or PackedProbabilities" if may_draw else "packed bits"
        raise TypeError(
            f"{call} received weights of {type(w).__name__}; they are {kinds}. Write pack(w)."
        )
    if length != inputs:
        raise ValueError(
            f"{call}: rows have {inputs} values and weights {length}. Give both with the same last "
            "dimension."
        )
    if inputs > _LARGEST_LENGTH:
        raise ValueError(f"{call}: rows have {inputs} values; products have 32 bits.")
    return units


def of_units(
    call: str, name: str, value: Tensor | float, units: int, device: torch.device
) -> Tensor:
    """Numbers of the units, float64."""
    numbers = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
    if numbers.shape not in ((), (units,)) or numbers.is_complex():
        raise ValueError(
            f"{call} received a {name} of {numbers.dtype} and shape {tuple(numbers.shape)}; it is "
            f"a number, or one for each of the {units} units. Write {name}.reshape({units})."
        )
    return numbers.to(device, torch.float64).expand(units)


def check_place(
    call: str, num_rows: int, seed: int, stream: int, draw: int, site: int, row_offset: int
) -> None:
    """Raises unless the numbers by which draws are keyed are such."""
    seed, stream, draw, site, first = map(operator.index, (seed, stream, draw, site, row_offset))
    if not (0 <= seed < 2**64 and 0 <= stream < 2**64):
        raise ValueError(
            f"{call}(seed={seed}, stream={stream}): both are integers in [0, 2**64). "
            "Write seed % 2**64 to wrap one."
        )
    if not (0 <= draw < 2**32 and 0 <= site <= _LARGEST_SITE):
        raise ValueError(
            f"{call}(draw={draw}, site={site}): the index of a draw lies in [0, 2**32), "
            f"a site in [0, {_LARGEST_SITE}]. Number them from 0."
        )
    if first < 0 or first + num_rows > 2**32:
        raise ValueError(
            f"{call}(row_offset={first}): indices of {num_rows} rows from there on must "
            "lie in [0, 2**32). Write row_offset=0, or the place of x in the whole."
        )


def signed(value: int) -> int:
    """64 bits as the integer that an operator takes."""
    return value if value < 2**63 else value - 2**64
