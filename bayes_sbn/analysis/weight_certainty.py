r"""How decided the weights are, layer by layer, from their law and not from draws.

Of ±1 weights with ``p = P(w = +1)``, means over the layer of

* bits: the entropy ``-p log2 p - (1 - p) log2 (1 - p)``, given the factors where they are shared;
* certainty: ``|2 p - 1|``;
* flip rate: ``2 p (1 - p)``, the chance that two draws differ in the weight;
* gain: ``KL(p || prior)``, in bits: what the data have said about the weight.

and the share of weights with p between 0.05 and 0.95.  Of real weights that are drawn, the root
mean square of posterior over prior standard deviation.  Chains are averaged; of components that
are mixed, certainty, flip rate and share are those of the mixture's probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import xarray as xr

Float64 = npt.NDArray[np.float64]

_UNDECIDED = (0.05, 0.95)


@dataclass(frozen=True)
class LayerCertainty:
    """One layer; what does not apply to it is NaN.

    Args:
        layer: its name.
        num_weights: weights.
        kind: ``"±1"`` or ``"real"``.
        bits: entropy of a weight, bits.
        certainty: mean of ``|2 p - 1|``.
        undecided: share of weights with p between 0.05 and 0.95.
        flip_rate: expected share of weights in which two draws differ.
        gain: KL of a weight from its prior, bits; NaN where weights share factors, infinite where
            the prior forbids what the posterior allows.
        contraction: of real weights, posterior over prior standard deviation.
    """

    layer: str
    num_weights: int
    kind: str
    bits: float = math.nan
    certainty: float = math.nan
    undecided: float = math.nan
    flip_rate: float = math.nan
    gain: float = math.nan
    contraction: float = math.nan


def weight_certainty(groups: Mapping[str, xr.Dataset]) -> tuple[LayerCertainty, ...]:
    """All layers, from the inputs to the last.

    Args:
        groups: of the export.
    """
    law = groups["variational"]
    return tuple(
        _of_signs(layer, law) if kind == "prob" else _of_reals(layer, law)
        for layer, kind in _layers(law)
    )


def _layers(law: xr.Dataset) -> list[tuple[str, str]]:
    """Names and kinds of the layers: the outputs of one, by the names of dims, feed the next.

    A store need not keep the order in which variables were written.
    """
    by_input = {}
    for name, variable in law.items():
        layer, _, kind = str(name).rpartition(".")
        if kind in ("prob", "loc"):
            output, inputs = variable.dims[-2:]
            by_input[inputs] = (output, (layer, kind))
    found, at = [], "feature"
    while at in by_input:
        at, layer_and_kind = by_input.pop(at)
        found.append(layer_and_kind)
    return found


def _weights(law: xr.Dataset, number: int) -> Float64:
    if "component_weight" in law:
        weights: Float64 = law["component_weight"].values
        return weights
    return np.full(number, 1 / number)


def _of_signs(layer: str, law: Any) -> LayerCertainty:
    probabilities = law[f"{layer}.prob"]
    p, prior = probabilities.values, law[f"{layer}.prior"].values
    weights = _weights(law, len(p))
    if "component_weight" in law:  # two draws may be of two components
        mixed = np.tensordot(weights, p, axes=1)
        certainty, flips = np.abs(2 * mixed - 1).mean(), (2 * mixed * (1 - mixed)).mean()
        undecided = _share_undecided(mixed)
    else:
        certainty = np.abs(2 * p - 1).mean()
        flips, undecided = (2 * p * (1 - p)).mean(), _share_undecided(p)
    gain = math.nan
    if probabilities.attrs.get("family") == "mean-field Bernoulli":
        gain = float(weights @ _divergence(p, prior).mean(axis=(1, 2)))
    return LayerCertainty(
        layer=layer,
        num_weights=int(p[0].size),
        kind="±1",
        bits=float(weights @ law[f"{layer}.bits_per_weight"].values),
        certainty=float(certainty),
        undecided=undecided,
        flip_rate=float(flips),
        gain=gain,
    )


def _share_undecided(p: Float64) -> float:
    low, high = _UNDECIDED
    return float(((p > low) & (p < high)).mean())


def _divergence(p: Float64, prior: Float64) -> Float64:
    """``KL(p || prior)`` of each weight, in bits."""
    from scipy.special import rel_entr

    bits: Float64 = (rel_entr(p, prior) + rel_entr(1 - p, 1 - prior)) / math.log(2)
    return bits


def _of_reals(layer: str, law: Any) -> LayerCertainty:
    spread, prior = law[f"{layer}.spread"].values, law[f"{layer}.prior_scale"].values
    drawn = spread > 0
    contraction = math.nan
    if drawn.any():
        contraction = float(np.sqrt(((spread[drawn] / prior[drawn]) ** 2).mean()))
    return LayerCertainty(layer, int(spread[0].size), "real", contraction=contraction)
