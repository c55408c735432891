r"""Rearrangements of a ±1 draw that its children can still flip: flatten, reshape, permute.

Moving entries about changes neither that they are ±1 nor what a flip of one of them is, so the
result carries the tag of the draw: its open tensor (:mod:`bayes_sbn.signs`) is rearranged alike,
and gradients of flips return through it.  Averages of a draw keep
their tag as well.  Only event dims, the last ones, are touched: batch dims
belong to plates.  Tensors that are not draws are rearranged and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bayes_sbn.signs import open_sign, sign_tag, tag_sign
from bayes_sbn.signs_average_pooled import pooled_tag


def flatten(x: Tensor, event_dim: int) -> Tensor:
    """The last ``event_dim`` dims as one.

    Args:
        x: a ±1 draw, or any tensor; (*batch, *event).
        event_dim: how many dims there are to flatten: 3 for the units of
            :func:`bayes_sbn.affine_conv2d`, 2 for those of :func:`bayes_sbn.affine_conv1d`.

    Example:
        >>> import torch
        >>> from bayes_sbn.signs_rearranged import flatten
        >>> flatten(torch.ones(5, 2, 3, 4), 3).shape
        torch.Size([5, 24])
    """
    batch, event = _split(x, event_dim, f"flatten(x, {event_dim!r})")
    return rearranged(x, lambda t: t.reshape(*batch, event.numel()))


def reshape(x: Tensor, event_dim: int, shape: Sequence[int]) -> Tensor:
    """The last ``event_dim`` dims in another shape, row by row.

    Args:
        x: a ±1 draw, or any tensor; (*batch, *event).
        event_dim: how many dims there are to reshape.
        shape: their new shape, of as many entries.

    Example:
        >>> import torch
        >>> from bayes_sbn.signs_rearranged import reshape
        >>> reshape(torch.ones(5, 24), 1, (2, 3, 4)).shape
        torch.Size([5, 2, 3, 4])
    """
    call = f"reshape(x, {event_dim!r}, {tuple(shape)})"
    batch, event = _split(x, event_dim, call)
    if any(size < 0 for size in shape) or torch.Size(shape).numel() != event.numel():
        raise ValueError(
            f"{call}: the last {event_dim} dims are {tuple(event)}, {event.numel()} entries; the "
            "new shape must have as many, each size written out."
        )
    return rearranged(x, lambda t: t.reshape(*batch, *shape))


def permute(x: Tensor, order: Sequence[int]) -> Tensor:
    """The last ``len(order)`` dims in another order.

    Args:
        x: a ±1 draw, or any tensor; (*batch, *event).
        order: which of the event dims comes at each place, counted from 0: ``(1, 2, 0)`` takes
            (C, H, W) to (H, W, C).

    Example:
        >>> import torch
        >>> from bayes_sbn.signs_rearranged import permute
        >>> permute(torch.ones(5, 2, 3, 4), (1, 2, 0)).shape
        torch.Size([5, 3, 4, 2])
    """
    call = f"permute(x, {tuple(order)})"
    batch, _ = _split(x, len(order), call)
    if sorted(order) != list(range(len(order))):
        raise ValueError(
            f"{call}: the order must name each of the last {len(order)} dims once, counted from 0, "
            "as in (1, 2, 0)."
        )
    moved = [*range(len(batch)), *(len(batch) + place for place in order)]
    return rearranged(x, lambda t: t.permute(moved))


def rearranged(x: Tensor, how: Callable[[Tensor], Tensor]) -> Tensor:
    """A view or a broadcast of a tensor, with the tag of the draw that it is, if it is one."""
    pooled, tag = pooled_tag(x), sign_tag(x)
    if pooled is not None:
        return pooled.viewed(how)
    if tag is None:
        return how(x)
    flip = tag.flip
    if flip is not None and flip.redraw is not None:
        flip = replace(flip, redraw=flip.redraw.rearranged(how))
    return tag_sign(how(open_sign(x)), tag.site, flip)


def _split(x: Tensor, event_dim: int, call: str) -> tuple[torch.Size, torch.Size]:
    """The batch dims and the event dims of a tensor."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{call}: x is a {type(x).__name__}; it must be a torch.Tensor.")
    if not isinstance(event_dim, int) or isinstance(event_dim, bool) or event_dim < 1:
        raise ValueError(
            f"{call}: event_dim is the number of dims at the end, at least 1. Write flatten(x, 3) "
            "for (..., C, H, W)."
        )
    if event_dim > x.dim():
        raise ValueError(
            f"{call}: x has shape {tuple(x.shape)}, which has no {event_dim} dims; the rows come "
            "before them."
        )
    shape, split = tuple(x.shape), x.dim() - event_dim  # a tuple under TraceGraph_ELBO
    return torch.Size(shape[:split]), torch.Size(shape[split:])
