"""Inputs that hurt sums of flips, and their definitions in NumPy and in decimal numbers."""

from decimal import Decimal, localcontext
from functools import cache

import numpy as np
import torch

from bayes_sbn.kernels.native import flips as native
from tests import oracle_noise

COMPILED = ("logistic", *native.LAWS)
# (places, rows, terms, columns): tails of rows, of blocks of 256 terms, of strips of columns
SIZES = [
    (1, 1, 1, 1),
    (2, 3, 5, 7),
    (1, 4, 256, 8),
    (3, 9, 257, 33),
    (1, 10, 600, 67),
    (1, 5, 3, 130),
]
EMPTY = [(0, 2, 3, 4), (2, 0, 3, 4), (2, 3, 0, 4), (2, 3, 4, 0)]


def arguments(size, *, shared=False, scaled=False, dtype=torch.float64, seed=0):
    """Random a, g, c, x, scale; the steps are shared by the batch or not."""
    places, rows, terms, columns = size
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x = torch.where(normal(places, rows, columns) < 0, -1.0, 1.0).double()
    scale = normal(places, rows) if scaled else torch.ones(places, rows, dtype=torch.float64)
    a, g = 2 * normal(places, rows, terms), normal(places, rows, terms)
    c = normal(1 if shared else places, terms, columns)
    return tuple(t.to(dtype) for t in (a, g, c, x, scale))


def literal(a, g, c, x, scale, noise):
    """Every flip evaluated by the oracle's cdf, and the sum of the absolute values of the terms."""
    a, g, c, x, scale = (t.double().numpy() for t in (a, g, c, x, scale))
    step = scale[:, :, None, None] * c[:, None]
    entry, sign = a[..., None], x[:, :, None]
    up = oracle_noise.cdf(noise, entry + step * (1 - sign))
    down = oracle_noise.cdf(noise, entry - step * (1 + sign))
    terms = g[..., None] * (up - down)
    return torch.tensor(terms.sum(-2)), torch.tensor(np.abs(terms).sum(-2))


@cache
def exact_logistic_flip(a: float, c: float, x: float) -> float:
    """``F(a | x = +1) - F(a | x = -1)`` in 110 digits."""
    with localcontext() as context:
        context.prec = 110

        def cdf(z: Decimal) -> Decimal:
            return 1 / (1 + (-z).exp())

        a_, c_, x_ = Decimal(a), Decimal(c), Decimal(x)
        return float(cdf(a_ + c_ * (1 - x_)) - cdf(a_ - c_ * (1 + x_)))
