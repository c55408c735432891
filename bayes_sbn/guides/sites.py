"""Which ±1 weights a model has: by its declarations, or by one run of it; and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import Normal
from pyro.nn import PyroModule, PyroSample
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import Independent

from bayes_sbn.distributions import (
    AffineLikelihood,
    FlipLikelihood,
    SignBernoulli,
    SignDistribution,
)


def is_sign_weight(law: Any) -> bool:
    """Whether a law is that of ±1 weights."""
    return isinstance(law, SignBernoulli)


def sites_of_module(
    guide: str, model: PyroModule, infers: Callable[[Any], bool] = is_sign_weight
) -> Iterator[tuple[str, Any]]:
    """The weights that a PyroModule declares as PyroSample attributes, with their priors.

    Args:
        guide: the name that errors tell.
        model: whose attributes.
        infers: whether the guide has a law for weights of a prior.
    """
    for path, module in model.named_modules():
        if not isinstance(module, PyroModule):
            continue
        declared = {
            name: sample.prior
            for cls in reversed(type(module).__mro__)
            for name, sample in vars(cls).items()
            if isinstance(sample, PyroSample)
        }
        for attribute, prior in {**declared, **module._pyro_samples}.items():
            name = f"{path}.{attribute}" if path else attribute
            law = prior if hasattr(prior, "sample") else prior(module)
            if infers(law):
                yield name, law
            elif not isinstance(law, (Tensor, SignDistribution)):
                raise real_site_error(guide, name, law)


def sites_of_run(
    guide: str,
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    infers: Callable[[Any], bool] = is_sign_weight,
) -> dict[str, Any]:
    """The weights that one run of the model samples, without touching the caller's handlers."""
    with torch.no_grad(), poutine.block():
        trace = poutine.trace(model).get_trace(*args, **(kwargs or {}))
    sites = {}
    for name, site in trace.nodes.items():
        if site["type"] != "sample" or site["is_observed"] or site_is_subsample(site):
            continue
        if infers(site["fn"]):
            refuse_subsampled(guide, name, site["cond_indep_stack"])
            sites[name] = site["fn"]
        elif not isinstance(site["fn"], (SignDistribution, AffineLikelihood, FlipLikelihood)):
            raise real_site_error(guide, name, site["fn"])
    return sites


def refuse_subsampled(guide: str, name: str, frames: Any) -> None:
    """Raise if weights are sampled in a subsampled plate, one set per row of a mini-batch."""
    for frame in frames:
        if frame.full_size is not None and frame.size != frame.full_size:
            raise ValueError(
                f'{guide}: the weights of site "{name}" are sampled inside the '
                f'subsampled plate "{frame.name}", one set per row of a mini-batch. Sample them '
                "before (outside) the plate; for weights of each datum write a guide of your own "
                "with one parameter per row."
            )


def real_site_error(guide: str, name: str, law: Any) -> TypeError:
    """The error for a latent site that the guide has no law for."""
    base = base_law(law)
    hybrid = "Write AutoHybrid(model) for it, make" if isinstance(base, Normal) else "Make"
    return TypeError(
        f'{guide}: site "{name}" has law {type(base).__name__}; guides infer ±1 sites only, and '
        f"AutoHybrid real sites with a Normal prior too. {hybrid} it a parameter (pyro.param, "
        "PyroParam), or write the guide as a function that samples every latent site: ±1 weights "
        "by SignBernoulli.from_natural(leaf), this site by a law of its own, activations as the "
        "model does."
    )


def base_law(law: Any) -> Any:
    """The law of single numbers under declarations of events."""
    while isinstance(law, Independent):
        law = law.base_dist
    return law
