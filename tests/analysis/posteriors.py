"""Small posteriors of every kind, with data, for the tests of the analysis."""

from dataclasses import replace

import numpy as np

from bayes_sbn.posterior import Posterior
from bayes_sbn.posterior_components import Component
from bayes_sbn.posterior_layer import PosteriorLayer
from bayes_sbn.posterior_real_layer import RealPosteriorLayer
from tests.chance import numpy_generator
from tests.plain_networks import random_posterior


def labelled(num_rows: int = 12, num_inputs: int = 5, num_classes: int = 3):
    """Rows and labels."""
    g = numpy_generator("labelled rows")
    return g.normal(size=(num_rows, num_inputs)), g.integers(0, num_classes, num_rows)


def measured(num_rows: int = 12, num_inputs: int = 4):
    """Rows and real targets."""
    g = numpy_generator("measured rows")
    return g.normal(size=(num_rows, num_inputs)), g.normal(size=num_rows)


def regression_posterior(sigma: float = 0.7) -> Posterior:
    """±1 weights below, normal ones above, one of which is a point."""
    g = numpy_generator("regression posterior")
    spread = np.exp(g.normal(size=(1, 6)) - 1)
    spread[0, 2] = 0.0
    layers = (
        PosteriorLayer(
            name="hidden.0",
            site=0,
            probabilities=g.uniform(0.05, 0.95, size=(6, 4)),
            scale=np.full(6, 0.5),
            bias=g.normal(size=6),
            noise="logistic",
        ),
        RealPosteriorLayer(
            name="output",
            site=1,
            loc=g.normal(size=(1, 6)),
            spread=spread,
            bias=g.normal(size=1),
            prior_scale=1.5,
        ),
    )
    return Posterior([Component(1.0, layers, sigma)], 2.0**-10, "normal", temperature=0.5)


def restarts(number: int = 2, **options: object) -> list[Posterior]:
    """Posteriors of the same sizes that share nothing."""
    return [random_posterior(label=f"restart {index}", **options) for index in range(number)]


def two_of_one_network() -> Posterior:
    """A mixture whose components differ in the probabilities of their weights alone."""
    first = random_posterior(label="component 0").layers
    g = numpy_generator("component 1")
    second = tuple(
        replace(layer, probabilities=g.uniform(0.1, 0.9, size=layer.probabilities.shape))
        for layer in first
    )
    return Posterior([Component(0.25, first), Component(0.75, second)], 2.0**-10)
