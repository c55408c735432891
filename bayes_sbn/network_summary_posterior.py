r"""The summary of a posterior: what the network is made of, from its numbers and without a run.

Of several components, or of weights that share factors, the probabilities are those of a weight by
itself, :math:`p = \sum_c \pi_c p_c`.  Inputs are counted as real numbers: a posterior does not say
whether they are ±1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.network_summary_result import LayerSummary, Summary
from bayes_sbn.posterior import Posterior

Float64 = npt.NDArray[np.float64]


def summary_of_posterior(posterior: Posterior) -> Summary:
    """The layers of a posterior, in the order in which they run.

    Args:
        posterior: of one component or several.
    """
    components = posterior.components
    weights = np.array([component.weight for component in components])
    layers = zip(*(component.layers for component in components), strict=True)
    return Summary(tuple(_layer(i, list(same), weights) for i, same in enumerate(layers)))


def _layer(index: int, layers: list[Any], weights: Float64) -> LayerSummary:
    first = layers[0]
    units, inputs = first.num_units, first.num_inputs
    products, is_sign = units * inputs, first.num_weights > 0
    entropy = divergence = certainty = spread = None
    if is_sign:
        p = np.tensordot(weights, np.stack([layer.probabilities for layer in layers]), 1)
        prior = np.tensordot(
            weights, np.stack([np.broadcast_to(layer.prior, p.shape) for layer in layers]), 1
        )
        entropy = float(_bits(p, p).mean())
        divergence = float(_bits(p, prior).mean()) - entropy
        certainty = float(np.abs(2 * p - 1).mean())
    else:
        spread = float(sum(w * np.mean(la.spread) for w, la in zip(weights, layers, strict=True)))
    return LayerSummary(
        name=first.name,
        kind="dense",
        weight="±1" if is_sign else "real",
        shape=(units, inputs),
        units=units,
        bits=products if is_sign else 0,
        reals=2 * units if is_sign else products + units,  # scale and bias of a unit
        xnors=products if is_sign and index else 0,
        additions=products if is_sign and not index else 0,
        multiplications=0 if is_sign else products,
        entropy=entropy,
        divergence=divergence,
        certainty=certainty,
        spread=spread,
    )


def _bits(p: Float64, q: Float64) -> Float64:
    """``-p log2 q - (1 - p) log2 (1 - q)``, where 0 times infinity is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(p > 0, -p * np.log2(q), 0.0)
        second = np.where(p < 1, -(1 - p) * np.log2(1 - q), 0.0)
    total: Float64 = first + second
    return total
