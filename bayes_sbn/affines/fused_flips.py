r"""Exact flips of the mean of stochastic units, summed by a kernel that holds no entry of its own.

For real weights on ±1 inputs, and for ±1 weights on real inputs, the step of a flip differs from
entry to entry and no matrix product gives the sum.  :func:`bayes_sbn.kernels.flips.flip_sums`
evaluates every flip and adds it up at once.  Of logistic noise a flip is one division,

    F(a | x = +1) - F(a | x = -1) = sign(c) F'(a) / (1 / (e^{2|c|} - 1) + F(-sign(c x) a)),

where ``a`` contains ``c x`` with ``c = s w``.  It equals ``2 F'(a) t / (1 - x t tau)`` with
``t = tanh c``, ``tau = tanh(a / 2)``, which cancels where ``x t tau`` is near 1; here both terms of
the denominator are positive.  In a flip of ``w`` the input is the step: ``c = s x``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from bayes_sbn.affines.function import MeanSign, UnitFunction
from bayes_sbn.kernels.flips import flip_sums
from bayes_sbn.noise import NOISES, Noise

if TYPE_CHECKING:
    from bayes_sbn.affines.dense import Affine


def fused_input_flips(
    pre: Affine, h: UnitFunction, g: Tensor, x: Tensor, w: Tensor
) -> Tensor | None:
    """``1/2 sum_j g_j [h(a_j | x_i = +1) - h(a_j | x_i = -1)]``, (..., rows, in).

    None for functions that the kernel does not know.
    """
    if (noise := _noise(h)) is None:
        return None
    a = pre.tensor.detach() / noise.scale
    s = pre.unit_scale
    if pre.has_rows and s.dim() > 1:  # one for each particle, with an axis of size 1 for the rows
        s = s.squeeze(-2)
    c = (s / noise.scale).unsqueeze(-1) * w
    if pre.has_rows:
        return flip_sums(a, g, c, x, noise=noise.name)
    sums = flip_sums(a.unsqueeze(-2), g.unsqueeze(-2), c, x.unsqueeze(-2), noise=noise.name)
    return sums.squeeze(-2)


def fused_weight_flips(
    pre: Affine, h: UnitFunction, g: Tensor, x: Tensor, w: Tensor
) -> Tensor | None:
    """``1/2 sum_n g_nj [h(a_nj | w_ji = +1) - h(a_nj | w_ji = -1)]``, (..., out, in).

    None for functions that the kernel does not know.
    """
    if (noise := _noise(h)) is None:
        return None
    a, c = pre.tensor.detach() / noise.scale, x / noise.scale
    if not pre.has_rows:
        a, g, c = a.unsqueeze(-2), g.unsqueeze(-2), c.unsqueeze(-2)
    s = pre.unit_scale
    if s.numel() == 1:  # one scale for all units: a part of the step
        return flip_sums(a.mT, g.mT, s * c, w, noise=noise.name)
    if pre.has_rows and s.dim() > 1:  # one for each particle, as above
        s = s.squeeze(-2)
    return flip_sums(a.mT, g.mT, c, w, scale=s, noise=noise.name)


def _noise(h: UnitFunction) -> Noise | None:
    """The noise of which ``h = 2 F - 1`` is the mean, if it is one of the known laws."""
    if isinstance(h, MeanSign) and type(h.noise) is NOISES.get(h.noise.name):
        return h.noise
    return None
