r"""Mirror descent on the means of ±1 weights, as a torch optimiser on their dual leaves.

The proximal step on a probability p with the Bregman divergence of the entropy,

    p+ = argmin_p <dL/dp, p> + (1 / eps) KL(p || p_t),

is in the dual a gradient step: ``logit p+ = logit p_t - eps dL/dp``; with ``lam = logit(p) / 2``
and the mean ``mu = 2p - 1``,

    lam+ = lam - lr * dL/dmu        (plain; lr = eps).

With the tempered loss L = E[loss] + T KL(q || p0) this is the Bayesian learning rule of Khan and
Rue with step ``rho = lr T``, ``lam+ = (1 - rho) lam + rho (lam_0 - dE[loss]/dmu / T)``.
``momentum`` replaces the gradient by its running average, ``adaptive`` divides each coordinate's step by the root of a running second moment of its gradient
and averages the gradient (Adam's rule on the dual: a proximal step with a diagonal metric).  The
KL to the prior is part of L, ``dKL/dmu = lam - lam_0``, hence inside the moments: decoupled decay
would converge to another posterior.  After the step |lam| is clamped.

Reference:
    Khan, Rue. The Bayesian learning rule. Journal of Machine Learning Research 24, 2023.
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
        momentum: decay rate of the running average of gradients that plain steps follow, divided
            by ``1 - momentum^step`` as Adam's is; 0 follows the gradient itself.
        betas: decay rates of the two moments of Adam's rule.
        eps: added to the root of the second moment.
        clamp: the largest |lam| after a step.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.05,
        *,
        adaptive: bool = True,
        momentum: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        clamp: float = DUAL_LIMIT,
    ) -> None:
        if not (math.isfinite(lr) and lr >= 0):
            raise ValueError(f"MirrorDescent(lr={lr}): a step size is a number of at least 0.")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"MirrorDescent(betas={betas}): both lie in [0, 1).")
        if not 0 <= momentum < 1:
            raise ValueError(f"MirrorDescent(momentum={momentum}): it lies in [0, 1).")
        if adaptive and momentum:
            raise ValueError(
                f"MirrorDescent(adaptive=True, momentum={momentum}): Adam's rule averages gradients "
                f"by betas. Write betas=({momentum}, 0.999), or adaptive=False for momentum alone."
            )
        if not clamp > 0:
            raise ValueError(f"MirrorDescent(clamp={clamp}): the largest |lam| is positive.")
        defaults = {
            "lr": lr,
            "adaptive": adaptive,
            "momentum": momentum,
            "betas": betas,
            "eps": eps,
            "clamp": clamp,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Groups of states that were saved before an option existed have its default."""
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("momentum", 0.0)

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
                elif group["momentum"]:
                    self._momentum_step(leaf, group)
                else:
                    leaf.sub_(leaf.grad, alpha=group["lr"])
                leaf.clamp_(-group["clamp"], group["clamp"])
        return loss

    def _momentum_step(self, leaf: Tensor, group: dict[str, Any]) -> None:
        average, correction = self._average(leaf, group["momentum"])
        leaf.sub_(average, alpha=group["lr"] / correction)

    def _adaptive_step(self, leaf: Tensor, group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        assert leaf.grad is not None
        first, correction = self._average(leaf, beta1)
        state = self.state[leaf]
        if "second" not in state:
            state["second"] = torch.zeros_like(leaf)
        second = state["second"]
        second.mul_(beta2).addcmul_(leaf.grad, leaf.grad, value=1 - beta2)
        root = second.sqrt().div_(math.sqrt(1 - beta2 ** state["step"])).add_(group["eps"])
        leaf.addcdiv_(first, root, value=-group["lr"] / correction)

    def _average(self, leaf: Tensor, decay: float) -> tuple[Tensor, float]:
        """The running sum of a leaf's gradients with this one, and the sum of its weights."""
        state = self.state[leaf]
        if not state:
            state["step"] = 0
            state["first"] = torch.zeros_like(leaf)
        state["step"] += 1
        assert leaf.grad is not None
        first: Tensor = state["first"]
        first.lerp_(leaf.grad, 1 - decay)
        return first, 1 - decay ** state["step"]
