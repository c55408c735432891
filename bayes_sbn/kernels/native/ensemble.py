"""Integer logits of draws of a network by the compiled library: the structs of ``csrc/bsbn.h``.

Equal to ``bayes_sbn.kernels.reference.network``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bayes_sbn.bits import num_words
from bayes_sbn.kernels.loader import STATUS_OUT_OF_MEMORY, NativeLibrary
from bayes_sbn.kernels.native import layers as native_layers
from bayes_sbn.kernels.reference.inputs import Inputs
from bayes_sbn.kernels.reference.network import DenseLayer, Network, Units
from bayes_sbn.kernels.reference.sampling import Int64, Key, UInt32

LAWS = {"logistic": 0, "gaussian": 2, "laplace": 3, "uniform": 4, "triangular": 5}
LANES = 16
"""Units of a block."""

HOT_PLANES = 9
_LARGEST_SUM = 2**31 - 1


class LayerArguments(ctypes.Structure):
    """``struct bsbn_ensemble_layer``."""

    _fields_ = (
        ("hot", ctypes.c_void_p),
        ("cold", ctypes.c_void_p),
        ("words", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("has_units_of_draws", ctypes.c_int64),
        ("site", ctypes.c_int64),
        ("units", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("law", ctypes.c_int64),
        ("noise_scale", ctypes.c_double),
    )


class EnsembleArguments(ctypes.Structure):
    """``struct bsbn_ensemble_args``."""

    _fields_ = (
        ("inputs", ctypes.c_void_p),
        ("layers", ctypes.POINTER(LayerArguments)),
        ("draws", ctypes.c_void_p),
        ("dots", ctypes.c_void_p),
        ("num_layers", ctypes.c_int64),
        ("num_draws", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("first_row", ctypes.c_int64),
        ("key0", ctypes.c_int64),
        ("key1", ctypes.c_int64),
        ("is_shared", ctypes.c_int64),
        ("num_threads", ctypes.c_int64),
        ("ran_isa", ctypes.c_int64),
    )


@dataclass(frozen=True, eq=False)
class PlanesOfBlocks:
    """The probability planes of a layer, block by block, as ``bsbn.h`` says.

    Args:
        hot: uint32, (blocks, words, 9, 16).
        cold: uint32, (blocks, words, 16, 24).
    """

    hot: UInt32
    cold: UInt32

    @classmethod
    def of(cls, layer: DenseLayer) -> PlanesOfBlocks:
        """Those of a layer."""
        return cls.of_planes(layer.planes)

    @classmethod
    def of_planes(cls, planes: UInt32) -> PlanesOfBlocks:
        """Planes of :func:`bayes_sbn.kernels.reference.sampling.threshold_planes`."""
        number, units, words = planes.shape
        blocks = -(-units // LANES)
        padded = np.zeros((number, blocks * LANES, words), np.uint32)
        padded[:, :units] = planes
        split = padded.reshape(number, blocks, LANES, words)
        return cls(
            np.ascontiguousarray(split[:HOT_PLANES].transpose(1, 3, 0, 2)),
            np.ascontiguousarray(split[HOT_PLANES:].transpose(1, 3, 2, 0)),
        )


def fits(network: Network, inputs: Inputs) -> bool:
    """Whether the library has these layers, and sums of these inputs have room in 32 bits."""
    if any(layer.is_real for layer in network.layers):
        return False
    return sums_fit(network.layers[0].num_inputs, inputs)


def sums_fit(length: int, inputs: Inputs) -> bool:
    """Whether sums of rows of so many of these inputs have room in 32 bits."""
    largest = max(int(inputs.max(initial=0)), -int(inputs.min(initial=0)))
    return length * largest <= _LARGEST_SUM


def row_bytes(library: NativeLibrary, network: Network) -> int:
    """Bytes of a row in the working memory of a thread: packed before and after a layer.

    The matrix unit reads the first layer's 16-bit inputs as two bytes each.
    """
    packed = 8 * max((num_words(layer.num_units) for layer in network.layers[:-1]), default=0)
    spread = 2 * 64 * -(-network.layers[0].num_inputs // 64)
    return packed + spread if library.isa == "amx" else packed


def integer_logits(
    library: NativeLibrary,
    network: Network,
    weights: Sequence[PlanesOfBlocks | UInt32],
    inputs: Inputs,
    *,
    key: Key,
    draws: Int64,
    is_shared: bool,
    first_row: int,
    num_threads: int,
    units: Sequence[Units | None] = (),
) -> Int64:
    """Integer logits, int64, shape (draws, rows, classes).

    Args:
        library: the compiled library.
        network: layers of ±1 weights, one that :func:`fits`.
        weights: of each layer its planes, or the packed weights of these draws, (draws, out,
            words).
        inputs: int16, shape (rows, in).
        key: of :func:`bayes_sbn.philox.fold_stream`.
        draws: indices of the draws.
        is_shared: whether the rows of a draw share the noise of the activations.
        first_row: index of the first row, which keys the rows' own noise.
        num_threads: most threads that work.
        units: scale and bias of each draw, or None, of every layer; none for their own.
    """
    inputs = np.ascontiguousarray(inputs)
    draws = np.ascontiguousarray(draws)
    layers = (LayerArguments * len(network.layers))()
    kept = []  # arrays that the pointers point to
    for index, (layer, own) in enumerate(zip(network.layers, weights, strict=True)):
        scale, bias = (np.ascontiguousarray(part) for part in network.units(index, units))
        planes = own if isinstance(own, PlanesOfBlocks) else None
        words = None if isinstance(own, PlanesOfBlocks) else np.ascontiguousarray(own)
        kept.append((scale, bias, words))
        layers[index] = LayerArguments(
            hot=None if planes is None else planes.hot.ctypes.data,
            cold=None if planes is None else planes.cold.ctypes.data,
            words=None if words is None else words.ctypes.data,
            scale=scale.ctypes.data,
            bias=bias.ctypes.data,
            has_units_of_draws=scale.ndim == 2,
            site=layer.site,
            units=layer.num_units,
            inputs=layer.num_inputs,
            law=-1 if layer.noise is None else LAWS[layer.noise],
            noise_scale=layer.noise_scale,
        )
    dots = np.empty((len(draws), len(inputs), network.layers[-1].num_units), np.int64)
    arguments = EnsembleArguments(
        inputs=inputs.ctypes.data,
        layers=layers,
        draws=draws.ctypes.data,
        dots=dots.ctypes.data,
        num_layers=len(layers),
        num_draws=len(draws),
        rows=len(inputs),
        first_row=first_row,
        key0=key[0],
        key1=key[1],
        is_shared=is_shared,
        num_threads=num_threads,
    )
    if library.run("bsbn_ensemble", arguments, accept=(STATUS_OUT_OF_MEMORY,)):
        raise MemoryError(library.last_error)
    return dots


def draw_weights(
    library: NativeLibrary,
    layer: DenseLayer,
    planes: PlanesOfBlocks,
    key: Key,
    draws: Int64,
    num_threads: int,
) -> UInt32:
    """The packed weights of draws of a layer: words of shape (draws, out, words)."""
    words = native_layers.draw_weights(
        library,
        torch.from_numpy(planes.hot.view(np.int32)),
        torch.from_numpy(planes.cold.view(np.int32)),
        layer.num_units,
        layer.num_inputs,
        draws.tolist(),
        layer.site,
        *key,
        num_threads,
    )
    return words.numpy().view(np.uint32)
