r"""The hidden ±1 activations of an ensemble's draws, by the definition, in blocks.

What the compiled kernels draw and use up, kept: layer by layer with the dots, uniforms and rules of
:mod:`bayes_sbn.kernels.reference.network`, so that these are the activations behind the integer
logits that every backend gives for the same draws and rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bayes_sbn.ensemble_blocks import Drawn
from bayes_sbn.kernels.reference.block_size import block_size
from bayes_sbn.kernels.reference.calibration import units_of_draws
from bayes_sbn.kernels.reference.exact_dots import Signs
from bayes_sbn.kernels.reference.inputs import Inputs
from bayes_sbn.kernels.reference.network import (
    KernelLayer,
    Network,
    Units,
    network_thresholds,
    output_dots,
)
from bayes_sbn.kernels.reference.real_weights import Int16
from bayes_sbn.kernels.reference.sampling import (
    Int64,
    Key,
    activation_thresholds,
    draw_row_activations,
    orientation,
)

Int8 = NDArray[np.int8]


class ActivationBlock(NamedTuple):
    """Activations of one hidden layer, of some draws for some rows.

    Attributes:
        layer: index of the layer.
        positions: which draws of the ensemble.
        rows: which rows.
        signs: ±1 values, int8, shape (draws, rows, units).
    """

    layer: int
    positions: Int64
    rows: slice
    signs: Int8


def run_activations(
    call: str,
    parts: Sequence[Drawn],
    inputs: Inputs,
    *,
    is_shared: bool,
    row_offset: int,
    progress: bool | None,
    max_memory: int,
) -> Iterator[ActivationBlock]:
    """All draws for all rows, some at a time; arguments as of ``ensemble_blocks.run_blocks``."""
    if not len(inputs):
        return
    disable = None if progress is None else not progress
    total = len(parts[0].draws) * len(inputs)
    with tqdm(total=total, desc=call, unit="row", leave=False, disable=disable) as bar:
        for drawn in parts:
            network = drawn.network
            draws_at_once, rows_at_once = block_size(
                call, network, len(inputs), max_memory, is_shared=is_shared
            )
            for first_draw in range(0, len(drawn.positions), draws_at_once):
                positions = drawn.positions[first_draw : first_draw + draws_at_once]
                draws, weights = drawn.draws[positions], drawn.unpacked(positions)
                units = units_of_draws(drawn.units, positions)
                thresholds = (
                    network_thresholds(network, drawn.key, draws, units) if is_shared else None
                )
                for first_row in range(0, len(inputs), rows_at_once):
                    rows = slice(first_row, first_row + rows_at_once)
                    layers = _layers(
                        network,
                        weights,
                        inputs[rows],
                        key=drawn.key,
                        draws=draws,
                        thresholds=thresholds,
                        first_row=row_offset + first_row,
                        units=units,
                    )
                    for index, signs in enumerate(layers):
                        yield ActivationBlock(index, positions, rows, signs)
                    bar.update(len(positions) * len(inputs[rows]))


def _layers(
    network: Network,
    weights: Sequence[Signs | Int16],
    inputs: Inputs,
    *,
    key: Key,
    draws: Int64,
    thresholds: Sequence[Int64] | None,
    first_row: int,
    units: Sequence[Units | None],
) -> Iterator[Int8]:
    """The activations of each hidden layer; arguments as of ``network.output_dots``."""
    x: NDArray[Any] = inputs
    for index, layer in enumerate(network.layers[:-1]):
        dots = output_dots(
            Network((layer,), 1.0),  # of this layer alone, of which only the integers are taken
            [weights[index]],
            x,
            key=key,
            draws=draws,
            thresholds=None,
            first_row=first_row,
            until=0,
        )
        if thresholds is not None:
            positive = dots * orientation(layer.scale) >= thresholds[index][:, None, :]
        else:
            rule = _rule(dots, network.units(index, units), layer)
            positive = draw_row_activations(key, layer.site, draws, first_row, rule)
        signs = np.where(positive, np.int8(1), np.int8(-1))
        yield signs
        x = signs.astype(np.float32)


def _rule(dots: Int64, units: Units, layer: KernelLayer) -> Int64:
    """The thresholds of uniforms for the dots, with units of the layer or of each draw."""
    assert layer.noise is not None
    if units.scale.ndim == 1:
        return activation_thresholds(dots, *units, layer.noise, layer.noise_scale)
    rule = np.empty(dots.shape, np.int64)
    for draw, (scale, bias) in enumerate(zip(*units, strict=True)):
        rule[draw] = activation_thresholds(dots[draw], scale, bias, layer.noise, layer.noise_scale)
    return rule
