r"""Mirror descent on the means of ±1 weights, as a torch optimiser on their dual leaves.

The proximal step on a mean mu with the Bregman divergence of a potential Psi whose derivative is
the quantile function of a noise law, ``Psi'(mu) = F^{-1}((1 + mu) / 2)``,

    mu+ = argmin_mu <dL/dmu, mu> + (1 / eps) D_Psi(mu, mu_t),

is a gradient step in the dual, ``eta+ = eta_t - eps dL/dmu`` with ``eta = F^{-1}(p)``, the leaf.
For the default, logistic noise of scale 1/2, eta is the natural parameter lam and D_Psi the
divergence of Kullback and Leibler.

The proximal step on the probability p is then

    p+ = argmin_p <dL/dp, p> + (1 / eps) KL(p || p_t):     logit p+ = logit p_t - eps dL/dp,

and with ``lam = logit(p) / 2`` and the mean ``mu = 2p - 1``

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
overshoots the prior, and the fixed point ``lam = lam_0 - g / T`` depends neither on eps nor on F
(:mod:`bayes_sbn.optim.proximal_step`).

After the step the leaf is clipped.  Bounded laws have two kinds of mirror descent: *agile*, the
leaf is clipped to the support, hence ``F^{-1}(p)`` again (uniform noise: projected gradient); and
*lazy*, or dual averaging, the leaf adds up all steps and only p saturates.  Unbounded laws have
one; their leaves are clamped where P is 0 or 1 to the resolution of a float32 uniform.

Reference:
    Khan, Rue. The Bayesian learning rule. Journal of Machine Learning Research 24, 2023.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.dual import LeftKL, limit_of
from bayes_sbn.noise import NOISES, Noise, get_noise
from bayes_sbn.optim.proximal_step import proximal_step
from bayes_sbn.optim.sign_rule import SignRule, left_kl, noise_of


class MirrorDescent(SignRule):
    """Mirror descent for leaves whose gradient is that in the mean (see :mod:`bayes_sbn.dual`).

    Args:
        params: leaves ``F^{-1}(p)``, ``lam`` by default, or groups of them.
        lr: step size.
        adaptive: Adam's rule in the dual; plain mirror descent otherwise.
        momentum: decay rate of the running average of gradients that plain steps follow, divided
            by ``1 - momentum^step`` as Adam's is; 0 follows the gradient itself.
        betas: decay rates of the two moments of Adam's rule.
        eps: added to the root of the second moment.
        clamp: the largest |leaf| after a step; None for 8, and for other laws what corresponds
            to it (:func:`bayes_sbn.dual.limit_of`), which is none for lazy steps of bounded laws.
        kl: ``"loss"``: the KL of the weights is part of the loss; ``"prox"``: the loss left it out
            (``TraceEstimator_ELBO(..., weight_kl=False)``) and the step has it exactly.
        noise: the law F, by name or as a :class:`bayes_sbn.noise.Noise`; None for what the guide
            says of its leaves, and the default of guides for leaves that no guide registered.
        clipping: ``"agile"``: leaves are clipped to the support of bounded laws; ``"lazy"``: they
            are not.
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
        clamp: float | None = None,
        kl: str = "loss",
        noise: str | Noise | None = None,
        clipping: str = "agile",
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
        if not (clamp is None or clamp > 0):
            raise ValueError(f"MirrorDescent(clamp={clamp}): the largest |leaf| is positive.")
        if kl not in ("loss", "prox"):
            raise ValueError(f"MirrorDescent(kl={kl!r}): it is 'loss' or 'prox'.")
        if clipping not in ("agile", "lazy"):
            raise ValueError(
                f"MirrorDescent(clipping={clipping!r}): it is 'agile' (leaves are clipped to the "
                "support of a bounded law) or 'lazy' (they are not, and only P saturates)."
            )
        law = None if noise is None else get_noise(noise)
        if law is not None and type(law) is not NOISES.get(law.name):
            raise ValueError(
                f"MirrorDescent(noise={law!r}): a rule is told one of the laws "
                f"{', '.join(map(repr, NOISES))}. Give a law of your own to the guide, as in "
                'AutoSignBernoulli(model, noise=law), and leave out "noise" here.'
            )
        defaults = {
            "lr": lr,
            "adaptive": adaptive,
            "momentum": momentum,
            "betas": betas,
            "eps": eps,
            "clamp": clamp,
            "kl": kl,
            # plain values, which files can hold
            "noise": None if law is None else (law.name, float(law.scale)),
            "clipping": clipping,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Groups of states that were saved before an option existed have its default."""
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("momentum", 0.0)
            group.setdefault("kl", "loss")
            group.setdefault("noise", None)
            group.setdefault("clipping", "agile")

    def _check(self, leaf: Tensor, group: dict[str, Any]) -> None:
        left_kl("MirrorDescent", leaf, group["kl"])
        noise_of("MirrorDescent", leaf, group["noise"])

    def _move(self, leaf: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        left = left_kl("MirrorDescent", leaf, group["kl"])
        noise = noise_of("MirrorDescent", leaf, group["noise"])
        if left is not None:
            self._proximal_step(leaf, gradient, group, left, noise)
        elif group["adaptive"]:
            first, total = self._average(leaf, gradient, group["betas"][0])
            root = self._root(leaf, gradient, group)
            leaf.addcdiv_(first, root, value=-group["lr"] / total)
        elif group["momentum"]:
            first, total = self._average(leaf, gradient, group["momentum"])
            leaf.sub_(first, alpha=group["lr"] / total)
        else:
            leaf.sub_(gradient, alpha=group["lr"])
        _clip(leaf, group, noise)

    def _proximal_step(
        self, leaf: Tensor, gradient: Tensor, group: dict[str, Any], left: LeftKL, noise: Noise
    ) -> None:
        size, decay = group["lr"], group["betas"][0] if group["adaptive"] else group["momentum"]
        first, total = self._average(leaf, gradient, decay)
        if group["adaptive"]:
            size = size / self._root(leaf, gradient, group)
        proximal_step(leaf, first / total, size, left, noise)

    def _average(self, leaf: Tensor, gradient: Tensor, decay: float) -> tuple[Tensor, float]:
        """The running sum of a leaf's gradients with this one, and the sum of its weights."""
        state = self.state[leaf]
        if not state:
            state["step"] = 0
            state["first"] = torch.zeros_like(leaf)
        state["step"] += 1
        first: Tensor = state["first"]
        first.lerp_(gradient, 1 - decay)
        return first, 1 - decay ** state["step"]

    def _root(self, leaf: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        """The root of the second moment with this gradient; after the average."""
        state, decay = self.state[leaf], group["betas"][1]
        if "second" not in state:
            state["second"] = torch.zeros_like(leaf)
        second: Tensor = state["second"]
        second.mul_(decay).addcmul_(gradient, gradient, value=1 - decay)
        return second.sqrt().div_(math.sqrt(1 - decay ** state["step"])).add_(group["eps"])


def _clip(leaf: Tensor, group: dict[str, Any], noise: Noise) -> None:
    """Clamp a leaf after its step, and to the support of a bounded law unless steps are lazy."""
    limit = group["clamp"]
    if noise.is_bounded and group["clipping"] == "lazy":
        if limit is None:
            return
    elif limit is None:
        limit = limit_of(noise)
    elif noise.is_bounded:
        limit = min(limit, noise.scale)
    leaf.clamp_(-limit, limit)
