"""The weights of an ensemble's draws, drawn network by network and held packed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bayes_sbn.bits import PackedBits
from bayes_sbn.kernels.ensemble import draw_network
from bayes_sbn.kernels.reference.components import Mixture
from bayes_sbn.kernels.reference.real_weights import Int16, RealDenseLayer
from bayes_sbn.kernels.reference.sampling import Int64, Key
from bayes_sbn.kernels.reference.stored import StoredLayer

Weights = tuple[PackedBits | Int16, ...]
"""Of each layer, (draws, out, in): ±1 weights have one bit each, real ones are int16."""

_WEIGHTS_AT_A_TIME = 1 << 21


def is_shared_by_draws(mixture: Mixture, site: int) -> bool:
    """Whether all draws see one copy of a layer's weights."""
    layer = mixture.networks[0].layers[site]
    is_alone = len(mixture.networks) == 1
    return is_alone and isinstance(layer, RealDenseLayer | StoredLayer) and layer.is_fixed


def draw_weights(mixture: Mixture, components: Int64, key: Key, draws: Int64) -> Weights:
    """The weights of draws, some at a time.

    Args:
        mixture: the networks.
        components: the network of each draw.
        key: of the random words.
        draws: indices of the draws.
    """
    layers = mixture.networks[0].layers
    size = sum(layer.num_units * layer.num_inputs for layer in layers)
    step = max(1, _WEIGHTS_AT_A_TIME // size)
    kept: list[NDArray[Any]] = []
    for network, positions in mixture.of_each(components):
        for start in range(0, len(positions), step):
            part = positions[start : start + step]
            drawn = draw_network(network, key, draws[part])
            if not kept:
                kept = [_room(mixture, site, len(draws), one) for site, one in enumerate(drawn)]
            for site, (room, new) in enumerate(zip(kept, drawn, strict=True)):
                if not is_shared_by_draws(mixture, site):
                    room[part] = new
    return tuple(
        room
        if layer.is_real
        else PackedBits(torch.from_numpy(room.view(np.int32)), layer.num_inputs)
        for room, layer in zip(kept, layers, strict=True)
    )


def part_of(weights: Weights, index: slice) -> Weights:
    """The weights of a slice of the draws."""
    if index.step is not None and index.step < 0:  # torch has no views with negative steps
        return tuple(
            PackedBits(torch.from_numpy(w.data.numpy()[index].copy()), w.length)
            if isinstance(w, PackedBits)
            else w[index]
            for w in weights
        )
    return tuple(
        PackedBits(w.data[index], w.length) if isinstance(w, PackedBits) else w[index]
        for w in weights
    )


def _room(mixture: Mixture, site: int, number: int, first: NDArray[Any]) -> NDArray[Any]:
    """Room for the weights of all draws, or a view of one copy for all of them."""
    shape = (number, *first.shape[1:])
    if is_shared_by_draws(mixture, site):
        return np.broadcast_to(first[:1], shape)
    return np.empty(shape, first.dtype)
