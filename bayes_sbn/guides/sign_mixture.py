r"""A mixture posterior over ±1 weights: several mean-field laws, of one network each.

    q(w) = sum_c pi_c prod_i q_c(w_i),      lam_ci = logit(p_ci) / 2,

with natural parameters for each component, started independently.  A run draws one component for
each particle (:mod:`bayes_sbn.guides.component_draw`) and is a run of that component.  The
divergence is the bound of :mod:`bayes_sbn.distributions.sign_overlap`.

A leaf's gradient is ``dloss/dmu_c / pi_c``: the natural gradient, as the Fisher information of
(component, weights) in ``lam_ci`` is ``pi_c (1 - mu_ci^2)``.  Equal components follow the
trajectory of a mean-field guide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.distributions import SignBernoulli
from bayes_sbn.distributions.sign_overlap import log_overlaps, overlap_correction
from bayes_sbn.guides.auto_sign import INITIAL_SPREAD
from bayes_sbn.guides.auxiliary import AutoSignConditional
from bayes_sbn.guides.component_draw import ComponentDraw, component_at
from bayes_sbn.guides.divergence import DivergenceEstimate, estimate, log_prior
from bayes_sbn.guides.sign_bernoulli import AutoSignBernoulli


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
        return ComponentDraw(
            self._name,
            frames,
            shape,
            logits.log_softmax(0),
            batch_dims=self._batch_dims,
            gradient=self.gradient,
            costs=self._mixture().get_buffer("costs") if self.learn_weights else None,
            marginals=self.weight_probabilities,
        )

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

    def component_probabilities(self) -> list[dict[str, Tensor]]:
        """``P(w = +1)`` of each ±1 weight under each component, in float64 on the CPU."""
        naturals = self._naturals()
        return [
            {name: torch.sigmoid(2 * natural[index]) for name, natural in naturals.items()}
            for index in range(self.num_components)
        ]

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
            chosen = component_at((index + place) / num_samples, weights)
            values = {}
            for name, natural in naturals.items():
                probs = torch.sigmoid(2 * natural[chosen])
                uniform = torch.rand(probs.shape, dtype=torch.float64, generator=generator)
                values[name] = torch.where(uniform < probs, 1.0, -1.0)
            return self.log_prob(values) - log_prior(values, priors)

        return estimate("AutoSignMixture.divergence", draw, num_samples)
