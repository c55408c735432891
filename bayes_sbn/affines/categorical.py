r"""The categorical log-likelihood of a dense pre-activation, with exact flips of its operands.

For logits ``a`` and a label y, ``f(a) = a_y - log sum_c exp(a_c)``.  A flip of an input moves all
logits at once, by ``-2 c_i x_i`` with ``c_ci = s_c w_ci``; with ``p = softmax(a)``,

    f(a) - f(a | x_i flipped) = 2 c_yi x_i + log sum_c p_c exp(-2 c_ci x_i).

The sum is the entry (n, i) of ``p E+`` where x_i = +1 and of ``p E-`` where x_i = -1, with
``E+- = exp(-+ 2 c)``: all exact flips of all inputs are two matrix products, for real and for ±1
weights, and nothing of the size rows x inputs x classes exists.  (Steps so large that the
exponentials could lose a class are evaluated entry by entry instead.)

A flip of a weight of class c moves only ``a_c``, so it is a flip of a unit function of ``a_c`` in
which the log-sum-exp of the other classes is a constant
(:class:`bayes_sbn.affines.function.ClassLogit`), and the one-matmul identity serves it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bayes_sbn.affines.dense import Affine
from bayes_sbn.affines.flips import ENTRIES_PER_BLOCK, flip_weights, row_inputs
from bayes_sbn.affines.function import ClassLogit


def categorical_log_likelihood(pre: Affine, label: Tensor) -> Tensor:
    """``log p(y | a)`` per row, differentiated in each operand by that operand's rule.

    Args:
        pre: the logits, (..., rows, classes) or (..., classes).
        label: integers in [0, classes), broadcast against the batch shape of ``pre``.
    """
    pre.refuse_moments("categorical_log_likelihood")
    if pre.needs_flips:
        pre = pre.expand(torch.broadcast_shapes(label.shape, pre.batch_shape))
    log_p = torch.log_softmax(pre.tensor, -1)
    index, log_p = torch.broadcast_tensors(label.long().unsqueeze(-1), log_p)
    index = index[..., :1]
    value: Tensor = log_p.gather(-1, index).squeeze(-1)
    if not pre.needs_flips:
        return value
    flips: Tensor = _CategoricalFlips.apply(  # type: ignore[no-untyped-call]
        pre,
        index,
        pre.inputs.open if pre.inputs.by_flips else None,
        pre.matrix.open if pre.weight.by_flips else None,
    )
    return value + flips


class _CategoricalFlips(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre: Affine, index: Tensor, x: Tensor | None, w: Tensor | None) -> Tensor:
        ctx.pre, ctx.index = pre, index
        del x, w  # there so that autograd knows where the gradients go
        a = pre.tensor
        return torch.zeros((), dtype=a.dtype, device=a.device).expand(index.shape[:-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[None, None, Tensor | None, Tensor | None]:
        pre, index = ctx.pre, ctx.index
        x_gradient = _flip_inputs(pre, index, g) if ctx.needs_input_grad[2] else None
        w_gradient = None
        if ctx.needs_input_grad[3]:
            w_gradient = flip_weights(pre, _class_logit(pre, index), _per_class(g, pre))
        return None, None, x_gradient, w_gradient


def _per_class(g: Tensor, pre: Affine) -> Tensor:
    return g.unsqueeze(-1).expand(*g.shape, pre.shape[-1])


def _class_logit(pre: Affine, index: Tensor) -> ClassLogit:
    a = pre.tensor.detach()
    is_label = torch.zeros_like(a).scatter_(-1, index, 1.0)
    nothing = torch.full_like(a[..., :1], -torch.inf)
    before = torch.cat([nothing, a.logcumsumexp(-1)[..., :-1]], -1)
    after = torch.cat([a.flip(-1).logcumsumexp(-1).flip(-1)[..., 1:], nothing], -1)
    return ClassLogit(is_label, torch.logaddexp(before, after))


LARGEST_STEP = 15.0
"""The largest ``|2 c|`` for which p exp(-2 c x) keeps every class that matters, in float32."""


def _flip_inputs(pre: Affine, index: Tensor, g: Tensor) -> Tensor:
    """Half the exact differences of the log-likelihood over each input, times g."""
    a, x = pre.tensor.detach(), pre.inputs.open.detach()
    if not a.numel():
        return torch.zeros_like(x)
    c = pre.unit_scale.unsqueeze(-1) * pre.matrix.open.detach()  # (..., classes, in)
    if not bool((2 * c.abs() <= LARGEST_STEP).all()):
        return _flip_inputs_entrywise(pre, c, index, g)
    p = torch.softmax(a, -1)
    y = torch.zeros_like(p).scatter_(-1, index, 1.0)
    if pre.has_rows:
        linear, up, down = y @ c, p @ torch.exp(-2 * c), p @ torch.exp(2 * c)
    else:
        y, p = y.unsqueeze(-2), p.unsqueeze(-2)
        linear, up, down = (
            (r @ e).squeeze(-2) for r, e in ((y, c), (p, torch.exp(-2 * c)), (p, torch.exp(2 * c)))
        )
    full = 2 * linear + x * torch.log(torch.where(x > 0, up, down))
    return (0.5 * g.unsqueeze(-1) * full).sum_to_size(x.shape)


def _flip_inputs_entrywise(pre: Affine, c: Tensor, index: Tensor, g: Tensor) -> Tensor:
    """The same by two evaluations an input, in blocks of rows, for steps of any size."""
    a, x, step = pre.tensor.detach(), row_inputs(pre), c.mT
    if not pre.has_rows:
        return _input_differences(a, x, step, index, g).sum_to_size(x.shape)
    rows, entries = a.shape[-2], step.shape[-2] * step.shape[-1]
    size = max(1, ENTRIES_PER_BLOCK * rows // max(1, a[..., 0].numel() * entries))
    step = step.unsqueeze(-3)
    parts = [
        _input_differences(
            a[..., start : start + size, :],
            x[..., start : start + size, :],
            step,
            index[..., start : start + size, :],
            g[..., start : start + size],
        )
        for start in range(0, rows, size)
    ]
    return torch.cat(parts, -2).sum_to_size(pre.inputs.open.shape)


def _input_differences(a: Tensor, x: Tensor, c: Tensor, index: Tensor, g: Tensor) -> Tensor:
    a, x = a.unsqueeze(-2), x.unsqueeze(-1)
    up, down = a + c * (1 - x), a - c * (1 + x)  # (..., rows, in, classes)
    label = index.unsqueeze(-2).expand(*up.shape[:-1], 1)
    linear = 2 * c.expand_as(up).gather(-1, label).squeeze(-1)
    difference = linear - up.logsumexp(-1) + down.logsumexp(-1)
    return 0.5 * g.unsqueeze(-1) * difference
