r"""The divergence of a mixture of ±1 laws, bounded by pairwise overlaps.

For ``q = sum_i pi_i q_i`` (Kolchinsky & Tracey 2017, the Bhattacharyya bound on the entropy),

    KL(q || p) <= sum_i pi_i KL(q_i || p) + sum_i pi_i ln sum_j pi_j BC(q_i, q_j),

with the Bhattacharyya coefficient ``BC(q_i, q_j) = sum_w sqrt(q_i(w) q_j(w))``.  For independent
±1 variables of natural parameters lam it is a product, and with ``m = (lam_i + lam_j) / 2``

    ln BC = sum_k ln(2 cosh m) - ln(2 cosh lam_i) / 2 - ln(2 cosh lam_j) / 2,
    d ln BC / dmu_i = sinh(m - lam_i) cosh(lam_i) / 2 cosh(m).

The second sum is 0 where all components agree and ``-H(pi)``, which is ``-ln C`` of C equal
weights, where they are disjoint; both are exact, and it is never positive.

Reference:
    Kolchinsky, Tracey. Estimating mixture entropy with pairwise distances. Entropy 19(7), 2017.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.distributions.sign_divergence import log_two_cosh


class _LogOverlap(torch.autograd.Function):
    """``ln BC`` of all pairs of components of one site, differentiated in the means."""

    @staticmethod
    def forward(ctx: Any, natural: Tensor) -> Tensor:
        ctx.save_for_backward(natural)
        sizes = log_two_cosh(natural).flatten(1).sum(1)
        number = len(natural)
        result = natural.new_zeros(number, number)
        for i, j in itertools.combinations(range(number), 2):
            middle = log_two_cosh((natural[i] + natural[j]) / 2).sum()
            result[i, j] = result[j, i] = (middle - (sizes[i] + sizes[j]) / 2).clamp_max(0)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (natural,) = ctx.saved_tensors
        pairs = gradients[0] + gradients[0].T
        sizes = log_two_cosh(natural)
        slopes = torch.zeros_like(natural)
        for i, j in itertools.combinations(range(len(natural)), 2):
            half = (natural[j] - natural[i]) / 2  # m - lam_i
            # in logs, as weights of next to no overlap meet slopes without bound
            size = half.abs()
            log_sinh = size + torch.log1p(-torch.exp(-2 * size)) - math.log(2)
            common = log_sinh - log_two_cosh(natural[i] + half) + pairs[i, j].abs().log()
            toward = half if pairs[i, j] >= 0 else -half
            slopes[i] += torch.copysign(torch.exp(common + sizes[i]), toward) / 2
            slopes[j] -= torch.copysign(torch.exp(common + sizes[j]), toward) / 2
        return slopes


def log_overlaps(naturals: Sequence[Tensor], *, gradient: str = "natural") -> Tensor:
    """``ln BC(q_i, q_j)`` of all pairs of components, (C, C).

    Args:
        naturals: the natural parameters of every site, each (C, *shape).
        gradient: ``"natural"``: differentiated in the means; ``"euclidean"``: in ``lam``.
    """
    if gradient == "natural":
        parts: list[Tensor] = [_LogOverlap.apply(n) for n in naturals]  # type: ignore[no-untyped-call]
        return torch.stack(parts).sum(0)
    total = []
    for natural in naturals:
        flat = natural.flatten(1)
        middle = torch.stack([log_two_cosh((flat + row) / 2).sum(1) for row in flat])
        sizes = log_two_cosh(flat).sum(1)
        total.append(middle - (sizes + sizes[:, None]) / 2)
    return torch.stack(total).sum(0)


def overlap_correction(log_weights: Tensor, overlaps: Tensor) -> Tensor:
    """``sum_i pi_i ln sum_j pi_j BC_ij``, between ``-H(pi)`` and 0."""
    return (log_weights.exp() * torch.logsumexp(log_weights + overlaps, 1)).sum()
