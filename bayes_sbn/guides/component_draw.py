r"""The components that one run of a mixture draws, and what follows from the draw.

Particles draw them stratified, ``c_k = F^{-1}((k + u_k) / P)`` with F the cumulative weights: the
mean over particles is unbiased, each component is met about ``P pi_c`` times, and C particles of C
equal weights have every component once.

The gradient of the weights pi comes of the costs of the draws, with the running mean m_c of those
of each component at earlier steps as a control variate,

    sum_c dpi_c/dtheta m_c + E_c[(cost_c - m_c) dln pi_c/dtheta].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.distributions import ConditionalSign, SignBernoulli
from bayes_sbn.distributions.sign_conditional import as_event
from bayes_sbn.distributions.sign_overlap import log_overlaps, overlap_correction
from bayes_sbn.guides.auxiliary import draw_auxiliary, spread_over
from bayes_sbn.kernels import draw_uniforms

COST_DECAY = 0.9
"""The weight that the running mean of a component's costs keeps at each step."""


class ComponentDraw:
    """The components drawn in one run, with the leaves that its sites have shown.

    Args:
        guide: the name of the mixture's class.
        frames: the plates around it.
        shape: theirs.
        log_weights: ``ln pi``.
        batch_dims: of every site, how many of its dims are batch dims.
        gradient: of the leaves, ``"natural"`` or ``"euclidean"``.
        costs: the running mean of the costs of each component, NaN before the first, to be changed
            in place; None if the weights are not learned.
        marginals: tells ``P(w = +1)`` by site.
    """

    def __init__(
        self,
        guide: str,
        frames: tuple[Any, ...],
        shape: torch.Size,
        log_weights: Tensor,
        *,
        batch_dims: Mapping[str, int],
        gradient: str,
        costs: Tensor | None,
        marginals: Callable[[], Mapping[str, Tensor]],
    ) -> None:
        self.frames, self.shape = frames, shape
        self.log_weights = log_weights
        self.batch_dims = batch_dims
        self.gradient = gradient
        self.costs = costs
        self.marginals = marginals
        self.name = f"{guide}.component"
        self.states: int | None = len(log_weights)
        self.is_learned = costs is not None
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
        return component_at(place / number, self.log_weights.detach().double().exp()).reshape(shape)

    def site_law(self, name: str, leaf: Tensor) -> ConditionalSign:
        """The law of a site given the components."""
        if self.gradient == "natural":
            leaf = _per_weight(leaf, self.log_weights.detach().exp())
        self.naturals[name] = leaf
        # a single index is a view, of many a copy
        picked = leaf[self.value] if not self.shape else leaf[self.value.reshape(-1)]
        natural = spread_over(picked, self.shape, leaf.shape[1:], self.batch_dims[name])
        return ConditionalSign.given(natural, self, gradient=self.gradient)

    def divergence_bound(self, priors: Mapping[str, SignBernoulli]) -> Tensor:
        """``sum_i pi_i [KL(q_i || p) + ln sum_j pi_j BC_ij]``."""
        each = torch.zeros_like(self.log_weights)
        for name, natural in self.naturals.items():
            dims = natural.dim() - 1
            law = SignBernoulli.from_natural(natural, gradient=self.gradient).to_event(dims)
            prior = as_event(priors[name], natural.shape[1:])
            each = each + torch.distributions.kl_divergence(law, prior)
        overlaps = log_overlaps(list(self.naturals.values()), gradient=self.gradient)
        weights = self.log_weights.exp()
        return (weights * each).sum() + overlap_correction(self.log_weights, overlaps)

    def probabilities(self) -> Tensor:
        """The components' weights, differentiable."""
        return self.log_weights.exp()

    def surrogate(self, cost: Tensor) -> Tensor | None:
        """What has the gradient of the weights; the running means then count these costs.

        There is none before every component has had a cost.
        """
        if self.costs is None:
            return None
        before = self.costs.clone()
        chosen, cost = self.value.reshape(-1), cost.detach().reshape(-1)
        for index in chosen.unique():
            now = cost[chosen == index].mean()
            old = before[index]
            self.costs[index] = now if torch.isnan(old) else now.lerp(old, COST_DECAY)
        if torch.isnan(before).any():
            return None
        left = (cost - before[chosen]) * self.log_weights[chosen]
        return (left + (self.log_weights.exp() * before).sum()).reshape(self.shape)

    def marginal(self, site: str) -> SignBernoulli:
        """The mixture of each single weight."""
        return SignBernoulli(probs=self.marginals()[site], validate_args=False)


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


def component_at(place: Tensor, weights: Tensor) -> Tensor:
    """The component at places in [0, 1) of the cumulative weights."""
    return torch.searchsorted(weights.cumsum(0), place, right=True).clamp_max(len(weights) - 1)
