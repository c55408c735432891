r"""Entropies and divergences of ±1 variables as functions of their natural parameters.

With ``lam = logit(p) / 2`` and ``mu = 2p - 1 = tanh lam``,

    log P(x) = x lam - log(2 cosh lam),
    KL = sum mu (lam - lam0) - log(2 cosh lam) + log(2 cosh lam0),

where ``log(2 cosh lam) = lam - log p``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

CERTAIN = 400.0
"""|lam| from which on a variable is certain: 1 - |mu| and its entropy are below all numbers."""

MODERATE = 20.0
"""|lam| up to which log sigmoid(2 lam) - lam is exact to the last digits of lam, in float32."""


def largest(lam: Tensor) -> float:
    """The largest ``|lam|``; 0 of none."""
    if not lam.numel():
        return 0.0
    low, high = torch.aminmax(lam.detach())
    return float(torch.maximum(-low, high))


def finite(lam: Tensor) -> Tensor:
    """``lam``, where log 0 is the log of the smallest normal number."""
    limit = -0.5 * math.log(torch.finfo(lam.dtype).tiny)
    return torch.nan_to_num(lam, nan=math.nan, posinf=limit, neginf=-limit)


def log_two_cosh(lam: Tensor) -> Tensor:
    """``log(2 cosh lam) = |lam| + log(1 + exp(-2 |lam|))``."""
    size = lam.abs()
    if not size.requires_grad:
        return torch.nn.functional.softplus(size.mul(-2)).add_(size)
    return size + torch.nn.functional.softplus(-2 * size)


def expected_log_prob(mean: Tensor, lam: Tensor) -> Tensor:
    """``E_q log p(x)`` for the mean of q and the natural parameter ``lam`` of p.

    ``log p(x) = x lam - log(2 cosh lam)``.  Where p is certain, the state that it excludes counts
    only if q has it.
    """
    if largest(lam) < math.inf:
        return mean * lam - log_two_cosh(lam)
    up, down = 0.5 * (1 + mean), 0.5 * (1 - mean)
    log_up, log_down = (torch.nn.functional.logsigmoid(2 * x * lam) for x in (1, -1))
    return torch.where(up > 0, up * log_up, 0.0) + torch.where(down > 0, down * log_down, 0.0)


def mean_ratio(lam: Tensor, lam0: Tensor) -> Tensor:
    """``E_q[x / p0(x)] / 2``, the derivative of ``E_q log p0`` in the mean of p0."""
    tiny = torch.finfo(lam.dtype).tiny
    up = torch.sigmoid(2 * lam) / torch.sigmoid(2 * lam0).clamp_min(tiny)
    down = torch.sigmoid(-2 * lam) / torch.sigmoid(-2 * lam0).clamp_min(tiny)
    return 0.5 * (up - down)


def summed_kl(lam: Tensor, probs: Tensor, lam0: float, largest: float) -> Tensor:
    """The KL summed over all variables, from sums that pass over them once.

    ``sum mu (lam - lam0) - log 2 cosh lam + log 2 cosh lam0`` with ``mu = 2p - 1`` and
    ``log 2 cosh lam = lam - log p``.
    """
    number = lam.numel()
    total = _sum_log(probs, largest) + 2 * (probs * lam).sum().sub_(lam.sum())
    if lam0:
        total = total - lam0 * (2 * probs.sum() - number)
    return total + number * float(log_two_cosh(torch.tensor(lam0, dtype=torch.float64)))


def _sum_log(probs: Tensor, largest: float) -> Tensor:
    """``sum log p``; products of as many p as cannot underflow share one logarithm."""
    flat = probs.reshape(-1)
    room = -0.9 * math.log(torch.finfo(flat.dtype).tiny)
    factors = min(8, max(1, int(room / (2 * largest + math.log(2)))))  # p >= exp(-2 largest) / 2
    size = flat.numel() // factors
    product = flat[:size].clone()
    for k in range(1, factors):
        product.mul_(flat[k * size : (k + 1) * size])
    return product.log_().sum() + flat[factors * size :].log().sum()
