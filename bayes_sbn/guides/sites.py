"""Which ±1 weights a model has: by its declarations, or by one run of it; and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.nn import PyroModule, PyroSample
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from bayes_sbn.distributions import (
    AffineLikelihood,
    FlipLikelihood,
    SignBernoulli,
    SignDistribution,
)


def sites_of_module(guide: str, model: PyroModule) -> Iterator[tuple[str, SignBernoulli]]:
    """The ±1 weights that a PyroModule declares as PyroSample attributes; errors name the guide."""
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
            if isinstance(law, SignBernoulli):
                yield name, law
            elif not isinstance(law, (Tensor, SignDistribution)):
                raise real_site_error(guide, name, law)


def sites_of_run(
    guide: str,
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
) -> dict[str, SignBernoulli]:
    """The ±1 weights that one run of the model samples, without touching the caller's handlers."""
    with torch.no_grad(), poutine.block():
        trace = poutine.trace(model).get_trace(*args, **(kwargs or {}))
    sites = {}
    for name, site in trace.nodes.items():
        if site["type"] != "sample" or site["is_observed"] or site_is_subsample(site):
            continue
        if isinstance(site["fn"], SignBernoulli):
            refuse_subsampled(guide, name, site["cond_indep_stack"])
            sites[name] = site["fn"]
        elif not isinstance(site["fn"], (SignDistribution, AffineLikelihood, FlipLikelihood)):
            raise real_site_error(guide, name, site["fn"])
    return sites


def refuse_subsampled(guide: str, name: str, frames: Any) -> None:
    """Raise if ±1 weights are sampled in a subsampled plate, one set per row of a mini-batch."""
    for frame in frames:
        if frame.full_size is not None and frame.size != frame.full_size:
            raise ValueError(
                f'{guide}: the ±1 weights of site "{name}" are sampled inside the '
                f'subsampled plate "{frame.name}", one set per row of a mini-batch. Sample them '
                "before (outside) the plate; for weights of each datum write a guide of your own "
                "with one SignBernoulli parameter per row."
            )


def real_site_error(guide: str, name: str, law: Any) -> TypeError:
    """The error for a latent site that is not ±1."""
    return TypeError(
        f'{guide}: site "{name}" has law {type(law).__name__}; this guide infers ±1 '
        "sites only. Make it a parameter (pyro.param, PyroParam), or write the guide as a function "
        "that samples every latent site: ±1 weights by SignBernoulli.from_natural(leaf), "
        "this site by a law of its own, activations as the model does."
    )
