r"""The evidence lower bound for stochastic binary networks, differentiated by estimators.

    -ELBO_T = - E_q [ sum_n log p(y_n | x_n, states, weights) ] + T KL(q(weights) || p(weights)).

Three things make it lean: the KL of ±1 weights is analytic; activations follow their own
conditional in the guide, ``q(h | w) = p(h | w)``, so that their KL vanishes pointwise and is
skipped; and a site is scored only where its estimator asks for it.  The KL of real weights, sites
of a normal law or a point outside the plates of the data, is analytic too and costs T.  Any other
latent site keeps the Monte Carlo terms of Pyro's ``Trace_ELBO``.

At T = 1 this is the bound of the stock ELBOs.  Its value is E log p(y | states, weights), which
lies below E_w log E_h p(y | h, w), which lies below log E p(y | h, w).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from pyro.infer import ELBO
from pyro.infer.elbo import ELBOModule
from pyro.infer.util import torch_item
from pyro.util import warn_if_nan
from torch import Tensor

from bayes_sbn.elbo_enumeration import Enumeration
from bayes_sbn.elbo_importance import AveragedParticle
from bayes_sbn.elbo_proximal import tell_leaves
from bayes_sbn.elbo_run import Run
from bayes_sbn.elbo_terms import Particle
from bayes_sbn.estimators import Estimator, EstimatorSet, Exact
from bayes_sbn.messenger import EstimatorMessenger
from bayes_sbn.temperature import automatic_temperature


class TraceEstimator_ELBO(ELBO):
    """ELBO whose ±1 sites are differentiated by registered estimators.

    Args:
        estimator: a registered name (``"psa"``, ``"st"``, ``"score"``) or an instance; a site's
            ``infer={"estimator": ...}`` goes before it.  ``"exact"`` lists all states instead of
            drawing, whatever sites choose.
        temperature: what one nat of KL costs, at least 0; 1 is the bound itself.
            ``"auto"`` is min(1, N h / (10 K ln 2)) for K ±1 weights and N data of h nats each
            (log of the number of classes, log 2 a binary label, 1 otherwise), fixed at the first
            call and readable as :attr:`temperature`.
        weight_kl: whether the KL of the ±1 weights is part of the loss; if not, it is left to the
            optimiser (:class:`bayes_sbn.optim.MirrorDescent` with ``"kl": "prox"``).  That of real
            weights always is.
        num_particles: draws averaged over.
        num_importance: how many copies of the activations the likelihood of a row is averaged over
            before its log is taken: a tighter bound (:mod:`bayes_sbn.elbo_importance`).  All
            copies, for each particle, are drawn in one batched run.
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
        num_importance: int = 1,
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
        if num_importance < 1:
            raise ValueError(
                f"TraceEstimator_ELBO(num_importance={num_importance}): at least 1 copy is needed."
            )
        self.estimators = EstimatorSet(estimator)
        """The default estimator and those that sites chose: an ``nn.Module``, their state."""
        if isinstance(self.estimator, Exact) and num_particles * num_importance > 1:
            raise ValueError(
                f'TraceEstimator_ELBO("exact", num_particles={num_particles}, '
                f"num_importance={num_importance}): the sum over all states has no draws to be "
                "averaged. Leave both out."
            )
        super().__init__(
            num_particles=num_particles * num_importance,
            max_plate_nesting=max_plate_nesting,
            vectorize_particles=vectorize_particles or num_importance > 1,
        )
        self.num_importance = num_importance
        self.temperature = temperature
        self.temperature_factor = 1.0
        """What the temperature is multiplied by, see :meth:`scale_temperature`."""
        self.weight_kl = weight_kl
        self.passes = 0
        """Network evaluations of the last call, reruns included."""

    @property
    def estimator(self) -> Estimator:
        """The default estimator."""
        return self.estimators.default

    def state_dict(self) -> dict[str, Any]:
        """What steps have changed: the state of estimators, and the temperature.

        Tensors, numbers and strings only; with the parameters, the optimiser's state and the
        generators' it continues a run bit for bit.
        """
        return {
            "temperature": self.temperature,
            "temperature_factor": self.temperature_factor,
            "estimators": self.estimators.state_dict(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned; sites may be yet to be met."""
        self.estimators.load_state_dict(state_dict["estimators"])
        self.temperature = state_dict["temperature"]
        self.temperature_factor = state_dict.get("temperature_factor", 1.0)

    def __call__(self, model: Any, guide: Any) -> ELBOModule:
        """A torch module whose parameters are those of the model, the guide and estimators."""
        module: ELBOModule = super().__call__(model, guide)
        module.estimators = self.estimators
        return module

    def loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """An estimate of the loss, without gradients."""
        with torch.no_grad():
            if isinstance(self.estimator, Exact):
                return math.fsum(map(float, self._summands(model, guide, args, kwargs)))
            loss, _ = self._loss_and_surrogate(model, guide, args, kwargs, gradients=False)
        return float(loss)

    def differentiable_loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """A tensor with the value of the loss and the gradient of the estimators."""
        if isinstance(self.estimator, Exact):
            return torch.stack(list(self._summands(model, guide, args, kwargs))).sum()
        loss, surrogate = self._loss_and_surrogate(model, guide, args, kwargs, gradients=True)
        return surrogate + (loss - surrogate.detach())

    def loss_and_grads(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """The loss, after its gradients have been added to the parameters' ``grad``."""
        if isinstance(self.estimator, Exact):
            losses = []
            for summand in self._summands(model, guide, args, kwargs):
                if summand.requires_grad:
                    # a graph that the caller's closures share is walked once for every summand
                    summand.backward(retain_graph=True)
                losses.append(float(summand.detach()))
            return math.fsum(losses)
        loss, surrogate = self._loss_and_surrogate(model, guide, args, kwargs, gradients=True)
        if surrogate.requires_grad:
            surrogate.backward()
        return float(torch_item(loss))

    def _summands(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Iterator[Tensor]:
        """The exact loss, in summands."""
        assert isinstance(self.estimator, Exact)
        enumeration = Enumeration(
            self.estimator, model, guide, args, kwargs, self.max_plate_nesting
        )
        enumeration.first.temperature = self.resolve_temperature(enumeration.first)
        temperature = enumeration.first.temperature if self.weight_kl else None
        for summand in enumeration.chunks(temperature, self._tell_leaves):
            warn_if_nan(summand, "loss")
            self.passes = enumeration.passes
            yield summand

    def particle_losses(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """What :meth:`differentiable_loss` averages: one loss for each vectorised particle."""
        if not self.vectorize_particles or self.num_particles < 2:
            raise ValueError(
                f"TraceEstimator_ELBO.particle_losses: num_particles={self.num_particles}, "
                f"vectorize_particles={self.vectorize_particles}; it is for particles side by "
                "side. Write TraceEstimator_ELBO(..., num_particles=8, vectorize_particles=True)."
            )
        if self.num_importance > 1:
            raise ValueError(
                f"TraceEstimator_ELBO.particle_losses: num_importance={self.num_importance}; a "
                "copy has no loss of its own. Write num_particles=... in its place."
            )
        (run,) = self._get_traces(model, guide, args, kwargs)
        temperature = self.resolve_temperature(run) if self.weight_kl else None
        terms = Particle(run, gradients=True, temperature=temperature, particles=self.num_particles)
        loss, surrogate = terms.terms()
        self._tell_leaves(run, self.num_particles)
        self.passes = run.passes
        return surrogate + (loss - surrogate.detach())

    def _loss_and_surrogate(
        self, model: Any, guide: Any, args: Any, kwargs: Any, *, gradients: bool
    ) -> tuple[Tensor, Tensor]:
        self.passes = 0
        losses, surrogates = [], []
        for run in self._get_traces(model, guide, args, kwargs):
            temperature = self.resolve_temperature(run) if self.weight_kl else None
            loss, surrogate = self._particle(run, gradients, temperature).terms()
            if gradients:
                self._tell_leaves(run, self.num_particles if self.vectorize_particles else 1)
            self.passes += run.passes
            losses.append(loss)
            surrogates.append(surrogate)
        loss = torch.stack(losses).sum() / self.num_particles
        surrogate = torch.stack(surrogates).sum() / self.num_particles
        warn_if_nan(loss, "loss")
        return loss, surrogate

    def _particle(self, run: Run, gradients: bool, temperature: float | None) -> Particle:
        if self.num_importance == 1:
            return Particle(run, gradients=gradients, temperature=temperature)
        return AveragedParticle(
            run, self.num_importance, gradients=gradients, temperature=temperature
        )

    def _tell_leaves(self, run: Run, particles: int) -> None:
        tell_leaves(run, None if self.weight_kl else self.resolve_temperature, particles)

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Run:
        handler = EstimatorMessenger(self.estimators, copies=self.num_importance)
        run = Run(handler, model, guide, args, kwargs, self.max_plate_nesting)
        run.temperature = self.resolve_temperature(run)
        return run

    def scale_temperature(self, factor: float) -> None:
        """Let one nat of KL cost ``factor`` times :attr:`temperature` from here on.

        Factors do not add up: each is one of the temperature that was given, also of an ``"auto"``
        that is yet to be worked out.  Annealing calls it once a step or epoch, as in
        ``elbo.scale_temperature(min(1.0, step / 500))``.
        """
        is_number = isinstance(factor, (int, float)) and not isinstance(factor, bool)
        if not (is_number and 0 <= factor < math.inf):
            raise ValueError(
                f"TraceEstimator_ELBO.scale_temperature({factor!r}): a factor of the temperature "
                "is a finite number of at least 0."
            )
        self.temperature_factor = float(factor)

    def resolve_temperature(self, run: Run) -> float:
        """What one nat of KL costs now; ``"auto"`` is worked out from the first run, once."""
        if isinstance(self.temperature, str):
            self.temperature = automatic_temperature(run.model_trace, run.guide_trace)
        return self.temperature_factor * float(self.temperature)
