r"""What a latent site contributes to the bound, and what it need not.

The KL of ±1 weights is analytic, and that of activations which follow their own conditional is
zero; every other latent site contributes ``log p - log q`` at its draw.
"""

from __future__ import annotations

from typing import Any

from pyro.distributions.util import scale_and_mask
from torch import Tensor

from bayes_sbn.distributions import NoisySign, SignBernoulli
from bayes_sbn.messenger import PARTICLE_PLATE


def is_analytic(model_site: Any, guide_site: Any) -> bool:
    """Whether the KL of a site needs no draw: ±1 weights, or the model's own conditional."""
    q, p = guide_site["fn"], model_site["fn"]
    both = isinstance(q, SignBernoulli) and isinstance(p, SignBernoulli)
    return both or follows_model(q, p, guide_site)


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
