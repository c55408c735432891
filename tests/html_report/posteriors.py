"""Small posteriors, data and records of a fit, all of stated seeds, for reports of them."""

import itertools

import numpy as np

from bayes_sbn.posterior import Posterior
from bayes_sbn.posterior_components import Component
from bayes_sbn.posterior_layer import PosteriorLayer
from bayes_sbn.training_result import EpochRecord

ROWS = 40


def layers(sizes: tuple[int, ...], seed: int = 0) -> tuple[PosteriorLayer, ...]:
    generator = np.random.default_rng(seed)
    found = []
    for site, (inputs, units) in enumerate(itertools.pairwise(sizes)):
        is_last = site == len(sizes) - 2
        found.append(
            PosteriorLayer(
                f"layer{site}",
                site,
                generator.beta(0.4, 0.4, (units, inputs)),
                np.full(units, 2.0 / np.sqrt(inputs)),
                generator.normal(size=units) / 4,
                None if is_last else "logistic",
            )
        )
    return tuple(found)


def of_classes(inputs: int = 6, classes: int = 3) -> Posterior:
    return Posterior(layers((inputs, 8, classes)), 2.0**-10, temperature=0.5)


def of_reals(inputs: int = 4) -> Posterior:
    component = Component(1.0, layers((inputs, 8, 1)), sigma=0.7)
    return Posterior([component], 2.0**-10, "normal", temperature=1.0)


def rows(inputs: int = 6, number: int = ROWS, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(number, inputs)).clip(-4, 4)


def labels(classes: int = 3, number: int = ROWS, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(classes, size=number)


def record(epoch: int, **changes: object) -> EpochRecord:
    values: dict[str, object] = {
        "epoch": epoch,
        "steps": 10 * epoch,
        "loss": 2.0 / epoch,
        "gradient_norm": 0.5,
        "rate": 1.0,
        "temperature": 0.5,
        "kl_nats": 3.0,
        "kl_bits": 4.3,
        "kl_bits_per_weight": 0.1,
        "validation_nll": 1.5 / epoch if epoch < 4 else 0.6,
        "validation_draw_nll": 1.7 / epoch,
        "validation_elbo": -2.0,
        "seconds": 0.25,
    }
    return EpochRecord(**{**values, **changes})
