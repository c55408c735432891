"""What a fit was: a record of every epoch, how it ended, and which parameters it left."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bayes_sbn.elbo import TraceEstimator_ELBO
from bayes_sbn.metrics.report_base import counted


@dataclass(frozen=True)
class EpochRecord:
    """One pass over the data; losses are nats a row.

    Args:
        epoch: from 1.
        steps: optimiser steps so far.
        loss: what was minimised, the mean over the epoch's steps while parameters moved.
        gradient_norm: the largest of the epoch's steps, of the loss a row, before clipping.
        rate: the factor of all step sizes.
        temperature: what a nat of KL cost.
        kl_nats: divergence of the ±1 weights from their prior, at the end.
        kl_bits: the same in bits.
        kl_bits_per_weight: the same for each weight, or None without ±1 weights.
        validation_nll: of held-out rows by the ensemble, or None without them.
        validation_draw_nll: of a single draw, on average.
        validation_elbo: the bound at temperature 1,
            ``-validation_draw_nll - (kl_nats + kl_real_nats) / rows``.
        seconds: how long it took.
        kl_real_nats: divergence of the real weights from their prior; of those that are points,
            ``-log p`` at their place.  0 without real weights, NaN where there is no closed form.
    """

    epoch: int
    steps: int
    loss: float
    gradient_norm: float
    rate: float
    temperature: float
    kl_nats: float
    kl_bits: float
    kl_bits_per_weight: float | None
    validation_nll: float | None
    validation_draw_nll: float | None
    validation_elbo: float | None
    seconds: float
    kl_real_nats: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Fit:
    """The result of :func:`bayes_sbn.fit`; the fitted parameters are in model and guide.

    Args:
        history: one record an epoch.
        stopped: ``"epochs"`` (all were done), ``"patience"`` or ``"interrupted"``.
        epoch: the epoch at whose end the parameters were as they are now.
        elbo: the loss, with its temperature and the state of its estimators.
        optim: the optimiser.
    """

    history: tuple[EpochRecord, ...]
    stopped: str
    epoch: int
    elbo: TraceEstimator_ELBO
    optim: Any

    @property
    def temperature(self) -> float:
        """What a nat of KL cost in the epoch that was kept; give it to ``Posterior.from_guide``."""
        return self.history[self.epoch - 1].temperature

    @property
    def best_epoch(self) -> int | None:
        """The epoch with the smallest validation NLL, the first of equals."""
        return best_epoch(self.history)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the objects, as plain values."""
        return {
            "history": [record.to_dict() for record in self.history],
            "stopped": self.stopped,
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "temperature": self.temperature,
        }

    def __str__(self) -> str:
        record = self.history[self.epoch - 1]
        scores = [f"loss {record.loss:.4f}"]
        if record.validation_nll is not None:
            scores.append(f"validation NLL {record.validation_nll:.4f}")
        if record.kl_bits_per_weight is not None:
            scores.append(f"{record.kl_bits_per_weight:.3f} bits of KL a weight")
        reason = {
            "epochs": "all epochs done",
            "patience": "stopped early: validation NLL no longer fell",
            "interrupted": "interrupted",
        }[self.stopped]
        return (
            f"Fit: {counted(len(self.history), 'epoch')} "
            f"({counted(self.history[-1].steps, 'step')}), {reason}; "
            f"parameters of epoch {self.epoch}: "
            f"{', '.join(scores)} (nats a row, temperature {self.temperature:.3g})"
        )


def best_epoch(history: Sequence[EpochRecord]) -> int | None:
    """The epoch with the smallest validation NLL, the first of equals; None without any."""
    scored = [
        (r.validation_nll, r.epoch)
        for r in history
        if r.validation_nll is not None and not math.isnan(r.validation_nll)
    ]
    return min(scored)[1] if scored else None
