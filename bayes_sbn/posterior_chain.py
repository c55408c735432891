"""Layers that make one network: from the inputs, through noisy signs, to the logits of classes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from bayes_sbn.posterior_layer import PosteriorLayer
from bayes_sbn.posterior_real_layer import RealPosteriorLayer

Layer = PosteriorLayer | RealPosteriorLayer
"""A layer of a posterior, of ±1 or of real weights."""

LAYER_KINDS: dict[str, type[PosteriorLayer] | type[RealPosteriorLayer]] = {
    "sign": PosteriorLayer,
    "real": RealPosteriorLayer,
}
"""Kinds of layers by the name that a file has for them; without one it is ``sign``."""


def check_chain(layers: Sequence[Layer]) -> None:
    """Raise unless the layers make one network, from the inputs to the logits of classes."""
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
    if layers[-1].num_units < 2:
        raise ValueError(
            f'Posterior: the last layer "{layers[-1].name}" has one unit: a categorical likelihood '
            "has a unit for each of at least two classes."
        )
