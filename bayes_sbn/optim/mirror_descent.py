r"""Mirror descent on the means of ±1 weights, as a torch optimiser on their dual leaves.

The proximal step on a probability p with the Bregman divergence of the entropy,

    p+ = argmin_p <dL/dp, p> + (1 / eps) KL(p || p_t),

is in the dual a gradient step: ``logit p+ = logit p_t - eps dL/dp``; with ``lam = logit(p) / 2``
and the mean ``mu = 2p - 1``,

    lam+ = lam - lr * dL/dmu        (plain; lr = eps).

With the tempered loss L = E[loss] + T KL(q || p0) this is the Bayesian learning rule of Khan and
Rue with step ``rho = lr T``, ``lam+ = (1 - rho) lam + rho (lam_0 - dE[loss]/dmu / T)``.

``momentum`` replaces the gradient by its running average.  ``adaptive`` divides each coordinate's
step by the root of a running second moment of its gradient and averages the gradient (Adam's rule
on the dual: a proximal step with a diagonal metric).

``kl="loss"``: the KL to the prior is part of L, ``dKL/dmu = lam - lam_0``, hence inside the
moments: decoupled decay would converge to another posterior.  ``kl="prox"``: the loss leaves the KL
out, and the proximal step has it exactly instead of linearised,

    argmin_q <g, mu> + T KL(q || p0) + (1 / eps) KL(q || q_t):
    lam+ = (lam + eps (T lam_0 - g)) / (1 + eps T),

g the (averaged) gradient without the KL and eps the step size of the coordinate; no step size
overshoots the prior, and the fixed point ``lam = lam_0 - g / T`` does not depend on eps.

After the step |lam| is clamped.

Reference:
    Khan, Rue. The Bayesian learning rule. Journal of Machine Learning Research 24, 2023.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.dual import DUAL_LIMIT, LeftKL, leaf_of


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
        kl: ``"loss"``: the KL of the weights is part of the loss; ``"prox"``: the loss left it out
            (``TraceEstimator_ELBO(..., weight_kl=False)``) and the step has it exactly.
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
        kl: str = "loss",
    ) -> None:
        if not (math.isfinite(lr) and lr >= 0):
            raise ValueError(f"MirrorDescent(lr={lr}): a step size is a number of at least 0.")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"MirrorDescent(betas={betas}): both lie in [0, 1).")
        if not 0 <= momentum < 1:
            raise ValueError(f"MirrorDescent(momentum={momentum}): it lies in [0, 1).")
        if adaptive and momentum:
            raise ValueError(
                f"MirrorDescent(adaptive=True, momentum={momentum}): Adam's rule averages by "
                f"betas. Write betas=({momentum}, 0.999), or adaptive=False for momentum alone."
            )
        if not clamp > 0:
            raise ValueError(f"MirrorDescent(clamp={clamp}): the largest |lam| is positive.")
        if kl not in ("loss", "prox"):
            raise ValueError(f"MirrorDescent(kl={kl!r}): it is 'loss' or 'prox'.")
        defaults = {
            "lr": lr,
            "adaptive": adaptive,
            "momentum": momentum,
            "betas": betas,
            "eps": eps,
            "clamp": clamp,
            "kl": kl,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Groups of states that were saved before an option existed have its default."""
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("momentum", 0.0)
            group.setdefault("kl", "loss")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every leaf that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        steps = [
            (leaf, group, _left_kl(leaf, group["kl"]))
            for group in self.param_groups
            for leaf in group["params"]
            if leaf.grad is not None
        ]
        for leaf, group, left in steps:
            if left is not None:
                self._proximal_step(leaf, group, left)
            elif group["adaptive"]:
                first, total = self._average(leaf, group["betas"][0])
                leaf.addcdiv_(first, self._root(leaf, group), value=-group["lr"] / total)
            elif group["momentum"]:
                first, total = self._average(leaf, group["momentum"])
                leaf.sub_(first, alpha=group["lr"] / total)
            else:
                assert leaf.grad is not None
                leaf.sub_(leaf.grad, alpha=group["lr"])
            leaf.clamp_(-group["clamp"], group["clamp"])
        return loss

    def _proximal_step(self, leaf: Tensor, group: dict[str, Any], left: LeftKL) -> None:
        size, decay = group["lr"], group["betas"][0] if group["adaptive"] else group["momentum"]
        first, total = self._average(leaf, decay)
        if group["adaptive"]:
            size = size / self._root(leaf, group)
        leaf.add_(size * (left.pull - first / total)).div_(1 + size * left.weight)

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

    def _root(self, leaf: Tensor, group: dict[str, Any]) -> Tensor:
        """The root of the second moment with this gradient; after the average."""
        state, decay = self.state[leaf], group["betas"][1]
        if "second" not in state:
            state["second"] = torch.zeros_like(leaf)
        second: Tensor = state["second"]
        assert leaf.grad is not None
        second.mul_(decay).addcmul_(leaf.grad, leaf.grad, value=1 - decay)
        return second.sqrt().div_(math.sqrt(1 - decay ** state["step"])).add_(group["eps"])


def _left_kl(leaf: Tensor, kl: str) -> LeftKL | None:
    """The KL that a step has to have, by what the last loss said of it."""
    known = leaf_of(leaf)
    left = None if known is None else known.left_kl
    name = f"of shape {tuple(leaf.shape)}" if known is None else f'"{known.path}"'
    if kl == "loss" and left is not None:
        raise RuntimeError(
            f'MirrorDescent(kl="loss"): the loss left the KL of the weights {name} to the '
            'optimiser. Write MirrorDescent({..., "kl": "prox"}), or TraceEstimator_ELBO(...) '
            "without weight_kl=False (with temperature=0.0 the KL costs nothing)."
        )
    if kl == "prox" and left is None:
        raise RuntimeError(
            f'MirrorDescent(kl="prox"): the loss did not leave the KL of the weights {name} to '
            "the optimiser, which would count it twice or not at all. Write "
            'TraceEstimator_ELBO(..., weight_kl=False), or MirrorDescent without "kl".'
        )
    if left is not None and left.prior_is_trained:
        raise RuntimeError(
            f'MirrorDescent(kl="prox"): the prior of the weights {name} is trained, and a KL that '
            'is not in the loss gives it no gradient. Write MirrorDescent without "kl", and '
            "TraceEstimator_ELBO without weight_kl=False."
        )
    return left
