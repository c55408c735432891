"""Pooling of packed ±1 maps: the operators max_pool2d and sum_pool2d.

Definition in ``bayes_sbn.kernels.reference.pooling``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_sbn.bits import PackedBits
from bayes_sbn.kernels.native import pooling as native
from bayes_sbn.kernels.operators import register
from bayes_sbn.kernels.reference import pooling as reference
from bayes_sbn.kernels.windows import Sizes, check_maps, pair, pooled_shape

_MOST_CELLS = 2**15 - 1


def max_pool2d(
    x: PackedBits, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0
) -> PackedBits:
    """+1 where a window of a ±1 map has a +1: the OR of its bits.

    Args:
        x: maps, shape ``(batch, height, width, channels)``.
        kernel_size: height and width of a window; here and below an integer or two.
        stride: the step between windows; ``kernel_size`` if None.
        padding: cells on each side, which are never +1; at most half a window.

    Returns:
        Maps of shape ``(batch, output height, output width, channels)``.

    Raises:
        TypeError: maps that are not packed.
        ValueError: maps of another shape, or a window that does not fit.

    Example:
        >>> import torch
        >>> from bayes_sbn.kernels import max_pool2d, pack, unpack
        >>> x = -torch.ones(1, 4, 4, 1)
        >>> x[0, 1, 2] = 1
        >>> unpack(max_pool2d(pack(x), 2))[0, :, :, 0]
        tensor([[-1.,  1.],
                [-1., -1.]])
    """
    window = _window("max_pool2d(x)", x, kernel_size, stride, padding)
    words: Tensor = torch.ops.bayes_sbn.max_pool2d.default(x.data, x.length, *window)
    return PackedBits(words, x.length)


def sum_pool2d(
    x: PackedBits, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0
) -> Tensor:
    """Sums of ±1 maps over windows, as exact integers for the next layer.

    Over the number of cells of a window they are the averages of
    :func:`torch.nn.functional.avg_pool2d`, whose padding counts as cells of 0.  The next layer
    reads them by :func:`integer_linear`, and takes that number into its scale.

    Args:
        x: maps, shape ``(batch, height, width, channels)``.
        kernel_size: height and width of a window; here and below an integer or two.
        stride: the step between windows; ``kernel_size`` if None.
        padding: cells on each side, which add nothing; at most half a window.

    Returns:
        int16, shape ``(batch, output height, output width, channels)``.

    Raises:
        TypeError: maps that are not packed.
        ValueError: maps of another shape, or a window that does not fit or has more than 32767
            cells.

    Example:
        >>> import torch
        >>> from bayes_sbn.kernels import pack, sum_pool2d
        >>> sum_pool2d(pack(torch.ones(1, 2, 4, 3)), 2)
        tensor([[[[4, 4, 4],
                  [4, 4, 4]]]], dtype=torch.int16)
    """
    kernel, steps, margins = _window("sum_pool2d(x)", x, kernel_size, stride, padding)
    if kernel[0] * kernel[1] > _MOST_CELLS:
        raise ValueError(
            f"sum_pool2d(x): windows of size {tuple(kernel)} have more than {_MOST_CELLS} cells; "
            "sums have 16 bits. Use a smaller kernel_size, and add the sums of several windows."
        )
    sums: Tensor = torch.ops.bayes_sbn.sum_pool2d.default(x.data, x.length, kernel, steps, margins)
    return sums


def _window(
    call: str, x: PackedBits, kernel_size: Sizes, stride: Sizes | None, padding: Sizes
) -> tuple[list[int], list[int], list[int]]:
    check_maps(call, x)
    kernel = pair(call, "kernel_size", kernel_size, 1)
    steps = kernel if stride is None else pair(call, "stride", stride, 1)
    margins = pair(call, "padding", padding, 0)
    axes = zip(x.shape[1:3], kernel, margins, strict=True)
    if not all(k <= size + 2 * p and 2 * p <= k for size, k, p in axes):
        raise ValueError(
            f"{call}: windows of size {tuple(kernel)} with padding {tuple(margins)} do not fit a "
            f"map of size {tuple(x.shape[1:3])}; a window is no larger than the padded map, and "
            "the padding at most half of it. Use a smaller kernel_size or padding."
        )
    return kernel, steps, margins


def _fake_max_pool2d(
    maps: Tensor,
    channels: int,  # noqa: ARG001 - the operator's schema
    kernel: list[int],
    stride: list[int],
    padding: list[int],
) -> Tensor:
    return maps.new_empty((*pooled_shape(maps, kernel, stride, padding), maps.shape[3]))


def _fake_sum_pool2d(
    maps: Tensor, channels: int, kernel: list[int], stride: list[int], padding: list[int]
) -> Tensor:
    shape = (*pooled_shape(maps, kernel, stride, padding), channels)
    return maps.new_empty(shape, dtype=torch.int16)


_ARGUMENTS = "Tensor maps, SymInt channels, SymInt[] kernel, SymInt[] stride, SymInt[] padding"

register(
    f"max_pool2d({_ARGUMENTS}) -> Tensor",
    native=native.max_pool2d,
    reference=reference.max_pool2d,
    fake=_fake_max_pool2d,
)
register(
    f"sum_pool2d({_ARGUMENTS}) -> Tensor",
    native=native.sum_pool2d,
    reference=reference.sum_pool2d,
    fake=_fake_sum_pool2d,
)
