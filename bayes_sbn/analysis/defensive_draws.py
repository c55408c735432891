r"""A proposal that is wider than the posterior, to see what the posterior's own draws cannot.

k-hat is made of draws of q, so it is blind where q never goes: a posterior that is certain of a
wrong network draws that network alone, and all its ratios are equal.  The defensive proposal is q
with each sign flipped with a small probability, at several levels,

    ``d(w) = 1/L sum_l prod_i d_l(w_i)``,  ``P_l(w_i = +1) = (1 - eps_l) p_i + eps_l (1 - p_i)``,
    ``eps_l = min(1/2, 4^l / K)``,  l = 0 ... L-1,

so that a draw has 1, 4, 16 and 64 flipped signs on average, where there are K ±1 weights, and of
few weights the last levels are fair coins.  Real weights are drawn as in q.  Weights that share
factors are drawn independently, by their marginal probabilities.

References:
    T. Hesterberg. Weighted average importance sampling and defensive mixture distributions.
    Technometrics 37, 1995.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.analysis.arviz_chains import replace_components, with_probabilities
from bayes_sbn.analysis.weight_densities import log_densities

if TYPE_CHECKING:
    from bayes_sbn.ensemble import Ensemble
    from bayes_sbn.posterior import Posterior
    from bayes_sbn.posterior_chain import Layer

NUM_LEVELS = 4


def defensive_levels(posterior: Posterior) -> list[Posterior]:
    """The proposal's levels, from the narrowest."""
    rates = [min(0.5, 4**level / posterior.num_weights) for level in range(NUM_LEVELS)]
    return [
        replace_components(
            posterior,
            [
                replace(component, layers=tuple(_flipped(la, rate) for la in component.layers))
                for component in posterior.components
            ],
        )
        for rate in rates
    ]


def _flipped(layer: Layer, rate: float) -> Layer:
    known: Any = layer
    if not layer.num_weights:
        return layer
    p = known.probabilities
    return with_probabilities(layer, np.clip((1 - rate) * p + rate * (1 - p), 0.0, 1.0))


def log_defensive(levels: list[Posterior], ensemble: Ensemble) -> npt.NDArray[np.float64]:
    """``log d`` of the weights of each draw, (draws,).

    Args:
        levels: of the proposal.
        ensemble: draws of the posterior, of a level of the proposal, or of another of their shape.
    """
    by_level = np.stack([log_densities(level, ensemble)[0] for level in levels])
    mixed: npt.NDArray[np.float64] = np.logaddexp.reduce(by_level, axis=0) - np.log(len(levels))
    return mixed
