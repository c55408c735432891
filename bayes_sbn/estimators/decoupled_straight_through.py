r"""Decoupled straight-through: one temperature for the draw, another for its slope.

Forward, the injected noise is scaled by a temperature tau_f of its own; backward, the slope is that
of a relaxation of temperature tau_b:

    x = sign(a - tau_f Z),     so that  P(x = +1) = F(a / tau_f),
    slope "gumbel":  dx/da := d/da tanh((a - tau_f Z) / 2 s tau_b),
    slope "mean":    dx/da := d/da [2 F(a / tau_b) - 1].

The first is straight-through Gumbel, the second straight-through with the mean of another noise.  A
±1 weight of natural parameter lam has ``a = 2 lam`` and logistic noise.  Any ``tau_f`` other than 1
draws from **another model** than the one that is scored and predicted with.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import ClassVar

import torch
from torch import Tensor

from bayes_sbn.distributions import NoisySign, SignDistribution
from bayes_sbn.estimators.estimator import (
    Estimator,
    Site,
    check_uniforms,
    register_estimator,
)
from bayes_sbn.estimators.injected_noise import (
    check_temperature,
    injected_noise,
)
from bayes_sbn.signs import hard_with_path


@register_estimator("decoupled")
class DecoupledStraightThrough(Estimator):
    """Hard draw at one temperature, slope of a relaxation at another, derivatives in the children.

    Biased: as straight-through Gumbel is.  With ``slope="mean"`` and both temperatures 1 it is
    straight-through.
    Costs: one forward and one backward pass.

    Args:
        forward: temperature of the noise that is drawn.  Other than 1 it changes the model, and
            warns.
        backward: temperature of the slope, positive.
        slope: ``"gumbel"``, that of the relaxed draw of the same noise, or ``"mean"``, that of the
            mean.
    """

    unbiased: ClassVar[bool | str] = False
    reference: ClassVar[str] = "Shah et al. 2024"

    def __init__(
        self, *, forward: float = 1.0, backward: float = 1.0, slope: str = "gumbel"
    ) -> None:
        name = type(self).__name__
        self.forward = check_temperature(f"{name}(forward={forward!r})", forward)
        self.backward = check_temperature(f"{name}(backward={backward!r})", backward)
        if slope not in ("gumbel", "mean"):
            raise ValueError(f'{name}(slope={slope!r}): the slope is "gumbel" or "mean".')
        self.slope = slope
        if self.forward != 1:
            warnings.warn(
                f"{name}(forward={forward!r}): the draws are those of a model whose noise is "
                f"{forward!r} times that of the sites, while the KL, enumeration and predictions "
                "keep the sites' own. Leave forward at 1, or give the noise that scale, as in "
                "NoisySign(affine, noise=bayes_sbn.noise.Logistic(scale=...)).",
                stacklevel=2,
            )

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """The hard draw at one temperature, with the slope at the other."""
        fn = site.fn
        if self.slope == "mean":
            return hard_with_path(self._hard(fn, uniform), self._mean_path(fn, uniform))
        check_uniforms(self.name, site, uniform, "the slope of its relaxation")
        injected = self.forward * injected_noise(fn, uniform)
        return hard_with_path(self._hard(fn, uniform), fn.relaxed_path((injected,), self.backward))

    def _hard(self, fn: SignDistribution, uniform: Tensor) -> Tensor:
        if self.forward == 1:
            return fn.draw(uniform)
        with torch.no_grad():
            probability = fn.noise.cdf(fn.argument / self.forward)
            return torch.where(uniform < probability, 1.0, -1.0).to(probability.dtype)

    def _mean_path(self, fn: SignDistribution, uniform: Tensor) -> Tensor:
        if isinstance(fn, NoisySign):
            noise = dataclasses.replace(fn.noise, scale=fn.noise.scale * self.backward)
            return NoisySign(fn.affine, noise).mean_path()
        # logistic noise, whose mean is its relaxation without noise
        return fn.relaxed_path((torch.zeros_like(uniform),), self.backward)

    def __repr__(self) -> str:
        return (
            f"DecoupledStraightThrough(forward={self.forward!r}, backward={self.backward!r}, "
            f"slope={self.slope!r})"
        )
