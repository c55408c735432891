r"""What a fit is worth: the NLL of held-out rows, and the divergence of the weights.

The predictive probability of a row is the mean over S draws of the posterior, weights and
activations together, hence

    nll       = - mean_n log ( (1/S) sum_s p(y_n | x_n, draw s) )        the ensemble of S networks
    draw_nll  = - mean_n (1/S) sum_s log p(y_n | x_n, draw s)            one of them, on average
    elbo      = - draw_nll - KL(q || p) / N                              the bound, nats a row

with ``nll <= draw_nll`` by Jensen's inequality, N the number of training rows, and the KL that of
±1 and real weights together.  The draws are those of the model itself, whatever estimator
differentiates it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor
from torch.distributions import kl_divergence

from bayes_sbn.distributions import ConditionalSign, SignBernoulli
from bayes_sbn.elbo_joint import joint_sites
from bayes_sbn.elbo_sites import data_plates, is_real_weight, real_divergence
from bayes_sbn.messenger import PARTICLE_PLATE
from bayes_sbn.training_data import Batch


@dataclass(frozen=True)
class WeightDivergence:
    """The KL of the weights from their prior.

    Args:
        nats: the sum over the ±1 weights.
        num_weights: how many of them there are.
        real_nats: the sum over the real weights; ``-log p`` of those that are points.
    """

    nats: float
    num_weights: int
    real_nats: float = 0.0

    @property
    def bits(self) -> float:
        """The same in bits."""
        return self.nats / math.log(2)

    @property
    def bits_per_weight(self) -> float | None:
        """Bits of each ±1 weight, on average; None where there are no ±1 weights."""
        return self.bits / self.num_weights if self.num_weights else None


@dataclass(frozen=True)
class HeldOutScores:
    """Scores of held-out rows, nats a row.

    Args:
        nll: of the ensemble of all draws.
        draw_nll: of a single draw, on average.
    """

    nll: float
    draw_nll: float


@contextmanager
def undisturbed(*modules: Any) -> Iterator[None]:
    """Look at a model without changing it: its buffers and torch's generators are put back."""
    owners = [
        m for module in modules if isinstance(module, torch.nn.Module) for m in module.modules()
    ]
    buffers = [
        (owner, name, buffer, buffer.clone())
        for owner in owners
        for name, buffer in owner._buffers.items()
        if buffer is not None
    ]
    devices = {b.device for b in _tensors(modules) if b.device.type == "cuda"}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=sorted(devices, key=str)):
            yield
    finally:
        for owner, name, buffer, value in buffers:
            owner._buffers[name] = buffer.copy_(value)


@contextmanager
def evaluated(*modules: Any) -> Iterator[None]:
    """Run modules in eval mode, as predictions will, and put their modes back."""
    modes = [
        (m, m.training)
        for module in modules
        if isinstance(module, torch.nn.Module)
        for m in module.modules()
    ]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def traces(model: Any, guide: Any, batch: Batch) -> tuple[Any, Any]:
    """The traces of one draw of guide and model, by their own laws: no estimator has a say."""
    unwrapped = poutine.unwrap(guide)
    if isinstance(unwrapped, poutine.messenger.Messenger):
        guide(*batch)
        model_trace, guide_trace = unwrapped.get_traces()
    else:
        guide_trace = poutine.trace(guide).get_trace(*batch)
        replayed = poutine.replay(model, trace=guide_trace)
        model_trace = poutine.trace(replayed).get_trace(*batch)
    return prune_subsample_sites(model_trace), prune_subsample_sites(guide_trace)


def weight_divergence(model: Any, guide: Any, batch: Batch) -> WeightDivergence:
    """The analytic KL of all latent weights of one run, ±1 and real apart, or a guide's bound."""
    with undisturbed(model, guide):
        model_trace, guide_trace = traces(model, guide, batch)
        plates = data_plates(model_trace.nodes)
        nats, count, real_nats = 0.0, 0, 0.0
        for name, site in guide_trace.nodes.items():
            if site["type"] != "sample":
                continue
            if not isinstance(site["fn"], SignBernoulli):
                if is_real_weight(site, plates):
                    real = real_divergence(model_trace.nodes[name], site)
                    real_nats += math.nan if real is None else float(real.sum())
                continue
            count += int(site["fn"].shape().numel())
            if isinstance(site["fn"], ConditionalSign):
                continue
            prior = model_trace.nodes[name]["fn"]
            kl = scale_and_mask(kl_divergence(site["fn"], prior), site["scale"], site["mask"])
            nats += float(kl.sum())
        for sites in joint_sites(model_trace, guide_trace):
            nats += float(sites.divergence().sum())
    return WeightDivergence(nats, count, real_nats)


def held_out_scores(
    model: Any, guide: Any, batches: Iterable[Batch], num_draws: int
) -> HeldOutScores:
    """Scores of held-out rows by an ensemble of draws of weights and activations.

    Args:
        model: a Pyro model whose observed sites lie in a plate over the rows.
        guide: its guide.
        batches: the rows.
        num_draws: size of the ensemble.
    """
    nll, draw_nll, count = 0.0, 0.0, 0
    with undisturbed(model, guide), evaluated(model, guide):
        for batch in batches:
            draws = torch.stack(
                [_log_likelihoods(traces(model, guide, batch)[0], batch) for _ in range(num_draws)]
            ).double()
            nll -= float((draws.logsumexp(0) - math.log(num_draws)).sum())
            draw_nll -= float(draws.mean(0).sum())
            count += draws.shape[1]
    return HeldOutScores(nll / count, draw_nll / count)


def check_scaling(model_trace: Any, batch: Batch, num_rows: int | None) -> int:
    """The number of rows that the model's plate stands for; raise if it is not that of the data.

    Args:
        model_trace: of a run on the batch.
        batch: some of the rows.
        num_rows: of the data, where it is known.
    """
    rows = len(batch[0])
    for name, site in observed_sites(model_trace):
        frame = _frame_of_rows(site, rows)
        if frame is not None:
            stands_for = int(frame.full_size or frame.size)
            if num_rows is None or stands_for == num_rows:
                return stands_for
            raise ValueError(
                f'fit(): the plate "{frame.name}" of the observed site "{name}" stands for '
                f"{stands_for} rows, but the data have {num_rows}: mini-batches would be weighed "
                f"wrongly against the KL. Build the model for them, num_data={num_rows} in the "
                f'package\'s models, pyro.plate("{frame.name}", {num_rows}, subsample=x) in your '
                "own."
            )
        if num_rows is not None and rows < num_rows and not site["cond_indep_stack"]:
            raise ValueError(
                f'fit(): the observed site "{name}" is in no plate, so a batch of {rows} rows '
                f"would count as all {num_rows}. Put it inside "
                f'pyro.plate("data", {num_rows}, subsample=x, dim=-1), or write '
                f"batch_size={num_rows}."
            )
    return rows if num_rows is None else num_rows


def observed_sites(model_trace: Any) -> list[tuple[str, Any]]:
    """Names and sites of what was observed; raise if there is nothing."""
    found = [
        (name, site)
        for name, site in model_trace.nodes.items()
        if site["type"] == "sample" and site["is_observed"]
    ]
    if not found:
        raise ValueError(
            "fit(): the model has no observed site, so there is nothing to learn from. Give the "
            "targets too, as in fit(model, guide, (x, y)), and pass them to "
            "pyro.sample(..., obs=y)."
        )
    return found


def _log_likelihoods(model_trace: Any, batch: Batch) -> Tensor:
    """``log p(y_n | draw)`` of the rows, not scaled, summed over observed sites."""
    rows = len(batch[0])
    total: Tensor | None = None
    for name, site in observed_sites(model_trace):
        frame = _frame_of_rows(site, rows)
        if frame is None:
            raise ValueError(
                f'fit(validation=...): the observed site "{name}" is in no plate over the {rows} '
                "rows of a batch, so their probabilities cannot be told apart. Put it inside "
                'pyro.plate("data", num_data, subsample=x, dim=-1).'
            )
        log_prob = scale_and_mask(site["fn"].log_prob(site["value"]), mask=site["mask"])
        by_row = log_prob.movedim(frame.dim, 0).reshape(rows, -1).sum(1)
        total = by_row if total is None else total + by_row
    assert total is not None
    return total


def _frame_of_rows(site: Any, rows: int) -> Any:
    """The plate of the rows: of plates that are as long, the one that stands for more of them."""
    frames = [
        f
        for f in site["cond_indep_stack"]
        if f.name != PARTICLE_PLATE and f.vectorized and f.size == rows
    ]
    return next((f for f in frames if (f.full_size or rows) > rows), frames[0] if frames else None)


def _tensors(modules: Iterable[Any]) -> Iterator[Tensor]:
    for module in modules:
        if isinstance(module, torch.nn.Module):
            yield from module.parameters()
            yield from module.buffers()
