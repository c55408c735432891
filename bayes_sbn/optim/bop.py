r"""Bop, the binary optimiser: weights are flipped, and nothing real stands behind them.

    m <- (1 - gamma) m + gamma g,      w <- -w  where  m w > threshold,

m the running average of gradients, which is 0 at the start.  The comparison is strict: at equality
a weight stays, where larq's implementation, ``sign(-sign(w m - t) w)`` with sign(0) = +1, sets it
to +1.  A threshold of 0 gives ``w = -sign(m)``; under a larger one a weight stays until the average
is as large.

Only ratios count: gradients and threshold times the same c give the same weights.  The loss here is
the sum over all data, so a threshold for mean losses is to be multiplied by their number; larq's
defaults are gamma = 1e-4 and threshold = 1e-8 for those.

Reference:
    Helwegen, Widdicombe, Geiger, Liu, Cheng, Nusselder. Latent weights do not exist: rethinking
    binarized neural network optimization. NeurIPS 2019.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.optim.sign_rule import SignRule, need_point


class Bop(SignRule):
    """Flips signs by a running average of gradients.

    The leaf of a weight holds the weight: its sign is read, and ±1 written.

    Args:
        params: leaves of weights that are their signs, or groups of them.
        lr: gamma, the rate of the average, in [0, 1]: what schedules of step sizes scale.
        threshold: at least 0; a schedule of it is ``group["threshold"] = ...``.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-4,
        *,
        threshold: float = 1e-8,
    ) -> None:
        if not 0 <= lr <= 1:
            raise ValueError(f"Bop(lr={lr}): gamma, the rate of an average, lies in [0, 1].")
        super().__init__(params, {"lr": lr, "threshold": check_threshold(threshold)})

    def _check(self, leaf: Tensor, group: dict[str, Any]) -> None:
        need_point("Bop", leaf)
        super()._check(leaf, group)

    def _move(self, leaf: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[leaf]
        if not state:
            state["average"] = torch.zeros_like(leaf)
        average: Tensor = state["average"]
        average.lerp_(gradient, group["lr"])
        weight = torch.where(leaf >= 0, 1.0, -1.0).to(leaf.dtype)
        flips = average * weight > group["threshold"]
        leaf.copy_(torch.where(flips, -weight, weight))


def check_threshold(threshold: float) -> float:
    """The threshold; raise unless it is a number of at least 0."""
    if not (math.isfinite(threshold) and threshold >= 0):
        raise ValueError(f"Bop(threshold={threshold}): it is a number of at least 0.")
    return threshold
