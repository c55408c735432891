r"""Straight-through (ST): a hard draw whose backward is that of its mean.

Estimates

    grad E[f(x)],   P(x_j = +1) = F(a_j),

by drawing ``x = sign(a - Z)`` and back-propagating through ``dx_j/da_j := dE[x_j]/da_j = 2F'(a_j)``
with the density of the very noise that was injected; for a ±1 weight with mean mu,
``dx/dmu = 1``.  It is exact where the rest of the loss is multilinear in the bits of one layer:
the exact derivative ``F'(a) [f(+1) - f(-1)]`` is replaced by ``F'(a) 2 df/dx``.

Two variants are common, and biased even there: a *proxy*, the density of a noise that was not
injected, and *deterministic* straight-through, which draws the more probable state, so that the
expectation over what is downstream is replaced by one value.
"""

from __future__ import annotations

import warnings
from typing import ClassVar

import torch
from torch import Tensor

from bayes_sbn.distributions import NoisySign, SignDistribution
from bayes_sbn.estimators.estimator import Estimator, Site, register_estimator
from bayes_sbn.noise import Noise, get_noise


def straight_through(fn: SignDistribution, uniform: Tensor) -> Tensor:
    """The draw ``+1 where uniform < P(+1) else -1`` with the backward of the mean.

    Args:
        fn: the law of a ±1 site.
        uniform: of the shape of a draw.
    """
    return fn.with_path(fn.draw(uniform))


@register_estimator("st")
class StraightThrough(Estimator):
    """Hard draw, backward of the mean, derivatives in the children.

    Unbiased: one layer of bits under a loss that is multilinear in them.  Biased elsewhere, and
    with either option everywhere.
    Costs: one forward and one backward pass.

    Args:
        proxy: a law of noise whose density takes the place of the injected one's in the backward
            of units, by name or as an object; warns.  ±1 weights have no noise and ignore it.
        deterministic: draw the more probable state (-1 where both are equally probable) in place
            of a random one; the backward stays.
    """

    unbiased: ClassVar[bool | str] = "one layer, loss multilinear in its bits"
    reference: ClassVar[str] = "Bengio et al. 2013; Shekhovtsov & Yanush 2021"

    def __init__(self, *, proxy: str | Noise | None = None, deterministic: bool = False) -> None:
        self.proxy = None if proxy is None else get_noise(proxy)
        self.deterministic = deterministic
        if self.proxy is not None:
            warnings.warn(
                f"StraightThrough(proxy={proxy!r}): the backward uses the density of "
                f"{self.proxy.name} noise whatever noise is injected, so gradients are biased even "
                "where straight-through is exact, and may have the wrong sign. Leave proxy out, "
                "or inject that noise.",
                stacklevel=2,
            )

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """See :func:`straight_through`."""
        fn = site.fn
        if self.deterministic:
            uniform = torch.full_like(uniform, 0.5)
        if self.proxy is None or not isinstance(fn, NoisySign):
            return straight_through(fn, uniform)
        return NoisySign(fn.affine, self.proxy).with_path(fn.draw(uniform))

    def __repr__(self) -> str:
        return f"StraightThrough(proxy={self.proxy!r}, deterministic={self.deterministic!r})"
