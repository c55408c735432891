r"""``fit``: a model and a guide fitted to data by Pyro's SVI, epoch by epoch.

Each step is ``pyro.infer.SVI.step`` on a mini-batch, with the loss ``-ELBO_T`` of
:class:`bayes_sbn.TraceEstimator_ELBO`; what one call adds is everything around it: the order of the
rows, step sizes by epoch, checks of every gradient, scores of held-out rows, an early end,
checkpoints from which a killed run goes on as if nothing had happened.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from typing import Any

import torch

from bayes_sbn.elbo import TraceEstimator_ELBO
from bayes_sbn.elbo_parallel import DataParallel_ELBO
from bayes_sbn.elbo_ranks import Ranks, checksum
from bayes_sbn.estimators import Estimator
from bayes_sbn.optim import MirrorDescent
from bayes_sbn.training_data import Batches, LoaderBatches, as_batches
from bayes_sbn.training_epochs import Training
from bayes_sbn.training_folder import TrainingFolder, described, fingerprint, law_of_leaves
from bayes_sbn.training_result import EpochRecord, Fit
from bayes_sbn.training_schedule import (
    Plateau,
    Schedule,
    described_schedule,
    get_annealing,
    get_schedule,
)

DEFAULT_OPTIM = {"lr": 0.05, "real": ("Adam", {"lr": 0.01})}
"""Mirror descent for the ±1 weights, Adam for scales and biases."""

HELD_OUT_ROWS = 1024
"""Held-out tensors are scored so many rows at a time: each batch draws its own networks."""


def fit(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: Any,
    *,
    validation: Any = None,
    estimator: str | Estimator | None = None,
    temperature: float | str | None = None,
    elbo: TraceEstimator_ELBO | None = None,
    optim: Any = None,
    epochs: int = 50,
    batch_size: int = 128,
    schedule: str | Schedule | Plateau = "cosine",
    annealing: str | Schedule = "constant",
    clip_norm: float | None = None,
    patience: int | None = None,
    keep: str | None = None,
    validation_draws: int = 16,
    generator: torch.Generator | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = True,
    after_epoch: Callable[[EpochRecord], None] | None = None,
    progress: bool | None = None,
) -> Fit:
    """Fit a model by stochastic variational inference; its parameters change in place.

    Args:
        model: a Pyro model, called with the tensors of a batch.
        guide: its guide, such as :class:`bayes_sbn.guides.AutoSignBernoulli`.
        data: a tensor or a tuple of tensors, ``(x, y)``, whose first dims are the rows; or a
            DataLoader that yields such tuples.
        validation: held-out rows in the same form, scored after each epoch by an ensemble of draws.
        estimator: gradient estimator, default ``"psa"``.
        temperature: what a nat of KL costs, default ``"auto"``.
        elbo: the loss itself, in place of ``estimator`` and ``temperature``; of several processes
            :class:`bayes_sbn.DataParallel_ELBO`, each of which makes the same call.
        optim: a PyroOptim, default ``MirrorDescent({"lr": 0.05, "real": ("Adam", {"lr": 0.01})})``.
        epochs: passes over the data.
        batch_size: rows of a mini-batch of tensors.
        schedule: factor of the step sizes by epoch: ``"cosine"``, ``"linear"``, ``"constant"``, a
            function of the fraction of epochs done, or ``"plateau"``
            (:class:`bayes_sbn.Plateau`), which follows the validation NLL.
        annealing: factor of the temperature by epoch: ``"constant"``, ``"warm_up"`` (from 0 to 1
            in the first half), ``"cooling"`` (from 10 to 1 in the first half), or a function of
            the fraction of epochs done.
        clip_norm: largest norm of the gradient of the loss a row; None does not clip.
        patience: stop when the validation NLL has not fallen for so many epochs.
        keep: the parameters that are left: of the ``"last"`` epoch, or of the ``"best"`` by
            validation NLL; default best with ``patience``, else last.
        validation_draws: networks in the ensemble that scores held-out rows.
        generator: of the order of rows; default one seeded by torch's global generator.
        checkpoint: a folder for the state at the end of each epoch and a log, ``log.jsonl``.  The
            same call goes on from what is there, bit for bit on a CPU as if it had not stopped.
        resume: False begins anew, whatever is in the folder.
        after_epoch: called with the record of each epoch once it is done and kept, while model and
            guide hold its parameters: for scores and curves of one's own.  Torch's generators and
            the buffers are put back after it.
        progress: show a bar; default where standard error is a terminal.

    Returns:
        The history, and how it ended.

    Example:
        >>> import torch, bayes_sbn as sbn
        >>> x, y = torch.randn(40, 4), torch.randint(3, (40,))
        >>> model = sbn.models.BinaryMLP(4, [8], 3, num_data=40)
        >>> guide = sbn.guides.AutoSignBernoulli(model)
        >>> fit = sbn.fit(model, guide, (x, y), epochs=2, batch_size=20)
        >>> [record.steps for record in fit.history]
        [2, 4]
    """
    _check_counts(
        epochs=epochs, batch_size=batch_size, validation_draws=validation_draws, patience=patience
    )
    if clip_norm is not None and not 0 < clip_norm < math.inf:
        raise ValueError(f"fit(clip_norm={clip_norm}): a norm is a positive number, or None.")
    _check_keep(keep, patience, validation, schedule)
    if after_epoch is not None and not callable(after_epoch):
        raise TypeError(
            f"fit(after_epoch=...): received a {type(after_epoch).__name__}; it is a function of "
            "the record of an epoch, such as lambda record: print(record.epoch, record.loss)."
        )
    elbo = _elbo(elbo, estimator, temperature)
    ranks, own_draws = Ranks.alone(), False
    if isinstance(elbo, DataParallel_ELBO):
        ranks, own_draws = elbo.ranks, elbo.independent_draws and elbo.ranks.size > 1
    loss_options = {
        "estimator": repr(elbo.estimator),
        "temperature": elbo.temperature,
        "weight_kl": elbo.weight_kl,
        "num_particles": elbo.num_particles,
        "num_importance": elbo.num_importance,
        **({"independent_draws": True} if own_draws else {}),
    }
    if generator is None:
        generator = torch.Generator().manual_seed(int(torch.empty((), dtype=torch.int64).random_()))
    device = _device(model, guide)
    batches = as_batches(
        data, batch_size, generator=generator, device=device, call="fit(model, guide, data): data"
    )
    held_out = None
    if validation is not None:
        most = max(batch_size, HELD_OUT_ROWS)
        # a model may refuse more rows than it was made for
        size = batch_size if batches.num_rows is None else min(most, batches.num_rows)
        held_out = as_batches(
            validation, size, generator=None, device=device, call="fit(validation=...)"
        )
    training = Training(
        model,
        guide,
        batches,
        held_out,
        elbo=elbo,
        optim=MirrorDescent(DEFAULT_OPTIM) if optim is None else optim,
        epochs=epochs,
        schedule=get_schedule(schedule),
        annealing=get_annealing(annealing),
        clip_norm=clip_norm,
        patience=patience,
        validation_draws=validation_draws,
        after_epoch=after_epoch,
    )
    if checkpoint is not None or ranks.size > 1:
        settings = {
            "data": fingerprint(batches),
            "validation": fingerprint(held_out),
            "batch_size": batch_size,
            # step sizes that do not fall make more epochs the same fit
            "epochs": None if _is_open(schedule) and annealing == "constant" else epochs,
            "schedule": described_schedule(schedule),
            "annealing": described_schedule(annealing),
            "clip_norm": clip_norm,
            "validation_draws": validation_draws,
            **loss_options,
            "optim": described(training.svi.optim),
            **training.state.described(),
            **law_of_leaves(guide),
        }
        _need_same_call(
            ranks,
            settings,
            epochs=epochs,
            patience=patience,
            keep=keep,
            generator=checksum(generator.get_state()),
            checkpoint=checkpoint is not None,
            resume=resume,
        )
    if checkpoint is not None:
        _warn_of_order(batches)
        training.keep_in(TrainingFolder(checkpoint, settings, ranks), resume=resume)
    if ranks.rank > 0:
        progress = False
    stopped = training.run(progress)
    if keep == "best" or (keep is None and patience is not None):
        epoch = training.keep_best()
    else:
        epoch = len(training.history)
    return Fit(tuple(training.history), stopped, epoch, elbo, training.svi.optim)


def _need_same_call(ranks: Ranks, settings: dict[str, Any], **others: Any) -> None:
    """Raise on all processes of a fit if they were not told the same."""
    ranks.need_same(
        "fit(elbo=DataParallel_ELBO(...))",
        {**settings, **{f"{name}=": value for name, value in others.items()}},
        "Make the same call on every rank, after the same torch.manual_seed(0): a rank takes its "
        "rows of each batch itself.",
    )


def _check_counts(**counts: int | None) -> None:
    for name, count in counts.items():
        if count is None and name == "patience":
            continue
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"fit({name}={count!r}): it is an integer of at least 1.")


def _is_open(schedule: str | Schedule | Plateau) -> bool:
    """Whether the step sizes of an epoch do not depend on how many epochs there are to be."""
    return isinstance(schedule, Plateau) or schedule in ("constant", "plateau")


def _check_keep(
    keep: str | None, patience: int | None, validation: Any, schedule: str | Schedule | Plateau
) -> None:
    if keep not in (None, "last", "best"):
        raise ValueError(f"fit(keep={keep!r}): the parameters that are left are 'last' or 'best'.")
    plateau = schedule if isinstance(schedule, Plateau) or schedule == "plateau" else None
    for name, value in (("patience", patience), ("keep", keep), ("schedule", plateau)):
        if validation is None and value not in (None, "last"):
            raise ValueError(
                f"fit({name}={value!r}) goes by the validation NLL, and there are no held-out "
                "rows. Give validation=(x_test, y_test)."
            )


def _elbo(
    elbo: TraceEstimator_ELBO | None,
    estimator: str | Estimator | None,
    temperature: float | str | None,
) -> TraceEstimator_ELBO:
    if elbo is None:
        return TraceEstimator_ELBO(
            "psa" if estimator is None else estimator,
            temperature="auto" if temperature is None else temperature,
        )
    if not isinstance(elbo, TraceEstimator_ELBO):
        raise TypeError(
            f"fit(elbo=...): received a {type(elbo).__name__}; it is a "
            'sbn.TraceEstimator_ELBO("psa", temperature="auto"), with whatever options. For other '
            "ELBOs use pyro.infer.SVI."
        )
    if estimator is not None or temperature is not None:
        raise ValueError(
            "fit(elbo=...) has its own estimator and temperature. Leave out estimator= and "
            "temperature=, or elbo=."
        )
    return elbo


def _warn_of_order(batches: Batches) -> None:
    if isinstance(batches, LoaderBatches) and not batches.is_reproduced:
        warnings.warn(
            "fit(checkpoint=...): the DataLoader has no generator of its own for its order, so a "
            "resumed run need not see the rows in the order of an uninterrupted one. Write "
            "DataLoader(..., generator=torch.Generator().manual_seed(0)).",
            UserWarning,
            stacklevel=3,
        )


def _device(model: Any, guide: Any) -> torch.device | None:
    """Where the batches of a loader go: to the parameters, if these are there already."""
    for module in (guide, model):
        if isinstance(module, torch.nn.Module):
            for parameter in module.parameters():
                return parameter.device
    return None
