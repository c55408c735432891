"""The part with images: MNIST is learned, and notMNIST is to be told from it by what is unsure.

A fully binary 784-256-256-10 network (weights and activations ±1), a deep ensemble of 5 float
networks of the same widths, and MC dropout, all for the same number of steps.  The last training
images choose a setting by fits from the first seed; the best is fitted from the other seeds too.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import bayes_sbn as sbn
from studies.calibration import scores
from studies.calibration.data import Array, Images, Rows
from studies.calibration.floats import Networks, Training
from studies.calibration.methods import BINARY, DROPOUT, ENSEMBLE, grid
from studies.calibration.tabular import named
from studies.calibration.tasks import Options

OF_PROBABILITIES = ("max_prob", "entropy", "epistemic", "variation_ratio")
"""Scores of ``sbn.metrics.ood``; ``"epistemic"`` is the mutual information of label and draw."""

FLIPS = "flip rate"


@dataclass(frozen=True)
class Size:
    """How large the networks are and how long they train.

    Args:
        hidden: widths.
        epochs: passes over the images.
        batch_size: rows of a batch.
        draws: of the posterior, or of masks.
        flip_rows: images of each kind whose activations are compared, which takes memory.
        seeds: how many, of starts, orders, draws and masks.
        most_settings: of each grid, from its start; None for all.
    """

    hidden: tuple[int, ...] = (256, 256)
    epochs: int = 20
    batch_size: int = 256
    draws: int = 32
    flip_rows: int = 2000
    seeds: int = 3
    most_settings: int | None = None


@dataclass(frozen=True)
class Found:
    """What a fitted network predicts, and the ±1 activations where it has them."""

    predict: Callable[[Array], sbn.Predictions]
    activations: Callable[[Array], list[Array]] | None = None


SETTINGS: dict[str, list[Options]] = {
    BINARY: grid(factor=[1 / 1000, 1 / 300, 1 / 100], lr=[0.05], real_lr=[0.03]),
    ENSEMBLE: grid(decay=[0.1, 1.0], dropout=[0.0]),
    DROPOUT: grid(decay=[1.0], dropout=[0.1, 0.2, 0.3]),
}


def centring(rows: Rows) -> Callable[[Array], Array]:
    """Pixels less their means, divided by one standard deviation for all."""
    mean = rows.x.mean(0)
    deviation = float((rows.x - mean).std())
    return lambda x: (x - mean) / deviation


def binary(learn: Rows, classes: int, options: Options, size: Size, seed: int) -> Found:
    """A posterior over a network of ±1 weights and activations."""
    centred = centring(learn)
    x = torch.tensor(centred(learn.x), dtype=torch.float32)
    y = torch.tensor(learn.y)
    torch.manual_seed(seed)
    model = sbn.models.BinaryMLP(x.shape[1], list(size.hidden), classes, num_data=len(x))
    guide = sbn.guides.AutoSignBernoulli(model)
    rule = sbn.temperature_rule(model, guide, x[:1], y[:1])
    fit = sbn.fit(
        model,
        guide,
        (x, y),
        temperature=min(1.0, options["factor"] * rule),
        optim=sbn.optim.MirrorDescent(
            {"lr": options["lr"], "real": ("Adam", {"lr": options["real_lr"]})}
        ),
        epochs=size.epochs,
        batch_size=size.batch_size,
        progress=False,
    )
    ends = np.abs(centred(np.stack([np.zeros(x.shape[1]), np.ones(x.shape[1])])))
    posterior = sbn.Posterior.from_guide(
        model, guide, temperature=fit.temperature, input_range=1.01 * float(ends.max())
    )
    ensemble = posterior.draw(size.draws, seed=seed)
    return Found(
        lambda x: ensemble.predict(centred(x), progress=False),
        lambda x: [np.asarray(layer) for layer in ensemble.activations(centred(x))],
    )


def floats(members: int) -> Callable[[Rows, int, Options, Size, int], Found]:
    """Float networks: several, or one under many masks."""

    def fit(learn: Rows, classes: int, options: Options, size: Size, seed: int) -> Found:
        centred = centring(learn)
        steps = size.epochs * math.ceil(len(learn) / size.batch_size)
        networks = Networks(
            [Rows(centred(learn.x), learn.y)] * members,
            classes,
            Training(size.hidden, steps, size.batch_size, 1e-3),
            decay=[options["decay"]] * members,
            dropout=[options["dropout"]] * members,
            classes=classes,
            seed=seed,
        )
        networks.train()
        passes = 1 if members > 1 else size.draws

        def predict(x: Array) -> sbn.Predictions:
            each = [networks.predict(centred(x))[0] for _ in range(passes)]
            return sbn.Predictions(np.concatenate(each))

        return Found(predict)

    return fit


FITS = {BINARY: binary, ENSEMBLE: floats(5), DROPOUT: floats(1)}


def scored(found: Found, images: Images, size: Size) -> dict[str, float]:
    """Scores of the labels, and how well what is unsure tells the images apart."""
    inside, outside = found.predict(images.test.x), found.predict(images.outside)
    result = scores.classification(inside, images.test.y)
    ranks = {s: [sbn.metrics.ood_score(p, s) for p in (inside, outside)] for s in OF_PROBABILITIES}
    if found.activations is not None:
        rows = [x[: size.flip_rows] for x in (images.test.x, images.outside)]
        ranks[FLIPS] = [sbn.metrics.flip_rate(found.activations(x)) for x in rows]
    for name, pair in ranks.items():
        result[f"AUROC {name}"] = float(sbn.metrics.detection_auroc(*pair))
    return result


def study(
    images: Images,
    results: dict[str, Any],
    *,
    size: Size,
    methods: list[str] | None = None,
    save: Callable[[], None],
) -> None:
    """Make every record that is not there yet, by method, setting and seed."""
    for name, settings in SETTINGS.items():
        if methods and name not in methods:
            continue
        kept = results.setdefault(name, {})
        tried = settings[: size.most_settings]
        for seed in range(1, size.seeds + 1):
            for options in tried:
                own = kept.setdefault(named(options), {})
                if str(seed) not in own:
                    own[str(seed)] = record(name, images, options, size, seed)
                    save()
                    print(_line(name, options, seed, own[str(seed)]), flush=True)
            best = chosen(kept)
            tried = [options for options in tried if named(options) == best]


def record(name: str, images: Images, options: Options, size: Size, seed: int) -> dict[str, float]:
    """Scores of one fit, the NLL by which settings are chosen, and seconds."""
    started = time.process_time()
    classes = int(images.learn.y.max()) + 1
    found = FITS[name](images.learn, classes, options, size, seed)
    choosing = float(sbn.metrics.nll(found.predict(images.choose.x), images.choose.y))
    seconds = time.process_time() - started
    return {"choosing": choosing, "seconds": seconds, **scored(found, images, size)}


def _line(name: str, options: Options, seed: int, own: dict[str, float]) -> str:
    found = ", ".join(f"{s} {value:.4f}" for s, value in own.items() if s != "seconds")
    return f"images, {name}, {named(options)}, seed {seed}: {found}; {own['seconds']:.0f} s"


def chosen(records: dict[str, Any]) -> str:
    """The setting with the least NLL, from the first seed, of the images that choose."""
    return min(records, key=lambda setting: records[setting]["1"]["choosing"])
