r"""Straight-through (ST): a hard draw whose backward is that of its mean.

Estimates

    grad E[f(x)],   P(x_j = +1) = F(a_j),

by drawing ``x = sign(a - Z)`` and back-propagating through ``dx_j/da_j := dE[x_j]/da_j = 2F'(a_j)``
with the density of the very noise that was injected; for a ±1 weight with mean mu,
``dx/dmu = 1``.  It is exact where the rest of the loss is multilinear in the bits of one layer:
the exact derivative ``F'(a) [f(+1) - f(-1)]`` is replaced by ``F'(a) 2 df/dx``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from bayes_sbn.distributions import SignDistribution
from bayes_sbn.estimators.estimator import Estimator, Site, register_estimator


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mean: Tensor, hard: Tensor) -> Tensor:
        del ctx, mean
        return hard.view_as(hard)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        del ctx
        return gradients[0], None


def hard_with_path(hard: Tensor, path: Tensor) -> Tensor:
    """The values of ``hard`` with the backward of ``path``, a tensor of the same shape."""
    if not path.requires_grad:
        return hard
    value: Tensor = _StraightThrough.apply(path, hard)  # type: ignore[no-untyped-call]
    return value


def straight_through(fn: SignDistribution, uniform: Tensor) -> Tensor:
    """The draw ``+1 where uniform < P(+1) else -1`` with the backward of the mean.

    Args:
        fn: the law of a ±1 site.
        uniform: of the shape of a draw.
    """
    return hard_with_path(fn.draw(uniform), fn.mean_path())


@register_estimator("st")
class StraightThrough(Estimator):
    """Hard draw, backward of the mean, derivatives in the children.

    Unbiased: one layer of bits under a loss that is multilinear in them.  Biased elsewhere.
    Costs: one forward and one backward pass.
    """

    unbiased: ClassVar[bool | str] = "one layer, loss multilinear in its bits"
    reference: ClassVar[str] = "Bengio et al. 2013; Shekhovtsov & Yanush 2021"

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """See :func:`straight_through`."""
        return straight_through(site.fn, uniform)
