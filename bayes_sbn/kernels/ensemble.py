"""Draws of a network and the class probabilities of its logits, by the fastest code for them.

Definition in ``bayes_sbn.kernels.reference``; the compiled library has the same bits.  What runs a
whole network is in ``bayes_sbn.kernels.streams``.
"""

from __future__ import annotations

import torch

from bayes_sbn.kernels import loader
from bayes_sbn.kernels.native import ensemble as native
from bayes_sbn.kernels.native.probabilities import probabilities
from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.network import DenseLayer, Network, output_logits, softmax64
from bayes_sbn.kernels.reference.real_weights import Int16
from bayes_sbn.kernels.reference.sampling import Int64, Key, UInt32
from bayes_sbn.kernels.streams import planes_of


def draw_network(network: Network, key: Key, draws: Int64) -> list[UInt32 | Int16]:
    """Weights of every layer: ±1 packed, (draws, out, words), or real, (draws, out, in).

    Independent ±1 weights are drawn by the compiled library where it is.
    """
    library = loader.installed_library()
    if library is None:
        return [layer.draw(key, draws) for layer in network.layers]
    return [
        native.draw_weights(library, layer, planes_of(layer), key, draws, torch.get_num_threads())
        if isinstance(layer, DenseLayer)
        else layer.draw(key, draws)
        for layer in network.layers
    ]


def class_probabilities(network: Network, dots: Int64, backend: str) -> Float64:
    """Class probabilities of integer logits, float64, of the shape of the dots.

    Args:
        network: whose last layer the dots are of.
        dots: int64, shape (..., classes).
        backend: ``"reference"`` for NumPy; else the compiled library where it is, with its bits.
    """
    library = None if backend == "reference" else loader.installed_library()
    if library is None:
        return softmax64(output_logits(network, dots))
    last = len(network.layers) - 1
    scale, bias = network.scale(last), network.layers[last].bias
    return probabilities(library, dots, scale, bias, torch.get_num_threads())
