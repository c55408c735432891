r"""The Jacobian of exact flips of the inputs and the weights of a dense pre-activation.

For ``a_j = s_j sum_i w_ji x_i + b_j``, a unit function h and the incoming gradient ``g_j``, the
straight-through derivative ``sum_j g_j h'(a_j) s_j w_ji`` is replaced by half the exact difference

    1/2 sum_j g_j [h(a_j | x_i = +1) - h(a_j | x_i = -1)],     and in the same way for w_ji.

**±1 weights on ±1 inputs: one matrix product.**  A flip of ``w_ji x_i = u`` in {-1, +1} moves a_j
by ``-2 s_j u``, so the difference takes two values a unit.  With ``D(u) = h.difference(a, s, u)``,
``M = (D(1) + D(-1)) / 2`` and ``N = (D(1) - D(-1)) / 2``,

    h(a_j | x_i = +1) - h(a_j | x_i = -1) = w_ji M_j + x_i N_j,
    h(a_j | w_ji = +1) - h(a_j | w_ji = -1) = x_i M_j + w_ji N_j:

the products that back-propagation needs, plus a rank-one term.

**±1 weights on real inputs.**  Exactly, entry by entry; or by two terms of Taylor's series,
``D_1 - w * D_2`` with ``D_k = (g h^(k)(a) (2 s)^k / k!)^T x^k``: two matrix products, whose
remainder is at most ``sum_n |g_nj| max|h'''| |2 s_j x_ni|^3 / 6``.

**Real weights on ±1 inputs.**  Exactly, entry by entry.

Entry by entry is one fused sum for the mean of a unit (:mod:`bayes_sbn.affines.fused_flips`), and
blocks of rows for other functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayes_sbn.affines.function import UnitFunction
from bayes_sbn.affines.fused_flips import fused_input_flips, fused_weight_flips
from bayes_sbn.noise_law import product

if TYPE_CHECKING:
    from bayes_sbn.affines.dense import Affine
    from bayes_sbn.affines.pre_activation import Term

ENTRIES_PER_BLOCK = 1 << 22
"""How many (row, unit, input) entries an exact flip evaluates at a time: 32 MB in float64."""


def flip_inputs(
    pre: Affine, h: UnitFunction, g: Tensor, values: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """``1/2 sum_j g_j [h(a_j | x_i = +1) - h(a_j | x_i = -1)]``, of the shape of x.

    Args:
        pre: the pre-activation.
        h: the unit function.
        g: the incoming gradient.
        values: those of :func:`two_values`, where they are there already.
    """
    x, w = pre.inputs.open.detach(), pre.matrix.open.detach()
    if not pre.tensor.numel():
        return torch.zeros_like(x)
    if pre.weight.is_sign:
        central, rest = two_values(pre, h, g) if values is None else values
        full = torch.addcmul(_times_matrix(pre, central, w), x, rest.sum(-1, keepdim=True))
    elif (sums := fused_input_flips(pre, h, g, row_inputs(pre), w)) is not None:
        full = sums
    else:
        blocks = [
            (gain.unsqueeze(-1) * part.difference(a.unsqueeze(-1), c * w_block, x_block)).sum(-2)
            for part, a, gain, c, w_block, x_block in _blocks(pre, h, 0.5 * g)
        ]
        full = torch.cat(blocks, -2) if pre.has_rows else blocks[0]
    return full.sum_to_size(x.shape)


def flip_weights(
    pre: Affine, h: UnitFunction, g: Tensor, values: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """``1/2 sum_n g_nj [h(a_nj | w_ji = +1) - h(a_nj | w_ji = -1)]``, of the shape of W.

    Arguments as in :func:`flip_inputs`.
    """
    x, w = row_inputs(pre), pre.matrix.open.detach()
    if not pre.tensor.numel():
        return torch.zeros_like(w)
    if pre.inputs.is_sign:
        central, rest = two_values(pre, h, g) if values is None else values
        full = torch.addcmul(_outer(pre, central, x), w, _sum_rows(pre, rest).unsqueeze(-1))
    elif terms := series(pre, h, g):
        first, second = terms
        full = torch.addcmul(_outer(pre, first, x), w, _outer(pre, second, x * x), value=-1)
    elif (sums := fused_weight_flips(pre, h, g, x, w)) is not None:
        full = sums
    else:
        full = torch.zeros((), dtype=w.dtype, device=w.device)
        for part, a, gain, c, w_block, x_block in _blocks(pre, h, 0.5 * g):
            entries = gain.unsqueeze(-1) * part.difference(a.unsqueeze(-1), c * x_block, w_block)
            full = full + (entries.sum(-3) if pre.has_rows else entries)
    return full.sum_to_size(w.shape)


def row_inputs(pre: Affine) -> Tensor:
    """The inputs as constants, with the rows of ``a``: a bias may have rows that x has not."""
    x = pre.inputs.open.detach()
    return x.expand(*x.shape[:-2], pre.shape[-2], x.shape[-1]) if pre.has_rows else x


def series(pre: Term, h: UnitFunction, g: Tensor) -> tuple[Tensor, Tensor] | None:
    """Half of ``g h' 2s`` and of ``g h'' (2s)^2 / 2``, if the rule asks for them and h has them."""
    rule = pre.weight.flip
    if rule is None or rule.real_inputs != "series":
        return None
    terms = h.half_derivatives(pre.tensor.detach())
    if terms is None:
        return None
    s = pre.unit_scale
    first, second = terms
    return (g * first).mul_(2 * s), product(second, g).mul_(2 * s * s)


def two_values(pre: Term, h: UnitFunction, g: Tensor) -> tuple[Tensor, Tensor]:
    """``g M / 2`` and ``g N / 2``: of the mean and half the difference of a flip's two values."""
    central, rest = h.half_flip_pair(pre.tensor.detach(), pre.unit_scale)
    return product(central, g), product(rest, g)


def _blocks(
    pre: Affine, h: UnitFunction, g: Tensor
) -> Iterator[tuple[UnitFunction, Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """Blocks of rows: the function, a, g, s (..., out, 1), W (..., 1, out, in), x (..., 1, in)."""
    a, s = pre.tensor.detach(), pre.unit_scale
    x, w = row_inputs(pre), pre.matrix.open.detach()
    if not pre.has_rows:
        yield h.for_flips(lambda t: t.unsqueeze(-1)), a, g, s.unsqueeze(-1), w, x.unsqueeze(-2)
        return
    rows = a.shape[-2]
    size = max(1, ENTRIES_PER_BLOCK // max(1, a.numel() // max(1, rows) * x.shape[-1]))
    for start in range(0, rows, size):
        block = slice(start, start + size)
        yield (
            h.for_flips(partial(_flip_axis, rows=block)),
            a[..., block, :],
            g.narrow(-2, start, min(size, rows - start)),  # vmap refuses a slice of all rows
            s.unsqueeze(-1),
            w.unsqueeze(-3),
            x[..., block, :].unsqueeze(-2),
        )


def _flip_axis(tensor: Tensor, rows: slice) -> Tensor:
    """The rows of a tensor of the shape of ``a``, with a trailing axis for the flips."""
    return tensor[..., rows, :].unsqueeze(-1)


def _times_matrix(pre: Affine, rows: Tensor, w: Tensor) -> Tensor:
    """``sum_j rows_nj w_ji``, (..., rows, in) or (..., in)."""
    if pre.has_rows:
        return torch.matmul(rows, w)
    return torch.matmul(rows.unsqueeze(-2), w).squeeze(-2)


def _outer(pre: Affine, rows: Tensor, x: Tensor) -> Tensor:
    """``sum_n rows_nj x_ni``, (..., out, in)."""
    return torch.matmul(rows.mT, x) if pre.has_rows else rows.unsqueeze(-1) * x


def _sum_rows(pre: Affine, rows: Tensor) -> Tensor:
    return rows.sum(-2) if pre.has_rows else rows
