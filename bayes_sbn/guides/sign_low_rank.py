r"""A posterior over ±1 weights that are correlated through a few normal factors.

    q(w) = E_z prod_i q(w_i | z),      lam_i(z) = lam_i + sum_k L_ki z_k,      z ~ N(0, I_rank).

A run draws the factors once for each particle and is a mean-field run at ``lam(z)``: with L = 0 it
is that of :class:`AutoSignBernoulli`, draw for draw and in its gradients.  The gradients of lam and
L, and the bound of the divergence, are those of :mod:`bayes_sbn.distributions.sign_low_rank`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.distributions import ConditionalSign, SignBernoulli
from bayes_sbn.distributions.sign_conditional import as_event
from bayes_sbn.distributions.sign_low_rank import (
    at_factors,
    log_mean_ratio,
    marginal_probs,
)
from bayes_sbn.guides.auto_sign import INITIAL_SPREAD, parent_of
from bayes_sbn.guides.auxiliary import AutoSignConditional, draw_auxiliary, spread_over
from bayes_sbn.guides.divergence import DivergenceEstimate, estimate
from bayes_sbn.guides.sign_bernoulli import AutoSignBernoulli

LOADING_SCALE = 0.1
"""Standard deviation of ``lam(z)`` at the start: L = 0 is a stationary point."""


class AutoSignLowRank(AutoSignConditional):
    """Bernoulli laws of the ±1 weights whose natural parameters share normal factors.

    The natural parameters are dual leaves, stepped by mirror descent; the loadings are real ones,
    for the optimiser's ``"real"`` rule.  A step costs one network pass a particle and
    ``num_auxiliary + 1`` passes over the weights for the divergence.

    Args:
        model: a Pyro model whose latent sites are ``SignBernoulli`` weights, outside subsampled
            plates, and ``NoisySign`` activations.
        rank: how many factors, at least 1.
        num_auxiliary: K, the further draws of the factors in the bound of the divergence, at least
            0; the bound is tighter with more of them.
        loading_scale: standard deviation that the factors give ``lam(z)`` at the start.
        example: arguments of one call of the model, to find the sites of a callable.
        init_scale: standard deviation of the natural parameters at the start.
        generator: of the initial values; default torch's global one.

    Example:
        >>> import bayes_sbn as sbn
        >>> model = sbn.models.BinaryMLP(4, [8], 3, num_data=100)
        >>> guide = sbn.guides.AutoSignLowRank(model, rank=2)
        >>> guide.loading("output.weight").shape
        torch.Size([2, 3, 8])
    """

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        rank: int = 4,
        num_auxiliary: int = 4,
        loading_scale: float = LOADING_SCALE,
        example: tuple[Any, ...] | None = None,
        init_scale: float = INITIAL_SPREAD,
        generator: torch.Generator | None = None,
    ) -> None:
        for name, number, least in (("rank", rank, 1), ("num_auxiliary", num_auxiliary, 0)):
            if isinstance(number, bool) or not (isinstance(number, int) and number >= least):
                raise ValueError(
                    f"AutoSignLowRank({name}={number!r}): it is a whole number of at least {least}."
                )
        if not (math.isfinite(loading_scale) and loading_scale >= 0):
            raise ValueError(
                f"AutoSignLowRank(loading_scale={loading_scale}): a standard deviation is at "
                "least 0."
            )
        self.rank = rank
        self.num_auxiliary = num_auxiliary
        self.loading_scale = loading_scale
        super().__init__(model, example=example, init_scale=init_scale, generator=generator)

    def _make_parameters(self, sites: Mapping[str, SignBernoulli]) -> None:
        self.loadings = torch.nn.Module()
        scale = self.loading_scale / math.sqrt(self.rank)
        for name, prior in sites.items():
            like = prior.parameter
            shape = (self.rank, *prior.shape())
            start = torch.randn(shape, generator=self._generator, dtype=like.dtype) * scale
            parent, last = parent_of(self.loadings, name)
            parent.register_parameter(last, torch.nn.Parameter(start.to(like.device)))
        super()._make_parameters(sites)

    def loading(self, name: str) -> torch.nn.Parameter:
        """The loadings of a site, (rank, *shape), as the optimiser sees them."""
        self.leaf(name)  # raises for other names
        module = self._modules["loadings"]
        assert module is not None
        loading: torch.nn.Parameter = module.get_parameter(name)
        return loading

    def _start(self, frames: tuple[Any, ...], shape: torch.Size) -> FactorDraw:
        return FactorDraw(self, frames, shape)

    def _site_law(self, name: str, leaf: Tensor) -> SignBernoulli:
        loading = self._announce(self.loading(name), f"loadings.{name}", is_dual=False)
        law: SignBernoulli = self._joint().site_law(name, leaf, loading)
        return law

    def at(self, factors: Tensor) -> AutoSignBernoulli:
        """The mean-field guide of the same model at given factors, with leaves of its own.

        Args:
            factors: ``z``, (rank,).
        """
        self._need_parameters("at")
        if factors.shape != (self.rank,):
            raise ValueError(
                f"AutoSignLowRank.at(factors): they have shape {tuple(factors.shape)}; they are "
                f"({self.rank},), such as torch.randn({self.rank})."
            )
        return self._mean_field(
            {
                name: self.leaf(name).detach()
                + torch.tensordot(factors.to(self.loading(name)), self.loading(name).detach(), 1)
                for name in self._site_names
            }
        )

    def naturals_and_loadings(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Natural parameters ``lam`` and loadings ``L`` by site, in float64 on the CPU."""
        self._need_parameters("weight_probabilities")
        return {
            name: (
                self.leaf(name).detach().to("cpu", torch.float64),
                self.loading(name).detach().to("cpu", torch.float64),
            )
            for name in self._site_names
        }

    def weight_probabilities(self) -> dict[str, Tensor]:
        """The marginal ``P(w = +1)`` of each ±1 weight, in float64 on the CPU."""
        numbers = self.naturals_and_loadings()
        return {name: marginal_probs(*own) for name, own in numbers.items()}

    def divergence(
        self,
        num_samples: int = 100,
        *,
        num_auxiliary: int = 100,
        generator: torch.Generator | None = None,
    ) -> DivergenceEstimate:
        """The bound ``B_K`` on ``KL(q || prior)`` by Monte Carlo, in nats, with its standard error.

        Args:
            num_samples: draws of all weights.
            num_auxiliary: K; the bound is above the divergence and falls to it with K.
            generator: of the draws; default torch's global one.
        """
        numbers = self.naturals_and_loadings()
        priors = {
            name: SignBernoulli(probs=probs).to_event(probs.dim())
            for name, probs in self.prior_probabilities().items()
        }

        def draw(index: int) -> Tensor:
            del index
            factors = torch.randn(
                num_auxiliary + 1, self.rank, dtype=torch.float64, generator=generator
            )
            return bound_at(numbers, priors, factors, generator)

        return estimate("AutoSignLowRank.divergence", draw, num_samples)


class FactorDraw:
    """The factors drawn in one run, with the leaves and loadings that its sites have shown.

    Args:
        guide: the low-rank guide.
        frames: the plates around it.
        shape: theirs.
    """

    states: int | None = None
    is_learned = False

    def __init__(self, guide: AutoSignLowRank, frames: tuple[Any, ...], shape: torch.Size) -> None:
        self.guide = guide
        self.frames, self.shape = frames, shape
        self.name = f"{type(guide).__name__}.factors"
        self.like = next(iter(guide.parameters())).detach()
        self.sites: dict[str, tuple[Tensor, Tensor]] = {}
        self.value = draw_auxiliary(self.name, self._draw, shape)
        if self.value.shape != (*shape, guide.rank):
            raise ValueError(
                f"{self.name}: received shape {tuple(self.value.shape)}; factors have shape "
                f"{(*shape, guide.rank)}, one for each place of the plates."
            )

    def _draw(self, shape: torch.Size) -> Tensor:
        return torch.randn(*shape, self.guide.rank, dtype=self.like.dtype, device=self.like.device)

    def site_law(self, name: str, leaf: Tensor, loading: Tensor) -> ConditionalSign:
        """The law of a site given the factors."""
        self.sites[name] = (leaf, loading)
        given = at_factors(leaf, loading, self.value.reshape(-1, self.guide.rank))
        dims = self.guide._batch_dims[name]
        return ConditionalSign.given(spread_over(given, self.shape, leaf.shape, dims), self)

    def divergence_bound(self, priors: Mapping[str, SignBernoulli]) -> Tensor:
        """An unbiased estimate of ``B_K``, from factors of its own."""
        alone = {n: as_event(p, self.sites[n][0].shape) for n, p in priors.items()}
        return bound_at(self.sites, alone, self._draw(torch.Size([self.guide.num_auxiliary + 1])))

    def probabilities(self) -> Tensor:
        """Refused: the factors are continuous."""
        raise NotImplementedError(f"{self.name} are continuous and have no probabilities.")

    def surrogate(self, cost: Tensor) -> None:
        """Nothing: the law of the factors is fixed."""
        del cost

    def marginal(self, site: str) -> SignBernoulli:
        """The law of each single weight."""
        return SignBernoulli(probs=self.guide.weight_probabilities()[site], validate_args=False)


def bound_at(
    sites: Mapping[str, tuple[Tensor, Tensor]],
    priors: Mapping[str, SignBernoulli],
    factors: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """``B_K`` at given factors z_0, ..., z_K, with one draw of the weights from ``q(. | z_0)``.

    Args:
        sites: leaves and loadings.
        priors: of the shapes of the leaves, one event each.
        factors: (K + 1, rank).
        generator: of the weights; default torch's global one.
    """
    naturals, states = [], []
    total = torch.zeros((), dtype=factors.dtype, device=factors.device)
    for name, (leaf, loading) in sites.items():
        given = at_factors(leaf, loading, factors)
        law = SignBernoulli.from_natural(given).to_event(leaf.dim())
        total = total + torch.distributions.kl_divergence(law, priors[name]).mean()
        naturals.append(given)
        uniform = torch.rand(leaf.shape, dtype=leaf.dtype, device=leaf.device, generator=generator)
        with torch.no_grad():
            states.append(torch.where(uniform < torch.sigmoid(2 * given[0]), 1.0, -1.0).to(leaf))
    return total + log_mean_ratio(naturals, states)
