r"""A mixture posterior over ±1 weights: several mean-field laws, of one network each.

    q(w) = sum_c pi_c prod_i q_c(w_i),      lam_ci = logit(p_ci) / 2,

with natural parameters for each component, started independently.  A run draws one component for
each particle and is a run of that component; particles draw them stratified,

    c_k = F^{-1}((k + u_k) / P),      F the cumulative weights,

so that each run is still unbiased, and C particles of C equal weights have every component once.
The divergence is the bound of :mod:`bayes_sbn.distributions.sign_overlap`.

A leaf's gradient is ``dloss/dmu_c / pi_c``: the natural gradient, as the Fisher information of
(component, weights) in ``lam_ci`` is ``pi_c (1 - mu_ci^2)``.  Equal components follow the
trajectory of a mean-field guide.  The weights' own gradient is

    sum_c dpi_c/dtheta m_c + E_c[(cost_c - m_c) dln pi_c/dtheta],

where m_c is the running mean of the costs of component c at earlier steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.distributions import ConditionalSign, SignBernoulli
from bayes_sbn.distributions.sign_conditional import as_event
from bayes_sbn.distributions.sign_overlap import log_overlaps, overlap_correction
from bayes_sbn.guides.auto_sign import INITIAL_SPREAD
from bayes_sbn.guides.auxiliary import AutoSignConditional, draw_auxiliary, spread_over
from bayes_sbn.guides.divergence import DivergenceEstimate, estimate, log_prior
from bayes_sbn.guides.sign_bernoulli import AutoSignBernoulli
from bayes_sbn.kernels import draw_uniforms

COST_DECAY = 0.9
"""The weight that the running mean of a component's costs keeps at each step."""


class AutoSignMixture(AutoSignConditional):
    """Mixture of mean-field Bernoulli laws over the ±1 weights of a model.

    The components differ in their ±1 weights alone: scales, biases and all other parameters are
    the model's, and shared.  (Restarts with parameters of their own are several models.)

    A step costs one network pass a particle.  Starts, ``example`` and ``gradient`` are those of
    :class:`AutoSignBernoulli`.

    Args:
        model: a Pyro model whose latent sites are ``SignBernoulli`` weights, outside subsampled
            plates, and ``NoisySign`` activations.
        num_components: how many, at least 1.
        learn_weights: whether the components' weights are learned; else they are equal.
        example: arguments of one call of the model, to find the sites of a callable.
        init_scale: standard deviation of the natural parameters at the start.
        gradient: ``"natural"`` or ``"euclidean"``.
        generator: of the initial values; default torch's global one.

    Example:
        >>> import bayes_sbn as sbn
        >>> model = sbn.models.BinaryMLP(4, [8], 3, num_data=100)
        >>> guide = sbn.guides.AutoSignMixture(model, num_components=4)
        >>> guide.leaf("output.weight").shape
        torch.Size([4, 3, 8])
    """

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        num_components: int = 4,
        learn_weights: bool = True,
        example: tuple[Any, ...] | None = None,
        init_scale: float = INITIAL_SPREAD,
        gradient: str = "natural",
        generator: torch.Generator | None = None,
    ) -> None:
        if isinstance(num_components, bool) or not (
            isinstance(num_components, int) and num_components >= 1
        ):
            raise ValueError(
                f"AutoSignMixture(num_components={num_components!r}): it is a whole number of at "
                "least 1."
            )
        if gradient not in ("natural", "euclidean"):
            raise ValueError(
                f"AutoSignMixture(gradient={gradient!r}): it is 'natural' or 'euclidean'."
            )
        self.num_components = num_components
        self.learn_weights = learn_weights
        self.gradient = gradient
        super().__init__(model, example=example, init_scale=init_scale, generator=generator)

    export_advice = (
        "the posterior of each component, Posterior.from_guide(model, guide.component(c))"
    )

    def _make_parameters(self, sites: Mapping[str, SignBernoulli]) -> None:
        mixture = torch.nn.Module()
        for prior in sites.values():
            zeros = torch.zeros(
                self.num_components, dtype=prior.parameter.dtype, device=prior.parameter.device
            )
            if self.learn_weights:
                mixture.register_parameter("logits", torch.nn.Parameter(zeros))
                mixture.register_buffer("costs", torch.full_like(zeros, math.nan))
            else:
                mixture.register_buffer("logits", zeros)
            break
        self.mixture = mixture
        super()._make_parameters(sites)

    def _leaf_shape(self, prior: SignBernoulli) -> torch.Size:
        return torch.Size([self.num_components, *prior.shape()])

    def _is_dual(self) -> bool:
        return self.gradient == "natural"

    def _mixture(self) -> torch.nn.Module:
        """The weights' module, not by attribute: inside a run that would enter Pyro's store."""
        self._need_parameters("component_weights")
        module = self._modules["mixture"]
        assert isinstance(module, torch.nn.Module)
        return module

    def _logits(self) -> Tensor:
        module = self._mixture()
        if self.learn_weights:
            return module.get_parameter("logits")
        return module.get_buffer("logits")

    def component_weights(self) -> Tensor:
        """The weights ``pi`` of the components, in float64 on the CPU."""
        return self._logits().detach().to("cpu", torch.float64).softmax(0)

    def _start(self, frames: tuple[Any, ...], shape: torch.Size) -> ComponentDraw:
        logits = self._logits()
        if self.learn_weights:
            logits = self._announce(logits, "mixture.logits", is_dual=False)
        return ComponentDraw(self, frames, shape, logits.log_softmax(0))

    def _site_law(self, name: str, leaf: Tensor) -> SignBernoulli:
        law: SignBernoulli = self._joint().site_law(name, leaf)
        return law

    def component(self, index: int) -> AutoSignBernoulli:
        """One component as a mean-field guide of the same model, with leaves of its own."""
        self._need_parameters("component")
        if not 0 <= index < self.num_components:
            raise IndexError(
                f"AutoSignMixture.component({index}): components are 0 to "
                f"{self.num_components - 1}."
            )
        leaves = {name: self.leaf(name).detach()[index] for name in self._site_names}
        return self._mean_field(leaves, gradient=self.gradient)

    def _naturals(self) -> dict[str, Tensor]:
        """The leaves in float64 on the CPU."""
        self._need_parameters("weight_probabilities")
        return {n: self.leaf(n).detach().to("cpu", torch.float64) for n in self._site_names}

    def weight_probabilities(self) -> dict[str, Tensor]:
        """The marginal ``P(w = +1)`` of each ±1 weight, in float64 on the CPU."""
        naturals = self._naturals()
        weights = self.component_weights()
        return {n: torch.tensordot(weights, torch.sigmoid(2 * v), 1) for n, v in naturals.items()}

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        """``ln q(w)`` of joint states of all sites, summed over components, in float64.

        Args:
            values: ±1 values by site, each (*batch, *shape of the site).
        """
        weights = self.component_weights().log()
        parts = [weights]
        for name, natural in self._naturals().items():
            shape = natural.shape[1:]
            value = values[name].to("cpu", torch.float64)
            batch = value.shape[: value.dim() - len(shape)]
            rows = value.reshape(*batch, 1, -1) * natural.flatten(1)
            parts.append(torch.nn.functional.logsigmoid(2 * rows).sum(-1))
        total: Tensor = sum(parts[1:], parts[0])
        return torch.logsumexp(total, -1)

    def divergence_bound(self) -> float:
        """The bound on ``KL(q || prior)`` that is trained, in nats."""
        naturals = self._naturals()
        weights = self.component_weights()
        overlaps = log_overlaps(list(naturals.values()))
        each = weights.new_zeros(self.num_components)
        for name, prior in self.prior_probabilities().items():
            natural = naturals[name].flatten(1)
            law = SignBernoulli.from_natural(natural).to_event(1)
            prior_law = SignBernoulli(probs=prior.flatten()).to_event(1)
            each = each + torch.distributions.kl_divergence(law, prior_law)
        return float(weights @ each + overlap_correction(weights.log(), overlaps))

    def divergence(
        self, num_samples: int = 100, *, generator: torch.Generator | None = None
    ) -> DivergenceEstimate:
        """``KL(q || prior)`` itself by Monte Carlo, in nats, with its standard error.

        Args:
            num_samples: draws of all weights, stratified by component.
            generator: of the draws; default torch's global one.
        """
        naturals, weights = self._naturals(), self.component_weights()
        priors = self.prior_probabilities()

        def draw(index: int) -> Tensor:
            place = torch.rand((), dtype=torch.float64, generator=generator)
            chosen = _component((index + place) / num_samples, weights)
            values = {}
            for name, natural in naturals.items():
                probs = torch.sigmoid(2 * natural[chosen])
                uniform = torch.rand(probs.shape, dtype=torch.float64, generator=generator)
                values[name] = torch.where(uniform < probs, 1.0, -1.0)
            return self.log_prob(values) - log_prior(values, priors)

        return estimate("AutoSignMixture.divergence", draw, num_samples)


class ComponentDraw:
    """The components drawn in one run, with the leaves that its sites have shown.

    Args:
        guide: the mixture.
        frames: the plates around it.
        shape: theirs.
        log_weights: ``ln pi``.
    """

    def __init__(
        self,
        guide: AutoSignMixture,
        frames: tuple[Any, ...],
        shape: torch.Size,
        log_weights: Tensor,
    ) -> None:
        self.guide = guide
        self.frames, self.shape = frames, shape
        self.log_weights = log_weights
        self.name = f"{type(guide).__name__}.component"
        self.states: int | None = guide.num_components
        self.is_learned = guide.learn_weights
        self.naturals: dict[str, Tensor] = {}
        self.value = draw_auxiliary(self.name, self._draw, shape, is_listed=True)
        if self.value.shape != shape or self.value.is_floating_point():
            raise ValueError(
                f"{self.name}: received {self.value.dtype} of shape {tuple(self.value.shape)}; a "
                f"component is an integer for each place of the plates, {tuple(shape)}."
            )

    def _draw(self, shape: torch.Size) -> Tensor:
        number = shape.numel()
        uniform = draw_uniforms(torch.Size([number]), self.log_weights)
        place = torch.arange(number, device=uniform.device) + uniform.double()
        return _component(place / number, self.log_weights.detach().double().exp()).reshape(shape)

    def site_law(self, name: str, leaf: Tensor) -> ConditionalSign:
        """The law of a site given the components."""
        if self.guide.gradient == "natural":
            leaf = _per_weight(leaf, self.log_weights.detach().exp())
        self.naturals[name] = leaf
        alone = self.guide._priors[name]
        # a single index is a view, of many a copy
        picked = leaf[self.value] if not self.shape else leaf[self.value.reshape(-1)]
        dims = self.guide._batch_dims[name]
        natural = spread_over(picked, self.shape, alone.shape, dims)
        return ConditionalSign.given(natural, self, gradient=self.guide.gradient)

    def divergence_bound(self, priors: Mapping[str, SignBernoulli]) -> Tensor:
        """``sum_i pi_i [KL(q_i || p) + ln sum_j pi_j BC_ij]``."""
        gradient = self.guide.gradient
        each = torch.zeros_like(self.log_weights)
        for name, natural in self.naturals.items():
            dims = natural.dim() - 1
            law = SignBernoulli.from_natural(natural, gradient=gradient).to_event(dims)
            prior = as_event(priors[name], natural.shape[1:])
            each = each + torch.distributions.kl_divergence(law, prior)
        overlaps = log_overlaps(list(self.naturals.values()), gradient=gradient)
        weights = self.log_weights.exp()
        return (weights * each).sum() + overlap_correction(self.log_weights, overlaps)

    def probabilities(self) -> Tensor:
        """The components' weights, differentiable."""
        return self.log_weights.exp()

    def surrogate(self, cost: Tensor) -> Tensor | None:
        """What has the gradient of the weights; the running means then count these costs.

        There is none before every component has had a cost.
        """
        if not self.is_learned:
            return None
        means = self.guide._mixture().get_buffer("costs")
        before = means.clone()
        chosen, cost = self.value.reshape(-1), cost.detach().reshape(-1)
        for index in chosen.unique():
            now = cost[chosen == index].mean()
            old = before[index]
            means[index] = now if torch.isnan(old) else now.lerp(old, COST_DECAY)
        if torch.isnan(before).any():
            return None
        left = (cost - before[chosen]) * self.log_weights[chosen]
        # the sum over draws, as losses are
        return left.sum() + len(chosen) * (self.log_weights.exp() * before).sum()

    def marginal(self, site: str) -> SignBernoulli:
        """The mixture of each single weight."""
        return SignBernoulli(probs=self.guide.weight_probabilities()[site], validate_args=False)


class _PerWeight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, leaf: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(weights)
        return leaf.view_as(leaf)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (weights,) = ctx.saved_tensors
        total = gradients[0]
        least = torch.finfo(total.dtype).tiny
        return total / weights.clamp_min(least).reshape(-1, *(1,) * (total.dim() - 1)), None


def _per_weight(leaf: Tensor, weights: Tensor) -> Tensor:
    """The leaves, whose gradient is divided by the weights of their components."""
    result: Tensor = _PerWeight.apply(leaf, weights)  # type: ignore[no-untyped-call]
    return result


def _component(place: Tensor, weights: Tensor) -> Tensor:
    """The component at places in [0, 1) of the cumulative weights."""
    return torch.searchsorted(weights.cumsum(0), place, right=True).clamp_max(len(weights) - 1)
