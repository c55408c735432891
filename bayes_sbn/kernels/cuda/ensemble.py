"""Integer logits of draws of a network on a CUDA device: the structs of ``csrc/cuda/arguments.h``.

Equal to ``bayes_sbn.kernels.reference.network``.  A layer is a launch for all draws and rows;
between launches the activations are packed bits in the device's memory.  Weights are drawn where
they are used and not stored, unless they are given.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bayes_sbn.bits import num_words
from bayes_sbn.kernels.native.ensemble import LAWS, PlanesOfBlocks
from bayes_sbn.kernels.reference.inputs import Inputs
from bayes_sbn.kernels.reference.network import KernelLayer, Network, Units
from bayes_sbn.kernels.reference.sampling import Int64, Key, UInt32

KERNELS = (
    "bsbn_inputs",
    "bsbn_table",
    "bsbn_bounds",
    "bsbn_shared_noise_layer",
    "bsbn_row_noise_layer",
    "bsbn_last_layer",
)
MOST_DRAWS = 65_535
"""Draws of a launch: the height of a grid."""

_THREADS = 256
_UNITS_OF_BLOCK = 32
_ROWS_OF_BLOCK = 256
_BLOCKS_OF_PROCESSOR = 4
_CELLS = 4096  # of activation_table.h
_WORDS_OF_CHUNK = 8
_SIGN_PLANES = 1


class LayerArguments(ctypes.Structure):
    """``struct CudaLayer``."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("rows", "hot", "cold", "words", "scale", "bias")),
        *((name, ctypes.c_void_p) for name in ("draws", "table", "bounds", "activations", "dots")),
        *((name, ctypes.c_int64) for name in ("num_draws", "rows_stride", "units_stride")),
        *((name, ctypes.c_int64) for name in ("planes", "is_number", "num_rows", "row_words")),
        *((name, ctypes.c_int64) for name in ("activation_words", "units", "inputs")),
        *((name, ctypes.c_int64) for name in ("magnitude", "largest", "site", "law")),
        *((name, ctypes.c_int64) for name in ("first_row", "key0", "key1")),
        ("noise_scale", ctypes.c_double),
    )


class InputsArguments(ctypes.Structure):
    """``struct CudaInputs``."""

    _fields_ = (
        ("inputs", ctypes.c_void_p),
        ("rows", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("planes", "is_number", "num_rows", "length")),
        ("row_words", ctypes.c_int64),
    )


class TableArguments(ctypes.Structure):
    """``struct CudaTable``."""

    _fields_ = (("table", ctypes.c_void_p), ("law", ctypes.c_int64))


class Device(Protocol):
    """Where the kernels run."""

    @property
    def torch_device(self) -> torch.device:
        """Where their tensors are."""

    @property
    def processors(self) -> int:
        """How many blocks run at least at a time."""

    def launch(
        self, kernel: str, grid: tuple[int, int, int], threads: int, arguments: ctypes.Structure
    ) -> None:
        """Starts a kernel behind what torch does there."""


class DevicePlanes:
    """The probability planes of a layer, in the memory of a device.

    Args:
        planes: those of the host.
        device: where they go.
    """

    def __init__(self, planes: PlanesOfBlocks, device: torch.device) -> None:
        self.hot, self.cold = (_on(p.view(np.int32), device) for p in (planes.hot, planes.cold))


def row_words(length: int) -> int:
    """Words of a row of bits in the device's memory: whole chunks of 256 bits."""
    return -(-num_words(length) // _WORDS_OF_CHUNK) * _WORDS_OF_CHUNK


class PackedInputs:
    """The inputs of the first layer as bits: signs in a plane, or numbers in as many as they need.

    Args:
        device: where they go.
        inputs: int16, shape (rows, in).
    """

    def __init__(self, device: Device, inputs: Inputs) -> None:
        sizes = np.abs(inputs.astype(np.int32))
        self.largest = int(sizes.max())
        self.is_number = self.largest == 0 or int(sizes.min()) != self.largest
        # of a two's complement number: the bits of its magnitude and that of its sign
        self.planes = self.largest.bit_length() + 1 if self.is_number else _SIGN_PLANES
        self.magnitude = 1 if self.is_number else self.largest
        self.row_words = row_words(inputs.shape[1])
        self.rows = torch.empty(
            (self.planes, len(inputs), self.row_words),
            dtype=torch.int32,
            device=device.torch_device,
        )
        numbers = _on(inputs, device.torch_device)
        arguments = InputsArguments(
            inputs=numbers.data_ptr(),
            rows=self.rows.data_ptr(),
            planes=self.planes,
            is_number=self.is_number,
            num_rows=len(inputs),
            length=inputs.shape[1],
            row_words=self.row_words,
        )
        device.launch("bsbn_inputs", _grid_of(self.rows.numel()), _THREADS, arguments)


def integer_logits(
    device: Device,
    network: Network,
    weights: Sequence[DevicePlanes | UInt32],
    inputs: Inputs,
    *,
    key: Key,
    draws: Int64,
    is_shared: bool,
    first_row: int,
    units: Sequence[Units | None] = (),
) -> Int64:
    """Integer logits, int64, shape (draws, rows, classes).

    Args:
        device: where the kernels run.
        network: layers of ±1 weights, one that fits as in the compiled library.
        weights: of each layer its planes, or the packed weights of these draws, (draws, out,
            words).
        inputs: int16, shape (rows, in).
        key: of :func:`bayes_sbn.philox.fold_stream`.
        draws: indices of the draws, at most ``MOST_DRAWS``.
        is_shared: whether the rows of a draw share the noise of the activations.
        first_row: index of the first row, which keys the rows' own noise.
        units: scale and bias of each draw, or None, of every layer; none for their own.
    """
    shape = (len(draws), len(inputs), network.layers[-1].num_units)
    if 0 in shape:
        return np.empty(shape, np.int64)
    where = device.torch_device
    packed = PackedInputs(device, inputs)
    rows, rows_stride, words = packed.rows, 0, packed.row_words
    indices = _on(draws, where)
    written = rows
    for index, (layer, own) in enumerate(zip(network.layers, weights, strict=True)):
        is_first, is_last = index == 0, layer.noise is None
        scale, bias = (_on(part, where) for part in network.units(index, units))
        given = None if isinstance(own, DevicePlanes) else _on(own.view(np.int32), where)
        arguments = LayerArguments(
            rows=rows.data_ptr(),
            hot=own.hot.data_ptr() if isinstance(own, DevicePlanes) else None,
            cold=own.cold.data_ptr() if isinstance(own, DevicePlanes) else None,
            words=None if given is None else given.data_ptr(),
            scale=scale.data_ptr(),
            bias=bias.data_ptr(),
            draws=indices.data_ptr(),
            num_draws=len(draws),
            rows_stride=rows_stride,
            units_stride=layer.num_units if scale.ndim == 2 else 0,
            planes=packed.planes if is_first else _SIGN_PLANES,
            is_number=is_first and packed.is_number,
            num_rows=len(inputs),
            row_words=words,
            units=layer.num_units,
            inputs=layer.num_inputs,
            magnitude=packed.magnitude if is_first else 1,
            largest=packed.largest if is_first else 1,
            site=layer.site,
            law=-1 if layer.noise is None else LAWS[layer.noise],
            first_row=first_row,
            key0=key[0],
            key1=key[1],
            noise_scale=layer.noise_scale,
        )
        grid = _grid_of_layer(device, layer, len(draws), len(inputs), first_row)
        if is_last:
            written = torch.empty(shape, dtype=torch.int64, device=where)
            arguments.dots = written.data_ptr()
            device.launch("bsbn_last_layer", grid, _THREADS, arguments)
            break
        words = row_words(layer.num_units)
        written = torch.zeros((len(draws), len(inputs), words), dtype=torch.int32, device=where)
        arguments.activations = written.data_ptr()
        arguments.activation_words = words
        _launch_hidden(device, layer, arguments, grid, is_shared=is_shared)
        rows, rows_stride = written, len(inputs) * words
    dots: Int64 = written.cpu().numpy()
    return dots


def bytes_of_draw(network: Network, *, draws_weights: bool) -> int:
    """Memory of a draw beside that of its rows: bounds, scale, bias, and weights that are given."""
    widest = max(layer.num_units for layer in network.layers)
    given = 0 if draws_weights else sum(layer.bytes_per_draw for layer in network.layers)
    return 24 * widest + given


def bytes_of_cell(network: Network) -> int:
    """Memory of a row in a draw: the bits of two layers, and its integer logits on both sides."""
    widest = max((row_words(layer.num_units) for layer in network.layers[:-1]), default=0)
    return 2 * 4 * widest + 48 * network.layers[-1].num_units


def bytes_of_row(network: Network) -> int:
    """Memory of a row that all draws share: its numbers, and 16 planes of bits."""
    inputs = network.layers[0].num_inputs
    return 8 * inputs + 64 * row_words(inputs)


def _launch_hidden(
    device: Device,
    layer: KernelLayer,
    arguments: LayerArguments,
    grid: tuple[int, int, int],
    *,
    is_shared: bool,
) -> None:
    """A hidden layer, after what its kernel reads has been made."""
    where = device.torch_device
    if is_shared:
        number = arguments.num_draws * layer.num_units
        bounds = torch.empty((number, 2), dtype=torch.int32, device=where)
        arguments.bounds = bounds.data_ptr()
        device.launch("bsbn_bounds", _grid_of(number), _THREADS, arguments)
        device.launch("bsbn_shared_noise_layer", grid, _THREADS, arguments)
        return
    if layer.noise != "logistic":
        table = torch.empty(_CELLS, dtype=torch.int32, device=where)
        arguments.table = table.data_ptr()
        of_table = TableArguments(table=table.data_ptr(), law=arguments.law)
        device.launch("bsbn_table", _grid_of(_CELLS), _THREADS, of_table)
    device.launch("bsbn_row_noise_layer", grid, _THREADS, arguments)


def _grid_of(threads: int) -> tuple[int, int, int]:
    """Blocks for so many threads."""
    return -(-threads // _THREADS), 1, 1


def _grid_of_layer(
    device: Device, layer: KernelLayer, draws: int, rows: int, first_row: int
) -> tuple[int, int, int]:
    """Blocks of 32 units and a draw, and parts of the rows where these alone would leave idle.

    Each part draws the weights again, hence no more of them than there are processors to fill.
    """
    blocks = -(-layer.num_units // _UNITS_OF_BLOCK)
    parts = -(-_BLOCKS_OF_PROCESSOR * device.processors // (blocks * draws))
    most = -(-(first_row % 32 + rows) // _ROWS_OF_BLOCK)
    return blocks, draws, max(1, min(parts, most))


def _on(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], where: torch.device) -> Tensor:
    """A copy on the device; torch refuses arrays that cannot be written to."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(where)
