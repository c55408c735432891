r"""BayesBiNN's step: plain mirror descent with nothing clamped, on the gradient of its estimator.

    lam <- (1 - alpha) lam - alpha [s * g - lam_0],      s = N (1 - w^2) / (tau (1 - mu^2)),

g the derivative of the mean loss of a mini-batch in the relaxed weights w = tanh((lam + delta) /
tau).  The loss here is the sum over all N data, so the gradient of a leaf under the estimator
``"bayes_binn"`` (:mod:`bayes_sbn.estimators.bayes_binn`) is ``s * g + T (lam - lam_0)``, the KL of
temperature T included, and the step

    lam <- lam - alpha [s * g + T (lam - lam_0)],

the published one at T = 1.  ``momentum`` is the published code's: a running average of the bracket,
divided by the sum of its weights.  Two lags of that code are not here: its mean mu is that of the
step before, and changes of its options other than the step size have no effect.

At the published temperature and start this is Bop with threshold 0 and gamma = alpha T.  The same
step on a gradient that estimates that of an expectation is
``MirrorDescent({"lr": alpha, "adaptive": False})`` with any other estimator, such as ``"psa"``:
that is the rule as it is meant.

Reference:
    Meng, Bachmann, Khan. Training binary neural networks using the Bayesian learning rule. ICML
    2020.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.optim.sign_rule import SignRule, need_natural


class BayesBiNN(SignRule):
    """The step of BayesBiNN, for leaves ``lam`` whose draws are its estimator's.

    Args:
        params: leaves ``lam``, or groups of them.
        lr: alpha.
        momentum: decay rate of the running average that steps follow, divided by
            ``1 - momentum^step``; 0 follows the gradient itself.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-4,
        *,
        momentum: float = 0.0,
    ) -> None:
        if not (math.isfinite(lr) and lr >= 0):
            raise ValueError(f"BayesBiNN(lr={lr}): a step size is a number of at least 0.")
        if not 0 <= momentum < 1:
            raise ValueError(f"BayesBiNN(momentum={momentum}): it lies in [0, 1).")
        super().__init__(params, {"lr": lr, "momentum": momentum})

    def _check(self, leaf: Tensor, group: dict[str, Any]) -> None:
        need_natural("BayesBiNN", leaf)
        super()._check(leaf, group)

    def _move(self, leaf: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        decay = group["momentum"]
        if not decay:
            leaf.sub_(gradient, alpha=group["lr"])
            return
        state = self.state[leaf]
        if not state:
            state["step"], state["first"] = 0, torch.zeros_like(leaf)
        state["step"] += 1
        state["first"].lerp_(gradient, 1 - decay)
        leaf.sub_(state["first"], alpha=group["lr"] / (1 - decay ** state["step"]))
