r"""A bound of several samples: the log of an average over copies of the activations.

    -E_w E_{h_1 ... h_M} sum_n log 1/M sum_m p(y_n | h_m, w)  +  T KL(q(w) || p(w)).

It grows tighter with M, from ``E_w E_h log p(y | h, w)`` towards ``E_w log E_h p(y | h, w)``.  The
copies are vectorised particles in groups of M that share their weights; rows are averaged one by
one.  A flip of a bit changes one copy of the average, exactly (:mod:`bayes_sbn.affines.averaged`);
flips of weights, which the copies share, are added up.

Reference:
    Burda, Grosse, Salakhutdinov. Importance weighted autoencoders. ICLR 2016.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions import Unit
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from bayes_sbn.distributions import (
    AffineLikelihood,
    ConditionalSign,
    FlipLikelihood,
    SignBernoulli,
)
from bayes_sbn.elbo_run import Run
from bayes_sbn.elbo_sites import is_analytic, is_real_weight, particle_dim
from bayes_sbn.elbo_terms import Particle

CALL = "TraceEstimator_ELBO(num_importance=...)"


class AveragedParticle(Particle):
    """The terms of a run whose particles are groups of copies.

    Args:
        run: the execution, vectorised over all copies of all groups.
        copies: how many copies a group has.
        gradients: whether parameters are wanted, or the value alone.
        temperature: what one nat of the weights' KL costs; None leaves it out.
    """

    def __init__(
        self, run: Run, copies: int, *, gradients: bool, temperature: float | None
    ) -> None:
        super().__init__(run, gradients=gradients, temperature=temperature)
        self.copies = copies

    def _add_observed(self) -> None:
        """The average of each group, once for each of its copies."""
        nodes = self.run.model_trace.nodes
        self._refuse_other_latents()
        sites = [nodes[name] for name in self.run.observed]
        first = sites[0]
        dim = particle_dim(first["cond_indep_stack"])
        assert dim is not None
        total: Tensor | None = None
        for name, site in zip(self.run.observed, sites, strict=True):
            if not _same_rows(site, first):
                raise ValueError(
                    f'{CALL}: the observed sites "{self.run.observed[0]}" and "{name}" are in '
                    "different plates or scaled differently, so that their rows have no common "
                    "average. Observe them in one plate, or leave num_importance out."
                )
            term = scale_and_mask(site["unscaled_log_prob"], 1.0, site["mask"])
            total = term if total is None else total + term
        assert total is not None
        groups = total.movedim(dim, 0).unflatten(0, (-1, self.copies))
        average = groups.logsumexp(1) - math.log(self.copies)
        own, rest = (t.flatten(0, 1).movedim(0, dim) for t in _log_shares(groups.detach()))
        for site in sites:
            if isinstance(site["fn"], AffineLikelihood):
                site["fn"].affine.source.share = (own, rest)
        each = average.unsqueeze(1).expand(groups.shape).flatten(0, 1).movedim(0, dim)
        self._add(-scale_and_mask(each, first["scale"]))

    def _refuse_other_latents(self) -> None:
        model_nodes, guide_nodes = self.run.model_trace.nodes, self.run.guide_trace.nodes
        for name, site in guide_nodes.items():
            if site["type"] != "sample":
                continue
            rows = [f.name for f in site["cond_indep_stack"] if f.vectorized][:-1]
            if isinstance(site["fn"], ConditionalSign) and site["fn"].joint.is_learned:
                raise ValueError(
                    f"{CALL}: the law of {site['fn'].joint.name} is learned from the cost of each "
                    "draw, and a copy has none of its own. Write AutoSignMixture(..., "
                    "learn_weights=False), or leave num_importance out."
                )
            if isinstance(site["fn"], SignBernoulli):
                if rows:
                    raise ValueError(
                        f'{CALL}: the ±1 site "{name}" is drawn in the plate "{rows[0]}", one for '
                        "each row; a bound of several samples takes weights that the rows share."
                    )
                # draws of real weights are paths, which the copies share (EstimatorMessenger)
            elif is_real_weight(site, self.data_plates) and site["fn"].has_rsample:
                continue
            elif name not in model_nodes or not is_analytic(model_nodes[name], site):
                raise ValueError(
                    f'{CALL}: site "{name}" does not follow the model\'s own conditional; a bound '
                    "of several samples takes ±1 weights and activations that do, as the guides "
                    "of bayes_sbn.guides draw them."
                )
            estimator = site["infer"].get("drawn_by")
            if estimator is None or not estimator.is_path:
                shown = "no estimator" if estimator is None else f'estimator "{estimator.name}"'
                raise ValueError(
                    f'{CALL}: site "{name}" is drawn by {shown}; the cost of a copy depends on the '
                    'others, so that path estimators alone serve here: "psa", "st", "zgr".'
                )
            if estimator.flip is not None and estimator.flip.rao_blackwell:
                raise ValueError(
                    f'{CALL}: site "{name}" asks for a Rao-Blackwellised head, which averages the '
                    "log-likelihood and not the likelihood. Leave rao_blackwell out."
                )
        flips = any(
            site["infer"]["drawn_by"].flip is not None
            for site in guide_nodes.values()
            if site["type"] == "sample" and "drawn_by" in site["infer"]  # not a real weight
        )
        for name in self.run.observed:
            law = model_nodes[name]["fn"]
            if flips and isinstance(law, Unit):
                raise ValueError(
                    f'{CALL}: site "{name}" is a pyro.factor, and flips of what it holds, as by '
                    "exact_flips, would be those of one copy. Use AffineCategorical, "
                    'AffineBernoulli or AffineNormal, or estimator "st".'
                )
            if isinstance(law, FlipLikelihood) and law.is_flipped:
                raise ValueError(
                    f'{CALL}: site "{name}" is a FlipLikelihood, whose flips are those of one '
                    "copy. Use AffineCategorical, AffineBernoulli or AffineNormal, or estimator "
                    '"st".'
                )


def _log_shares(groups: Tensor) -> tuple[Tensor, Tensor]:
    """``log r_m`` and ``log(1 - r_m)`` of the copies, dim 1, neither made of the other."""
    log_share = torch.log_softmax(groups, 1)
    rest = [
        torch.cat([log_share[:, :m], log_share[:, m + 1 :]], 1).logsumexp(1)
        for m in range(groups.shape[1])
    ]
    return log_share, torch.stack(rest, 1)


def _same_rows(site: Any, first: Any) -> bool:
    stacks = ({(f.name, f.dim) for f in s["cond_indep_stack"]} for s in (site, first))
    scales = (torch.as_tensor(s["scale"]) for s in (site, first))
    same_stack, same_scale = next(stacks) == next(stacks), torch.equal(next(scales), next(scales))
    return same_stack and same_scale and site["log_prob"].shape == first["log_prob"].shape
