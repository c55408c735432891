"""Networks, rows and draws for the tests of ensemble kernels, and the reference's results."""

import numpy as np

from bayes_sbn.kernels.native import ensemble as native
from bayes_sbn.kernels.reference.network import (
    DenseLayer,
    Network,
    draw_network,
    network_thresholds,
    output_dots,
    signs_of_words,
)
from bayes_sbn.kernels.reference.sampling import probability_thresholds
from tests.chance import numpy_generator

LAWS = tuple(native.LAWS)
SIZES = (1, 3, 16, 31, 32, 33, 63, 64, 65, 100, 129, 200)
DRAWS = np.array([0, 5, 2**32 - 1, 17])


def random_layer(
    site: int, inputs: int, units: int, noise: str | None, g: np.random.Generator
) -> DenseLayer:
    """Weights of all certainties, 0 and 1 included; scales from 0 to 1e20 and beyond."""
    p = g.random((units, inputs))
    p[g.random(p.shape) < 0.1] = 0.0
    p[g.random(p.shape) < 0.1] = 1.0
    if g.random() < 0.3:
        p = np.round(p * 256) / 256  # ties that only the last planes settle
    scale = g.normal(size=units) / inputs**0.5 * g.choice([1e-310, 0.01, 1, 10, 1e20])
    scale[g.random(units) < 0.1] = 0
    bias = g.normal(size=units) * g.choice([1, 10, 1e20])
    return DenseLayer(
        site=site,
        thresholds=probability_thresholds(p),
        scale=scale,
        bias=bias,
        noise=noise,
        noise_scale=float(g.choice([1.0, 0.3, 2.5])),
    )


def random_case(label: str) -> tuple[Network, np.ndarray, tuple[int, int], int]:
    """A network, rows, a key, and the index of the first row."""
    g = numpy_generator(f"ensemble/{label}")
    depth = int(g.integers(1, 4))
    sizes = [int(g.choice(SIZES)) for _ in range(depth)] + [int(g.integers(2, 40))]
    noises = [str(g.choice(LAWS)) for _ in range(depth - 1)] + [None]
    layers = [random_layer(i, sizes[i], sizes[i + 1], noises[i], g) for i in range(depth)]
    rows = int(g.choice([1, 5, 31, 32, 33, 70]))
    kinds = (
        g.integers(-32767, 32768, (rows, sizes[0])),
        g.choice([-7, 7], (rows, sizes[0])),
        g.integers(-8, 9, (rows, sizes[0])),
    )
    inputs = kinds[int(g.integers(3))].astype(np.int16)
    key = int(g.integers(2**32)), int(g.integers(2**32))
    first_row = int(g.choice([0, 1, 31, 45, 2**32 - rows]))
    return Network(tuple(layers), float(2.0 ** -g.integers(0, 14))), inputs, key, first_row


def by_reference(network, inputs, *, key, draws, is_shared, first_row, units=()):
    """Integer logits by NumPy."""
    words = draw_network(network, key, draws)
    weights = [
        signs_of_words(word, layer.num_inputs)
        for word, layer in zip(words, network.layers, strict=True)
    ]
    thresholds = network_thresholds(network, key, draws, units) if is_shared else None
    return output_dots(
        network,
        weights,
        inputs,
        key=key,
        draws=draws,
        thresholds=thresholds,
        first_row=first_row,
        units=units,
    )


def by_library(library, network, inputs, *, threads=1, **options):
    """Integer logits by the compiled library."""
    planes = [native.PlanesOfBlocks.of(layer) for layer in network.layers]
    return native.integer_logits(library, network, planes, inputs, num_threads=threads, **options)
