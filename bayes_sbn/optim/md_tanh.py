r"""Annealed mirror descent at the mean: MD-tanh, MD-softmax and proximal mean-field (PMF).

Real latents v stand for weights ``w = tanh(beta v)`` in (-1, 1), at which the network is run and
differentiated (the estimator ``"mean"``), and beta grows until they are ±1:

    MD-tanh:  v <- v - lr * dL/dw,               PMF:  v <- v - lr * beta (1 - w^2) dL/dw,
    beta <- factor * beta     every so many steps,

the first the mirror step of the entropy in its dual, the second gradient descent through the tanh.
The leaf holds the natural parameter ``lam = beta v``, so that guide, estimator and saved posterior
know nothing of beta: a step of v moves it by beta times as much, and annealing multiplies it.
``adaptive`` steps v by Adam's rule on the same derivatives, as published.

**MD-softmax is the same rule.**  It has one latent for each state, ``P(w = s) = softmax(beta v)_s``
and ``w = P(+1) - P(-1)``, so that ``w = tanh(beta (v_+ - v_-) / 2)``, and the derivatives in P(+1)
and P(-1) are ``dL/dw`` and ``-dL/dw``: half the difference of the latents steps as v does.  (One
latent, the log-odds ``2 beta v``, has steps and start twice as large.)  Under PMF the derivatives
in the two latents are halves of that in v, so that softmax's half difference has half the step.

The KL is no part of these methods: ``TraceEstimator_ELBO("mean", temperature=0.0)``.

References:
    Ajanthan, Dokania, Hartley, Torr. Proximal mean-field for neural network quantization. ICCV
        2019.
    Ajanthan, Gupta, Torr, Hartley, Dokania. Mirror descent view for neural network quantization.
        AISTATS 2021.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.optim.sign_rule import SignRule, need_natural


class MDTanh(SignRule):
    """Steps of the latents v of leaves ``lam = beta v``, and the growth of beta.

    Args:
        params: leaves ``lam``, or groups of them; at the start they are ``beta v``.
        lr: step size of v.
        beta: at the start.
        factor: by which beta grows; 1 keeps it.
        every: steps from one growth to the next.
        max_beta: where it ends.
        through_tanh: derivatives in v (PMF) in place of those in w (MD-tanh).
        adaptive: Adam's rule for v; plain steps otherwise.
        betas: decay rates of the two moments of Adam's rule.
        eps: added to the root of the second moment.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.01,
        *,
        beta: float = 1.0,
        factor: float = 1.02,
        every: int = 100,
        max_beta: float = 1e4,
        through_tanh: bool = False,
        adaptive: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if not (math.isfinite(lr) and lr >= 0):
            raise ValueError(f"MDTanh(lr={lr}): a step size is a number of at least 0.")
        if not 0 < beta <= max_beta < math.inf:
            raise ValueError(
                f"MDTanh(beta={beta}, max_beta={max_beta}): they are positive and finite, and the "
                "first is at most the second."
            )
        if not 1 <= factor < math.inf:
            raise ValueError(f"MDTanh(factor={factor}): beta grows by a factor of at least 1.")
        if not (isinstance(every, int) and every >= 1):
            raise ValueError(f"MDTanh(every={every!r}): a number of steps is a whole one above 0.")
        if not all(0 <= decay < 1 for decay in betas):
            raise ValueError(f"MDTanh(betas={betas}): both lie in [0, 1).")
        defaults = {
            "lr": lr,
            "beta": beta,
            "factor": factor,
            "every": every,
            "max_beta": max_beta,
            "through_tanh": through_tanh,
            "adaptive": adaptive,
            "betas": betas,
            "eps": eps,
        }
        super().__init__(params, defaults)

    def beta_of(self, leaf: Tensor) -> float:
        """The present beta of a leaf."""
        for group in self.param_groups:
            if any(leaf is member for member in group["params"]):
                return _beta(group, self.state[leaf].get("step", 0) if leaf in self.state else 0)
        raise KeyError(f"MDTanh.beta_of: no leaf of this optimiser, shape {tuple(leaf.shape)}.")

    def _check(self, leaf: Tensor, group: dict[str, Any]) -> None:
        need_natural("MDTanh", leaf)
        super()._check(leaf, group)

    def _move(self, leaf: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Step a leaf, and let its beta grow."""
        state = self.state[leaf]
        before = _beta(group, state.setdefault("step", 0))
        if group["through_tanh"]:
            # 1 - tanh^2 as a product of probabilities, which does not cancel
            slope = 4 * torch.sigmoid(2 * leaf) * torch.sigmoid(-2 * leaf)
            gradient = gradient * slope * before
        state["step"] += 1
        direction = self._adam(state, group, gradient) if group["adaptive"] else gradient
        leaf.sub_(direction, alpha=before * group["lr"])
        leaf.mul_(_beta(group, state["step"]) / before)

    def _adam(self, state: dict[str, Any], group: dict[str, Any], gradient: Tensor) -> Tensor:
        """Adam's direction, with this gradient in its moments."""
        if "first" not in state:
            state["first"] = torch.zeros_like(gradient)
            state["second"] = torch.zeros_like(gradient)
        first, second = group["betas"]
        state["first"].lerp_(gradient, 1 - first)
        state["second"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        root = (state["second"] / (1 - second ** state["step"])).sqrt_().add_(group["eps"])
        direction: Tensor = state["first"] / (1 - first ** state["step"]) / root
        return direction


def _beta(group: dict[str, Any], steps: int) -> float:
    """Beta after so many steps, from its options alone."""
    grown = math.log(group["beta"]) + (steps // group["every"]) * math.log(group["factor"])
    if grown >= math.log(group["max_beta"]):
        return float(group["max_beta"])
    return float(group["beta"] * group["factor"] ** (steps // group["every"]))
