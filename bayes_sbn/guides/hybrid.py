r"""The posterior of hybrid networks: ±1 weights in some layers, real weights in others.

    q(weights) = prod_i q(w_i; lam_i)  *  prod_j Normal(v_j; loc_j, spread_j^2)   or   point masses,

±1 weights as in :class:`bayes_sbn.guides.AutoSignBernoulli`, real weights by their own parameters
(:mod:`bayes_sbn.guides.real_sites`).  A normal law is drawn by reparameterisation, hence pathwise
gradients; a point has the loss ``- T log p(v)``, which is MAP at T = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from pyro.distributions import Normal
from pyro.nn import PyroModule
from pyro.poutine.runtime import get_plates
from torch import Tensor

from bayes_sbn.dual import NATURAL, register_leaf
from bayes_sbn.guides.auto_sign import INITIAL_SPREAD, parent_of
from bayes_sbn.guides.real_sites import INITIAL_SHARE, KINDS, RealSite, real_law
from bayes_sbn.guides.real_start import LARGEST_MEAN, matched_layers, set_units
from bayes_sbn.guides.sign_bernoulli import AutoSignBernoulli
from bayes_sbn.guides.sites import base_law, is_sign_weight, refuse_subsampled
from bayes_sbn.noise import Noise


class AutoHybrid(AutoSignBernoulli):
    """Mean-field guide over ±1 weights and real weights with a normal prior.

    Everything about ±1 weights is as in :class:`AutoSignBernoulli`.  The parameters of a real site
    ``v`` are ``posterior.v.loc`` and, unless it is a point, ``posterior.v.log_spread``; they are
    there as early as those of ±1 weights, and :class:`bayes_sbn.optim.MirrorDescent` steps them by
    its ``"real"`` optimiser.

    Args:
        model: a Pyro model whose latent sites are ``SignBernoulli`` weights, real weights with a
            ``Normal`` prior, both outside subsampled plates, and ``NoisySign`` activations.
        real: ``"normal"``, ``"point"``, or one of them for each of some sites by name; the others
            are normal.
        example: arguments of one call of the model, to find the sites of a callable.
        init_scale: standard deviation of the ±1 weights' natural parameters at the start.
        gradient: of the ±1 weights, ``"natural"`` or ``"euclidean"``.
        noise: the law whose quantiles the leaves of ±1 weights are.
        generator: of the initial values; default torch's global one.

    Example:
        >>> import bayes_sbn as sbn
        >>> model = sbn.models.BinaryMLP(4, [8], 3, num_data=100, real=("last",))
        >>> guide = sbn.guides.AutoHybrid(model)
        >>> [name for name, _ in guide.named_parameters()][1:]
        ['posterior.output.weight.loc', 'posterior.output.weight.log_spread']
    """

    def __init__(
        self,
        model: Callable[..., Any],
        real: str | Mapping[str, str] = "normal",
        *,
        example: tuple[Any, ...] | None = None,
        init_scale: float = INITIAL_SPREAD,
        gradient: str = "natural",
        noise: str | Noise = NATURAL,
        generator: torch.Generator | None = None,
    ) -> None:
        kinds = real.values() if isinstance(real, Mapping) else [real]
        if not all(kind in KINDS for kind in kinds):
            raise ValueError(
                f"AutoHybrid(real={real!r}): real weights are 'normal' or 'point', or one of them "
                'for each site by name. Write real={"output.weight": "point"}.'
            )
        # into the dict: the guide is set up, and needs them, while torch makes the module
        kept = dict(real) if isinstance(real, Mapping) else real
        self.__dict__.update(_kinds=kept, _real_names=[])
        super().__init__(
            model,
            example=example,
            init_scale=init_scale,
            gradient=gradient,
            noise=noise,
            generator=generator,
        )

    _kinds: str | dict[str, str]
    _real_names: list[str]

    def _infers(self, prior: Any) -> bool:
        return super()._infers(prior) or isinstance(base_law(prior), Normal)

    def _make_parameters(self, sites: Mapping[str, Any]) -> None:
        signs = {name: prior for name, prior in sites.items() if is_sign_weight(prior)}
        reals = {name: prior for name, prior in sites.items() if name not in signs}
        kinds = self._kinds if isinstance(self._kinds, dict) else dict.fromkeys(reals, self._kinds)
        unknown = sorted(set(kinds) - set(reals))
        if unknown:
            raise ValueError(
                f"AutoHybrid(real=...): {', '.join(map(repr, unknown))} is no real site of the "
                f"model, which has {', '.join(map(repr, reals)) or 'none'}."
            )
        generator = self._generator
        super()._make_parameters(signs)
        for name, prior in reals.items():
            parent, last = parent_of(self.posterior, name)
            parent.add_module(last, RealSite(kinds.get(name, "normal"), prior, generator))
            self._real_names.append(name)
        if isinstance(self.model, torch.nn.Module):
            self._refuse_shared_names(self.model)

    def real_site(self, name: str) -> RealSite:
        """The parameters of a real site: ``loc``, and ``log_spread`` unless it is a point."""
        self._need_parameters("real_site")
        if name not in self._real_names:
            raise KeyError(f"AutoHybrid.real_site({name!r}): the real sites are {self._real_names}")
        # not by attribute: inside a run a PyroModule would enter its children in the global store
        module = self._modules["posterior"]
        assert module is not None
        site = module.get_submodule(name)
        assert isinstance(site, RealSite)
        return site

    def leaf(self, name: str) -> torch.nn.Parameter:
        """The natural parameters of a ±1 site; those of real sites are in :meth:`real_site`."""
        if name in self._real_names:
            raise KeyError(
                f"AutoHybrid.leaf({name!r}): the weights are real, so they have no natural "
                f"parameter. Write guide.real_site({name!r}).loc, or .log_spread."
            )
        return super().leaf(name)

    def get_posterior(self, name: str, prior: Any) -> Any:
        """The posterior of a weight site; an activation keeps the model's own conditional."""
        if not isinstance(base_law(prior), Normal):
            return super().get_posterior(name, prior)
        refuse_subsampled(self._name, name, get_plates())
        if name not in self._real_names:
            raise ValueError(
                f'{self._name}: site "{name}" was not found when the guide was set up (it has '
                f"{self._site_names + self._real_names}); let a run of the model tell its sites, "
                f"with {self._name}(model, example=(x[:2],))."
            )
        site = self.real_site(name)
        values = {}
        for key, leaf in site.named_parameters():
            path = f"posterior.{name}.{key}"
            register_leaf(leaf, path, is_dual=False)
            values[key] = self._announced(leaf, path)
        return real_law(values["loc"], values.get("log_spread"), prior.event_dim)

    def real_weights(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Location and spread (0 of a point) of each real site, in float64 on the CPU."""
        self._need_parameters("real_weights")
        return {name: self.real_site(name).numbers() for name in self._real_names}

    def real_priors(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Mean and standard deviation of each real site's prior, in float64 on the CPU."""
        self._need_parameters("real_priors")
        sites = {name: self.real_site(name) for name in self._real_names}
        return {
            name: (
                site.prior_loc.to("cpu", torch.float64),
                site.prior_scale.to("cpu", torch.float64),
            )
            for name, site in sites.items()
        }

    @classmethod
    def from_real(
        cls,
        model: PyroModule,
        network: torch.nn.Module,
        *,
        real: str | Mapping[str, str] = "normal",
        share: float = INITIAL_SHARE,
        largest_mean: float = LARGEST_MEAN,
        gradient: str = "natural",
        noise: str | Noise = NATURAL,
    ) -> Self:
        """A guide that starts at a trained real network; scales and biases of the model do too.

        Real layers take its weights as they are, times the gain of the activation
        (:mod:`bayes_sbn.guides.real_start`); ±1 layers have them as expectations.

        Args:
            model: a network of dense layers such as :class:`bayes_sbn.models.BinaryMLP`, whose
                scales and biases are overwritten.
            network: a ``torch.nn.Sequential`` of as many ``Linear`` layers of the same shapes, with
                ``Tanh``, ``Sigmoid`` or ``Hardtanh`` between them.
            real: as for the guide itself.
            share: the spread of each normal weight, as a share of its magnitude (Krishnan, Subedar
                & Tickoo 2020 take 0.1).
            largest_mean: the largest ``|E[w]|`` of each ±1 unit, below 1.
            gradient: as for the guide itself.
            noise: likewise.
        """
        call = f"{cls.__name__}.from_real"
        if not share > 0:
            raise ValueError(
                f"{call}(share={share}): the spread of a normal weight is a positive share of its "
                'magnitude. Write share=0.1, or real="point" for no spread.'
            )
        guide = cls(model, real, gradient=gradient, noise=noise)
        shapes = {name: prior.shape for name, prior in guide._priors.items()}
        shapes.update({name: guide.real_site(name).loc.shape for name in guide._real_names})
        layers = matched_layers(call, model, network, shapes)
        signs = {site: la.weight for site, la in layers.items() if site in guide._site_names}
        scales = guide.start_from(signs, largest_mean=largest_mean)
        set_units(model, layers, scales)
        for site in guide._real_names:
            guide.real_site(site).start_from(layers[site].weight, share)
        return guide

    def __repr__(self) -> str:
        reals = (
            f", {name} {tuple(self.real_site(name).loc.shape)} {self.real_site(name).kind}"
            for name in self._real_names
        )
        return super().__repr__().removesuffix(")") + "".join(reals) + ")"
