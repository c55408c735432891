r"""Statistics that each draw of a network measures for itself, on calibration rows: the definition.

In a layer with statistics of its own, unit j of draw s has, over the N rows, the exact integers

    ``S = sum_n dot_n``,      ``Q = sum_n dot_n**2``,

the mean ``m = S / N`` and the variance ``v = (N Q - S**2) / N**2``, each the quotient of two
integers, rounded once to float64.  With t the step of the inputs in the first layer, else 1, the
layer's own gain and shift become, each operation rounded,

    ``scale = gain / sqrt(v * (t * t) + eps)``,      ``bias = shift - scale * (m * t)``,

in place of scale and bias of the draw.  Layers follow from the inputs upwards; the activations of
the layers below, with scale and bias of the draw, have a noise of their own for each calibration
row (purposes 5 and 6 of :mod:`bayes_sbn.kernels.reference.sampling`).  Integers are summed exactly,
so neither blocks nor the order of summation matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.exact_dots import Signs
from bayes_sbn.kernels.reference.inputs import Inputs
from bayes_sbn.kernels.reference.network import Network, Units, output_dots
from bayes_sbn.kernels.reference.real_weights import Int16
from bayes_sbn.kernels.reference.sampling import Int64, Key

Integers = NDArray[Any]
"""Python's integers, of any size."""

_INT64_LIMIT = 1 << 63


def calibrated_units(
    network: Network,
    weights: Sequence[Signs | Int16],
    inputs: Inputs,
    *,
    key: Key,
    draws: Int64,
    rows_at_once: int,
) -> list[Units | None]:
    """Scale and bias of each layer for each of the draws; None where they are the layer's own.

    Args:
        network: the layers.
        weights: of every layer, shape (draws, out, in).
        inputs: the calibration rows, int16, shape (rows, in).
        key: of :func:`bayes_sbn.philox.fold_stream`.
        draws: indices of the draws.
        rows_at_once: how many rows are run at a time; it does not change the results.
    """
    units: list[Units | None] = []
    for index, layer in enumerate(network.layers):
        if layer.eps is None:
            units.append(None)
            continue
        total: Integers = np.zeros((len(draws), layer.num_units), object)
        squares: Integers = np.zeros((len(draws), layer.num_units), object)
        for first_row in range(0, len(inputs), rows_at_once):
            dots = output_dots(
                network,
                weights,
                inputs[first_row : first_row + rows_at_once],
                key=key,
                draws=draws,
                thresholds=None,
                first_row=first_row,
                units=units,
                until=index,
                calibrates=True,
            )
            one, two = exact_sums(dots)
            total, squares = total + one, squares + two
        mean, variance = mean_and_variance(total, squares, len(inputs))
        step = network.input_scale if index == 0 else 1.0
        scale = layer.scale / np.sqrt(variance * (step * step) + layer.eps)
        units.append(Units(scale, layer.bias - scale * (mean * step)))
    return units


def exact_sums(dots: Int64) -> tuple[Integers, Integers]:
    """The sums over rows, axis 1, of integers and of their squares, without overflow."""
    largest = int(np.abs(dots).max(initial=0))
    exact: Integers = dots if largest**2 * dots.shape[1] < _INT64_LIMIT else dots.astype(object)
    return exact.sum(1).astype(object), (exact * exact).sum(1).astype(object)


def mean_and_variance(total: Integers, squares: Integers, rows: int) -> tuple[Float64, Float64]:
    """``S / N`` and ``(N Q - S**2) / N**2``, quotients of integers, each rounded once."""
    mean = (total / rows).astype(np.float64)
    variance = ((rows * squares - total * total) / (rows * rows)).astype(np.float64)
    return mean, variance


def joined_units(parts: Sequence[Sequence[Units | None]]) -> tuple[Units | None, ...]:
    """The units of every layer, put together from those of some draws and of the next ones."""
    joined: list[Units | None] = []
    for of_layer in zip(*parts, strict=True):
        own = [units for units in of_layer if units is not None]
        whole = (np.concatenate(values) for values in zip(*own, strict=True))
        joined.append(Units(*whole) if own else None)
    return tuple(joined)


def units_of_draws(units: Sequence[Units | None], part: slice | Int64) -> tuple[Units | None, ...]:
    """The units of every layer in some of the draws."""
    return tuple(None if u is None else Units(u.scale[part], u.bias[part]) for u in units)
