r"""The gradient of one step: looked at before the optimiser sees it, clipped, refused if broken.

Norms are those of the loss a row, so that they do not grow with the data: with g the gradient of
the loss over N rows, ``norm = |g| / N`` over all parameters together, and clipping multiplies g by
``min(1, clip_norm / norm)``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from bayes_sbn.elbo import TraceEstimator_ELBO

DIVERGED = 1e3
"""A loss that has grown by this multiple of (1 nat + the first step's loss) a row has diverged."""

REMEDIES = (
    'Try smaller steps, optim=sbn.optim.MirrorDescent({"lr": 0.01, "real": ("Adam", {"lr": '
    "0.002})}); clip_norm=1.0; inputs that are centred and scaled to about unit size."
)


class GradientStep:
    """``loss_and_grads`` for :class:`pyro.infer.SVI`.

    Args:
        elbo: the loss.
        num_rows: rows of the data.
        clip_norm: largest norm of the gradient of the loss a row; None does not clip.
    """

    def __init__(self, elbo: TraceEstimator_ELBO, num_rows: int, clip_norm: float | None) -> None:
        self.elbo = elbo
        self.num_rows = num_rows
        self.clip_norm = clip_norm
        self.parameters: dict[str, Tensor] = {}
        """Every parameter that was ever met, by name, in its unconstrained form."""
        self.largest_norm = 0.0
        """Since it was last set to 0."""
        self.first_loss: float | None = None
        self.where = ""
        """Which step this is, for messages."""

    def __call__(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """The loss, after its gradients have been added, checked and clipped."""
        with poutine.trace(param_only=True) as capture:
            loss = self.elbo.loss_and_grads(model, guide, *args, **kwargs)
        met = {
            name: site["value"].unconstrained()
            for name, site in capture.trace.nodes.items()
            if site["type"] == "param"
        }
        self.parameters.update(met)
        gradients = {n: p.grad for n, p in sorted(met.items()) if p.grad is not None}
        norm = self._norm(gradients)
        self._check(float(loss), norm, gradients)
        self.largest_norm = max(self.largest_norm, norm)
        if self.clip_norm is not None and norm > self.clip_norm:
            for gradient in gradients.values():
                gradient.mul_(self.clip_norm / norm)
        return float(loss)

    def _norm(self, gradients: dict[str, Tensor]) -> float:
        """The norm of the gradient of the loss a row."""
        norms = [float(torch.linalg.vector_norm(g)) for g in gradients.values()]
        return math.hypot(*norms) / self.num_rows

    def _check(self, loss: float, norm: float, gradients: dict[str, Tensor]) -> None:
        row_loss = loss / self.num_rows
        if not (math.isfinite(loss) and math.isfinite(norm)):
            name, what = self._culprit(gradients)
            raise RuntimeError(
                f"fit(): {self.where}: the loss is {row_loss:.4g} a row and the parameter "
                f'"{name}" {what}. The parameters are those before this epoch. {REMEDIES}'
            )
        if self.first_loss is None:
            self.first_loss = row_loss
        limit = DIVERGED * (1 + abs(self.first_loss))
        if row_loss - self.first_loss > limit:
            name = max(gradients, key=lambda n: float(gradients[n].abs().max()), default="")
            raise RuntimeError(
                f"fit(): {self.where}: the fit diverges, the loss is {row_loss:.4g} a row and was "
                f'{self.first_loss:.4g} at the first step; the parameter "{name}" has the largest '
                f"gradient. The parameters are those before this epoch. {REMEDIES}"
            )

    def _culprit(self, gradients: dict[str, Tensor]) -> tuple[str, str]:
        """The first parameter that is broken, and how; else that with the largest value."""
        for name, parameter in sorted(self.parameters.items()):
            if not bool(torch.isfinite(parameter).all()):
                return name, "is not finite"
        for name, gradient in gradients.items():
            if not bool(torch.isfinite(gradient).all()):
                return name, "has a gradient that is not finite"
        sizes = {n: float(p.detach().abs().max()) for n, p in self.parameters.items() if p.numel()}
        name = max(sizes, key=lambda n: sizes[n])
        return name, f"has the largest value, {sizes[name]:.4g}"
