r"""How an ensemble is run: its draws against rows, in blocks that fit in memory.

The results of a draw and a row do not depend on the block that they are in, so blocks are as large
as the bound on memory allows: draws outermost, whose weights are unpacked once for all rows.
Draws of a mixture are run network by network.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from tqdm import tqdm

from bayes_sbn.bits import PackedBits
from bayes_sbn.kernels.reference.block_size import block_size
from bayes_sbn.kernels.reference.calibration import (
    calibrated_units,
    joined_units,
    units_of_draws,
)
from bayes_sbn.kernels.reference.exact_dots import Signs
from bayes_sbn.kernels.reference.inputs import Inputs, round_inputs
from bayes_sbn.kernels.reference.network import (
    Network,
    Units,
    network_thresholds,
    output_dots,
    signs_of_words,
)
from bayes_sbn.kernels.reference.real_weights import Int16
from bayes_sbn.kernels.reference.sampling import Int64, Key, UInt32
from bayes_sbn.kernels.streams import BACKENDS, Stream, stream
from bayes_sbn.metrics.arguments import check_count, to_numpy

NOISE_MODES = ("shared", "independent")

_NUM_INDICES = 1 << 32  # rows are numbered by a 32-bit word of the counter


@dataclass(frozen=True, eq=False)
class Drawn:
    """Those draws of an ensemble that are of one network, to be run.

    Args:
        network: whose draws they are.
        positions: which draws of the ensemble they are.
        key: of the random words.
        draws: indices of all draws of the ensemble.
        weights: gives those of each layer, packed bits or int16, (draws, out, in).
        units: scale and bias of layers that the draws calibrated, (draws, out); else None.
    """

    network: Network
    positions: Int64
    key: Key
    draws: Int64
    weights: Callable[[], Sequence[PackedBits | Int16]]
    units: tuple[Units | None, ...] = ()

    def packed(self, positions: Int64) -> list[UInt32]:
        """The words of some draws' ±1 weights, by layer."""
        kept = [weights for weights in self.weights() if isinstance(weights, PackedBits)]
        return [weights.data.numpy()[positions].view(np.uint32) for weights in kept]

    def unpacked(self, positions: Int64) -> list[Signs | Int16]:
        """The weights of some draws as numbers, by layer."""
        return [_unpacked(weights, positions) for weights in self.weights()]


def checked_inputs(
    call: str,
    network: Network,
    x: ArrayLike | torch.Tensor,
    backend: str,
    noise: str,
    row_offset: int,
) -> Inputs:
    """The rows on the grid of the inputs; raise if an argument of a prediction is not allowed."""
    if backend not in BACKENDS:
        raise ValueError(
            f"{call[:-1]}backend={backend!r}): a backend is one of "
            f"{', '.join(map(repr, BACKENDS))}. Write backend='auto'."
        )
    if noise not in NOISE_MODES:
        raise ValueError(
            f"{call[:-1]}noise={noise!r}): noise is 'shared' (by all rows of a draw) or "
            "'independent' (for each row). The law of the noise is the posterior's."
        )
    inputs = round_inputs(call, x, network.layers[0].num_inputs, network.input_scale)
    if not 0 <= operator.index(row_offset) <= _NUM_INDICES - len(inputs):
        raise ValueError(
            f"{call[:-1]}row_offset={row_offset}) with {len(inputs)} rows: indices of rows lie "
            "in [0, 2**32). Number the rows of your data set from 0."
        )
    return inputs


def repeated_rows(call: str, x: ArrayLike | torch.Tensor, times: int) -> np.ndarray[Any, Any]:
    """All rows, so many times one after the other."""
    number = check_count(call, "num_activations", times, minimum=1, usual=8)
    rows = to_numpy(x)
    return np.concatenate([rows] * number) if rows.ndim else rows


def measured_units(
    call: str, parts: Sequence[Drawn], calibration: Inputs | None, max_memory: int
) -> tuple[Units | None, ...]:
    """Scale and bias of the layers whose statistics each draw measures on rows; else None."""
    if calibration is None:
        return (None,) * len(parts[0].network.layers)
    found, at = [], []
    for drawn in parts:
        draws_at_once, rows_at_once = block_size(
            call, drawn.network, len(calibration), max_memory, is_shared=False
        )
        for start in range(0, len(drawn.positions), draws_at_once):
            positions = drawn.positions[start : start + draws_at_once]
            units = calibrated_units(
                drawn.network,
                drawn.unpacked(positions),
                calibration,
                key=drawn.key,
                draws=drawn.draws[positions],
                rows_at_once=rows_at_once,
            )
            found.append(units)
            at.append(positions)
    return units_of_draws(joined_units(found), np.argsort(np.concatenate(at)))


class Block(NamedTuple):
    """Integer logits of some draws of one network for some rows.

    Args:
        network: whose draws they are.
        positions: which draws of the ensemble.
        rows: which rows.
        dots: int64, shape (draws, rows, classes).
    """

    network: Network
    positions: Int64
    rows: slice
    dots: Int64


def run_blocks(
    call: str,
    parts: Sequence[Drawn],
    inputs: Inputs,
    *,
    backend: str,
    is_shared: bool,
    row_offset: int,
    progress: bool | None,
    max_memory: int,
) -> Iterator[Block]:
    """All draws for all rows, some at a time; of each row, draws come in their order by network."""
    if not len(inputs):
        return
    # disable=None silences tqdm where standard error is not a terminal
    disable = None if progress is None else not progress
    total = len(parts[0].draws) * len(inputs)
    with tqdm(total=total, desc=call, unit="row", leave=False, disable=disable) as bar:
        for drawn in parts:
            size = block_size(call, drawn.network, len(inputs), max_memory, is_shared=is_shared)
            running = stream(call, drawn.network, inputs, backend)
            if running is None:
                blocks = _reference_blocks(
                    drawn, inputs, size, is_shared=is_shared, row_offset=row_offset
                )
            else:
                blocks = _streamed_blocks(
                    running, drawn, inputs, max_memory, is_shared=is_shared, row_offset=row_offset
                )
            for block in blocks:
                yield block
                bar.update(block.dots.shape[0] * block.dots.shape[1])


def _reference_blocks(
    drawn: Drawn, inputs: Inputs, size: tuple[int, int], *, is_shared: bool, row_offset: int
) -> Iterator[Block]:
    """By NumPy, from the weights of all draws."""
    draws_at_once, rows_at_once = size
    network = drawn.network
    for first_draw in range(0, len(drawn.positions), draws_at_once):
        positions = drawn.positions[first_draw : first_draw + draws_at_once]
        draws, weights = drawn.draws[positions], drawn.unpacked(positions)
        units = units_of_draws(drawn.units, positions)
        thresholds = network_thresholds(network, drawn.key, draws, units) if is_shared else None
        for first_row in range(0, len(inputs), rows_at_once):
            rows = slice(first_row, first_row + rows_at_once)
            dots = output_dots(
                network,
                weights,
                inputs[rows],
                key=drawn.key,
                draws=draws,
                thresholds=thresholds,
                first_row=row_offset + first_row,
                units=units,
            )
            yield Block(drawn.network, positions, rows, dots)


def _streamed_blocks(
    running: Stream,
    drawn: Drawn,
    inputs: Inputs,
    max_memory: int,
    *,
    is_shared: bool,
    row_offset: int,
) -> Iterator[Block]:
    """By kernels that draw weights where they use them."""
    draws_at_once, rows_at_once = running.block_size(len(inputs), max_memory)
    for first_row in range(0, len(inputs), rows_at_once):
        rows = slice(first_row, first_row + rows_at_once)
        for first_draw in range(0, len(drawn.positions), draws_at_once):
            positions = drawn.positions[first_draw : first_draw + draws_at_once]
            dots = running.integer_logits(
                inputs[rows],
                key=drawn.key,
                draws=drawn.draws[positions],
                is_shared=is_shared,
                first_row=row_offset + first_row,
                units=units_of_draws(drawn.units, positions),
                words=[] if running.draws_weights else drawn.packed(positions),
            )
            yield Block(drawn.network, positions, rows, dots)


def _unpacked(weights: PackedBits | Int16, positions: Int64) -> Signs | Int16:
    if not isinstance(weights, PackedBits):
        return weights[positions]
    words: UInt32 = weights.data.numpy()[positions].view(np.uint32)
    return signs_of_words(words, weights.length)
