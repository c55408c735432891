"""Draws of a whole network in one call: weights are drawn where they are used and never stored.

The layers are those of an ensemble, and the logits are its logits, bit for bit: for layers of one's
own, without a posterior.  Definition in ``bayes_sbn.kernels.reference.networks``.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.bits import PackedBits
from bayes_sbn.kernels import loader
from bayes_sbn.kernels.fused_linear import ROW_NOISES
from bayes_sbn.kernels.fused_linear_arguments import Rows, check_place, of_units, rows_of, signed
from bayes_sbn.kernels.fused_linear_operators import check_finite
from bayes_sbn.kernels.layers import PackedProbabilities
from bayes_sbn.kernels.native import networks as native
from bayes_sbn.kernels.native.ensemble import LAWS
from bayes_sbn.kernels.operators import register
from bayes_sbn.kernels.packing import unpack
from bayes_sbn.kernels.reference import networks as reference


@dataclass(frozen=True, eq=False)
class PackedLayer:
    """A dense layer whose weights are drawn.

    Args:
        weights: probabilities of the weights.
        scale: of each unit, shape (units,), or of all.
        bias: of each unit, or of all.
        noise: law of the activations' noise, "logistic", "gaussian", "laplace", "uniform" or
            "triangular"; None for the last layer, which has logits.
        noise_scale: scale of the noise.
    """

    weights: PackedProbabilities
    scale: Tensor | float
    bias: Tensor | float
    noise: str | None = "logistic"
    noise_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.noise is not None and self.noise not in LAWS:
            raise ValueError(
                f"PackedLayer(noise={self.noise!r}): the noise is one of "
                f"{', '.join(map(repr, LAWS))}, or None for the last layer."
            )
        if not 0 < self.noise_scale < float("inf"):
            raise ValueError(
                f"PackedLayer(noise_scale={self.noise_scale}): the scale of the noise is a "
                "positive number."
            )


def network_logits(
    x: Rows,
    layers: Sequence[PackedLayer],
    draws: int | Sequence[int],
    *,
    row_noise: str = "shared",
    seed: int = 0,
    stream: int = 0,
    row_offset: int = 0,
) -> Tensor:
    """Logits of draws of a network: those of an ensemble with these layers at sites 0, 1, 2, ...

    Args:
        x: packed ±1 rows of K values, or int16 integers, shape ``(..., K)``.
        layers: from the first to the last, which alone has no noise.
        draws: how many, from draw 0 on; or the indices of the draws, in ``[0, 2**32)``.
        row_noise: ``"shared"``, where all rows of a draw see the same noise, or
            ``"independent"``, where the noise is keyed by the row's index: row-major over the
            leading dimensions of x.
        seed: an integer in ``[0, 2**64)``.
        stream: an integer in ``[0, 2**64)``.
        row_offset: index of the first row, for ``"independent"`` noise.

    Returns:
        ``scale * dot + bias`` of the last layer, float64, shape ``(draws, ..., classes)``.

    Raises:
        TypeError: x is of another kind.
        ValueError: a shape, value or option is not allowed; the message says what is.
        RuntimeError: a scale or bias requires a gradient.

    Example:
        >>> import torch
        >>> from bayes_sbn.kernels import PackedLayer, PackedProbabilities, network_logits, pack
        >>> certain = PackedProbabilities.pack(torch.ones(4, 4))
        >>> layers = [PackedLayer(certain, 9.0, 0.0), PackedLayer(certain, 0.5, 0.0, noise=None)]
        >>> network_logits(pack(torch.ones(1, 4)), layers, 2)[:, 0, 0]
        tensor([2., 2.], dtype=torch.float64)
    """
    call = "network_logits()"
    rows, inputs = rows_of(call, x)
    _check_layers(call, layers, inputs)
    if row_noise not in ROW_NOISES:
        raise ValueError(
            f"network_logits(row_noise={row_noise!r}): the noise of rows is 'shared' or "
            "'independent'."
        )
    number = operator.index(draws) if not isinstance(draws, Sequence) else len(draws)
    indices = [*map(operator.index, draws)] if isinstance(draws, Sequence) else [*range(number)]
    if number < 0:
        raise ValueError(f"network_logits(draws={draws}): a number of draws is not negative.")
    num_rows = rows.shape[:-1].numel()
    for draw in indices:
        check_place("network_logits", num_rows, seed, stream, draw, 0, row_offset)
    scales, biases = (
        [
            of_units(call, name, getattr(layer, name), layer.weights.units, rows.device)
            for layer in layers
        ]
        for name in ("scale", "bias")
    )
    if any(value.requires_grad for value in (*scales, *biases)):
        raise RuntimeError(
            "network_logits() has no gradient, but a scale or bias requires one. Write "
            "scale.detach() and bias.detach()."
        )
    if isinstance(x, PackedBits):
        rows = unpack(x, torch.int8).to(torch.int16)
    dots: Tensor = torch.ops.bayes_sbn.network_dots.default(
        rows,
        [layer.weights.hot for layer in layers],
        [layer.weights.cold for layer in layers],
        scales,
        biases,
        [layer.weights.units for layer in layers],
        [layer.noise or "" for layer in layers],
        [float(layer.noise_scale) for layer in layers],
        indices,
        row_noise == "shared",
        signed(seed),
        signed(stream),
        row_offset,
    )
    return dots.to(torch.float64) * scales[-1] + biases[-1]


def _check_layers(call: str, layers: Sequence[PackedLayer], inputs: int) -> None:
    """Raises unless a layer reads what the one before writes, and the last alone has no noise."""
    if not layers:
        raise ValueError(f"{call} received no layers. Give at least the last one.")
    before, length = "the rows have", inputs
    for index, layer in enumerate(layers):
        is_last = index + 1 == len(layers)
        if layer.weights.inputs != length:
            raise ValueError(
                f"{call}: layer {index} has {layer.weights.inputs} inputs, and {before} {length} "
                "values. Give layers that fit."
            )
        if (layer.noise is None) != is_last:
            raise ValueError(
                f"{call}: layer {index} of {len(layers)} has noise {layer.noise!r}; the last layer "
                "has None, and all others a law. Write PackedLayer(..., noise=None) for the last."
            )
        before, length = f"layer {index} has", layer.weights.units


def _check_units(scale: Sequence[Tensor], bias: Sequence[Tensor]) -> None:
    for own_scale, own_bias in zip(scale, bias, strict=True):
        check_finite("network_logits", own_scale, own_bias)


def _by_reference(
    inputs: Tensor,
    hot: Sequence[Tensor],
    cold: Sequence[Tensor],
    scale: Sequence[Tensor],
    bias: Sequence[Tensor],
    *rest: Any,
) -> Tensor:
    _check_units(scale, bias)
    return reference.network_dots(inputs, hot, cold, scale, bias, *rest)


def _by_library(
    library: loader.NativeLibrary,
    inputs: Tensor,
    hot: Sequence[Tensor],
    cold: Sequence[Tensor],
    scale: Sequence[Tensor],
    bias: Sequence[Tensor],
    *rest: Any,
) -> Tensor:
    _check_units(scale, bias)
    dots = native.network_dots(library, inputs, hot, cold, scale, bias, *rest)
    if dots is not None:
        return dots
    if loader.is_native_forced():
        raise RuntimeError(
            "network_logits(): the compiled library is forced, and it is for sums of inputs that "
            "fit in 32 bits. Leave BAYES_SBN_BACKEND out: the reference has sums of 64 bits."
        )
    return reference.network_dots(inputs, hot, cold, scale, bias, *rest)


def _fake_network_dots(inputs: Tensor, *rest: Any) -> Tensor:
    units, draws = rest[4], rest[7]
    return inputs.new_empty((len(draws), *inputs.shape[:-1], units[-1]), dtype=torch.int64)


register(
    "network_dots(Tensor inputs, Tensor[] hot, Tensor[] cold, Tensor[] scale, Tensor[] bias, "
    "SymInt[] units, str[] noise, float[] noise_scale, SymInt[] draws, bool is_shared, "
    "SymInt seed, SymInt stream, SymInt first_row) -> Tensor",
    native=_by_library,
    reference=_by_reference,
    fake=_fake_network_dots,
)
