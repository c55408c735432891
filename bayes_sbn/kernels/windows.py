"""How a kernel or a window of pooling moves over packed maps (batch, height, width, channels).

    rows of tap i at output y:    y * stride - top + i * dilation,    0 <= y < out,
    out = (size + top + bottom - dilation (taps - 1) - 1) // stride + 1,

and columns likewise.  Taps outside the map are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from bayes_sbn.bits import PackedBits
from bayes_sbn.signs_pooling_window import window_sizes

Sizes = int | Sequence[int]


def check_maps(call: str, maps: PackedBits) -> None:
    """Raises unless they are packed, with four dims of at least 1 but for the batch."""
    check_packed(call, "x", maps)
    shape = tuple(maps.shape)
    if len(shape) != 4 or not all(size > 0 for size in shape[1:]):
        raise ValueError(
            f"{call}: x has shape {shape}; it must be (batch, height, width, channels), with at "
            "least one cell and one channel. Pack maps (batch, channels, height, width) by "
            "pack(x.permute(0, 2, 3, 1))."
        )


def check_packed(call: str, name: str, bits: PackedBits) -> None:
    """Raises unless an argument is packed."""
    if not isinstance(bits, PackedBits):
        raise TypeError(
            f"{call}: {name} is {type(bits).__name__}; it must be PackedBits. Pack ±1 values with "
            f"the channels in the last place, pack({name}.permute(0, 2, 3, 1))."
        )


def pair(call: str, name: str, value: Sizes, at_least: int) -> list[int]:
    """Two integers, from one or two."""
    return [*window_sizes(call, name, value, 2, at_least)]


def output_sizes(
    space: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[int]:
    """Height and width of the result; not positive if the kernel does not fit.

    Args:
        space: height and width of the maps.
        kernel: height and width of the kernel.
        stride: down and across.
        padding: above, below, left and right.
        dilation: down and across.
    """
    padded = (space[0] + padding[0] + padding[1], space[1] + padding[2] + padding[3])
    axes = zip(padded, kernel, stride, dilation, strict=True)
    return [(size - d * (k - 1) - 1) // s + 1 for size, k, s, d in axes]


def pooled_shape(
    words: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> tuple[int, int, int]:
    """Batch, height and width of pooled maps, which have the same padding on both sides."""
    down, across = padding
    height, width = output_sizes(
        words.shape[1:3], kernel, stride, (down, down, across, across), (1, 1)
    )
    return words.shape[0], height, width
