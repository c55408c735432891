r"""The mean-field Bernoulli posterior over ±1 weights.

    q(weights) = prod_i P(w_i = +1)^[w_i = +1] P(w_i = -1)^[w_i = -1],     lam_i = logit(p_i) / 2,

one parameter a weight, trained in the dual (:mod:`bayes_sbn.dual`): the natural parameter lam_i, or
``F^{-1}(p_i)`` for another noise law F.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from pyro.nn import PyroModule
from torch import Tensor

from bayes_sbn.distributions import SignBernoulli
from bayes_sbn.dual import NATURAL, latent_of
from bayes_sbn.guides.auto_sign import INITIAL_SPREAD, AutoSign
from bayes_sbn.guides.real_start import LARGEST_MEAN, dual_start, matched_layers, set_units
from bayes_sbn.noise import Noise, get_noise

_LAW = "noise"
"""The entry of a state that names the law of its leaves, where that is not the default."""


def _text(noise: Noise) -> str:
    """A law as it is written, equal for equal laws."""
    return f"{type(noise).__name__}(scale={float(noise.scale)})"


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
        noise: the law F whose quantile ``F^{-1}(p)`` each leaf is, by name or as a
            :class:`bayes_sbn.noise.Noise`: mirror descent then has the divergence of F.  The
            default is ``bayes_sbn.noise.Logistic(scale=0.5)``, the natural parameter, while
            ``"logistic"``, of scale 1, is the logit.
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
        noise: str | Noise = NATURAL,
        generator: torch.Generator | None = None,
    ) -> None:
        if gradient not in ("natural", "euclidean"):
            raise ValueError(
                f"AutoSignBernoulli(gradient={gradient!r}): it is 'natural' or 'euclidean'."
            )
        self._mirror = get_noise(noise)
        super().__init__(model, example=example, init_scale=init_scale, generator=generator)
        self.gradient = gradient

    @property
    def noise(self) -> Noise:
        """The law F whose quantiles ``F^{-1}(p)`` the leaves are."""
        return self._mirror

    def law(self, leaf: Tensor) -> SignBernoulli:
        """The law with ``P(w = +1) = F(leaf)``."""
        return SignBernoulli.from_latent(leaf, self._mirror, gradient=self.gradient)

    def _is_dual(self) -> bool:
        return self.gradient == "natural"

    def _noise(self) -> Noise:
        return self._mirror

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self._mirror != NATURAL:
            text = _text(self._mirror).encode()
            destination[prefix + _LAW] = torch.tensor(list(text), dtype=torch.uint8)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Leaves are read only under the law that they were written under."""
        said = state_dict.pop(prefix + _LAW, None)
        law = _text(NATURAL) if said is None else bytes(said.tolist()).decode()
        if law != _text(self._mirror):
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: the leaves of the state are quantiles of "
                f"{law}, and those of this guide of {_text(self._mirror)}, which are other "
                f"probabilities. Write {type(self).__name__}(model, noise=bayes_sbn.noise.{law})."
            )
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @classmethod
    def from_real(
        cls,
        model: PyroModule,
        network: torch.nn.Module,
        *,
        largest_mean: float = LARGEST_MEAN,
        gradient: str = "natural",
        noise: str | Noise = NATURAL,
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
            noise: likewise.
        """
        guide = cls(model, gradient=gradient, noise=noise)
        shapes = {name: prior.shape for name, prior in guide._priors.items()}
        layers = matched_layers(f"{cls.__name__}.from_real", model, network, shapes)
        weights = {site: layer.weight for site, layer in layers.items()}
        scales = guide.start_from(weights, largest_mean=largest_mean)
        set_units(model, layers, scales)
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
        starts = {
            name: dual_start(call, weight, largest_mean)
            for call, name, weight in self._checked_starts(weights)
        }
        for name, (natural, _) in starts.items():
            with torch.no_grad():
                self.leaf(name).copy_(latent_of(natural, self._mirror))
        return {name: scale for name, (_, scale) in starts.items()}
