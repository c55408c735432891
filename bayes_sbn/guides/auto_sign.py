r"""A guide with one parameter for each ±1 weight: what the laws of the weights have in common.

    q(weights) = prod_i q(w_i; leaf_i)

Activations follow the model's own conditional, ``q(h | w) = p(h | w)``, so one network pass makes
both traces.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from pyro.distributions import constraints
from pyro.infer.autoguide.effect import AutoMessenger
from pyro.nn import PyroModule
from pyro.poutine.runtime import effectful, get_plates
from torch import Tensor

from bayes_sbn.distributions import (
    AffineLikelihood,
    FlipLikelihood,
    SignBernoulli,
    SignDistribution,
)
from bayes_sbn.dual import NATURAL, latent_of, leaf_of, register_leaf
from bayes_sbn.guides.sites import (
    is_sign_weight,
    real_site_error,
    refuse_subsampled,
    sites_of_module,
    sites_of_run,
)
from bayes_sbn.guides.unrolled import UnrolledGuide
from bayes_sbn.noise import Noise

INITIAL_SPREAD = 1.5
"""Standard deviation of natural parameters at the start. Means near 0 drown in the noise of the
weights; spread out, deep and wide networks learn quickly (the start decides more than any other
setting)."""


class AutoSign(AutoMessenger):
    """Guide over the ±1 weights of a model; subclasses say what law a leaf stands for.

    The parameters are there from the start (eager) for a PyroModule, which tells its sites without
    running, and for any callable if ``example`` is given; else the first call makes them.

    Args:
        model: a Pyro model whose latent sites are ``SignBernoulli`` weights, outside subsampled
            plates, and ``NoisySign`` activations.
        example: arguments of one call of the model, to find the sites of a callable.
        init_scale: standard deviation of the natural parameters at the start.
        generator: of the initial values; default torch's global one.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        example: tuple[Any, ...] | None = None,
        init_scale: float = INITIAL_SPREAD,
        generator: torch.Generator | None = None,
    ) -> None:
        if not init_scale >= 0:
            raise ValueError(
                f"{self._name}(init_scale={init_scale}): a standard deviation is at least 0."
            )
        super().__init__(model)
        self.init_scale = init_scale
        self._generator = generator
        self._site_names: list[str] = []
        self._priors: dict[str, Tensor] = {}
        sites = None
        if example is not None:
            sites = sites_of_run(self._name, model, example, infers=self._infers)
        elif isinstance(model, PyroModule):
            sites = dict(sites_of_module(self._name, model, self._infers))
        if sites is not None:
            self._make_parameters(sites)

    @property
    def is_set_up(self) -> bool:
        """Whether the parameters exist."""
        return bool(self._site_names)

    def _make_parameters(self, sites: Mapping[str, SignBernoulli]) -> None:
        if not sites:
            raise ValueError(
                f"{self._name}: the model has no ±1 weights (no latent SignBernoulli site), "
                "so there is nothing to infer. Sample its weights, for example "
                'pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(out, inputs)).to_event(2)).'
            )
        self.posterior = torch.nn.Module()
        for name, prior in sites.items():
            shape = self._leaf_shape(prior)
            like = prior.parameter
            start = (
                torch.randn(shape, generator=self._generator, dtype=like.dtype) * self.init_scale
            )
            start = latent_of(start, self._noise()).to(like.device)
            parent, last = parent_of(self.posterior, name)
            parent.register_parameter(last, torch.nn.Parameter(start))
            self._site_names.append(name)
            self._priors[name] = prior.probs.detach().clone()
        self._generator = None
        if isinstance(self.model, torch.nn.Module):
            self._refuse_shared_names(self.model)

    def _leaf_shape(self, prior: SignBernoulli) -> torch.Size:
        """The shape of the leaf of a site."""
        return torch.Size(prior.shape())

    def _refuse_shared_names(self, model: torch.nn.Module) -> None:
        """Pyro captures parameters by name: of two of one name, only one would be trained."""
        own = {path for path, _ in self.named_parameters()}
        others = {path.removesuffix("_unconstrained") for path, _ in model.named_parameters()}
        if own & others:
            raise ValueError(
                f"{self._name}: {', '.join(sorted(own & others))} is the name of a parameter "
                "in both model and guide, and Pyro would train only one of them. Rename the "
                'model\'s submodule "posterior".'
            )

    def leaf(self, name: str) -> torch.nn.Parameter:
        """The parameters of a site, as the optimiser sees them."""
        self._need_parameters("leaf")
        if name not in self._site_names:
            raise KeyError(f"{self._name}.leaf({name!r}): the ±1 weights are {self._site_names}.")
        # not by attribute: inside a run a PyroModule would enter its children in the global store
        module = self._modules["posterior"]
        assert module is not None
        leaf: torch.nn.Parameter = module.get_parameter(name)
        return leaf

    def _checked_starts(self, weights: Mapping[str, Tensor]) -> Iterator[tuple[str, str, Tensor]]:
        """The call, for messages, site and real weights of each site that is to start at them."""
        self._need_parameters("start_from")
        for name, weight in weights.items():
            shape = self.leaf(name).shape
            call = f'{self._name}.start_from, site "{name}"'
            if len(shape) < 2 or weight.shape != shape:
                raise ValueError(
                    f"{call}: the weights have shape {tuple(weight.shape)}; those of the site, "
                    f"which need an axis of units and one of inputs, have {tuple(shape)}."
                )
            yield call, name, weight

    def _param_statement(self, name: str) -> Tensor:
        """The leaf of a site, announced to the handlers of ``pyro.param`` as a local parameter."""
        return self._announce(
            self.leaf(name),
            f"posterior.{name}",
            is_dual=self._is_dual(),
            noise=self._noise(),
            is_point=self._is_point(),
        )

    def _announce(
        self,
        leaf: Tensor,
        path: str,
        *,
        is_dual: bool,
        noise: Noise = NATURAL,
        is_point: bool = False,
    ) -> Tensor:
        """A parameter of the guide, shown to optimisers and to the handlers of ``pyro.param``."""
        register_leaf(leaf, path, is_dual=is_dual, noise=noise, is_point=is_point)
        return self._announced(leaf, path)

    def _announced(self, leaf: Tensor, path: str) -> Tensor:
        value: Any = leaf.view_as(leaf)
        value.unconstrained = weakref.ref(leaf)
        announced = effectful(type="param")(lambda *_, **__: value)
        result: Tensor = announced(path, constraint=constraints.real, event_dim=None, name=path)
        return result

    def _need_parameters(self, call: str) -> None:
        if not self.is_set_up:
            raise RuntimeError(
                f"{self._name}.{call}: the guide of a callable has no parameters before its "
                f"first call; write {self._name}(model, example=(x[:2],)) to have them at once."
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run guide and model together; returns the values of all sites by name."""
        self.prepare(args, kwargs)
        return super().__call__(*args, **kwargs)

    def prepare(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Make the parameters if need be, and tell optimisers the names of all of them."""
        if not self.is_set_up:
            sites = sites_of_run(self._name, self.model, args, kwargs, self._infers)
            self._make_parameters(sites)
        if isinstance(self.model, torch.nn.Module):
            if all(leaf_of(parameter) is not None for parameter in self.model.parameters()):
                return
            for path, parameter in self.model.named_parameters():
                register_leaf(parameter, path.removesuffix("_unconstrained"), is_dual=False)

    def law(self, leaf: Tensor) -> SignBernoulli:
        """The posterior of weights with these leaves."""
        raise NotImplementedError(f"{self._name} has no law(leaf)")

    def _site_law(self, name: str, leaf: Tensor) -> SignBernoulli:
        """The law that a site is drawn from in this run."""
        del name
        return self.law(leaf)

    def _infers(self, prior: Any) -> bool:
        """Whether weights of this prior have parameters in the guide."""
        return is_sign_weight(prior)

    def covers(self, prior: Any) -> bool:
        """Whether the guide has a law for a latent site, be it the model's own conditional."""
        return isinstance(prior, SignDistribution) or self._infers(prior)

    def _is_dual(self) -> bool:
        """Whether the optimiser steps the leaves by mirror descent."""
        return True

    def _noise(self) -> Noise:
        """The law under which the leaves are duals of probabilities."""
        return NATURAL

    def _is_point(self) -> bool:
        """Whether the weights are surely the signs of the leaves."""
        return False

    @property
    def _name(self) -> str:
        return type(self).__name__

    def get_posterior(self, name: str, prior: Any) -> Any:
        """The posterior of a weight site; an activation keeps the model's own conditional."""
        if isinstance(prior, SignBernoulli):
            refuse_subsampled(self._name, name, get_plates())
            if name not in self._site_names:
                raise ValueError(
                    f'{self._name}: site "{name}" was not found when the guide was set up '
                    f"(it has {self._site_names}); let a run of the model tell its sites, with "
                    f"{self._name}(model, example=(x[:2],))."
                )
            return self._site_law(name, self._param_statement(name)).to_event(prior.event_dim)
        if isinstance(prior, (SignDistribution, AffineLikelihood, FlipLikelihood)):
            return prior  # activations, and data that nobody observed, follow the model
        raise real_site_error(self._name, name, prior)

    def unrolled(self) -> UnrolledGuide:
        """The same guide as a plain Pyro function, for ELBOs that refuse messengers.

        ``TraceEnum_ELBO`` is one: with ``config_enumerate(guide.unrolled())`` it computes the
        exact gradient of tiny networks.
        """
        return UnrolledGuide(self)

    def weight_probabilities(self) -> dict[str, Tensor]:
        """``P(w = +1)`` of each ±1 weight site, in float64 on the CPU."""
        self._need_parameters("weight_probabilities")
        leaves = {n: self.leaf(n).detach().to("cpu", torch.float64) for n in self._site_names}
        return {name: self.law(leaf).probs for name, leaf in leaves.items()}

    def prior_probabilities(self) -> dict[str, Tensor]:
        """The prior ``P(w = +1)`` of each ±1 weight site, in float64 on the CPU."""
        self._need_parameters("prior_probabilities")
        priors = dict(self._priors)
        if isinstance(self.model, PyroModule):  # it may have been given another prior since
            declared = sites_of_module(self._name, self.model, self._infers)
            priors.update((name, law.probs) for name, law in declared if name in priors)
        return {name: p.detach().to("cpu", torch.float64) for name, p in priors.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As torch's; a guide that has no parameters yet says so."""
        self._need_parameters("load_state_dict")
        return super().load_state_dict(state_dict, *args, **kwargs)

    def __repr__(self) -> str:
        sites = ", ".join(f"{n} {tuple(p.shape)}" for n, p in self._priors.items())
        return f"{self._name}({sites or 'not set up yet'})"


def parent_of(module: torch.nn.Module, path: str) -> tuple[torch.nn.Module, str]:
    """The submodule that holds the last name of a path, made if need be, and that name."""
    *parts, last = path.split(".")
    for part in parts:
        if part not in module._modules:
            module.add_module(part, torch.nn.Module())
        module = module.get_submodule(part)
    return module, last
