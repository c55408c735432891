r"""The categorical log-likelihood of a pre-activation, with exact flips of its operands.

For logits ``a`` and a label y, ``f(a) = a_y - log sum_c exp(a_c)``.  A flip of an input moves all
logits at once, by ``-2 c_i x_i`` with ``c_ci = s_c w_ci``; with ``p = softmax(a)``,

    f(a) - f(a | x_i flipped) = 2 c_yi x_i + log sum_c p_c exp(-2 c_ci x_i).

The sum is the entry (n, i) of ``p E+`` where x_i = +1 and of ``p E-`` where x_i = -1, with
``E+- = exp(-+ 2 c)``: all exact flips of all inputs are two matrix products, for real and for ±1
weights, and nothing of the size rows x inputs x classes exists.  (Steps so large that the
exponentials could lose a class are evaluated entry by entry instead.)

A flip of a weight of class c moves only ``a_c``, so it is a flip of a unit function of ``a_c`` in
which the log-sum-exp of the other classes is a constant
(:class:`bayes_sbn.affines.function.ClassLogit`), and the one-matmul identity serves it.  So is a
flip of an input of an identity.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from bayes_sbn.affines.averaged import averaged
from bayes_sbn.affines.dense import Affine
from bayes_sbn.affines.flip_graph import Gradients, zero_with_flips
from bayes_sbn.affines.flips import ENTRIES_PER_BLOCK, flip_weights, row_inputs
from bayes_sbn.affines.function import ClassLogit
from bayes_sbn.affines.identity import Identity
from bayes_sbn.affines.pre_activation import PreActivation, Term


def categorical_log_likelihood(pre: PreActivation, label: Tensor) -> Tensor:
    """``log p(y | a)`` per row, differentiated in each operand by that operand's rule.

    Args:
        pre: the logits, (..., rows, classes) or (..., classes).
        label: integers in [0, classes), broadcast against the batch shape of ``pre``.
    """
    pre.refuse_moments("categorical_log_likelihood")
    for term in pre.terms:
        if isinstance(term, Identity) and term.layer is not None:
            raise ValueError(
                f'AffineCategorical: the draw of site "{term.inputs.site}" is in two terms of the '
                "logits, a layer and an identity; its flips move all logits jointly. Write the "
                "identity into the weight, bayes_sbn.affine(h, weight + torch.eye(number))."
            )
    if pre.needs_flips:
        pre = pre.expand(torch.broadcast_shapes(label.shape, pre.batch_shape))
    log_p = torch.log_softmax(pre.tensor, -1)
    index, log_p = torch.broadcast_tensors(label.long().unsqueeze(-1), log_p)
    index = index[..., :1]
    value: Tensor = log_p.gather(-1, index).squeeze(-1)
    if not pre.needs_flips:
        return value
    return value + zero_with_flips(pre, averaged(pre, partial(_flips, index)), value.shape)


def _flips(index: Tensor, term: Term, g: Tensor, of_inputs: bool, of_weight: bool) -> Gradients:
    """The flips of one term of the logits: its inputs move many of them, its weights one."""
    if not isinstance(term, Affine):
        return term.flip_gradients(_class_logit(term, index), _per_class(g, term), of_inputs, False)
    w_gradient = None
    if of_weight:
        by_class = flip_weights(term, _class_logit(term, index), _per_class(g, term))
        w_gradient = by_class.reshape(term.weight.open.shape)
    return _flip_inputs(term, index, g) if of_inputs else None, w_gradient


def _per_class(g: Tensor, pre: Term) -> Tensor:
    return g.unsqueeze(-1).expand(*g.shape, pre.shape[-1])


def _class_logit(pre: Term, index: Tensor) -> ClassLogit:
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
    linear, up, down = pre.once("inputs", lambda: _products(a, c, index, pre.has_rows))
    full = 2 * linear + x * torch.log(torch.where(x > 0, up, down))
    return (0.5 * g.unsqueeze(-1) * full).sum_to_size(x.shape)


def _products(a: Tensor, c: Tensor, index: Tensor, has_rows: bool) -> tuple[Tensor, ...]:
    """``y c``, ``p E+`` and ``p E-``, of the shape of the inputs."""
    p = torch.softmax(a, -1)
    y = torch.zeros_like(p).scatter_(-1, index, 1.0)
    products = ((y, c), (p, torch.exp(-2 * c)), (p, torch.exp(2 * c)))
    if has_rows:
        return tuple(rows @ matrix for rows, matrix in products)
    return tuple((row.unsqueeze(-2) @ matrix).squeeze(-2) for row, matrix in products)


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
