"""The law of the weights as arrays: probabilities of ±1 weights, mean and spread of real ones.

It is what draws are a sample of, and one number a weight.  The leading dim is ``chain``; of
components that are mixed in one chain it is ``component``, with ``component_weight``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.analysis.arviz_names import Names

if TYPE_CHECKING:
    from bayes_sbn.posterior import Posterior

Array = npt.NDArray[Any]
Variables = dict[str, tuple[tuple[str, ...], Array, dict[str, Any]]]


def variational_law(chains: Sequence[Posterior], names: Names) -> Variables:
    """The variables of the group ``variational``."""
    lead = "chain"
    components = [chain.components[0] for chain in chains]
    found: Variables = {}
    if len(chains[0].components) > 1:
        lead, components = "component", list(chains[0].components)
        weights = np.array([component.weight for component in components])
        found["component_weight"] = ((lead,), weights, {"description": "weights of the mixture"})
    for index, (name, (out, inputs)) in enumerate(zip(names.layers, names.dims, strict=True)):
        layers = [component.layers[index] for component in components]
        for key, (dims, values, about) in _law(layers, out, inputs).items():
            found[f"{name}.{key}"] = ((lead, *dims), values, about)
    sigmas = [component.sigma for component in components]
    if sigmas[0] is not None:
        words = {"description": "standard deviation of the target's noise"}
        found["sigma"] = ((lead,), np.array(sigmas, np.float64), words)
    return found


def _law(layers: Sequence[Any], out: str, inputs: str) -> Variables:
    noise = "none" if layers[0].noise is None else layers[0].noise
    about = {"noise": noise, "noise_scale": layers[0].noise_scale}
    both, units = (out, inputs), (out,)
    if layers[0].num_real_weights:
        shape = layers[0].loc.shape
        words = {"family": "mean-field normal", "noise": noise}
        return {
            "loc": (both, _stacked(layers, "loc", shape), {"parameter": "mean of w", **words}),
            "spread": (
                both,
                _stacked(layers, "spread", shape),
                {"parameter": "standard deviation of w; 0 of a point", **words},
            ),
            "prior_scale": (
                both,
                _stacked(layers, "prior_scale", shape),
                {"parameter": "standard deviation of w under the prior"},
            ),
            "bias": (units, _stacked(layers, "bias"), {}),
        }
    family = "mean-field Bernoulli"
    if hasattr(layers[0], "loadings"):
        family = "Bernoulli given normal factors"
    shape = (layers[0].num_units, layers[0].num_inputs)
    probability = {"parameter": "P(w = +1)", "family": family, **about}
    bits = np.array([layer.entropy / layer.num_weights for layer in layers])
    return {
        "prob": (both, _stacked(layers, "probabilities", shape), probability),
        "prior": (
            both,
            _stacked(layers, "prior", shape),
            {"parameter": "P(w = +1) under the prior"},
        ),
        "bits_per_weight": ((), bits, {"description": "mean entropy of a weight, bits"}),
        "scale": (units, _stacked(layers, "scale"), {}),
        "bias": (units, _stacked(layers, "bias"), {}),
    }


def _stacked(layers: Sequence[Any], name: str, shape: tuple[int, ...] | None = None) -> Array:
    arrays = [np.asarray(getattr(layer, name), np.float64) for layer in layers]
    if shape is not None:
        arrays = [np.broadcast_to(array, shape) for array in arrays]
    return np.stack(arrays)
