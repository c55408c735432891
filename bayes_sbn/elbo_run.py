r"""One execution of guide and model under the estimators, which can be repeated.

The guide is traced with every ±1 site drawn by its estimator, the model is replayed on it, and the
observed sites are scored.  What a rerun needs (uniforms, the values of other sites, the rows that
plates drew) is kept, so that the cost of other values of one site comes of the same randomness.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.infer.util import MultiFrameTensor, get_plate_stacks, is_validation_enabled
from pyro.poutine.util import prune_subsample_sites
from pyro.util import check_model_guide_match, check_site_shape
from torch import Tensor

from bayes_sbn.elbo_sites import (
    add_later_divergences,
    data_plates,
    is_analytic,
    is_real_weight,
    latent_terms,
    real_divergence,
)
from bayes_sbn.estimators import Soften
from bayes_sbn.messenger import EstimatorMessenger
from bayes_sbn.messenger_forced import RerunMessenger
from bayes_sbn.messenger_relaxed import RelaxedRerunMessenger
from bayes_sbn.signs import relaxed_tag


class Run:
    """One execution of guide and model under the estimators, which can be repeated.

    Args:
        handler: draws the ±1 sites.
        model: as in Pyro's ELBOs.
        guide: as in Pyro's ELBOs.
        args: of both.
        kwargs: of both.
        max_plate_nesting: bound on nested plates, for the checks of shapes.
    """

    def __init__(
        self,
        handler: EstimatorMessenger,
        model: Any,
        guide: Any,
        args: Any,
        kwargs: Any,
        max_plate_nesting: float,
    ) -> None:
        self.model, self.guide = model, guide
        self.args, self.kwargs = args, kwargs
        self.max_plate_nesting = max_plate_nesting
        self.passes = 0
        """Network evaluations, reruns included."""
        self.temperature = 1.0
        """What one nat of the KL of real weights costs, which is always part of the loss."""
        self.handler = handler
        self.model_trace, self.guide_trace = self._execute()
        self.uniforms = dict(self.handler.uniforms)
        if is_validation_enabled():
            check_model_guide_match(self.model_trace, self.guide_trace, max_plate_nesting)
        self.recorded = {  # what a rerun keeps: latent values, and the rows that plates drew
            name: site["value"]
            for trace in (self.model_trace, self.guide_trace)
            for name, site in trace.nodes.items()
            if site["type"] == "sample" and not site["is_observed"]
        }
        self.recorded.update(self.handler.auxiliary)
        self.recorded.update(self.handler.subsamples)  # automatic guides prune them from traces
        self.model_trace = prune_subsample_sites(self.model_trace)
        self.guide_trace = prune_subsample_sites(self.guide_trace)
        self.observed = self._observed_sites()
        self.log_likelihoods(self.model_trace)

    def _execute(self) -> tuple[Any, Any]:
        self.passes += 1
        unwrapped = poutine.unwrap(self.guide)
        with self.handler:
            if isinstance(unwrapped, poutine.messenger.Messenger):
                self.guide(*self.args, **self.kwargs)
                model_trace, guide_trace = unwrapped.get_traces()
                return model_trace, guide_trace
            guide_trace = poutine.trace(self.guide).get_trace(*self.args, **self.kwargs)
            replayed = poutine.replay(self.model, trace=guide_trace)
            return poutine.trace(replayed).get_trace(*self.args, **self.kwargs), guide_trace

    def _observed_sites(self) -> list[str]:
        names = [
            name
            for name, site in self.model_trace.nodes.items()
            if site["type"] == "sample" and site["is_observed"]
        ]
        if not names:
            raise ValueError(
                "TraceEstimator_ELBO: the model has no observed site, so there is nothing to "
                "learn from. Pass the targets, as in svi.step(x, y), and give them to "
                "pyro.sample(..., obs=y)."
            )
        return names

    def log_likelihoods(self, trace: Any) -> None:
        """Score the observed sites of a model trace."""
        trace.compute_log_prob(site_filter=lambda _, site: site["is_observed"])
        if is_validation_enabled():
            for site in trace.nodes.values():
                if site["type"] == "sample" and site["is_observed"]:
                    check_site_shape(site, self.max_plate_nesting)

    def rerun_cost(self, name: str, frames: Any, values: Mapping[str, Tensor]) -> Tensor:
        """The cost per batch element of a site for other values of it, by the same uniforms."""
        others = self._uniforms_of_others(name, values)
        with torch.no_grad(), RerunMessenger(values, others, self.recorded):
            return self._cost_again(name, frames)

    def relaxed_cost(
        self, name: str, frames: Any, values: Mapping[str, Tensor], soften: Soften
    ) -> Tensor:
        """The cost for real values of a site, differentiable in them.

        Downstream sites are given ``soften(law, uniforms)`` in place of draws.
        """
        others = self._uniforms_of_others(name, values)
        value = values[name]
        with torch.enable_grad(), RelaxedRerunMessenger(name, value, soften, others, self.recorded):
            return self._cost_again(name, frames)

    def _uniforms_of_others(self, name: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if set(values) != {name}:
            raise ValueError(
                f'rerun: values were given for {sorted(values)}; give those of site "{name}".'
            )
        return {key: u for key, u in self.uniforms.items() if key != name}

    def _cost_again(self, name: str, frames: Any) -> Tensor:
        """Execute once more, under a handler that gives values, and add the costs up."""
        model_trace, guide_trace = self._execute()
        model_trace = prune_subsample_sites(model_trace)
        self.log_likelihoods(model_trace)
        guide_nodes = prune_subsample_sites(guide_trace).nodes
        stacks = get_plate_stacks(model_trace)
        plates = data_plates(model_trace.nodes)
        cost = MultiFrameTensor()
        add_later_divergences(cost, name, model_trace.nodes, guide_nodes, self.temperature)
        for key, site in model_trace.nodes.items():
            if site["type"] != "sample":
                continue
            if site["is_observed"]:
                cost.add((stacks[key], -site["log_prob"]))
            elif key in guide_nodes and not is_analytic(site, guide_nodes[key]):
                if relaxed_tag(site["value"]) is not None:
                    raise ValueError(
                        f'site "{key}" does not follow the model\'s own conditional, so that its '
                        "divergence is paid by draws; a relaxed rerun has none of it. Give it "
                        'and the sites above it infer={"estimator": "disarm"}.'
                    )
                factor = 1.0
                if is_real_weight(guide_nodes[key], plates):
                    if real_divergence(site, guide_nodes[key]) is not None:
                        continue
                    factor = self.temperature
                log_p, log_q, _ = latent_terms(site, guide_nodes[key])
                cost.add((stacks[key], factor * (log_q - log_p)))
        total: Tensor = cost.sum_to(frames)
        return total


class Downstream:
    """What estimators are given to run what is downstream of a site again.

    Args:
        run: the execution that is repeated.
        name: of the site.
        frames: its plates.
    """

    def __init__(self, run: Run, name: str, frames: Any) -> None:
        self.run, self.name, self.frames = run, name, frames

    def __call__(self, values: Mapping[str, Tensor]) -> Tensor:
        """See :meth:`Run.rerun_cost`."""
        return self.run.rerun_cost(self.name, self.frames, values)

    def relaxed(self, values: Mapping[str, Tensor], soften: Soften) -> Tensor:
        """See :meth:`Run.relaxed_cost`."""
        return self.run.relaxed_cost(self.name, self.frames, values, soften)
