"""The network of ``fit``: made, trained with checkpoints, exported, scored."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import torch

from bayes_sbn.cli_arguments import progress_of
from bayes_sbn.cli_ensemble import Fitted
from bayes_sbn.cli_fit_data import FitData
from bayes_sbn.cli_preprocessing import REAL
from bayes_sbn.cli_run import FIT, NETWORK, POSTERIOR, SCORES, Run
from bayes_sbn.estimators.estimator import REGISTRY
from bayes_sbn.guides import AutoHybrid, AutoSignBernoulli
from bayes_sbn.models import BinaryMLP, BinaryRegressor
from bayes_sbn.network_summary import summary
from bayes_sbn.noise import NOISES
from bayes_sbn.optim import MirrorDescent
from bayes_sbn.posterior import Posterior
from bayes_sbn.training import fit
from bayes_sbn.training_result import Fit

DRAWS = 200
"""Networks in the ensemble that is scored."""

SCORE_SEED, LEVEL = 0, 0.95
"""Of that ensemble and its intervals: what ``evaluate`` takes by default."""


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """A network after its fit: what ended it, the model, its guide."""

    fit: Fit
    model: BinaryMLP
    guide: AutoSignBernoulli


def check_names(arguments: argparse.Namespace) -> None:
    """Exit with 2 for an estimator, a law of noise or a layer that there is not."""
    layers = ["first", "last", *(f"hidden.{k}" for k in range(len(arguments.hidden))), "output"]
    known = {
        "estimator": (sorted(REGISTRY), [arguments.estimator]),
        "noise": (NOISES, [arguments.noise]),
        "real": (layers, arguments.real),
    }
    for option, (allowed, given) in known.items():
        for name in given:
            if name not in allowed:
                arguments.parser.error(
                    f"--{option} {name}: there is none of that name, write one of "
                    f"{', '.join(allowed)}"
                )


def fit_network(arguments: argparse.Namespace, data: FitData, folder: Run) -> FittedNetwork:
    """Train on the rows for it.

    Everything random follows from the seed; torch's generator is put back afterwards.

    Args:
        arguments: of ``fit``, complete.
        data: the rows.
        folder: for checkpoints and the log.
    """
    train, validation = data.rows_of("train"), data.rows_of("validation")
    assert train is not None
    tensors = _tensors(data, train)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(arguments.seed)
        options = {
            "num_data": len(train),
            "noise": arguments.noise,
            "real": tuple(arguments.real),
        }
        inputs, made = tensors[0].shape[1], data.preprocessing
        if made.task == REAL:
            model: BinaryMLP = BinaryRegressor(inputs, arguments.hidden, **options)
        else:
            model = BinaryMLP(inputs, arguments.hidden, len(made.classes), **options)
        model.float()
        guide = AutoHybrid(model) if arguments.real else AutoSignBernoulli(model)
        result = fit(
            model,
            guide,
            tensors,
            validation=None if validation is None else _tensors(data, validation),
            estimator=arguments.estimator,
            temperature=arguments.temperature,
            optim=MirrorDescent({"lr": arguments.lr, "real": ("Adam", {"lr": arguments.real_lr})}),
            epochs=arguments.epochs,
            batch_size=arguments.batch_size,
            schedule=arguments.schedule,
            patience=arguments.patience,
            checkpoint=folder.folder,
            resume=arguments.resume,
            progress=progress_of(arguments),
        )
    return FittedNetwork(result, model, guide)


def keep(
    data: FitData, folder: Run, fitted: FittedNetwork, *, share: float, progress: bool | None
) -> tuple[str, dict[str, Any]]:
    """Write posterior, summary and scores; tell them as text and as plain values.

    Args:
        data: the rows.
        folder: of the run.
        fitted: the network.
        share: of the rows that was to be held out for scores.
        progress: whether to show bars.
    """
    posterior = Posterior.from_guide(fitted.model, fitted.guide, temperature=fitted.fit.temperature)
    with torch.random.fork_rng(devices=[]):  # a run of the model
        network = summary(fitted.model, fitted.guide)
    folder.write_json(NETWORK, network.to_dict())
    sizes = [posterior.num_inputs, *(layer.num_units for layer in posterior.layers)]
    lines = [
        str(data),
        f"network {'-'.join(map(str, sizes))}, {posterior.num_weights:,} ±1 weights of "
        f"{posterior.bits_per_weight:.3f} bits",
        str(fitted.fit),
    ]
    record = fitted.fit.history[fitted.fit.epoch - 1].to_dict()
    contents: dict[str, Any] = {
        "fit": {
            "epochs": len(fitted.fit.history),
            "stopped": fitted.fit.stopped,
            "epoch": fitted.fit.epoch,
            "temperature": fitted.fit.temperature,
            "record": record,
        },
        "network": {
            "sizes": sizes,
            "num_weights": posterior.num_weights,
            "bits_per_weight": posterior.bits_per_weight,
        },
        "scores": None,
    }
    folder.write_json(FIT, contents["fit"])
    test = data.rows_of("test")
    if test is not None:
        found = Fitted(posterior, data.preprocessing)
        x, clipped = found.clipped(test)
        judged = found.scores(x, test, draws=DRAWS, seed=SCORE_SEED, level=LEVEL, progress=progress)
        scores = {**judged.to_dict(), "part": "test", "clipped": clipped}
        lines += ["", f"test rows of {test.source}:", str(judged)]
        if clipped:
            lines.append(f"{clipped} inputs, far beyond the rows of the fit, were clipped.")
        contents["scores"] = scores
        folder.write_json(SCORES, scores)
    elif share:
        lines += ["", "no row was held out for scores: no class has one to spare"]
    posterior.save(folder.path(POSTERIOR))
    lines += [
        "",
        f"run: {folder.name} ({folder.path(POSTERIOR).stat().st_size:,} bytes of it the posterior)",
    ]
    return "\n".join(lines), contents


def _tensors(data: FitData, table: Any) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.from_numpy(data.preprocessing.inputs(table))
    return x, torch.from_numpy(data.targets(table))
