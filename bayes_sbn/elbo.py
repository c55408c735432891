r"""The evidence lower bound for stochastic binary networks, differentiated by estimators.

    -ELBO_T = - E_q [ sum_n log p(y_n | x_n, states, weights) ] + T KL(q(weights) || p(weights)).

Three things make it lean: the KL of ±1 weights is analytic; activations follow their own
conditional in the guide, ``q(h | w) = p(h | w)``, so that their KL vanishes pointwise and is
skipped; and a site is scored only where its estimator asks for it.  Any other latent site keeps
the Monte Carlo terms of Pyro's ``Trace_ELBO``.

At T = 1 this is the bound of the stock ELBOs.  Its value is E log p(y | states, weights), which
lies below E_w log E_h p(y | h, w), which lies below log E p(y | h, w).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.infer import ELBO
from pyro.infer.util import torch_item
from pyro.util import warn_if_nan
from torch import Tensor

from bayes_sbn.elbo_run import Run
from bayes_sbn.elbo_terms import Particle
from bayes_sbn.estimators import Estimator, get_estimator
from bayes_sbn.temperature import automatic_temperature


class TraceEstimator_ELBO(ELBO):
    """ELBO whose ±1 sites are differentiated by registered estimators.

    Args:
        estimator: a registered name (``"psa"``, ``"st"``, ``"score"``) or an instance; a site's
            ``infer={"estimator": ...}`` goes before it.
        temperature: what one nat of KL costs, at least 0; 1 is the bound itself.
            ``"auto"`` is min(1, N h / (10 K ln 2)) for K ±1 weights and N data of h nats each
            (log of the number of classes, log 2 a binary label, 1 otherwise), fixed at the first
            call and readable as :attr:`temperature`.
        weight_kl: whether the KL of the weights is part of the loss.
        num_particles: draws averaged over.
        max_plate_nesting: bound on nested plates, guessed when it is needed.
        vectorize_particles: whether the draws are taken in one batched run.

    Example:
        >>> import bayes_sbn as sbn
        >>> elbo = sbn.TraceEstimator_ELBO("psa", temperature="auto")
    """

    def __init__(
        self,
        estimator: str | Estimator = "psa",
        *,
        temperature: float | str = 1.0,
        weight_kl: bool = True,
        num_particles: int = 1,
        max_plate_nesting: float = math.inf,
        vectorize_particles: bool = False,
    ) -> None:
        is_number = isinstance(temperature, (int, float)) and not isinstance(temperature, bool)
        if temperature != "auto" and not (is_number and 0 <= float(temperature) < math.inf):
            raise ValueError(
                f"TraceEstimator_ELBO(temperature={temperature!r}): the temperature is a number "
                'of at least 0 (1 is the ELBO), or "auto".'
            )
        if num_particles < 1:
            raise ValueError(
                f"TraceEstimator_ELBO(num_particles={num_particles}): at least 1 draw is needed."
            )
        super().__init__(
            num_particles=num_particles,
            max_plate_nesting=max_plate_nesting,
            vectorize_particles=vectorize_particles,
        )
        self.estimator = get_estimator(estimator)
        self.temperature = temperature
        self.weight_kl = weight_kl
        self.passes = 0
        """Network evaluations of the last call, reruns included."""

    def loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """An estimate of the loss, without gradients."""
        with torch.no_grad():
            loss, _ = self._loss_and_surrogate(model, guide, args, kwargs, gradients=False)
        return float(loss)

    def differentiable_loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """A tensor with the value of the loss and the gradient of the estimators."""
        loss, surrogate = self._loss_and_surrogate(model, guide, args, kwargs, gradients=True)
        return surrogate + (loss - surrogate.detach())

    def loss_and_grads(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """The loss, after its gradients have been added to the parameters' ``grad``."""
        loss, surrogate = self._loss_and_surrogate(model, guide, args, kwargs, gradients=True)
        if surrogate.requires_grad:
            surrogate.backward()
        return float(torch_item(loss))

    def particle_losses(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """What :meth:`differentiable_loss` averages: one loss for each vectorised particle."""
        if not self.vectorize_particles or self.num_particles < 2:
            raise ValueError(
                f"TraceEstimator_ELBO.particle_losses: num_particles={self.num_particles}, "
                f"vectorize_particles={self.vectorize_particles}; it is for particles side by "
                "side. Write TraceEstimator_ELBO(..., num_particles=8, vectorize_particles=True)."
            )
        (run,) = self._get_traces(model, guide, args, kwargs)
        temperature = self.resolve_temperature(run) if self.weight_kl else None
        terms = Particle(run, gradients=True, temperature=temperature, particles=self.num_particles)
        loss, surrogate = terms.terms()
        self.passes = run.passes
        return surrogate + (loss - surrogate.detach())

    def _loss_and_surrogate(
        self, model: Any, guide: Any, args: Any, kwargs: Any, *, gradients: bool
    ) -> tuple[Tensor, Tensor]:
        self.passes = 0
        losses, surrogates = [], []
        for run in self._get_traces(model, guide, args, kwargs):
            temperature = self.resolve_temperature(run) if self.weight_kl else None
            loss, surrogate = Particle(run, gradients=gradients, temperature=temperature).terms()
            self.passes += run.passes
            losses.append(loss)
            surrogates.append(surrogate)
        loss = torch.stack(losses).sum() / self.num_particles
        surrogate = torch.stack(surrogates).sum() / self.num_particles
        warn_if_nan(loss, "loss")
        return loss, surrogate

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Run:
        return Run(self.estimator, model, guide, args, kwargs, self.max_plate_nesting)

    def resolve_temperature(self, run: Run) -> float:
        """The temperature as a number; ``"auto"`` is worked out from the first run, once."""
        if isinstance(self.temperature, str):
            self.temperature = automatic_temperature(run.model_trace, run.guide_trace)
        return float(self.temperature)
