"""What is enumerated: the latent sites with their laws, and the bits of their joint states.

Rows of a plate are independent given what is outside of it.  If all sites outside come before the
first ±1 site inside, no term of the loss sees two rows, and one sum over the states of *one* row
serves all rows side by side.  Otherwise the bits of all rows count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import Delta

from bayes_sbn.distributions import SignDistribution
from bayes_sbn.elbo_joint import joint_sites
from bayes_sbn.elbo_run import Run
from bayes_sbn.elbo_sites import base_law


@dataclass(frozen=True)
class Bits:
    """The bits of one site in a joint state.

    Args:
        shape: of its states, with 1 at the plates whose rows share them.
        joint_dims: batch dims, from the right, whose rows do not.
        shared: plates whose rows share the states.
    """

    shape: torch.Size
    joint_dims: tuple[int, ...]
    shared: frozenset[str]


def latent_laws(run: Run) -> dict[str, Any]:
    """Every latent site with the law it is drawn from, the guide's where it has one."""
    laws: dict[str, Any] = {}
    points: set[str] = set()
    for trace in (run.guide_trace, run.model_trace):
        for name, site in trace.nodes.items():
            if site["type"] != "sample" or site["is_observed"] or name in laws or name in points:
                continue
            if isinstance(base_law(site["fn"]), Delta):
                points.add(name)  # one state, which it draws itself
                continue
            if not isinstance(site["fn"], SignDistribution):
                raise TypeError(
                    f'TraceEstimator_ELBO("exact"): the latent site "{name}" has law '
                    f"{type(base_law(site['fn'])).__name__}, whose states cannot be listed; all of "
                    "them must be ±1 (SignBernoulli, NoisySign), or a point. Use "
                    'AutoHybrid(model, real="point"), or "psa" or "score" with such a site.'
                )
            laws[name] = site
    return laws


def number_of_choices(run: Run) -> int:
    """How many states the auxiliary variable of the guide has; 1 without one."""
    number = 1
    for sites in joint_sites(run.model_trace, run.guide_trace):
        if sites.law.states is None:
            raise ValueError(
                f'TraceEstimator_ELBO("exact"): {sites.law.name} is continuous, so that its states '
                'cannot be listed. Estimate: "local" is unbiased, "psa" is cheap.'
            )
        number = sites.law.states
    return number


def shared_plates(run: Run, latent: set[str]) -> frozenset[str]:
    """The plates of which no site outside comes after a ±1 site inside."""
    plates: set[str] = set()
    joint: set[str] = set()
    for trace in (run.guide_trace, run.model_trace):
        entered: set[str] = set()
        for name, site in trace.nodes.items():
            if site["type"] != "sample":
                continue
            inside = {f.name for f in site["cond_indep_stack"] if f.vectorized}
            joint |= entered - inside
            if name in latent:
                entered |= inside
        plates |= entered
    return frozenset(plates - joint)


def bits_of(site: Any, shared: frozenset[str]) -> Bits:
    """The bits of a site, given the plates whose rows share their states."""
    fn, joint = site["fn"], []
    batch = list(fn.batch_shape)
    for frame in site["cond_indep_stack"]:
        if frame.vectorized and frame.name in shared:
            batch[frame.dim] = 1
        elif frame.vectorized:
            joint.append(frame.dim)
    names = {f.name for f in site["cond_indep_stack"] if f.vectorized}
    shape = torch.Size(batch) + fn.event_shape
    return Bits(shape, tuple(joint), frozenset(names & shared))
