"""Pooling of packed ±1 maps: the definition.

    max[n, Y, c] = max_t x[n, Y stride + t - padding, c],      sum likewise,

over the cells t of a window that lie in the map.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bayes_sbn.kernels.reference.packing import pack, unpack


def max_pool2d(
    maps: Tensor, channels: int, kernel: list[int], stride: list[int], padding: list[int]
) -> Tensor:
    """Words of maps, shape (batch, height, width, words of the channels).

    Args:
        maps: words of ±1 maps, shape (batch, height, width, words of the channels).
        channels: number of channels.
        kernel: height and width of a window.
        stride: down and across.
        padding: cells above and below, and left and right.
    """
    x = unpack(maps, channels, torch.float64).permute(0, 3, 1, 2)
    return pack(functional.max_pool2d(x, kernel, stride, padding).permute(0, 2, 3, 1))


def sum_pool2d(
    maps: Tensor, channels: int, kernel: list[int], stride: list[int], padding: list[int]
) -> Tensor:
    """Sums, int16, shape (batch, height, width, channels).

    Args:
        maps: words of ±1 maps, shape (batch, height, width, words of the channels).
        channels: number of channels.
        kernel: height and width of a window.
        stride: down and across.
        padding: cells above and below, and left and right.
    """
    x = unpack(maps, channels, torch.float64).permute(0, 3, 1, 2)
    sums = functional.avg_pool2d(x, kernel, stride, padding, divisor_override=1)
    return sums.round().to(torch.int16).permute(0, 2, 3, 1).contiguous()
