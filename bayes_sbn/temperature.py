r"""The temperature of the KL that fits a network to its data: ``T* = N h / (K ln 2)``, and tenths.

N data can pay for N h nats, h the most that one of them tells: the log of the number of classes,
log 2 a binary label, 1 nat a real output.  The prior asks K ln 2 nats for K ±1 weights.  Where it
asks for more, the bound at T = 1 is best at the prior, and nothing is learned; a tenth of the
ratio, ``min(1, T* / 10)``, lets the data outweigh it and keeps the posterior wide.

Real weights do not count: a normal law may stay as wide as its prior where the data say nothing,
and what it asks for has no bound such as ln 2 a bit.  Their KL costs the same T.
"""

from __future__ import annotations

import math
from typing import Any

from torch.distributions import Bernoulli, Categorical, Independent

from bayes_sbn.distributions import (
    AffineBernoulli,
    AffineCategorical,
    FlipLikelihood,
    SignBernoulli,
)
from bayes_sbn.messenger import PARTICLE_PLATE


def automatic_temperature(model_trace: Any, guide_trace: Any) -> float:
    """``min(1, T* / 10)``; 1 where there are no ±1 weights."""
    return min(1.0, rule_temperature(model_trace, guide_trace) / 10)


def rule_temperature(model_trace: Any, guide_trace: Any) -> float:
    """``T* = N h / (K ln 2)``: what the data can pay for a nat of what the prior asks.

    N data are worth h nats each: the log of the number of classes, log 2 a binary label, 1 nat
    otherwise; the prior asks K ln 2 for K ±1 weights.  Infinite where there are none.
    """
    bits = sum(
        site["fn"].shape().numel() // _num_particles(site["cond_indep_stack"])
        for site in guide_trace.nodes.values()
        if site["type"] == "sample" and isinstance(site["fn"], SignBernoulli)
    )
    nats = 0.0
    for site in model_trace.nodes.values():
        if site["type"] != "sample" or not site["is_observed"]:
            continue
        rows = math.prod(f.full_size or f.size for f in site["cond_indep_stack"] if _is_data(f))
        nats += rows * _nats(site["fn"])
    return nats / (bits * math.log(2)) if bits else math.inf


def _nats(fn: Any) -> float:
    """What a datum of a law is worth."""
    numbers = max(1, int(fn.event_shape.numel()))
    law = fn.law if isinstance(fn, FlipLikelihood) else fn
    while isinstance(law, Independent):
        law = law.base_dist
    if isinstance(law, AffineCategorical):
        return math.log(int(law.affine.shape[-1]))
    if isinstance(law, Categorical):
        return math.log(int(law.param_shape[-1])) * numbers
    return math.log(2) * numbers if isinstance(law, (AffineBernoulli, Bernoulli)) else numbers


def _num_particles(stack: Any) -> int:
    return math.prod(int(f.size) for f in stack if not _is_data(f))


def _is_data(frame: Any) -> bool:
    return bool(frame.name != PARTICLE_PLATE)
