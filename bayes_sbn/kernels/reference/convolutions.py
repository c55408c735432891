"""Convolutions of packed ±1 maps with packed ±1 kernels: the definition.

    dots[n, Y, o] = sum_{t, c} w[o, t, c] x[n, Y stride + t dilation - padding, g C + c],

where x is 0 outside the map, g is the group of unit o and C the number of channels of a group.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from bayes_sbn.kernels.reference.packing import unpack


def xnor_conv2d(
    maps: Tensor,
    weights: Tensor,
    channels: int,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    """Sums, int32, shape (batch, height, width, units).

    Args:
        maps: words of ±1 maps, shape (batch, height, width, words of the channels).
        weights: words of ±1 kernels, (units, height, width, words of the channels of a group).
        channels: number of channels of a map.
        stride: down and across.
        padding: cells above, below, left and right.
        dilation: down and across.
        groups: into how many groups channels and units fall.
    """
    top, bottom, left, right = padding
    x = unpack(maps, channels, torch.float64).permute(0, 3, 1, 2)
    w = unpack(weights, channels // groups, torch.float64).permute(0, 3, 1, 2)
    dots = conv2d(
        pad(x, (left, right, top, bottom)), w, stride=stride, dilation=dilation, groups=groups
    )
    # sums of at most 2**31 signs are exact in float64, but devices may convolve by transforms
    return dots.round().to(torch.int32).permute(0, 2, 3, 1).contiguous()
