r"""Mirror descent on the means of ±1 weights, as a torch optimiser on their dual leaves.

The proximal step on a probability p with the Bregman divergence of the entropy,

    p+ = argmin_p <dL/dp, p> + (1 / eps) KL(p || p_t),

is in the dual a gradient step: ``logit p+ = logit p_t - eps dL/dp``; with ``lam = logit(p) / 2``
and the mean ``mu = 2p - 1``,

    lam+ = lam - lr * dL/dmu        (plain; lr = eps).

``adaptive`` divides each coordinate's step by the root of a running second moment of its gradient
and averages the gradient (Adam's rule on the dual: a proximal step with a diagonal metric).  The
KL to the prior is part of L, ``dKL/dmu = lam - lam_0``, hence inside the moments: decoupled decay
would converge to another posterior.  After the step |lam| is clamped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.dual import DUAL_LIMIT


class MirrorDescent(torch.optim.Optimizer):
    """Mirror descent for leaves whose gradient is that in the mean (see :mod:`bayes_sbn.dual`).

    Args:
        params: leaves ``lam``, or groups of them.
        lr: step size.
        adaptive: Adam's rule in the dual; plain mirror descent otherwise.
        betas: decay rates of the two moments.
        eps: added to the root of the second moment.
        clamp: the largest |lam| after a step.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.05,
        *,
        adaptive: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        clamp: float = DUAL_LIMIT,
    ) -> None:
        if not (math.isfinite(lr) and lr >= 0):
            raise ValueError(f"MirrorDescent(lr={lr}): a step size is a number of at least 0.")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"MirrorDescent(betas={betas}): both lie in [0, 1).")
        if not clamp > 0:
            raise ValueError(f"MirrorDescent(clamp={clamp}): the largest |lam| is positive.")
        defaults = {"lr": lr, "adaptive": adaptive, "betas": betas, "eps": eps, "clamp": clamp}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every leaf that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for leaf in group["params"]:
                if leaf.grad is None:
                    continue
                if group["adaptive"]:
                    self._adaptive_step(leaf, group)
                else:
                    leaf.sub_(leaf.grad, alpha=group["lr"])
                leaf.clamp_(-group["clamp"], group["clamp"])
        return loss

    def _adaptive_step(self, leaf: Tensor, group: dict[str, Any]) -> None:
        state = self.state[leaf]
        if not state:
            state["step"] = 0
            state["first"] = torch.zeros_like(leaf)
            state["second"] = torch.zeros_like(leaf)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        assert leaf.grad is not None
        first, second = state["first"], state["second"]
        first.lerp_(leaf.grad, 1 - beta1)
        second.mul_(beta2).addcmul_(leaf.grad, leaf.grad, value=1 - beta2)
        root = second.sqrt().div_(math.sqrt(1 - beta2 ** state["step"])).add_(group["eps"])
        leaf.addcdiv_(first, root, value=-group["lr"] / (1 - beta1 ** state["step"]))
