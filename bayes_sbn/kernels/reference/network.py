r"""The forward pass of a block of draws and rows of an ensemble of binary networks: the definition.

Layer by layer, for draw s and row n,

    ``dot = sum_k w_sjk x_snk`` (an exact integer),  ``a = scale_j * dot + bias_j``,
    ``x' = +1 where u48 < rint(F64(a) * 2**48), else -1``,

with weights ``w`` in {-1, +1} and uniforms of :mod:`bayes_sbn.kernels.reference.sampling`.  The
first layer's inputs are 16-bit integers in steps of ``input_scale``, which multiplies its scale
once: there ``scale_j`` stands for the rounded product ``scale_j * input_scale``.  A layer with real
weights has 16-bit integers ``w`` in their place, and the step of their grid for a scale
(:mod:`bayes_sbn.kernels.reference.real_weights`).  The last layer has no noise; its dots are the
integer logits.  Sums of dots are exact (:mod:`bayes_sbn.kernels.reference.exact_dots`), so no order
of summation decides a bit.

In a layer whose statistics each draw measures, scale and bias are of the draw
(:mod:`bayes_sbn.kernels.reference.calibration`).

Logits are ``scale * dot + bias`` in float64, and :func:`softmax64` defines the probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np

from bayes_sbn.bits import num_words
from bayes_sbn.kernels.reference.cdf64 import Float64, exp64
from bayes_sbn.kernels.reference.exact_dots import Signs, exact_dots
from bayes_sbn.kernels.reference.inputs import LARGEST_INPUT, Inputs
from bayes_sbn.kernels.reference.low_rank import LowRankDenseLayer
from bayes_sbn.kernels.reference.real_weights import LARGEST_STEP_COUNT, Int16, RealDenseLayer
from bayes_sbn.kernels.reference.sampling import (
    Int64,
    Key,
    UInt32,
    UInt64,
    activation_thresholds,
    draw_row_activations,
    draw_weights,
    orientation,
    shared_thresholds,
    shared_uniforms,
    threshold_planes,
)
from bayes_sbn.kernels.reference.stored import StoredLayer


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """A dense layer as the kernels see it.

    Args:
        site: index of the layer, by which its random words are keyed.
        thresholds: ``q = rint(p * 2**32)`` of ``P(w = +1) = p``, uint64, shape (out, in).
        scale: float64, shape (out,).
        bias: float64, shape (out,).
        noise: name of the activations' noise, or None for the last layer.
        noise_scale: scale of the noise.
        eps: what is added to the variances, where each draw measures the statistics of the layer
            and ``scale`` and ``bias`` come after the normalisation; else None.
    """

    is_real: ClassVar[bool] = False

    site: int
    thresholds: UInt64
    scale: Float64
    bias: Float64
    noise: str | None
    noise_scale: float
    eps: float | None = None

    @cached_property
    def planes(self) -> UInt32:
        """The thresholds as bit planes."""
        return threshold_planes(self.thresholds)

    @property
    def num_units(self) -> int:
        """Number of output units."""
        return int(self.thresholds.shape[0])

    @property
    def num_inputs(self) -> int:
        """Number of inputs."""
        return int(self.thresholds.shape[1])

    @property
    def bytes_per_draw(self) -> int:
        """Bytes of one packed draw of the weights."""
        return 4 * self.num_units * num_words(self.num_inputs)

    def draw(self, key: Key, draws: Int64) -> UInt32:
        """The packed weights of draws: words of shape (draws, out, words)."""
        return draw_weights(key, self.site, draws, self.planes)


KernelLayer = DenseLayer | LowRankDenseLayer | RealDenseLayer | StoredLayer
"""A layer of ±1 weights, independent or with shared factors, of real ones, or of stored ones."""


class Units(NamedTuple):
    """Scale and bias of the units of a layer in each of some draws, float64, (draws, out)."""

    scale: Float64
    bias: Float64


@dataclass(frozen=True, eq=False)
class Network:
    """Layers with random weights, and the step of the 16-bit inputs of the first.

    Args:
        layers: the layers, of which the last alone has no noise.
        input_scale: the size of one step of the inputs.
    """

    layers: tuple[KernelLayer, ...]
    input_scale: float

    def scale(self, index: int) -> Float64:
        """What multiplies the integer dots of layer ``index``."""
        layer = self.layers[index]
        return layer.scale * self.input_scale if index == 0 else layer.scale

    def units(self, index: int, of_draws: Sequence[Units | None]) -> Units:
        """What multiplies the integer dots of layer ``index``, and its bias.

        Args:
            index: of the layer.
            of_draws: scale and bias of each draw, or None, of every layer; none for its own.
        """
        own = of_draws[index] if of_draws else None
        if own is None:
            return Units(self.scale(index), self.layers[index].bias)
        return Units(own.scale * self.input_scale, own.bias) if index == 0 else own

    def largest_dot(self, index: int) -> int:
        """Bound on the magnitude of the dots of layer ``index``."""
        layer = self.layers[index]
        weight = LARGEST_STEP_COUNT if layer.is_real else 1
        return layer.num_inputs * weight * (LARGEST_INPUT if index == 0 else 1)


def draw_network(network: Network, key: Key, draws: Int64) -> list[UInt32 | Int16]:
    """Weights of every layer: ±1 packed, (draws, out, words), or real, (draws, out, in)."""
    return [layer.draw(key, draws) for layer in network.layers]


def signs_of_words(words: UInt32, length: int) -> Signs:
    """The ±1 values of packed words, as float32 of shape (..., length)."""
    octets = np.ascontiguousarray(words.astype("<u4", copy=False)).view(np.uint8)
    bits = np.unpackbits(octets, axis=-1, count=length, bitorder="little")
    signs = bits.astype(np.float32)
    signs *= 2.0
    signs -= 1.0
    return signs


def network_thresholds(
    network: Network, key: Key, draws: Int64, units: Sequence[Units | None] = ()
) -> list[Int64]:
    """The integer thresholds of the hidden layers under shared noise, each (draws, out)."""
    return [
        shared_thresholds(
            shared_uniforms(key, layer.site, draws, layer.num_units),
            *network.units(index, units),
            layer.noise,
            layer.noise_scale,
            network.largest_dot(index),
        )
        for index, layer in enumerate(network.layers)
        if layer.noise is not None
    ]


def output_dots(
    network: Network,
    weights: Sequence[Signs | Int16],
    inputs: Inputs,
    *,
    key: Key,
    draws: Int64,
    thresholds: Sequence[Int64] | None,
    first_row: int,
    units: Sequence[Units | None] = (),
    until: int | None = None,
    calibrates: bool = False,
) -> Int64:
    """Integer logits of a block, or the dots of a layer below.

    Args:
        network: the layers.
        weights: ±1 weights, or real ones in steps, of every layer, shape (draws, out, in).
        inputs: int16, shape (rows, in).
        key: of :func:`bayes_sbn.philox.fold_stream`.
        draws: indices of the draws.
        thresholds: those of the hidden layers for shared noise, or None for a noise of its own for
            each row.
        first_row: index of the first row, which keys the rows' own noise.
        units: scale and bias of each draw, or None, of every layer; none for their own.
        until: index of the layer whose dots are wanted, by default the last.
        calibrates: whether they are rows by which draws measure their statistics.

    Returns:
        int64, shape (draws, rows, classes), or (draws, rows, units of that layer).
    """
    x: Signs | Inputs = inputs
    for index, layer in enumerate(network.layers):
        dots = exact_dots(x, weights[index])
        if layer.noise is None or index == until:
            break
        if thresholds is not None:
            sign = orientation(layer.scale).astype(dots.dtype)
            # a float32 threshold beyond 2**24 may be rounded, but never to a dot's side of it
            positive = dots * sign >= thresholds[index].astype(dots.dtype)[:, None, :]
        else:
            rule = _rule(dots.astype(np.int64), network.units(index, units), layer)
            positive = draw_row_activations(
                key, layer.site, draws, first_row, rule, calibrates=calibrates
            )
        signs = positive.astype(np.float32)
        signs *= 2.0
        signs -= 1.0
        x = signs
    integers: Int64 = dots.astype(np.int64)
    return integers


def _rule(dots: Int64, units: Units, layer: KernelLayer) -> Int64:
    """The thresholds of uniforms for the dots of a block, draw by draw where units are of draws."""
    assert layer.noise is not None
    if units.scale.ndim == 1:
        return activation_thresholds(dots, *units, layer.noise, layer.noise_scale)
    thresholds = np.empty(dots.shape, np.int64)
    for draw, (scale, bias) in enumerate(zip(*units, strict=True)):
        thresholds[draw] = activation_thresholds(
            dots[draw], scale, bias, layer.noise, layer.noise_scale
        )
    return thresholds


def output_logits(network: Network, dots: Int64) -> Float64:
    """``scale * dot + bias`` of the last layer, in float64, the product rounded first."""
    last = len(network.layers) - 1
    return network.scale(last) * dots.astype(np.float64) + network.layers[last].bias


def softmax64(logits: Float64) -> Float64:
    """Class probabilities, shape (..., classes), defined by their operations.

    ``e_c = exp64(l_c - max l)``; the sum adds the classes one after the other from the first;
    ``p_c = e_c / sum``.
    """
    exponentials = exp64(logits - logits.max(axis=-1, keepdims=True))
    total = exponentials[..., 0].copy()
    for c in range(1, exponentials.shape[-1]):
        total += exponentials[..., c]
    return exponentials / total[..., None]
