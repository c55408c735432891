r"""What the weights of a draw are summed up by, layer by layer.

Of a layer with weights w of shape (out, in) and probabilities p:

* ``agreement``, the share of its ±1 weights that have their likelier sign,
  ``mean_ji 1{w_ji = sign(p_ji - 1/2)}``;
* ``weight_mean``, the mean of its weights;
* ``unit_overlap``, the mean square of the overlaps of two units,
  ``2 / (out (out - 1)) sum_{j<k} (w_j . w_k / in)^2``: 1/in of independent fair coins, 1 where all
  units are alike but for their sign;
* ``weight_rms``, of real weights, the root of their mean square.

Hidden units can change places, and in a symmetric network their signs, without a change of what the
network computes; the first and the last two do not change either, so restarts can be compared by
them.  The mean changes when units change sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.analysis.weight_densities import weights_in_parts

if TYPE_CHECKING:
    from bayes_sbn.ensemble import Ensemble
    from bayes_sbn.posterior import Posterior
    from bayes_sbn.posterior_chain import Layer

Float64 = npt.NDArray[np.float64]

STATISTICS = {
    "agreement": ("share of the weights that have their likelier sign", True),
    "weight_mean": ("mean of the weights", False),
    "unit_overlap": ("mean square of the overlap of two units' weights", True),
    "weight_rms": ("root of the mean square of the weights", True),
}
"""Of each statistic what it is, and whether permuted and sign-flipped units leave it as it is."""


def layer_statistics(
    posterior: Posterior, ensemble: Ensemble, names: Sequence[str]
) -> dict[str, Float64]:
    """The statistics of each draw, ``"{layer}.{statistic}"``, each of shape (draws,).

    Layers of which no weight is drawn have none.

    Args:
        posterior: whose probabilities say which sign is likelier.
        ensemble: draws of this posterior, or of another of the same shape.
        names: of the layers.
    """
    layers = [component.layers for component in posterior.components]
    kept: dict[str, list[Float64]] = {}
    for part, weights in weights_in_parts(ensemble):
        of_draw = ensemble.components[part]
        for index, (name, values) in enumerate(zip(names, weights, strict=True)):
            own = [component[index] for component in layers]
            if not any(map(is_drawn, own)) and len(own) == 1:
                continue
            for statistic, numbers in _of_layer(own, of_draw, values).items():
                kept.setdefault(f"{name}.{statistic}", []).append(numbers)
    return {name: np.concatenate(parts) for name, parts in kept.items()}


def is_drawn(layer: Layer) -> bool:
    """Whether draws differ in any weight of the layer."""
    known: Any = layer
    if layer.num_real_weights:
        return bool((known.spread > 0).any())
    if hasattr(known, "loadings"):
        return True
    return bool(((known.probabilities > 0) & (known.probabilities < 1)).any())


def _of_layer(
    own: Sequence[Layer], of_draw: npt.NDArray[np.int64], values: npt.NDArray[Any]
) -> dict[str, Float64]:
    known: Any = own[0]
    if known.num_real_weights:
        layers: Sequence[Any] = own  # of real weights, which have a step
        steps = np.array([layer.step for layer in layers], np.float64)[of_draw]
        real = values.astype(np.float64)
        return {
            "weight_mean": steps * real.mean(axis=(1, 2)),
            "weight_rms": steps * np.sqrt((real**2).mean(axis=(1, 2))),
        }
    likelier = np.stack([_likelier(layer) for layer in own])
    positive = values > 0
    found = {
        "agreement": (positive == likelier[of_draw]).mean(axis=(1, 2)),
        "weight_mean": 2 * positive.mean(axis=(1, 2)) - 1,
    }
    units, inputs = values.shape[1:]
    if units > 1:
        signs = values.astype(np.float32)
        squares = ((signs @ signs.transpose(0, 2, 1)).astype(np.float64) ** 2).sum(axis=(1, 2))
        off_diagonal = squares - units * float(inputs) ** 2
        found["unit_overlap"] = off_diagonal / (units * (units - 1) * float(inputs) ** 2)
    return found


def _likelier(layer: Any) -> npt.NDArray[np.bool_]:
    likelier: npt.NDArray[np.bool_] = layer.probabilities >= 0.5
    return likelier
