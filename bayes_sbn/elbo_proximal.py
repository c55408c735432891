r"""The KL of ±1 weights that a loss leaves to the optimiser, for its exact proximal step.

A loss without the KL (``weight_kl=False``) tells the leaf of each weight what was left out: the
derivative in the mean, ``T s (lam - lam_0)`` for the scale s of the site, summed over the places
that share a leaf.  The optimiser then either steps by it or refuses; a loss that has the KL
withdraws what an earlier one said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from bayes_sbn.distributions import SignBernoulli
from bayes_sbn.dual import LeftKL, leaf_of, leave_kl
from bayes_sbn.elbo_joint import joint_sites
from bayes_sbn.elbo_run import Run


def tell_leaves(run: Run, temperature: Callable[[Run], float] | None, particles: int) -> None:
    """Tell the leaves of a run's ±1 weights the KL that the loss left out, or that it has it.

    Args:
        run: the execution whose loss it is.
        temperature: tells what one nat costs, of a run; None if the loss has the KL.
        particles: the number side by side in the run, over which the loss is averaged.
    """
    if temperature is not None:
        for sites in joint_sites(run.model_trace, run.guide_trace):
            guide = sites.law.name.partition(".")[0]
            raise ValueError(
                f"TraceEstimator_ELBO(weight_kl=False): the divergence of {guide} is no sum over "
                "weights, so that no proximal step has it. Leave weight_kl out, and write "
                'MirrorDescent without "kl": "prox".'
            )
    found: dict[int, tuple[Tensor, LeftKL]] = {}
    for leaf, q, p, site in _weights(run):
        if temperature is None:
            leave_kl(leaf, None)
            continue
        ones = torch.ones(q.batch_shape, dtype=leaf.dtype, device=leaf.device)
        each = scale_and_mask(ones, site["scale"], site["mask"]) * (temperature(run) / particles)
        # a scale may have more rows than the site: they add up, as in the loss
        each = each.reshape(*each.shape, *(1,) * q.event_dim).expand(*each.shape, *q.event_shape)
        weight = each.sum_to_size(leaf.shape)
        pull = (each * p.half_log_odds()).sum_to_size(leaf.shape)
        trained = p.parameter.requires_grad or p.mean_path().requires_grad
        if id(leaf) in found:
            other = found[id(leaf)][1]
            weight, pull = weight + other.weight, pull + other.pull
            trained = trained or other.prior_is_trained
        found[id(leaf)] = (leaf, LeftKL(weight, pull, trained))
    for leaf, left in found.values():
        leave_kl(leaf, left)


def _weights(run: Run) -> Iterator[tuple[Tensor, SignBernoulli, SignBernoulli, dict[str, object]]]:
    """The leaves that optimisers know as dual, with posterior, prior and site."""
    for name, site in run.guide_trace.nodes.items():
        if site["type"] != "sample" or not isinstance(site["fn"], SignBernoulli):
            continue
        prior = run.model_trace.nodes.get(name, site)["fn"]
        leaf = site["fn"].leaf
        if leaf is None or not isinstance(prior, SignBernoulli):
            continue
        known = leaf_of(leaf)
        if known is not None and known.is_dual:
            yield leaf, site["fn"], prior, site
