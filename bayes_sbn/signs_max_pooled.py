r"""The largest of the bits in a window: the OR of a ±1 draw, itself ±1 and flippable.

    m_W = max_{i in W} x_i = 1 - 2 prod_{i in W} (1 - x_i) / 2.

A flip of ``x_i`` moves ``m_W`` if all other bits of the window are -1, and nothing otherwise, so
half the exact difference and the derivative of the multilinear form agree,

    x_gradient_i = sum_{W contains i} m_gradient_W [all other bits of W are -1],

and sites of both rules have the same backward.  Where windows do not overlap a flip of ``x_i``
reaches one ``m_W``, and nothing is approximated.  Where they overlap the effects of one flip on
several m are added, which is the linearisation of PSA.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bayes_sbn.signs import no_state, open_sign, sign_tag, tag_sign
from bayes_sbn.signs_pooling_window import PoolingWindow


def max_pool1d(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
) -> Tensor:
    """+1 where a window of a ±1 line has a +1; again a ±1 draw.

    Args:
        x: the draw of a ±1 site, (..., C, L).
        kernel_size: the number of cells of a window.
        stride: the step between windows; ``kernel_size`` if None, and then none overlap.
        padding: cells before and after the line, which are never +1; at most half a window.

    Raises:
        ValueError: values that are not ±1, or a window that does not fit.

    Example:
        >>> import torch
        >>> from bayes_sbn.signs_max_pooled import max_pool1d
        >>> max_pool1d(torch.tensor([[-1.0, 1.0, -1.0, -1.0]]), 2)
        tensor([[ 1., -1.]])
    """
    return _max_pool(1, x, kernel_size, stride, padding)


def max_pool2d(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
) -> Tensor:
    """+1 where a window of a ±1 map has a +1; again a ±1 draw.

    Args:
        x: the draw of a ±1 site, (..., C, H, W).
        kernel_size: the size of a window, one number or two.
        stride: the step between windows; ``kernel_size`` if None, and then none overlap.
        padding: cells around the map, which are never +1; at most half a window.

    Raises:
        ValueError: values that are not ±1, or a window that does not fit.
    """
    return _max_pool(2, x, kernel_size, stride, padding)


def _max_pool(
    dims: int,
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: int | Sequence[int],
) -> Tensor:
    call = f"max_pool{dims}d(x, kernel_size)"
    window = PoolingWindow.checked(call, x, dims, kernel_size, stride, padding)
    what = no_state(x)
    if what is not None:
        raise ValueError(
            f"{call}: x is {what}, and what is pooled are ±1 states. Give that site "
            'infer={"estimator": "psa"} or {"estimator": "st"}, whose draws are ±1.'
        )
    tag = sign_tag(x)
    if tag is None:  # stock ELBOs and predictions do not tag their draws
        wrong = x[(x != 1) & (x != -1)]
        if wrong.numel():
            raise ValueError(
                f"{call}: x has the value {wrong[0].item()}; this pools the ±1 draw of a site. "
                f"For real values write torch.nn.functional.max_pool{dims}d(x, kernel_size)."
            )
    signs = open_sign(x)
    if signs.requires_grad:
        pooled: Tensor = _Or.apply(signs, window)  # type: ignore[no-untyped-call]
    else:
        pooled = window.largest(signs)
    if tag is None:
        return pooled
    return tag_sign(pooled, tag.site, None if tag.flip is None else tag.flip.for_pooled())


class _Or(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: PoolingWindow) -> Tensor:
        ctx.window = window
        ctx.save_for_backward(x)
        return window.largest(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        is_up = (x > 0).to(x.dtype)
        number = ctx.window.sums(is_up)
        # in a window without a +1 every bit decides, in a window with one that bit alone
        of_all = ctx.window.spread(g * (number < 0.5), x)
        of_one = ctx.window.spread(g * ((number > 0.5) & (number < 1.5)), x)
        return torch.addcmul(of_all, is_up, of_one), None
