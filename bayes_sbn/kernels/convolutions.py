"""Convolutions of packed ±1 maps with packed ±1 kernels: the operator xnor_conv2d.

Definition in ``bayes_sbn.kernels.reference.convolutions``.  Maps have their channels side by side,
(batch, height, width, channels), so that a tap is a few words.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_sbn.bits import PackedBits
from bayes_sbn.kernels.native import convolutions as native
from bayes_sbn.kernels.operators import register
from bayes_sbn.kernels.reference import convolutions as reference
from bayes_sbn.kernels.windows import Sizes, check_maps, check_packed, output_sizes, pair

_LARGEST_LENGTH = 2**31 - 1


def xnor_conv2d(
    x: PackedBits,
    w: PackedBits,
    *,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Convolutions of ±1 maps with ±1 kernels, by XNOR and popcount.

    Cells of the padding add nothing, as zeros in :func:`torch.nn.functional.conv2d`.  Maps and
    kernels of torch are packed by ``pack(x.permute(0, 2, 3, 1))``, and the result comes back to
    torch's order by ``permute(0, 3, 1, 2)``.

    Args:
        x: maps, shape ``(batch, height, width, channels)``.
        w: kernels, shape ``(units, kernel height, kernel width, channels / groups)``.
        stride: the step between neighbouring outputs; here and below an integer or two.
        padding: how many cells of zeros stand on each side; or ``"valid"``, none, or ``"same"``,
            as many as the result needs to be as large as the map.
        dilation: the distance of neighbouring taps of a kernel.
        groups: into how many groups channels and units fall, each on its own.

    Returns:
        int32, shape ``(batch, output height, output width, units)``.

    Raises:
        TypeError: maps or kernels that are not packed.
        ValueError: shapes that do not fit each other, or numbers that are not allowed.

    Example:
        >>> import torch
        >>> from bayes_sbn.kernels import pack, xnor_conv2d
        >>> x, w = torch.ones(1, 2, 3, 40), torch.ones(1, 3, 3, 40)
        >>> xnor_conv2d(pack(x), pack(w), padding=1)[0, :, :, 0]
        tensor([[160, 240, 160],
                [160, 240, 160]], dtype=torch.int32)
    """
    call = "xnor_conv2d(x, w)"
    check_maps(call, x)
    check_packed(call, "w", w)
    if w.data.ndim != 4 or not all(size > 0 for size in w.shape):
        raise ValueError(
            f"{call}: the kernels have shape {tuple(w.shape)}; they are (units, height, width, "
            "channels / groups), at least one of each. Pack kernels of torch by "
            "pack(w.permute(0, 2, 3, 1))."
        )
    if not isinstance(groups, int) or groups < 1 or x.length != groups * w.length:
        fitting = f" Write groups={x.length // w.length}." if x.length % w.length == 0 else ""
        raise ValueError(
            f"{call}: maps have {x.length} channels, kernels {w.length}, and groups is {groups!r}; "
            f"the channels of maps are those of kernels times groups.{fitting}"
        )
    if w.shape[0] % groups:
        raise ValueError(
            f"{call}: {w.shape[0]} units do not fall into {groups} groups. Give each group as many."
        )
    taps = w.shape[1:3]
    if taps.numel() * w.length > _LARGEST_LENGTH:
        raise ValueError(
            f"{call}: kernels have {taps.numel() * w.length} weights; sums have 32 bits."
        )
    steps = pair(call, "stride", stride, 1)
    distances = pair(call, "dilation", dilation, 1)
    margins = _margins(call, padding, steps, distances, taps)
    if min(output_sizes(x.shape[1:3], taps, steps, margins, distances)) < 1:
        raise ValueError(
            f"{call}: kernels of {tuple(taps)} taps with dilation {tuple(distances)} are larger "
            f"than maps of {tuple(x.shape[1:3])} cells with their padding. Write padding='same', "
            "or use smaller kernels."
        )
    dots: Tensor = torch.ops.bayes_sbn.xnor_conv2d.default(
        x.data, w.data, x.length, steps, margins, distances, groups
    )
    return dots


def _margins(
    call: str, padding: Sizes | str, stride: list[int], dilation: list[int], taps: torch.Size
) -> list[int]:
    """Cells above, below, left and right."""
    if not isinstance(padding, str):
        down, across = pair(call, "padding", padding, 0)
        return [down, down, across, across]
    if padding == "valid":
        return [0, 0, 0, 0]
    if padding != "same":
        raise ValueError(
            f"{call}: padding is {padding!r}; it is an integer or two of at least 0, 'same' or "
            "'valid'. Write padding=1."
        )
    if stride != [1, 1]:
        raise ValueError(
            f"{call}: padding='same' needs stride=1: received {tuple(stride)}. Write the padding "
            "as an integer."
        )
    totals = [d * (k - 1) for d, k in zip(dilation, taps, strict=True)]
    return [part for total in totals for part in (total // 2, total - total // 2)]


def _fake(
    maps: Tensor,
    weights: Tensor,
    channels: int,  # noqa: ARG001 - the operator's schema
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,  # noqa: ARG001
) -> Tensor:
    height, width = output_sizes(maps.shape[1:3], weights.shape[1:3], stride, padding, dilation)
    shape = (maps.shape[0], height, width, weights.shape[0])
    return maps.new_empty(shape, dtype=torch.int32)


register(
    "xnor_conv2d(Tensor maps, Tensor weights, SymInt channels, SymInt[] stride, SymInt[] padding, "
    "SymInt[] dilation, SymInt groups) -> Tensor",
    native=native.xnor_conv2d,
    reference=reference.xnor_conv2d,
    fake=_fake,
)
