r"""REBAR: the score function, less a relaxed cost that the noise of the draw explains.

A unit draws ``x = sign(a - Z)`` of noise Z with the law F, and ``r = tanh((a - Z) / 2 s tau)`` is
its relaxation by the same noise.  Any smooth ``k(r)`` is subtracted from the cost c, and its own
expectation is added again, differentiated through the noise:

    dE[c]/da = E[(c(x) - k(r')) d log q(x)/da] + dE[k(r)]/da - E[dk(r')/da],

where r' is the relaxation by noise drawn given the state, ``Z' = x F^{-1}(P(x) t)`` with a uniform
t, which depends on a in two ways.  Here t is what the draw has left of its own uniform, which is
uniform and independent of the state (:mod:`bayes_sbn.estimators.injected_noise`), so that Z' = Z
and r' = r: one evaluation of k serves all three terms, and

    dr/da - dr'/da = dr/da|_Z  F'(a) t / F'(Z),     0 <= F'(a) t / F'(Z) <= 1,

the bound for noises with log-concave density, as all of the package are.  REBAR's control is the
cost itself of the relaxed network, ``k(r) = eta c(r)``: the same network run at r, with every ±1
site that depends on it relaxed too, by its own uniforms and at the same temperature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bayes_sbn.affines import relaxed_mean_and_slope
from bayes_sbn.distributions import SignDistribution
from bayes_sbn.estimators.estimator import (
    Estimator,
    Rerun,
    Site,
    differentiated,
    register_estimator,
)
from bayes_sbn.estimators.injected_noise import (
    check_temperature,
    injected_noise,
    residual_uniform,
)
from bayes_sbn.estimators.running_costs import RunningCosts
from bayes_sbn.estimators.site_tensors import SiteTensors

DECAY = 0.9
"""The weight that running moments of costs keep at each step."""


@dataclass(frozen=True)
class Relaxation:
    """The relaxation of a draw by its own noise, all constants of the shape of the site.

    Args:
        injected: the noise Z.
        value: ``r``, a leaf that controls are differentiated in.
        slope: ``dr/da`` for given noise.
        kept: ``F'(a) t / F'(Z)``, the part of it that given noise has and conditional noise not.
        score: ``d log q(x) / da``.
    """

    injected: Tensor
    value: Tensor
    slope: Tensor
    kept: Tensor
    score: Tensor


def relax(site: Site, uniform: Tensor, temperature: float) -> Relaxation:
    """The relaxation of the draw of a site."""
    fn = site.fn
    assert site.value is not None
    with torch.no_grad():
        state, a = site.value.detach(), fn.argument
        injected = injected_noise(fn, uniform)
        value, slope = relaxed_mean_and_slope(a, (injected,), temperature * fn.noise.scale)
        left, probability = residual_uniform(fn, state, uniform)
        tiny = torch.finfo(value.dtype).tiny
        density = fn.noise.density(a)
        kept = (density * left / fn.noise.density(injected).clamp_min(tiny)).clamp(0, 1)
        score = state * density / probability.clamp_min(tiny)
    return Relaxation(injected, value.clone().requires_grad_(), slope, kept, score)


@register_estimator("rebar")
class Rebar(Estimator, torch.nn.Module):
    """Hard draw without gradient; ``log q`` weighed by the cost less that of a relaxed run.

    Unbiased: always, for any ``eta`` and temperature.  A learned ``eta`` is trained on the square
    of the estimate, whose expectation is its variance and a constant.
    Costs: two passes, and a backward pass through the second.

    Args:
        temperature: of the relaxation, in units of the noise's scale, positive.
        eta: how much of the relaxed cost is subtracted, a number, or ``"learned"``: one for each
            site, which starts at 1 and is trained in the same SVI step.
    """

    unbiased: ClassVar[bool | str] = True
    passes: ClassVar[int | str] = 2
    reference: ClassVar[str] = "Tucker et al. 2017"

    def __init__(self, *, temperature: float = 1.0, eta: float | str = 1.0) -> None:
        call = type(self).__name__
        is_number = isinstance(eta, (int, float)) and not isinstance(eta, bool)
        if eta != "learned" and not (is_number and math.isfinite(float(eta))):
            raise ValueError(f'{call}(eta={eta!r}): eta is a number, such as 1.0, or "learned".')
        torch.nn.Module.__init__(self)
        self.temperature = check_temperature(f"{call}(temperature={temperature!r})", temperature)
        self.eta = eta
        self.etas = SiteTensors(trained=True)
        """The learned numbers by site."""
        self.costs = RunningCosts(DECAY)
        """The moments of costs at earlier steps, where something is learned."""

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """The hard draw."""
        return site.fn.draw(uniform)

    def surrogate(self, site: Site, cost: Tensor, rerun: Rerun) -> Tensor | None:
        """``(c - k(r)) log q(x) + sum_i r_i kept_i dk/dr_i``, and the square that is learned by."""
        if not site.fn.mean_path().requires_grad:
            return None
        relaxation = relax(site, site.need_uniform(self.name), self.temperature)
        deviation = self.costs.deviation(site.name, cost) if self.is_learned else None
        control, slope = self.control(site, relaxation.value, deviation, rerun)
        carried = relaxation.kept * slope
        path = site.fn.relaxed_path((relaxation.injected,), self.temperature) * carried.detach()
        event = tuple(range(-site.fn.event_dim, 0))
        term = (cost - control.detach()) * site.log_prob() + (path.sum(event) if event else path)
        if deviation is None or not control.requires_grad:
            return term
        left = site.over_event((cost - control) / deviation)
        estimate = left * relaxation.score + relaxation.slope * carried / deviation
        # half its mean square; the term is summed over batch elements
        return term + estimate.square().mean() / (2 * term.numel())

    @property
    def is_learned(self) -> bool:
        """Whether the control has parameters."""
        return self.eta == "learned"

    def control(
        self, site: Site, relaxed: Tensor, deviation: Tensor | None, rerun: Rerun
    ) -> tuple[Tensor, Tensor]:
        """``k(r)`` per batch element and ``dk/dr``, in the graph of what is learned alone.

        Args:
            site: the site with its value.
            relaxed: ``r``.
            deviation: of the costs at earlier steps.
            rerun: runs what is downstream of the site again.
        """
        del deviation
        at_relaxed = rerun.relaxed({site.name: relaxed}, self._soften)
        slope = differentiated(at_relaxed, relaxed)
        eta = self._eta(site, slope)
        return eta * at_relaxed.detach(), eta * slope

    def _soften(self, law: SignDistribution, uniform: Tensor) -> Tensor:
        """The relaxed draw of a downstream site."""
        return law.relaxed_path((injected_noise(law, uniform),), self.temperature)

    def _eta(self, site: Site, like: Tensor) -> Tensor:
        if not isinstance(self.eta, str):
            return like.new_tensor(self.eta)
        if site.name not in self.etas:
            self.etas[site.name] = like.new_ones(())
        return self.etas[site.name]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(temperature={self.temperature!r}, eta={self.eta!r})"
