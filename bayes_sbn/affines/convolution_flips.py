r"""The Jacobian of exact flips of the inputs and the weights of a convolution.

A flip of one input or one weight moves every unit that it reaches by ``-2 s_c w x``; the formulas
of :mod:`bayes_sbn.affines.flips` hold tap by tap, and their sums are convolutions.  A weight is
shared by all places of the map, so its flip reaches many units: their differences are added, which
is the linearisation of PSA.

**±1 weights on ±1 inputs.**  With the maps ``gM`` and ``gN`` of the two values of a flip,

    inputs    1/2 [ convT(g M, W) + x * convT(sum_c g N, ones) ],
    weights   1/2 [ corr(x, g M)  + W * corr(inside, g N) ],

where the sum runs over the output channels of the group of x, ``convT`` and ``corr`` are the two
adjoints of the convolution, and the map ``inside`` is 1 on the image and 0 on its padding: a
weight on a padded 0 moves nothing, and a number in place of the map would count it.

**±1 weights on real inputs.**  Two terms of Taylor's series, ``corr(x, G_1) - W * corr(x^2, G_2)``
with ``G_k = g h^(k)(a) (2 s)^k / k!``, each term within ``|g h'''| |2 s x|^3 / 6``; or exactly.

**Otherwise** each flip is evaluated, tap by tap of the kernel, in blocks of rows and of input
channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import EllipsisType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayes_sbn.affines.flips import ENTRIES_PER_BLOCK, series, two_values
from bayes_sbn.affines.function import UnitFunction

if TYPE_CHECKING:
    from bayes_sbn.affines.convolution import Convolution

Index = tuple[EllipsisType | slice | int, ...]


@dataclass(frozen=True)
class TwoValues:
    """What the flips of inputs and of weights share where the other operand is ±1.

    Args:
        rest: ``g N / 2``.
        inputs: ``convT(g M / 2, W)``, for every row.
        weights: ``corr(x, g M / 2)``.
    """

    rest: Tensor
    inputs: Tensor | None
    weights: Tensor | None


def shared_values(
    pre: Convolution, h: UnitFunction, g: Tensor, of_inputs: bool, of_weight: bool
) -> TwoValues | None:
    """The shared part for the flips that are wanted; None if they are evaluated otherwise."""
    of_inputs, of_weight = of_inputs and pre.weight.is_sign, of_weight and pre.inputs.is_sign
    if not ((of_inputs or of_weight) and pre.tensor.numel()):
        return None
    x, w, window = pre.inputs.open.detach(), pre.weight.open.detach(), pre.window
    central, rest = two_values(pre, h, g)
    wide = x.expand(*pre.batch_shape, *x.shape[x.dim() - window.dims - 1 :])
    if of_inputs and of_weight:
        return TwoValues(rest, *window.gradients(central, wide, w))
    return TwoValues(
        rest,
        window.input_gradient(central, wide, w) if of_inputs else None,
        window.weight_gradient(central, x, w) if of_weight else None,
    )


def flip_inputs(pre: Convolution, h: UnitFunction, g: Tensor, values: TwoValues | None) -> Tensor:
    """Half the exact differences of h times g over each input, of the shape of x.

    Args:
        pre: the convolution.
        h: the unit function.
        g: the incoming gradient, of the shape of ``a``.
        values: of :func:`shared_values`, if the weights are ±1.
    """
    x, window = pre.inputs.open.detach(), pre.window
    if not pre.tensor.numel():
        return torch.zeros_like(x)
    if not pre.weight.is_sign:
        return _each_input(pre, h, g)
    assert values is not None
    assert values.inputs is not None
    channels = -window.dims - 1
    rest = values.rest
    reach = pre.once("reach", lambda: _reach(pre, rest))
    linear = _grouped(values.inputs, channels, window.groups)
    full = torch.addcmul(
        linear, _grouped(x, channels, window.groups), reach.unsqueeze(channels)
    ).flatten(channels - 1, channels)
    return full.sum_to_size(x.shape)


def flip_weights(pre: Convolution, h: UnitFunction, g: Tensor, values: TwoValues | None) -> Tensor:
    """Half the exact differences of h times g over each weight, of the shape of W.

    Args:
        pre: the convolution.
        h: the unit function.
        g: the incoming gradient, of the shape of ``a``.
        values: of :func:`shared_values`, if the inputs are ±1.
    """
    x, w, window = pre.inputs.open.detach(), pre.weight.open.detach(), pre.window
    if not pre.tensor.numel():
        return torch.zeros_like(w)
    if pre.inputs.is_sign:
        assert values is not None
        assert values.weights is not None
        return torch.addcmul(values.weights, w, _inside(pre, values.rest))
    terms = series(pre, h, g)
    if terms is None:
        return _each_weight(pre, h, g)
    linear, bent = (window.weight_gradient(t, u, w) for t, u in zip(terms, (x, x * x), strict=True))
    return torch.addcmul(linear, w, bent, value=-1)


def _grouped(t: Tensor, dim: int, groups: int) -> Tensor:
    """That dim as groups and the channels of a group."""
    result: Tensor = t.unflatten(dim, (groups, t.shape[dim] // groups))
    return result


def _reach(pre: Convolution, rest: Tensor) -> Tensor:
    """``convT(sum_c rest, ones)``: what of all units each input of a group reaches."""
    x, w, window = pre.inputs.open, pre.weight.open, pre.window
    channels = -window.dims - 1
    group_sum = _grouped(rest, channels, window.groups).sum(channels)
    # one channel a group, the kernel all ones, and one such kernel for all particles
    ones = w.new_ones(window.groups, 1, *w.shape[w.dim() - window.dims :])
    one_map = x.new_zeros(()).expand(
        *pre.batch_shape, window.groups, *x.shape[x.dim() - window.dims :]
    )
    return window.input_gradient(group_sum, one_map, ones)


def _inside(pre: Convolution, rest: Tensor) -> Tensor:
    """``corr(inside, rest)``, (..., 1, O, 1, *kernel): what each weight meets within the image."""
    x, w, window = pre.inputs.open.detach(), pre.weight.open.detach(), pre.window
    lead = w.shape[: w.dim() - window.dims - 2]
    space, kernel = x.shape[x.dim() - window.dims :], w.shape[w.dim() - window.dims :]
    units = rest.shape[rest.dim() - window.dims - 1 :]
    # the map is the same for all rows, so they are added first
    total = rest.sum_to_size(torch.Size((*lead, *units)))
    ones = w.new_ones(window.groups, *space)
    like = w.new_zeros(()).expand(*lead, units[0], 1, *kernel)
    return window.weight_gradient(total, ones, like)


@dataclass(frozen=True)
class _Block:
    """One tap of the kernel, on some rows and input channels.

    All tensors broadcast against (..., rows, groups, O / groups, C / groups, *output).

    Args:
        h: the unit function.
        a: the pre-activation.
        g: the incoming gradient.
        s: the scale of the units.
        w: the weights of the tap.
        x: the inputs that the tap meets, 0 in the padding.
        inputs: where those inputs are in the padded maps (..., rows, groups, C / groups, *padded).
        weights: where those weights are in (..., groups, O / groups, C / groups, *kernel).
    """

    h: UnitFunction
    a: Tensor
    g: Tensor
    s: Tensor
    w: Tensor
    x: Tensor
    inputs: Index
    weights: Index


def _padded(pre: Convolution) -> Tensor:
    """The inputs as constants in their padding, (*batch or 1, groups, C / groups, *padded)."""
    x, window = pre.inputs.open.detach(), pre.window
    sides = [side for pad in reversed(window.padding) for side in (pad, pad)]
    x = torch.nn.functional.pad(x, sides)
    x = x.expand(*(pre.batch_shape or (1,)), *x.shape[x.dim() - window.dims - 1 :])
    return _grouped(x, -window.dims - 1, window.groups)


def _grouped_weight(pre: Convolution) -> Tensor:
    """The weights as constants, (..., 1, groups, O / groups, C / groups, *kernel)."""
    w = pre.weight.open.detach()
    return _grouped(w, -pre.window.dims - 2, pre.window.groups)


def _blocks(pre: Convolution, h: UnitFunction, g: Tensor) -> Iterator[_Block]:
    window, dims = pre.window, pre.window.dims
    x, w = _padded(pre), _grouped_weight(pre)
    batch, units = pre.batch_shape or torch.Size((1,)), pre.shape[len(pre.batch_shape) :]
    grid = torch.Size((window.groups, units[0] // window.groups, 1, *units[1:]))

    def arrange(t: Tensor, rows: slice) -> Tensor:
        whole = t.expand(pre.shape).reshape(*batch, *grid)
        within: Index = (..., rows, *(every,) * (dims + 3))
        return whole[within]

    a, every = pre.tensor.detach(), slice(None)
    s = pre.unit_scale
    if s.dim():
        s = s.expand(units[0], *(1,) * dims).reshape(*grid[:3], *(1,) * dims)
    rows, channels = batch[-1], x.shape[-dims - 1]
    per_row = a.numel() // rows
    row_step = max(1, ENTRIES_PER_BLOCK // (per_row * channels))
    channel_step = max(1, min(channels, ENTRIES_PER_BLOCK // per_row))
    lines: list[list[slice]] = [
        [slice(k * d, k * d + (n - 1) * step + 1, step) for k in range(size)]
        for n, size, step, d in zip(
            units[1:], w.shape[-dims:], window.stride, window.dilation, strict=True
        )
    ]
    for first_row in range(0, rows, row_step):
        row = slice(first_row, first_row + row_step)
        select = partial(arrange, rows=row)
        part, a_rows, g_rows = h.for_flips(select), select(a), select(g)
        for first in range(0, channels, channel_step):
            channel = slice(first, first + channel_step)
            for tap in itertools.product(*(range(size) for size in w.shape[-dims:])):
                place = tuple(line[k] for line, k in zip(lines, tap, strict=True))
                inputs: Index = (..., row, every, channel, *place)
                weights: Index = (..., every, every, channel, *tap)
                yield _Block(
                    part,
                    a_rows,
                    g_rows,
                    s,
                    _with_space(w[weights], dims),
                    x[inputs].unsqueeze(-dims - 2),
                    inputs,
                    weights,
                )


def _with_space(t: Tensor, dims: int) -> Tensor:
    return t.reshape(*t.shape, *(1,) * dims)


def _each_input(pre: Convolution, h: UnitFunction, g: Tensor) -> Tensor:
    """The flips of the inputs, evaluated one by one."""
    window, x = pre.window, pre.inputs.open
    total = torch.zeros_like(_padded(pre), memory_format=torch.contiguous_format)
    for block in _blocks(pre, h, g):
        entries = block.g * block.h.difference(block.a, block.s * block.w, block.x)
        total[block.inputs] += entries.sum(-window.dims - 2)
    sizes = x.shape[x.dim() - window.dims :]
    crop: Index = tuple(slice(p, p + n) for p, n in zip(window.padding, sizes, strict=True))
    cropped = total[(..., *crop)].reshape(*pre.batch_shape, *x.shape[x.dim() - window.dims - 1 :])
    return 0.5 * cropped.sum_to_size(x.shape)


def _each_weight(pre: Convolution, h: UnitFunction, g: Tensor) -> Tensor:
    """The flips of the weights, evaluated one by one."""
    window, w = pre.window, pre.weight.open
    dims, kernel = window.dims, w.shape[w.dim() - window.dims - 2 :]
    lead = pre.batch_shape[:-1]
    total = w.new_zeros(*lead, window.groups, kernel[0] // window.groups, *kernel[1:])
    space = tuple(range(-dims, 0))
    for block in _blocks(pre, h, g):
        entries = block.g * block.h.difference(block.a, block.s * block.x, block.w)
        total[block.weights] += entries.sum((-dims - 4, *space))
    return 0.5 * total.reshape(*lead, 1, *kernel).sum_to_size(w.shape)
