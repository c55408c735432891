"""Draws of a whole network, layers one after the other: the definition.

Layers are those of :mod:`bayes_sbn.kernels.reference.fused_linear`, layer ``i`` at site ``i``; dots
of the last one are the integer logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bayes_sbn.kernels.reference.fused_linear import integer_linear, stochastic_linear
from bayes_sbn.kernels.reference.layers import draw_weights, xnor_linear
from bayes_sbn.philox import fold_stream


def network_dots(
    inputs: Tensor,
    hot: Sequence[Tensor],
    cold: Sequence[Tensor],
    scale: Sequence[Tensor],
    bias: Sequence[Tensor],
    units: Sequence[int],
    noise: Sequence[str],
    noise_scale: Sequence[float],
    draws: Sequence[int],
    is_shared: bool,
    seed: int,
    stream: int,
    first_row: int,
) -> Tensor:
    """Integer logits, int64, (draws, ..., classes).

    Args:
        inputs: int16, (..., inputs).
        hot: hot planes of ``csrc/bsbn.h`` of each layer.
        cold: cold planes.
        scale: float64, (units,).
        bias: float64, (units,).
        units: numbers of units.
        noise: names of the laws, "" for the last layer.
        noise_scale: their scales.
        draws: indices of the draws.
        is_shared: whether the rows of a draw share the noise.
        seed: 64 bits, of either sign.
        stream: 64 bits, of either sign.
        first_row: index of the first row.
    """
    key = fold_stream(seed % 2**64, stream % 2**64)
    last = len(units) - 1
    found = inputs.new_empty((len(draws), *inputs.shape[:-1], units[last]), dtype=torch.int64)
    for position, draw in enumerate(draws):
        rows, length = inputs, inputs.shape[-1]
        for site in range(last):
            rows = stochastic_linear(
                rows,
                hot[site],
                cold[site],
                scale[site],
                bias[site],
                length,
                noise[site],
                noise_scale[site],
                is_shared,
                seed,
                stream,
                draw,
                site,
                first_row,
            )
            length = units[site]
        weights = draw_weights(hot[last], cold[last], units[last], length, [draw], last, *key)[0]
        is_number = rows.dtype == torch.int16
        found[position] = (
            integer_linear(rows, weights) if is_number else xnor_linear(rows, weights, length)
        )
    return found
