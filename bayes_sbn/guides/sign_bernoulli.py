r"""The mean-field Bernoulli posterior over ±1 weights.

    q(weights) = prod_i P(w_i = +1)^[w_i = +1] P(w_i = -1)^[w_i = -1],     lam_i = logit(p_i) / 2,

one natural parameter a weight, trained in the dual (:mod:`bayes_sbn.dual`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from pyro.nn import PyroModule
from torch import Tensor

from bayes_sbn.distributions import SignBernoulli
from bayes_sbn.guides.auto_sign import INITIAL_SPREAD, AutoSign
from bayes_sbn.guides.real_start import LARGEST_MEAN, dual_start, matched_layers


class AutoSignBernoulli(AutoSign):
    """Mean-field Bernoulli guide over the ±1 weights of a model.

    The parameters are there from the start (eager) for a PyroModule, which tells its sites without
    running, and for any callable if ``example`` is given; else the first call makes them.

    Args:
        model: a Pyro model whose latent sites are ``SignBernoulli`` weights, outside subsampled
            plates, and ``NoisySign`` activations.
        example: arguments of one call of the model, to find the sites of a callable.
        init_scale: standard deviation of the natural parameters at the start.
        gradient: ``"natural"`` (the leaf's gradient is that in the mean, for
            :class:`bayes_sbn.optim.MirrorDescent`) or ``"euclidean"``.
        generator: of the initial values; default torch's global one.

    Example:
        >>> import bayes_sbn as sbn
        >>> model = sbn.models.BinaryMLP(4, [8], 3, num_data=100)
        >>> guide = sbn.guides.AutoSignBernoulli(model)
        >>> sorted(guide.state_dict())
        ['posterior.hidden.0.weight', 'posterior.output.weight']
    """

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        example: tuple[Any, ...] | None = None,
        init_scale: float = INITIAL_SPREAD,
        gradient: str = "natural",
        generator: torch.Generator | None = None,
    ) -> None:
        if gradient not in ("natural", "euclidean"):
            raise ValueError(
                f"AutoSignBernoulli(gradient={gradient!r}): it is 'natural' or 'euclidean'."
            )
        super().__init__(model, example=example, init_scale=init_scale, generator=generator)
        self.gradient = gradient

    def law(self, leaf: Tensor) -> SignBernoulli:
        """The law with natural parameters ``leaf``."""
        return SignBernoulli.from_natural(leaf, gradient=self.gradient)

    def _is_dual(self) -> bool:
        return self.gradient == "natural"

    @classmethod
    def from_real(
        cls,
        model: PyroModule,
        network: torch.nn.Module,
        *,
        largest_mean: float = LARGEST_MEAN,
        gradient: str = "natural",
    ) -> Self:
        """A guide that starts at a trained real network; scales and biases of the model do too.

        Every layer's expected pre-activation is then the real layer's
        (:mod:`bayes_sbn.guides.real_start`).

        Args:
            model: a network of dense ±1 layers such as :class:`bayes_sbn.models.BinaryMLP`, whose
                scales and biases are overwritten.
            network: a ``torch.nn.Sequential`` of as many ``Linear`` layers of the same shapes, with
                ``Tanh``, ``Sigmoid`` or ``Hardtanh`` between them.
            largest_mean: the largest ``|E[w]|`` of each unit, below 1.
            gradient: as for the guide itself.
        """
        guide = cls(model, gradient=gradient)
        shapes = {name: prior.shape for name, prior in guide._priors.items()}
        layers = matched_layers(f"{cls.__name__}.from_real", model, network, shapes)
        weights = {site: layer.weight for site, layer in layers.items()}
        scales = guide.start_from(weights, largest_mean=largest_mean)
        for site, layer in layers.items():
            units = model.get_submodule(site.rpartition(".")[0])
            like = units.bias.detach()
            units.scale, units.bias = scales[site].to(like), layer.bias.to(like)
        return guide

    def start_from(
        self, weights: Mapping[str, Tensor], *, largest_mean: float = LARGEST_MEAN
    ) -> dict[str, Tensor]:
        """Start sites at real weights, up to a scale for each unit; returns those scales.

        Args:
            weights: real weights by site, of the sites' shapes; units are along dim 0.
            largest_mean: the largest ``|E[w]|`` of each unit, below 1.

        Returns:
            The scales by site, (units,) in float64: ``scale * E[w]`` are the real weights.
        """
        self._need_parameters("start_from")
        starts = {}
        for name, weight in weights.items():
            leaf = self.leaf(name)
            call = f'{type(self).__name__}.start_from, site "{name}"'
            if leaf.dim() < 2 or weight.shape != leaf.shape:
                raise ValueError(
                    f"{call}: the weights have shape {tuple(weight.shape)}; those of the site, "
                    f"which need an axis of units and one of inputs, have {tuple(leaf.shape)}."
                )
            starts[name] = dual_start(call, weight, largest_mean)
        for name, (natural, _) in starts.items():
            with torch.no_grad():
                self.leaf(name).copy_(natural)
        return {name: scale for name, (_, scale) in starts.items()}
