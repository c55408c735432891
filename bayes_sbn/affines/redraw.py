r"""The Rao-Blackwellised head: a log-likelihood averaged over redraws of one bit of the last layer.

Given what is before them the n bits of a layer are independent, bit i in its drawn state x_i with
probability ``P_i``.  Drawing one bit again, chosen at random, leaves their law unchanged, so

    1/n sum_i [P_i f(x) + (1 - P_i) f(x with x_i negated)]  =  f(x) - 1/n sum_i (1 - P_i) d_i,
    d_i = f(x) - f(x with x_i negated),

has the expectation of f(x) and less variance.  With the probabilities as constants it is
differentiated in the weight, scale and bias of the head.  For a categorical head
``d_i = 2 c_yi x_i + log sum_c p_c exp(-2 c_ci x_i)``, two matrix products
(:mod:`bayes_sbn.affines.categorical`).  For a sum of unit functions with ±1 weights of common scale
``d_i = sum_j x_i w_ji M_j + N_j``, one (:mod:`bayes_sbn.affines.flips`).  Other heads are evaluated
at every flip, in chunks that are evaluated again in the backward pass and not kept.

Targets must not depend on the bits: one that was drawn from the head itself is refused.

The gradient of ±1 weights that are flipped stays that of f(x), which has the same expectation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from bayes_sbn.affines.categorical import LARGEST_STEP
from bayes_sbn.affines.dense import Affine
from bayes_sbn.affines.flips import ENTRIES_PER_BLOCK
from bayes_sbn.affines.function import UnitFunction
from bayes_sbn.affines.pre_activation import PreActivation


def asks_for_redraws(pre: PreActivation) -> bool:
    """Whether the estimator that drew the inputs asks for a Rao-Blackwellised head."""
    rules = [term.inputs.flip for term in pre.terms]
    return any(rule is not None and rule.rao_blackwell for rule in rules)


def mark_drawn(target: Tensor) -> Tensor:
    """A target that was drawn from a head which is averaged over redraws, known as such."""
    target._sbn_drawn_from_head = True  # type: ignore[attr-defined]
    return target


def refuse_drawn(target: Tensor, call: str) -> None:
    """Raise for a target that depends on the bits that would be drawn again.

    Raises:
        ValueError: it was drawn from such a head.
    """
    if getattr(target, "_sbn_drawn_from_head", False):
        raise ValueError(
            f"{call}: rao_blackwell=True, and y was drawn from a head in the same run, so that it "
            "depends on the bits that are drawn again. Observe data, or give the sites that the "
            'head reads infer={"estimator": "psa"}.'
        )


def categorical_redraw(pre: PreActivation, label: Tensor) -> Tensor:
    """``-1/n sum_i (1 - P_i) d_i`` for ``f = log p(y | a)``, per row.

    Args:
        pre: the logits, (..., rows, classes) or (..., classes).
        label: integers in [0, classes), broadcast against the batch shape of ``pre``.
    """
    pre = _one_dense_term(pre)
    x, other = _states(pre)
    a, c = pre.tensor, _steps(pre)
    index, a = torch.broadcast_tensors(label.long().unsqueeze(-1), a)
    index = index[..., :1]
    if not bool((2 * c.detach().abs() <= LARGEST_STEP).all()):

        def log_p(flipped: Tensor) -> Tensor:
            at = index.expand(*flipped.shape[:-1], 1)
            return torch.log_softmax(flipped, -1).gather(-1, at).squeeze(-1)

        return _by_entries(a, c, x, other, pre.has_rows, log_p)
    p = torch.softmax(a, -1)
    y = torch.zeros_like(p).scatter(-1, index, 1.0)
    linear, up, down = (
        _times(r, e, pre.has_rows) for r, e in ((y, c), (p, (-2 * c).exp()), (p, (2 * c).exp()))
    )
    is_up = 0.5 * (1 + x)  # exactly 0 or 1; torch.where is slow on a CPU
    d = 2 * linear * x + torch.log(is_up * up + (1 - is_up) * down)
    return -(other * d).sum(-1) / x.shape[-1]


def units_redraw(pre: PreActivation, h: UnitFunction) -> Tensor:
    """``-1/n sum_i (1 - P_i) d_i`` for ``f = sum_j h(a_j)``, per row."""
    pre = _one_dense_term(pre)
    x, other = _states(pre)
    a = pre.tensor
    if not pre.weight.is_sign or pre.matrix.value.requires_grad:
        return _by_entries(a, _steps(pre), x, other, pre.has_rows, lambda t: h.value(t).sum(-1))
    one = torch.ones((), dtype=a.dtype, device=a.device)
    s = one if pre.scale is None else pre.scale
    up, down = h.difference(a, s, one), h.difference(a, s, -one)
    along = _times(other * x, pre.matrix.value.mT, pre.has_rows)
    central = (0.5 * (up + down) * along).sum(-1)
    rest = (0.5 * (up - down)).sum(-1) * other.sum(-1)
    return -(central + rest) / x.shape[-1]


def _one_dense_term(pre: PreActivation) -> Affine:
    """The head, which must read one layer: bits of two layers depend on each other."""
    if isinstance(pre, Affine):
        return pre
    raise ValueError(
        f"rao_blackwell=True: a head on {pre!r} reads more than one layer, or one without weights; "
        "it averages over redraws of the bits of one layer, bayes_sbn.affine(h, weight). Give the "
        'sites that it reads infer={"estimator": "psa"}.'
    )


def _states(pre: Affine) -> tuple[Tensor, Tensor]:
    """The states of the inputs and the probabilities of the others, constants."""
    x, rule = pre.inputs.open.detach(), pre.inputs.flip
    assert rule is not None
    return x, rule.probability_of_other(x, pre.inputs.site)


def _steps(pre: Affine) -> Tensor:
    """``c_ji = s_j w_ji``, (..., out, in); ±1 weights that are flipped are constants."""
    w = pre.matrix.value
    return w if pre.scale is None else pre.scale.unsqueeze(-1) * w


def _times(rows: Tensor, matrix: Tensor, has_rows: bool) -> Tensor:
    return rows @ matrix if has_rows else (rows.unsqueeze(-2) @ matrix).squeeze(-2)


def _by_entries(
    a: Tensor,
    c: Tensor,
    x: Tensor,
    other: Tensor,
    has_rows: bool,
    f: Callable[[Tensor], Tensor],
) -> Tensor:
    """The same with f evaluated at every flip: (k, *batch, out) to (k, *batch), k at a time."""
    value = f(a.unsqueeze(0)).squeeze(0)
    x, other = x.expand(*a.shape[:-1], x.shape[-1]), other.expand(*a.shape[:-1], x.shape[-1])
    size = max(1, ENTRIES_PER_BLOCK // max(1, a.numel()))

    def chunk(a: Tensor, c: Tensor, value: Tensor, start: int) -> Tensor:
        here = slice(start, start + size)
        step = c[..., here].movedim(-1, 0)  # (k, ..., out)
        if has_rows:
            step = step.unsqueeze(-2)
        step = step.reshape(len(step), *(1,) * (a.dim() + 1 - step.dim()), *step.shape[1:])
        flipped = a - 2 * step * x[..., here].movedim(-1, 0).unsqueeze(-1)
        return (other[..., here].movedim(-1, 0) * (value - f(flipped))).sum(0)

    total = torch.zeros_like(value)
    for start in range(0, x.shape[-1], size):
        part: Tensor = checkpoint(
            chunk, a, c, value, start, use_reentrant=False, preserve_rng_state=False
        )
        total = total + part
    return -total / x.shape[-1]
