r"""The epochs of a fit: steps on mini-batches, and what is looked at after each pass.

What an epoch leaves is kept as a state (:mod:`bayes_sbn.training_state`) before the next begins: an
interrupted or broken epoch is undone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine
from pyro.infer import SVI
from pyro.optim import PyroOptim
from tqdm import tqdm

from bayes_sbn.elbo import TraceEstimator_ELBO
from bayes_sbn.training_data import Batches
from bayes_sbn.training_folder import TrainingFolder
from bayes_sbn.training_result import EpochRecord, best_epoch
from bayes_sbn.training_schedule import Plateau, Schedule, factor_of
from bayes_sbn.training_state import State, TrainingState
from bayes_sbn.training_step import GradientStep
from bayes_sbn.training_validation import (
    HeldOutScores,
    check_scaling,
    held_out_scores,
    traces,
    undisturbed,
    weight_divergence,
)


class Training:
    """The epochs of one fit; arguments as of :func:`bayes_sbn.fit`, made ready."""

    def __init__(
        self,
        model: Any,
        guide: Any,
        batches: Batches,
        held_out: Batches | None,
        *,
        elbo: TraceEstimator_ELBO,
        optim: Any,
        epochs: int,
        schedule: Schedule | Plateau,
        annealing: Schedule,
        clip_norm: float | None,
        patience: int | None,
        validation_draws: int,
        after_epoch: Callable[[EpochRecord], None] | None,
    ) -> None:
        if not isinstance(optim, PyroOptim):
            raise TypeError(
                f"fit(optim=...): received a {type(optim).__name__}; it is a PyroOptim, such as "
                'sbn.optim.MirrorDescent({"lr": 0.05}).'
            )
        self.model, self.guide = model, guide
        self.batches, self.held_out = batches, held_out
        self.epochs, self.schedule, self.annealing = epochs, schedule, annealing
        self.patience, self.validation_draws = patience, validation_draws
        self.after_epoch = after_epoch
        first = batches.first()
        with torch.no_grad(), poutine.trace(param_only=True) as capture:
            model_trace, _ = traces(model, guide, first)
        self.num_rows = check_scaling(model_trace, first, batches.num_rows)
        self.few_rows = tuple(t[:2] for t in first)
        self.elbo = elbo
        self.step = GradientStep(elbo, self.num_rows, clip_norm)
        for name, site in capture.trace.nodes.items():
            if site["type"] == "param":
                self.step.parameters[name] = site["value"].unconstrained()
        self.svi = SVI(model, guide, optim, loss=elbo.loss, loss_and_grads=self.step)
        self.state = TrainingState(
            model, guide, elbo, optim, self.step.parameters, batches.generator
        )
        self.history: list[EpochRecord] = []
        self.steps = 0
        self.best: State | None = None
        self.kept = self._everything()
        self.folder: TrainingFolder | None = None

    def keep_in(self, folder: TrainingFolder, *, resume: bool) -> None:
        """Leave checkpoints in a folder, and go on from the one that is there."""
        self.folder = folder
        found = folder.read() if resume else None
        if found is not None:
            self._put_back(found)
            self.kept = self._everything()

    def run(self, progress: bool | None) -> str:
        """All epochs that are left; says why it stopped."""
        hidden = None if progress is None else not progress
        per_epoch = self.batches.num_batches
        with tqdm(
            desc="fit",
            unit="step",
            total=None if per_epoch is None else per_epoch * self.epochs,
            initial=self.steps,
            disable=hidden,
        ) as bar:
            try:
                while len(self.history) < self.epochs:
                    if self._is_patience_out():
                        return "patience"
                    self._epoch(bar)
            except BaseException as error:
                self._put_back(self.kept)
                if isinstance(error, KeyboardInterrupt) and self.history:
                    return "interrupted"
                raise
            finally:
                self._scale_steps(1.0)
                self.elbo.scale_temperature(1.0)
        return "patience" if self._is_patience_out() else "epochs"

    def keep_best(self) -> int:
        """Leave the parameters of the best epoch; its number."""
        best = best_epoch(self.history)
        if best is None or self.best is None:
            return len(self.history)
        self.state.put_back_network(self.best)
        return best

    def _epoch(self, bar: Any) -> None:
        """One pass over the data, its record, and the state that it leaves."""
        started = time.perf_counter()
        epoch = len(self.history)
        rate = self._rate(epoch)
        self._scale_steps(rate)
        self.elbo.scale_temperature(factor_of(self.annealing, epoch, self.epochs, of="annealing"))
        self.step.largest_norm = 0.0
        losses, rows, steps = 0.0, 0, self.steps
        for batch in self.batches:
            steps += 1
            self.step.where = f"step {steps} (epoch {epoch + 1})"
            losses += self.svi.step(*batch) / self.num_rows * len(batch[0])
            rows += len(batch[0])
            bar.update()
        divergence = weight_divergence(self.model, self.guide, self.few_rows)
        scores = self._scores()
        record = EpochRecord(
            epoch=epoch + 1,
            steps=steps,
            loss=losses / rows,
            gradient_norm=self.step.largest_norm,
            rate=rate,
            temperature=self.elbo.temperature_factor * float(self.elbo.temperature),
            kl_nats=divergence.nats,
            kl_bits=divergence.bits,
            kl_bits_per_weight=divergence.bits_per_weight,
            validation_nll=None if scores is None else scores.nll,
            validation_draw_nll=None if scores is None else scores.draw_nll,
            validation_elbo=(
                None
                if scores is None
                else -scores.draw_nll - (divergence.nats + divergence.real_nats) / self.num_rows
            ),
            seconds=time.perf_counter() - started,
            kl_real_nats=divergence.real_nats,
        )
        self._finish(record)
        bar.set_postfix(_shown(record))
        if self.after_epoch is not None:
            with undisturbed(self.model, self.guide):
                self.after_epoch(record)

    def _finish(self, record: EpochRecord) -> None:
        """Take the epoch into account: from here on it is done."""
        history = [*self.history, record]
        best = self.best
        if best_epoch(history) == record.epoch:
            best = self.state.network()
        self.history, self.steps, self.best = history, record.steps, best
        self.kept = self._everything()
        if self.folder is not None:
            self._need_optimiser_state()
            self.folder.write(self.kept)

    def _need_optimiser_state(self) -> None:
        if self.kept["state"]["optim"] is None:
            name = type(self.svi.optim).__name__
            raise TypeError(
                f"fit(optim=..., checkpoint=...): a {name} of Pyro names its state by the global "
                "parameter store, which local parameters are not in, so it cannot be kept. Use "
                "sbn.optim.MirrorDescent."
            )

    def _scores(self) -> HeldOutScores | None:
        if self.held_out is None:
            return None
        return held_out_scores(self.model, self.guide, self.held_out, self.validation_draws)

    def _is_patience_out(self) -> bool:
        best = best_epoch(self.history)
        return (
            self.patience is not None
            and best is not None
            and len(self.history) - best >= self.patience
        )

    def _rate(self, epoch: int) -> float:
        if isinstance(self.schedule, Plateau):
            losses = [r.validation_nll for r in self.history if r.validation_nll is not None]
            return self.schedule.rate(losses)
        return factor_of(self.schedule, epoch, self.epochs)

    def _scale_steps(self, rate: float) -> None:
        optim = self.svi.optim
        if hasattr(optim, "scale_lr"):
            optim.scale_lr(rate)
        elif rate != 1.0:
            raise TypeError(
                f"fit(schedule=...): a {type(optim).__name__} cannot change its step sizes. Write "
                'schedule="constant", or use sbn.optim.MirrorDescent.'
            )

    def _everything(self) -> State:
        return {
            "history": [record.to_dict() for record in self.history],
            "first_loss": self.step.first_loss,
            "best": self.best,
            "state": self.state.all(),
        }

    def _put_back(self, kept: State) -> None:
        self.history = [EpochRecord(**record) for record in kept["history"]]
        self.best = kept["best"]
        self.steps = self.history[-1].steps if self.history else 0
        self.step.first_loss = kept["first_loss"]
        self.state.put_back(kept["state"])


def _shown(record: EpochRecord) -> dict[str, str]:
    """What the progress bar says of an epoch."""
    shown = {"loss": f"{record.loss:.4f}", "KL": f"{record.kl_bits:.0f} bits"}
    if record.kl_bits_per_weight is not None:
        shown["a weight"] = f"{record.kl_bits_per_weight:.3f}"
    if record.validation_nll is not None:
        shown["validation NLL"] = f"{record.validation_nll:.4f}"
    return shown
