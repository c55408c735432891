r"""Is the posterior that was fitted the one that the model asks for?  Importance ratios tell.

With ratios ``r_s = p(w_s) / q(w_s)`` of draws of q, up to a factor of the target p,

* k-hat is the shape of the tail of the ratios (:mod:`bayes_sbn.analysis.pareto_smoothing`);
* the effective sample size is ``(sum r)^2 / sum r^2``;
* the mean of ``log r`` is the bound that a fit raises, and ``log mean r`` estimates ``log p(y)``.

The target is named: ``bayes`` is ``p(w) p(y | w)``, with ``p(y | w)`` averaged over activations,
and ``trained`` is ``p(w) exp(E_z log p(y | z, w) / T)``, which the fit's q would be if it could be
any law.

Ratios of q's own draws say nothing of where q never goes.  With draws of a wider proposal d
(:mod:`bayes_sbn.analysis.defensive_draws`) beside the n of q, and weights ``omega`` of all of them,
``p / m`` normalised, ``m = (n q + n_d d) / (n + n_d)``, the *missed mass* is

    ``sum omega 1{q(w) < p(w) / 100}``,

the share of the target that lies where q has less than a hundredth of its density.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bayes_sbn.analysis.pareto_smoothing import khat_limit, pareto_smoothed

if TYPE_CHECKING:
    import xarray as xr

Float64 = npt.NDArray[np.float64]

TARGETS = {"bayes": "lp", "trained": "trained_lp"}
"""The targets, and the names of their logarithms in the groups."""

LEAST_DRAWS = 25
"""Fewer draws have no tail of five."""

LARGEST_MISSED = 0.05
"""The missed mass beyond which q is said to leave the target out."""

_RARE = math.log(100)


@dataclass(frozen=True)
class ImportanceCheck:
    """What the ratios of one chain say of one target.

    Args:
        target: ``"bayes"`` or ``"trained"``.
        chain: index of the chain.
        num_draws: draws of q.
        khat: of the ratios; NaN where they have no tail.
        limit: of k-hat, up to which averages can be relied upon.
        ess: effective sample size.
        bound: mean of the log ratios.
        spread: their standard deviation, nats.
        log_evidence: ``log mean r``; NaN unless the ratios can be relied upon.
        missed: the missed mass; NaN without draws of a wider proposal.
        activation_error: median standard error of a log ratio that a finite number of activations
            leaves; NaN where it is not known.
        reliable: whether averages over the target can be had from these draws.
        reason: why, or why not.
    """

    target: str
    chain: int
    num_draws: int
    khat: float
    limit: float
    ess: float
    bound: float
    spread: float
    log_evidence: float
    missed: float
    activation_error: float
    reliable: bool
    reason: str


def importance_checks(groups: Mapping[str, xr.Dataset]) -> tuple[ImportanceCheck, ...]:
    """The checks of each target and chain; none where ``log_q`` is not known.

    Args:
        groups: of the export.
    """
    stats = groups["sample_stats"]
    if "log_q" not in stats:
        return ()
    found = []
    for target, name in TARGETS.items():
        if name not in stats:
            continue
        for chain in range(stats.sizes["chain"]):
            own = {key: stats[key].values[chain] for key in stats}
            wide = groups.get("defensive")
            wider = None if wide is None else {key: wide[key].values[chain] for key in wide}
            found.append(_check(target, name, chain, own, wider))
    return tuple(found)


def _check(
    target: str,
    name: str,
    chain: int,
    own: Mapping[str, Float64],
    wider: Mapping[str, Float64] | None,
) -> ImportanceCheck:
    ratios = own[name] - own["log_q"]
    num_draws, limit = len(ratios), khat_limit(len(ratios))
    error = math.nan
    if target == "bayes" and "log_lik_mcse" in own:
        error = float(np.median(own["log_lik_mcse"]))
    khat, ess, evidence = math.nan, 0.0, math.nan
    missed = math.nan
    finite = np.isfinite(ratios)
    if finite.any():
        khat, ess = pareto_smoothed(ratios).khat, effective_sample_size(ratios)
        evidence = float(np.logaddexp.reduce(ratios) - math.log(num_draws))
        if wider is not None and "log_q" in wider:
            missed = missed_mass(name, own, wider)
    reliable, reason = _verdict(num_draws, khat, limit, ess, missed)
    return ImportanceCheck(
        target=target,
        chain=chain,
        num_draws=num_draws,
        khat=khat,
        limit=limit,
        ess=ess,
        bound=float(ratios.mean()),
        spread=float(ratios[finite].std()) if finite.any() else math.nan,
        log_evidence=evidence if reliable else math.nan,
        missed=missed,
        activation_error=error,
        reliable=reliable,
        reason=reason,
    )


def _verdict(
    num_draws: int, khat: float, limit: float, ess: float, missed: float
) -> tuple[bool, str]:
    if ess == 0:
        return False, "the target is 0 at every draw: the prior or the data forbid them"
    if num_draws < LEAST_DRAWS:
        return False, f"too few draws to tell, {num_draws}: export {LEAST_DRAWS} at least"
    is_missing = missed > LARGEST_MISSED
    left_out = (
        f"{100 * missed:.0f} % of the target lies where the posterior has less than a hundredth of "
        "its density"
    )
    if is_light(khat, limit, ess, num_draws):
        if is_missing:
            return False, left_out
        if math.isnan(khat) and math.isnan(missed):
            return False, (
                "the ratios are all alike, and nothing shows what the draws leave out: export "
                "with num_defensive_draws=200"
            )
        return True, "the ratios have a light tail" if khat <= limit else "the ratios are alike"
    why = f"k-hat of {khat:.2f} is above {limit:.2f}"
    if math.isnan(khat):
        why = f"few draws carry the weight: {ess:.1f} effective ones of {num_draws}"
    return False, f"{why}, and {left_out}" if is_missing else why


def is_light(khat: float, limit: float, ess: float, num_draws: int) -> bool:
    """Whether ratios have a light tail, or none that could be fitted and hardly vary."""
    if math.isnan(khat):
        return ess >= num_draws / 2
    return khat <= limit


def effective_sample_size(log_ratios: Float64) -> float:
    """``(sum r)^2 / sum r^2``."""
    total = np.logaddexp.reduce(log_ratios)
    return float(np.exp(2 * total - np.logaddexp.reduce(2 * log_ratios)))


def missed_mass(name: str, own: Mapping[str, Float64], wider: Mapping[str, Float64]) -> float:
    """The share of the target where q has less than a hundredth of its density.

    Args:
        name: of the target's logarithm.
        own: ``log_q``, ``log_defensive`` and the target at the draws of q, (draws,) each.
        wider: the same at those of the wider proposal.
    """
    target, log_q, log_d = (
        np.concatenate([own[key], wider[key]]) for key in (name, "log_q", "log_defensive")
    )
    num_own, num_wider = len(own[name]), len(wider[name])
    log_m = np.logaddexp(math.log(num_own) + log_q, math.log(num_wider) + log_d)
    log_weights = target - log_m
    log_total = np.logaddexp.reduce(log_weights)  # log of the target's factor: m sums to n + n_d
    rare = target - log_total > _RARE + log_q
    return float(np.exp(log_weights[rare] - log_total).sum())
