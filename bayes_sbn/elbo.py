r"""The evidence lower bound for stochastic binary networks, differentiated by estimators.

    -ELBO_T = - E_q [ sum_n log p(y_n | x_n, states, weights) ] + T KL(q(weights) || p(weights)).

Three things make it lean: the KL of ±1 weights is analytic; activations follow their own
conditional in the guide, ``q(h | w) = p(h | w)``, so that their KL vanishes pointwise and is
skipped; and a site is scored only where its estimator asks for it.  Any other latent site keeps
the Monte Carlo terms of Pyro's ``Trace_ELBO``.

At T = 1 this is the bound of the stock ELBOs.  Its value is E log p(y | states, weights), which
lies below E_w log E_h p(y | h, w), which lies below log E p(y | h, w).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer import ELBO
from pyro.infer.util import MultiFrameTensor, get_plate_stacks, is_validation_enabled, torch_item
from pyro.poutine.util import prune_subsample_sites
from pyro.util import check_model_guide_match, check_site_shape, warn_if_nan
from torch import Tensor
from torch.distributions import kl_divergence

from bayes_sbn.distributions import NoisySign, SignBernoulli, SignDistribution
from bayes_sbn.dual import leaf_of, register_leaf
from bayes_sbn.estimators import Estimator, Site, get_estimator
from bayes_sbn.messenger import PARTICLE_PLATE, EstimatorMessenger, RerunMessenger
from bayes_sbn.temperature import automatic_temperature


class TraceEstimator_ELBO(ELBO):
    """ELBO whose ±1 sites are differentiated by registered estimators.

    Args:
        estimator: a registered name (``"psa"``, ``"st"``, ``"score"``) or an instance; a site's
            ``infer={"estimator": ...}`` goes before it.
        temperature: what one nat of KL costs, at least 0; 1 is the bound itself.
            ``"auto"`` is min(1, N h / (10 K ln 2)) for K ±1 weights and N data of h nats each
            (log of the number of classes, log 2 a binary label, 1 otherwise), fixed at the first
            call and readable as :attr:`temperature`.
        weight_kl: whether the KL of the weights is part of the loss.
        num_particles: draws averaged over.
        max_plate_nesting: bound on nested plates, guessed when it is needed.
        vectorize_particles: whether the draws are taken in one batched run.

    Example:
        >>> import bayes_sbn as sbn
        >>> elbo = sbn.TraceEstimator_ELBO("psa", temperature="auto")
    """

    def __init__(
        self,
        estimator: str | Estimator = "psa",
        *,
        temperature: float | str = 1.0,
        weight_kl: bool = True,
        num_particles: int = 1,
        max_plate_nesting: float = math.inf,
        vectorize_particles: bool = False,
    ) -> None:
        is_number = isinstance(temperature, (int, float)) and not isinstance(temperature, bool)
        if temperature != "auto" and not (is_number and 0 <= float(temperature) < math.inf):
            raise ValueError(
                f"TraceEstimator_ELBO(temperature={temperature!r}): the temperature is a number "
                'of at least 0 (1 is the ELBO), or "auto".'
            )
        if num_particles < 1:
            raise ValueError(
                f"TraceEstimator_ELBO(num_particles={num_particles}): at least 1 draw is needed."
            )
        super().__init__(
            num_particles=num_particles,
            max_plate_nesting=max_plate_nesting,
            vectorize_particles=vectorize_particles,
        )
        self.estimator = get_estimator(estimator)
        self.temperature = temperature
        self.weight_kl = weight_kl
        self.passes = 0
        """Network evaluations of the last call, reruns included."""

    def loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """An estimate of the loss, without gradients."""
        with torch.no_grad():
            loss, _ = self._loss_and_surrogate(model, guide, args, kwargs, gradients=False)
        return float(loss)

    def differentiable_loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """A tensor with the value of the loss and the gradient of the estimators."""
        loss, surrogate = self._loss_and_surrogate(model, guide, args, kwargs, gradients=True)
        return surrogate + (loss - surrogate.detach())

    def loss_and_grads(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """The loss, after its gradients have been added to the parameters' ``grad``."""
        loss, surrogate = self._loss_and_surrogate(model, guide, args, kwargs, gradients=True)
        if surrogate.requires_grad:
            surrogate.backward()
        return float(torch_item(loss))

    def particle_losses(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """What :meth:`differentiable_loss` averages: one loss for each vectorised particle."""
        if not self.vectorize_particles or self.num_particles < 2:
            raise ValueError(
                f"TraceEstimator_ELBO.particle_losses: num_particles={self.num_particles}, "
                f"vectorize_particles={self.vectorize_particles}; it is for particles side by "
                "side. Write TraceEstimator_ELBO(..., num_particles=8, vectorize_particles=True)."
            )
        self.passes = 0
        (run,) = self._get_traces(model, guide, args, kwargs)
        loss, surrogate = _Particle(self, run, True, particles=self.num_particles).terms()
        return surrogate + (loss - surrogate.detach())

    def _loss_and_surrogate(
        self, model: Any, guide: Any, args: Any, kwargs: Any, *, gradients: bool
    ) -> tuple[Tensor, Tensor]:
        self.passes = 0
        losses, surrogates = [], []
        for run in self._get_traces(model, guide, args, kwargs):
            loss, surrogate = _Particle(self, run, gradients).terms()
            losses.append(loss)
            surrogates.append(surrogate)
        loss = torch.stack(losses).sum() / self.num_particles
        surrogate = torch.stack(surrogates).sum() / self.num_particles
        warn_if_nan(loss, "loss")
        return loss, surrogate

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> _Run:
        return _Run(self, model, guide, args, kwargs)

    def resolve_temperature(self, model_trace: Any, guide_trace: Any) -> float:
        """The temperature as a number; ``"auto"`` is worked out from the traces, once."""
        if isinstance(self.temperature, str):
            self.temperature = automatic_temperature(model_trace, guide_trace)
        return float(self.temperature)


class _Run:
    """One execution of guide and model under the estimators, which can be repeated."""

    def __init__(
        self, elbo: TraceEstimator_ELBO, model: Any, guide: Any, args: Any, kwargs: Any
    ) -> None:
        self.elbo, self.model, self.guide = elbo, model, guide
        self.args, self.kwargs = args, kwargs
        self.handler = EstimatorMessenger(elbo.estimator)
        self.model_trace, self.guide_trace = self._execute()
        self.uniforms = dict(self.handler.uniforms)
        if is_validation_enabled():
            check_model_guide_match(self.model_trace, self.guide_trace, elbo.max_plate_nesting)
        self.recorded = {  # what a rerun keeps: latent values, and the rows that plates drew
            name: site["value"]
            for trace in (self.model_trace, self.guide_trace)
            for name, site in trace.nodes.items()
            if site["type"] == "sample" and not site["is_observed"]
        }
        self.recorded.update(self.handler.subsamples)  # automatic guides prune them from traces
        self.model_trace = prune_subsample_sites(self.model_trace)
        self.guide_trace = prune_subsample_sites(self.guide_trace)
        self.log_likelihoods(self.model_trace)

    def _execute(self) -> tuple[Any, Any]:
        self.elbo.passes += 1
        unwrapped = poutine.unwrap(self.guide)
        with self.handler:
            if isinstance(unwrapped, poutine.messenger.Messenger):
                self.guide(*self.args, **self.kwargs)
                model_trace, guide_trace = unwrapped.get_traces()
                return model_trace, guide_trace
            guide_trace = poutine.trace(self.guide).get_trace(*self.args, **self.kwargs)
            replayed = poutine.replay(self.model, trace=guide_trace)
            return poutine.trace(replayed).get_trace(*self.args, **self.kwargs), guide_trace

    def log_likelihoods(self, trace: Any) -> None:
        """Score the observed sites of a model trace."""
        trace.compute_log_prob(site_filter=lambda _, site: site["is_observed"])
        if is_validation_enabled():
            for site in trace.nodes.values():
                if site["type"] == "sample" and site["is_observed"]:
                    check_site_shape(site, self.elbo.max_plate_nesting)

    def rerun_cost(self, name: str, frames: Any, values: Mapping[str, Tensor]) -> Tensor:
        """The cost per batch element of a site for other values of it, by the same uniforms."""
        others = {key: u for key, u in self.uniforms.items() if key not in values}
        if set(values) != {name}:
            raise ValueError(
                f'rerun: values were given for {sorted(values)}; give those of site "{name}".'
            )
        with torch.no_grad(), RerunMessenger(values, others, self.recorded):
            model_trace, guide_trace = self._execute()
            model_trace = prune_subsample_sites(model_trace)
            self.log_likelihoods(model_trace)
            guide_nodes = prune_subsample_sites(guide_trace).nodes
            stacks = get_plate_stacks(model_trace)
            cost = MultiFrameTensor()
            for key, site in model_trace.nodes.items():
                if site["type"] != "sample":
                    continue
                if site["is_observed"]:
                    cost.add((stacks[key], -site["log_prob"]))
                elif key in guide_nodes and not _is_analytic(site, guide_nodes[key]):
                    log_p, log_q, _ = _latent_terms(site, guide_nodes[key])
                    cost.add((stacks[key], log_q - log_p))
        total: Tensor = cost.sum_to(frames)
        return total


class _Particle:
    """The terms of the loss that one run contributes, apart for each of its particles if given."""

    def __init__(
        self, elbo: TraceEstimator_ELBO, run: _Run, gradients: bool, particles: int | None = None
    ) -> None:
        self.elbo, self.run, self.gradients = elbo, run, gradients
        self.particles = particles
        self.stacks = get_plate_stacks(run.model_trace)
        self.cost = MultiFrameTensor()
        like = next(iter(run.model_trace.nodes[name]["log_prob"] for name in self._observed()))
        self.loss: Tensor = torch.zeros((), dtype=like.dtype, device=like.device)
        self.surrogate = self.loss

    def _observed(self) -> list[str]:
        names = [
            name
            for name, site in self.run.model_trace.nodes.items()
            if site["type"] == "sample" and site["is_observed"]
        ]
        if not names:
            raise ValueError(
                "TraceEstimator_ELBO: the model has no observed site, so there is nothing to "
                "learn from. Pass the targets, as in svi.step(x, y), and give them to "
                "pyro.sample(..., obs=y)."
            )
        return names

    def terms(self) -> tuple[Tensor, Tensor]:
        """The loss, a constant, and the surrogate whose gradient is the estimate."""
        model_nodes, guide_nodes = self.run.model_trace.nodes, self.run.guide_trace.nodes
        for name in self._observed():
            self._add(-model_nodes[name]["log_prob"], self.stacks[name])
        latents = [name for name, site in guide_nodes.items() if site["type"] == "sample"]
        for name in latents:
            self._add_latent(name, model_nodes.get(name), guide_nodes[name])
        if self.gradients:
            self._register_parameters(model_nodes)
            self._register_parameters(guide_nodes)
            for name in latents:
                self._add_surrogate(name, guide_nodes[name])
        return self.loss, self.surrogate

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
        if model_site is None:
            raise ValueError(
                f'TraceEstimator_ELBO: the guide has a site "{name}" that the model has not; '
                "rename it, or sample it in the model."
            )
        q, p = guide_site["fn"], model_site["fn"]
        if isinstance(q, SignBernoulli) and isinstance(p, SignBernoulli):
            if self.elbo.weight_kl:
                temperature = self.elbo.resolve_temperature(
                    self.run.model_trace, self.run.guide_trace
                )
                kl = scale_and_mask(kl_divergence(q, p), guide_site["scale"], guide_site["mask"])
                self._add(temperature * kl)
            return
        if _is_analytic(model_site, guide_site):
            return
        log_p, log_q, entropy_term = _latent_terms(model_site, guide_site)
        # the value has log q; its gradient only if the draw is a path
        self.loss = self.loss - self._sum((log_p - log_q).detach())
        self.surrogate = self.surrogate - self._sum(log_p)
        if isinstance(entropy_term, Tensor):
            self.surrogate = self.surrogate + self._sum(entropy_term)
        self.cost.add((self.stacks[name], (log_q - log_p).detach()))

    def _add_surrogate(self, name: str, site: Any) -> None:
        estimator = site["infer"].get("drawn_by")
        stack = site["cond_indep_stack"]
        if estimator is None:
            if not isinstance(site["fn"], SignDistribution) and not site["fn"].has_rsample:
                score = site["fn"].score_parts(site["value"]).score_function
                term = self.cost.sum_to(stack) * scale_and_mask(score, mask=site["mask"])
                self.surrogate = self.surrogate + self._sum(term)
            return
        cost = self.cost.sum_to(stack)
        term = estimator.surrogate(
            Site(
                name,
                site["fn"],
                site["value"],
                uniform=self.run.uniforms.get(name),
                particle_dim=_particle_dim(stack),
            ),
            cost,
            lambda values: self.run.rerun_cost(name, stack, values),
        )
        if term is not None:
            self.surrogate = self.surrogate + self._sum(scale_and_mask(term, mask=site["mask"]))

    def _register_parameters(self, nodes: Any) -> None:
        """Tell optimisers the names of parameters, which the global store may not know."""
        for name, site in nodes.items():
            if site["type"] == "param" and hasattr(site["value"], "unconstrained"):
                parameter = site["value"].unconstrained()
                if leaf_of(parameter) is None:
                    register_leaf(parameter, name, is_dual=False)


def _is_analytic(model_site: Any, guide_site: Any) -> bool:
    """Whether the KL of a site needs no draw: ±1 weights, or the model's own conditional."""
    q, p = guide_site["fn"], model_site["fn"]
    both = isinstance(q, SignBernoulli) and isinstance(p, SignBernoulli)
    return both or _follows_model(q, p, guide_site)


def _particle_dim(stack: Any) -> int | None:
    """The batch dim, from the right, of vectorised particles."""
    for frame in stack:
        if frame.name == PARTICLE_PLATE and frame.vectorized:
            return int(frame.dim)
    return None


def _follows_model(q: Any, p: Any, guide_site: Any) -> bool:
    """Whether a site is drawn from the model's own conditional, so that its KL is zero."""
    if guide_site["infer"].get("follows_model"):
        return True
    return (
        isinstance(q, NoisySign)
        and isinstance(p, NoisySign)
        and q.affine.source is p.affine.source
        and q.noise == p.noise
    )


def _latent_terms(model_site: Any, guide_site: Any) -> tuple[Tensor, Tensor, Any]:
    """``log p``, ``log q`` and the part of it that is differentiated pathwise, all scaled."""
    log_p = scale_and_mask(
        model_site["fn"].log_prob(model_site["value"]), model_site["scale"], model_site["mask"]
    )
    parts = guide_site["fn"].score_parts(guide_site["value"])
    parts = parts.scale_and_mask(guide_site["scale"], guide_site["mask"])
    return log_p, parts.log_prob, parts.entropy_term
