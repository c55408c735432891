r"""The terms that one run adds to the loss, and the surrogate whose gradient is the estimate.

    loss = - sum log p(y | .) + T KL(weights) + sum (log q - log p) of other latent sites,

the weights ±1 or real.
Path estimators differentiate the loss itself; each other estimator adds a surrogate of its site,
which sees the cost downstream of it per batch element.
"""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions.util import scale_and_mask
from pyro.infer.util import MultiFrameTensor, get_plate_stacks
from torch import Tensor
from torch.distributions import kl_divergence

from bayes_sbn.distributions import ConditionalSign, SignBernoulli, SignDistribution
from bayes_sbn.elbo_joint import joint_sites
from bayes_sbn.elbo_run import Downstream, Run
from bayes_sbn.elbo_sites import (
    add_later_divergences,
    announce_parameters,
    data_plates,
    is_analytic,
    is_real_weight,
    latent_terms,
    need_model_site,
    particle_dim,
    real_divergence,
    register_parameters,
)
from bayes_sbn.estimators import Site


class Particle:
    """The terms of the loss that one run contributes.

    Args:
        run: the execution.
        gradients: whether parameters and surrogates are wanted, or the value alone.
        temperature: what one nat of the ±1 weights' KL costs; None leaves it out.  Of real weights
            it is that of the run.
        particles: their number, where the terms of each are wanted apart.
    """

    def __init__(
        self,
        run: Run,
        *,
        gradients: bool,
        temperature: float | None,
        particles: int | None = None,
    ) -> None:
        self.particles = particles
        self.run, self.gradients = run, gradients
        self.temperature = temperature
        self.stacks = get_plate_stacks(run.model_trace)
        self.data_plates = data_plates(run.model_trace.nodes)
        self.cost = MultiFrameTensor()
        like = next(iter(run.model_trace.nodes[name]["log_prob"] for name in run.observed))
        self.loss: Tensor = torch.zeros((), dtype=like.dtype, device=like.device)
        self.surrogate = self.loss

    def terms(self) -> tuple[Tensor, Tensor]:
        """The loss, a constant, and the surrogate whose gradient is the estimate."""
        model_nodes, guide_nodes = self.run.model_trace.nodes, self.run.guide_trace.nodes
        self._add_observed()
        latents = [name for name, site in guide_nodes.items() if site["type"] == "sample"]
        for name in latents:
            self._add_latent(name, need_model_site(name, model_nodes), guide_nodes[name])
        self._add_joint()
        if self.gradients:
            register_parameters(model_nodes)
            register_parameters(guide_nodes)
            for name in latents:
                self._add_surrogate(name, guide_nodes[name])
            # after the surrogates: estimators make parameters when they meet a site
            announce_parameters(self.run.handler.estimators, "estimators")
        return self.loss, self.surrogate

    def _add_observed(self) -> None:
        """The log-likelihood of the data."""
        for name in self.run.observed:
            self._add(-self.run.model_trace.nodes[name]["log_prob"], self.stacks[name])

    def _sum(self, term: Tensor) -> Tensor:
        """The sum of a term, or its sums by particle, whose dim is the leftmost."""
        if self.particles is None:
            return term.sum()
        return term.reshape(self.particles, -1).sum(1)

    def _add(self, term: Tensor, stack: Any = None) -> None:
        """Add a term to the loss; with a stack, also to the cost that scores are weighed by."""
        total = self._sum(term)
        self.loss = self.loss + total.detach()
        self.surrogate = self.surrogate + total
        if stack is not None:
            self.cost.add((stack, term.detach()))

    def _add_latent(self, name: str, model_site: Any, guide_site: Any) -> None:
        q, p = guide_site["fn"], model_site["fn"]
        if isinstance(q, SignBernoulli) and isinstance(p, SignBernoulli):
            if self.temperature is not None and not isinstance(q, ConditionalSign):
                kl = scale_and_mask(kl_divergence(q, p), guide_site["scale"], guide_site["mask"])
                self._add(self.temperature * kl)
            return
        if is_analytic(model_site, guide_site):
            return
        factor = 1.0
        if is_real_weight(guide_site, self.data_plates):
            factor = self.run.temperature
            kl = real_divergence(model_site, guide_site)
            if kl is not None:
                self._add(factor * kl)  # costs of sites above it have it: _cost_of
                return
        log_p, log_q, entropy_term = latent_terms(model_site, guide_site)
        log_p, log_q, entropy_term = factor * log_p, factor * log_q, factor * entropy_term
        # the value has log q; its gradient only if the draw is a path
        self.loss = self.loss - self._sum((log_p - log_q).detach())
        self.surrogate = self.surrogate - self._sum(log_p)
        if isinstance(entropy_term, Tensor):
            self.surrogate = self.surrogate + self._sum(entropy_term)
        self.cost.add((self.stacks[name], (log_q - log_p).detach()))

    def _add_joint(self) -> None:
        """What sites have together: one divergence, and the law of their auxiliary variable."""
        for sites in joint_sites(self.run.model_trace, self.run.guide_trace):
            if self.temperature is not None:
                self._add(self.temperature * sites.divergence())
            cost = self.cost.sum_to(sites.law.frames)
            term = sites.law.surrogate(cost) if self.gradients else None
            if term is not None:
                self.surrogate = self.surrogate + self._sum(term)

    def _add_surrogate(self, name: str, site: Any) -> None:
        estimator = site["infer"].get("drawn_by")
        stack = site["cond_indep_stack"]
        if estimator is None:
            if not isinstance(site["fn"], SignDistribution) and not site["fn"].has_rsample:
                score = site["fn"].score_parts(site["value"]).score_function
                term = self._cost_of(name, stack) * scale_and_mask(score, mask=site["mask"])
                self.surrogate = self.surrogate + self._sum(term)
            return
        if estimator.is_path:
            return
        cost = self._cost_of(name, stack)
        term = estimator.surrogate(
            Site(
                name,
                site["fn"],
                site["value"],
                uniform=self.run.uniforms.get(name),
                particle_dim=particle_dim(stack),
            ),
            cost,
            Downstream(self.run, name, stack),
        )
        if term is not None:
            self.surrogate = self.surrogate + self._sum(scale_and_mask(term, mask=site["mask"]))

    def _cost_of(self, name: str, stack: Any) -> Tensor:
        """The cost that a site may have a hand in, per element of its plates."""
        cost: Tensor = self.cost.sum_to(stack)
        later = MultiFrameTensor()
        model_nodes, guide_nodes = self.run.model_trace.nodes, self.run.guide_trace.nodes
        add_later_divergences(later, name, model_nodes, guide_nodes, self.run.temperature)
        return cost + later.sum_to(stack).detach() if later else cost
