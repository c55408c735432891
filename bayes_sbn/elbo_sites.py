r"""What a latent site contributes to the bound, and what it need not.

The KL of ±1 weights is analytic, and so is that of real weights, normal or a point; that of
activations which follow their own conditional is zero; every other latent site contributes
``log p - log q`` at its draw.  Real weights are sites outside the plates of the data; their KL
costs the temperature, as that of ±1 weights does.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from pyro.distributions import Delta, Normal, constraints
from pyro.distributions.util import scale_and_mask
from pyro.infer.util import MultiFrameTensor
from pyro.poutine.runtime import effectful
from torch import Tensor
from torch.distributions import Independent, kl_divergence

from bayes_sbn.distributions import NoisySign, SignBernoulli
from bayes_sbn.dual import leaf_of, register_leaf
from bayes_sbn.messenger import PARTICLE_PLATE


def need_model_site(name: str, model_nodes: Mapping[str, Any]) -> Any:
    """The model's site of a latent site of the guide, which must be there."""
    if name not in model_nodes:
        raise ValueError(
            f'TraceEstimator_ELBO: the guide has a site "{name}" that the model has not; '
            "rename it, or sample it in the model."
        )
    return model_nodes[name]


def register_parameters(nodes: Mapping[str, Any]) -> None:
    """Tell optimisers the names of parameters, which the global store may not know."""
    for name, site in nodes.items():
        if site["type"] == "param" and hasattr(site["value"], "unconstrained"):
            parameter = site["value"].unconstrained()
            if leaf_of(parameter) is None:
                register_leaf(parameter, name, is_dual=False)


def announce_parameters(module: torch.nn.Module, prefix: str) -> None:
    """Show the parameters of a module to the handlers of ``pyro.param``, as local ones.

    So ``SVI`` finds those of estimators beside the model's and the guide's.
    """
    for name, leaf in module.named_parameters():
        path = f"{prefix}.{name}"
        register_leaf(leaf, path, is_dual=False)
        value: Any = leaf.view_as(leaf)
        value.unconstrained = weakref.ref(leaf)
        announced = effectful(type="param")(lambda *_, shown=value, **__: shown)
        announced(path, constraint=constraints.real, event_dim=None, name=path)


def is_analytic(model_site: Any, guide_site: Any) -> bool:
    """Whether the KL of a site needs no draw: ±1 weights, or the model's own conditional."""
    q, p = guide_site["fn"], model_site["fn"]
    both = isinstance(q, SignBernoulli) and isinstance(p, SignBernoulli)
    return both or follows_model(q, p, guide_site)


def is_real_weight(site: Any, plates: frozenset[str]) -> bool:
    """Whether a site of the guide has a law of real weights, outside the plates of the data."""
    inside = {frame.name for frame in site["cond_indep_stack"]}
    return isinstance(base_law(site["fn"]), (Normal, Delta)) and not inside & plates


def base_law(law: Any) -> Any:
    """The law of single numbers under declarations of events."""
    while isinstance(law, Independent):
        law = law.base_dist
    return law


def data_plates(model_nodes: Mapping[str, Any]) -> frozenset[str]:
    """The plates in which something is observed, but for that of vectorised particles."""
    return frozenset(
        frame.name
        for site in model_nodes.values()
        if site["type"] == "sample" and site["is_observed"]
        for frame in site["cond_indep_stack"]
        if frame.name != PARTICLE_PLATE
    )


def real_divergence(model_site: Any, guide_site: Any) -> Tensor | None:
    """The KL of real weights, scaled; None where there is no closed form.

    That of a point is ``-log p`` at its place, with the log density that its law may carry.
    """
    if isinstance(base_law(guide_site["fn"]), Delta):
        log_p, log_q, _ = latent_terms(model_site, guide_site)
        return log_q - log_p
    try:
        kl = kl_divergence(guide_site["fn"], model_site["fn"])
    except NotImplementedError:
        return None
    scaled: Tensor = scale_and_mask(kl, guide_site["scale"], guide_site["mask"])
    return scaled


def add_later_divergences(
    cost: MultiFrameTensor,
    after: str,
    model_nodes: Mapping[str, Any],
    guide_nodes: Mapping[str, Any],
    temperature: float,
) -> None:
    """Add to the cost of a site the KL of the real weights drawn after it, whose law it may decide.

    Args:
        cost: of the site.
        after: its name.
        model_nodes: sites of the model.
        guide_nodes: sites of the guide.
        temperature: what one nat costs.
    """
    plates = data_plates(model_nodes)
    names = list(guide_nodes)
    for name in names[names.index(after) + 1 :]:
        site = guide_nodes[name]
        if site["type"] != "sample" or not is_real_weight(site, plates):
            continue
        kl = real_divergence(need_model_site(name, model_nodes), site)
        if kl is not None:
            frames = tuple(f for f in site["cond_indep_stack"] if f.vectorized)
            cost.add((frames, temperature * kl))


def particle_dim(stack: Any) -> int | None:
    """The batch dim, from the right, of vectorised particles."""
    for frame in stack:
        if frame.name == PARTICLE_PLATE and frame.vectorized:
            return int(frame.dim)
    return None


def follows_model(q: Any, p: Any, guide_site: Any) -> bool:
    """Whether a site is drawn from the model's own conditional, so that its KL is zero."""
    if guide_site["infer"].get("follows_model"):
        return True
    return (
        isinstance(q, NoisySign)
        and isinstance(p, NoisySign)
        and q.affine.source is p.affine.source
        and q.noise == p.noise
    )


def latent_terms(model_site: Any, guide_site: Any) -> tuple[Tensor, Tensor, Any]:
    """``log p``, ``log q`` and the part of it that is differentiated pathwise, all scaled."""
    log_p = scale_and_mask(
        model_site["fn"].log_prob(model_site["value"]), model_site["scale"], model_site["mask"]
    )
    parts = guide_site["fn"].score_parts(guide_site["value"])
    parts = parts.scale_and_mask(guide_site["scale"], guide_site["mask"])
    return log_p, parts.log_prob, parts.entropy_term
