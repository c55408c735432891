r"""Averages of the bits in windows, through which the next layer flips the bits themselves.

    y_W = (1 / P) sum_{i in W} x_i,      P cells in a window.

The average of a ±1 draw is not ±1, but its children are functions of bits: a flip of ``x_i`` moves
``y_W`` by ``-2 x_i / P``.  Where windows do not overlap it moves nothing else, so its effect on a
child depends on the window and on the sign of ``x_i`` alone.  A child therefore answers with two
numbers a window, half its exact difference for a bit that is +1 and for one that is -1, and

    x_gradient_i = up_W if x_i = +1 else down_W.

The tensor of averages carries a :class:`PooledTag` with two tensors in the autograd graph, the sums
of the +1s and of the -1s of each window, whose adjoints are exactly that; rearrangements move them
along, and averages of averages add them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from bayes_sbn.signs import FlipRule, moments_tag, no_state, open_sign, sign_tag
from bayes_sbn.signs_closed import closed_sign
from bayes_sbn.signs_pooling_window import PoolingWindow


@dataclass(frozen=True)
class PooledTag:
    """What averages of a ±1 draw tell their children.

    Args:
        site: the name of the site that was drawn.
        flip: the flip rule.
        cells: how many bits a window averages.
        up: the sum of the bits that are +1, where gradients of their flips go.
        down: the sum of the bits that are -1, where gradients of their flips go.
    """

    site: str
    flip: FlipRule
    cells: int
    up: Tensor
    down: Tensor

    def viewed(self, view: Callable[[Tensor], Tensor]) -> Tensor:
        """The averages, tagged, in another view."""
        return replace(self, up=view(self.up), down=view(self.down)).averages()

    def averages(self) -> Tensor:
        """The averages, tagged and closed to operations that do not know flips."""
        visible = closed_sign((self.up + self.down) / self.cells, self.site)
        visible._sbn_pooled = self  # type: ignore[attr-defined]
        return visible


def pooled_tag(value: Tensor) -> PooledTag | None:
    """The tag of averages of a draw that is to be flipped, or None for any other tensor."""
    tag = getattr(value, "_sbn_pooled", None)
    return tag if isinstance(tag, PooledTag) else None


def average_pool1d(
    x: Tensor, kernel_size: int | Sequence[int], stride: int | Sequence[int] | None = None
) -> Tensor:
    """The average of every window of a line; the next layer flips the bits that it averages.

    Args:
        x: the draw of a ±1 site, (..., C, L), or any tensor.
        kernel_size: the number of cells of a window.
        stride: the step between windows; ``kernel_size`` if None.

    Raises:
        ValueError: windows that overlap, of a draw whose flips are exact.
    """
    return _average_pool(1, x, kernel_size, stride)


def average_pool2d(
    x: Tensor, kernel_size: int | Sequence[int], stride: int | Sequence[int] | None = None
) -> Tensor:
    """The average of every window of a map; the next layer flips the bits that it averages.

    Args:
        x: the draw of a ±1 site, (..., C, H, W), or any tensor.
        kernel_size: the size of a window, one number or two.
        stride: the step between windows; ``kernel_size`` if None.

    Raises:
        ValueError: windows that overlap, of a draw whose flips are exact.

    Example:
        >>> import torch
        >>> from bayes_sbn.signs_average_pooled import average_pool2d
        >>> average_pool2d(torch.tensor([[[1.0, 1.0, -1.0, 1.0], [1.0, -1.0, -1.0, 1.0]]]), 2)
        tensor([[[0.5000, 0.0000]]])
    """
    return _average_pool(2, x, kernel_size, stride)


def _average_pool(
    dims: int, x: Tensor, kernel_size: int | Sequence[int], stride: int | Sequence[int] | None
) -> Tensor:
    call = f"average_pool{dims}d(x, kernel_size)"
    window = PoolingWindow.checked(call, x, dims, kernel_size, stride)
    if moments_tag(x) is not None:
        raise ValueError(
            f"{call}: x is {no_state(x)}, whose variance an average would lose; moments go to "
            'dense layers only. Give that site infer={"estimator": "psa"} or {"estimator": "st"}.'
        )
    signs, tag, pooled = open_sign(x), sign_tag(x), pooled_tag(x)
    if pooled is None and (tag is None or tag.flip is None or not signs.requires_grad):
        return window.sums(signs) / window.cells
    if pooled is None:  # each bit is a window of its own
        assert tag is not None
        assert tag.flip is not None
        is_up = (signs.detach() > 0).to(signs.dtype)
        pooled = PooledTag(tag.site, tag.flip.for_pooled(), 1, signs * is_up, signs * (1 - is_up))
    if window.overlaps:
        raise ValueError(
            f"{call}: windows of size {window.kernel} with stride {window.stride} overlap, so that "
            f'a bit of site "{pooled.site}" would reach the next layer through several of them, '
            "and its flips would not be exact. Use a stride of at least kernel_size, a strided "
            'convolution, or infer={"estimator": "st"} at that site.'
        )
    return replace(
        pooled,
        cells=pooled.cells * window.cells,
        up=window.sums(pooled.up),
        down=window.sums(pooled.down),
    ).averages()
