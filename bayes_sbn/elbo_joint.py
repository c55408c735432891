"""The terms of guides whose ±1 weights depend on each other, through an auxiliary variable.

All sites of such a guide have one divergence, bounded by the guide (``divergence_bound``), and one
draw of the auxiliary variable, whose own law may be learned from the costs of its draws.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from bayes_sbn.distributions import ConditionalSign, JointLaw, SignBernoulli


@dataclass
class JointSites:
    """The sites of one joint law in a run.

    Args:
        law: that law.
        guide_sites: by name.
        priors: by name.
    """

    law: JointLaw
    guide_sites: dict[str, Any] = field(default_factory=dict)
    priors: dict[str, SignBernoulli] = field(default_factory=dict)

    def divergence(self) -> Tensor:
        """The bound on the divergence for each place of the plates around the guide, scaled."""
        bound = self.law.divergence_bound(self.priors)
        sites = list(self.guide_sites.items())
        first_name, first = sites[0]
        for name, site in sites:
            same_scale = bool(torch.as_tensor(site["scale"] == first["scale"]).all())
            if site["mask"] is not None or not same_scale:
                raise ValueError(
                    f'TraceEstimator_ELBO: the ±1 weights "{first_name}" and "{name}" have one '
                    f"divergence under {self.law.name}, but their scales or masks differ. Scale "
                    "all of them alike (pyro.poutine.scale around the model), without masks."
                )
        scaled: Tensor = scale_and_mask(bound.expand(self.law.shape), first["scale"])
        return scaled


def joint_sites(model_trace: Any, guide_trace: Any) -> list[JointSites]:
    """The joint laws of a run, each with its sites."""
    found: dict[int, JointSites] = {}
    for name, site in guide_trace.nodes.items():
        if site["type"] != "sample" or not isinstance(site["fn"], ConditionalSign):
            continue
        prior = model_trace.nodes.get(name, site)["fn"]
        if isinstance(prior, SignBernoulli):
            law = site["fn"].joint
            sites = found.setdefault(id(law), JointSites(law))
            sites.guide_sites[name], sites.priors[name] = site, prior
    return list(found.values())
