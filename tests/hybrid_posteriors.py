"""Posteriors with layers of real weights, as plain numbers."""

import numpy as np

from bayes_sbn.posterior import Posterior
from bayes_sbn.posterior_real_layer import RealPosteriorLayer
from tests.chance import numpy_generator
from tests.plain_networks import random_posterior


def random_hybrid(
    real: tuple[int, ...] = (0, 2), *, points: bool = False, sizes=(5, 8, 6, 3), **options
) -> Posterior:
    """``random_posterior`` with some layers of real weights in place of ±1 ones."""
    g = numpy_generator(f"hybrid/{sizes}")
    posterior = random_posterior(sizes, **options)
    layers = list(posterior.layers)
    for site in real:
        old = layers[site]
        shape = old.probabilities.shape
        layers[site] = RealPosteriorLayer(
            name=old.name,
            site=site,
            loc=g.normal(size=shape) / shape[1] ** 0.5,
            spread=np.zeros(()) if points else g.uniform(0, 0.4, size=shape),
            bias=old.bias,
            noise=old.noise,
            noise_scale=old.noise_scale,
            prior_scale=shape[1] ** -0.5,
        )
    return Posterior(tuple(layers), posterior.input_scale, temperature=posterior.temperature)


CASES = {
    "ends": random_hybrid(),
    "points": random_hybrid(points=True),
    "first": random_hybrid((0,)),
    "middle": random_hybrid((1,)),
    "last": random_hybrid((2,)),
}
