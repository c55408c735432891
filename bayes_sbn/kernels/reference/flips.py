"""Definition of the sums of exact flips of stochastic units: in blocks of rows, flip by flip.

A flip is :meth:`bayes_sbn.noise.Noise.flip_difference`; for logistic noise that is a product in
which nothing cancels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_sbn.noise import get_noise

FLIPS_PER_BLOCK = 1 << 22
"""How many flips are evaluated at a time: 32 MB in float64."""


def flip_sums(a: Tensor, g: Tensor, c: Tensor, x: Tensor, scale: Tensor, noise: str) -> Tensor:
    """``sum_k g_rk [F(a_rk | x_ri = +1) - F(a_rk | x_ri = -1)]``, of the shape of x.

    Args:
        a: pre-activations, ``(batch, rows, terms)``, with the terms ``s_r c_ki x_ri``.
        g: what their differences are weighted with, of the shape of ``a``.
        c: ``(batch, terms, columns)`` or ``(1, terms, columns)``.
        x: ±1 values, ``(batch, rows, columns)``.
        scale: s, ``(batch, rows)``.
        noise: the name of the law, whose standard member has the cdf F.
    """
    law = get_noise(noise)
    sums = torch.zeros_like(x, memory_format=torch.contiguous_format)
    flips_per_row = max(1, x.shape[0] * c.shape[-2] * c.shape[-1])
    size = max(1, FLIPS_PER_BLOCK // flips_per_row)
    for start in range(0, x.shape[-2], size):
        rows = slice(start, start + size)
        step = scale[:, rows, None, None] * c.unsqueeze(-3)
        flips = law.flip_difference(a[:, rows].unsqueeze(-1), step, x[:, rows].unsqueeze(-2))
        sums[:, rows] = (g[:, rows].unsqueeze(-1) * flips).sum(-2)
    return sums
