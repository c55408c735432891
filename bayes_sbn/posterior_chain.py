"""Layers that make one network, from the inputs through noisy signs to logits, or to a mean.

And the numbers that go with them, checked together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from bayes_sbn.posterior_layer import PosteriorLayer
from bayes_sbn.posterior_low_rank_layer import LowRankPosteriorLayer
from bayes_sbn.posterior_real_layer import RealPosteriorLayer

Layer = PosteriorLayer | LowRankPosteriorLayer | RealPosteriorLayer
"""A layer of a posterior, of ±1 or of real weights."""

LayerKind = type[PosteriorLayer] | type[LowRankPosteriorLayer] | type[RealPosteriorLayer]

LAYER_KINDS: dict[str, LayerKind] = {
    "sign": PosteriorLayer,
    "low_rank": LowRankPosteriorLayer,
    "real": RealPosteriorLayer,
}
"""Kinds of layers by the name that a file has for them; without one it is ``sign``."""


LIKELIHOODS = ("categorical", "normal")
_LARGEST_PRE_ACTIVATION = 1e300  # differences of logits stay finite


def kind_of(entry: object) -> LayerKind:
    """The class of a layer, by its entry in a file, which is not trusted."""
    if not isinstance(entry, dict):
        raise TypeError(f"a layer is {type(entry).__name__} and not dict")
    kind = entry.get("kind", "sign")
    if not isinstance(kind, str) or kind not in LAYER_KINDS:
        raise ValueError(f"a layer is of kind {kind!r}, which is none of {list(LAYER_KINDS)}")
    return LAYER_KINDS[kind]


def check_network(
    layers: Sequence[Layer],
    likelihood: str,
    input_scale: float,
    input_limit: float,
    temperature: float | None,
    sigma: float | None,
) -> None:
    """Raise unless the layers make one network with a likelihood.

    Args:
        layers: from the inputs to the logits.
        likelihood: of the data.
        input_scale: the step of the inputs.
        input_limit: the largest magnitude of an input.
        temperature: of the fit, or None.
        sigma: standard deviation of a normal target, else None.
    """
    if likelihood not in LIKELIHOODS:
        raise ValueError(
            f"Posterior(likelihood={likelihood!r}): this version has "
            f"{' and '.join(map(repr, LIKELIHOODS))} only."
        )
    if not (math.isfinite(input_scale) and input_scale > 0):
        raise ValueError(
            f"Posterior(input_scale={input_scale}): the step of the inputs is a positive finite "
            "number, such as 2.0**-12 for inputs within ±8."
        )
    if temperature is not None and not (math.isfinite(temperature) and temperature >= 0):
        raise ValueError(
            f"Posterior(temperature={temperature}): the factor of the KL is a finite number, "
            "not negative, or None if it is not known."
        )
    check_chain(layers)
    _check_head(layers[-1], likelihood, sigma)
    ranks = {layer.rank for layer in layers if isinstance(layer, LowRankPosteriorLayer)}
    if len(ranks) > 1:
        raise ValueError(
            f"Posterior: layers have {', '.join(map(str, sorted(ranks)))} factors: the factors are "
            "those of the whole network, as many for each layer. Pad loadings with zeros."
        )
    if all(isinstance(layer, RealPosteriorLayer) for layer in layers):
        raise ValueError(
            "Posterior: none of the layers has ±1 weights. Predictions of a network of real "
            "weights are made by other packages; give one layer at least ±1 weights."
        )
    for index, layer in enumerate(layers):
        largest = layer.num_inputs * (input_limit if index == 0 else 1.0)
        with np.errstate(over="ignore"):
            reach = layer.largest_weights * largest + np.abs(layer.bias)
            if layer.normalisation_eps is not None:
                reach = reach / math.sqrt(layer.normalisation_eps)
        if not (reach <= _LARGEST_PRE_ACTIVATION).all():
            raise ValueError(
                f'Posterior: layer "{layer.name}" has a scale or bias so large that '
                "pre-activations overflow: the fit has diverged. Fit again with a smaller "
                "learning rate."
            )


def check_chain(layers: Sequence[Layer]) -> None:
    """Raise unless the layers make one network, from the inputs to the last."""
    if not layers:
        raise ValueError("Posterior(layers=()): a network has at least one layer.")
    if len({layer.site for layer in layers}) < len(layers):
        raise ValueError(
            f"Posterior: the sites {[layer.site for layer in layers]} are not all different, so "
            "layers would share their random bits. Number the layers from 0."
        )
    for lower, upper in itertools.pairwise(layers):
        if lower.num_units != upper.num_inputs:
            raise ValueError(
                f'Posterior: layer "{lower.name}" has {lower.num_units} units but layer '
                f'"{upper.name}" has {upper.num_inputs} inputs. Give the layers from the inputs to '
                "the logits."
            )
    for layer in layers:
        if (layer.noise is None) != (layer is layers[-1]):
            raise ValueError(
                f'Posterior: layer "{layer.name}" has noise {layer.noise!r}: the last layer has '
                "noise None, and every other one a law, such as 'logistic'."
            )


def _check_head(last: Layer, likelihood: str, sigma: float | None) -> None:
    """Raise unless the last layer's units are what the likelihood takes."""
    if likelihood == "categorical":
        if last.num_units < 2:
            raise ValueError(
                f'Posterior: the last layer "{last.name}" has one unit: a categorical likelihood '
                "has a unit for each of at least two classes."
            )
        if sigma is not None:
            raise ValueError(
                f"Posterior: a component has sigma={sigma!r}, which is the standard deviation of a "
                "real target. Write likelihood='normal', or leave sigma out."
            )
        return
    if last.num_units != 1:
        raise ValueError(
            f'Posterior(likelihood="normal"): the last layer "{last.name}" has {last.num_units} '
            "units, and there is one real target a row. Make a posterior for each target."
        )
    if sigma is None or not (math.isfinite(sigma) and sigma > 0):
        raise ValueError(
            f'Posterior(likelihood="normal"): a component has sigma={sigma!r}, the standard '
            "deviation of the target's noise: a positive finite number. Write "
            "Component(1.0, layers, sigma=0.5)."
        )
