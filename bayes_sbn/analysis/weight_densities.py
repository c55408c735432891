r"""How probable the weights of an ensemble's draws are, under the posterior and under the prior.

Of independent ±1 weights

    ``log q(w) = sum_i log P(w_i)``,      ``P(w_i = +1) = p_i``,

with the p that the sampler uses, multiples of :math:`2^{-32}`, so that it is exact; of weights that
share factors see :mod:`bayes_sbn.analysis.factor_densities`.  A real weight
is drawn in whole steps of a grid, and its probability is that of the cell about the grid point,

    ``log P(n) = log (Phi((n + 1/2) step) - Phi((n - 1/2) step))``,

Phi of ``Normal(loc, spread^2)`` or of the prior; points (spread 0) are parameters and do not count.

A posterior of several components that differ in their weights' laws alone is ``q(w) = sum_c pi_c
q_c(w)``.  Where they differ in scales, biases or noise too, the same weights mean other networks,
and a draw is a component and its weights: ``q(c, w) = pi_c q_c(w)``, with ``pi_c p_c(w)`` as prior.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.analysis.factor_densities import factor_log_prob

if TYPE_CHECKING:
    from bayes_sbn.ensemble import Ensemble
    from bayes_sbn.posterior import Posterior
    from bayes_sbn.posterior_chain import Layer
    from bayes_sbn.posterior_components import Component
    from bayes_sbn.posterior_real_layer import RealPosteriorLayer

Float64 = npt.NDArray[np.float64]
Int8 = npt.NDArray[np.int8]

_NUMBERS_AT_A_TIME = 1 << 22


def weights_in_parts(ensemble: Ensemble) -> Iterator[tuple[slice, list[npt.NDArray[Any]]]]:
    """The weights of some draws at a time, by layer: ±1 as int8, real ones in int16 steps.

    Each of shape (draws, out, in).
    """
    layers = ensemble.weights
    size = sum(int(np.prod(_shape(weights)[1:])) for weights in layers)
    step = max(1, _NUMBERS_AT_A_TIME // size)
    for start in range(0, len(ensemble), step):
        part = slice(start, min(start + step, len(ensemble)))
        yield part, [_numbers(weights, part) for weights in layers]


def _shape(weights: Any) -> tuple[int, ...]:
    return tuple(weights.shape)


def _numbers(weights: Any, part: slice) -> npt.NDArray[Any]:
    if isinstance(weights, np.ndarray):
        return weights[part]
    words = weights.data.numpy()[part].astype("<i4").view(np.uint8)
    bits = np.unpackbits(words, axis=-1, count=weights.length, bitorder="little")
    signs: Int8 = 2 * bits.astype(np.int8) - 1
    return signs


def log_densities(posterior: Posterior, ensemble: Ensemble) -> tuple[Float64, Float64]:
    """Of each draw ``log q`` and ``log prior`` of its weights; (draws,) each.

    Args:
        posterior: that gives q and the prior.
        ensemble: whose weights they are, of this posterior or of another of the same shape.
    """
    log_q = np.empty(len(ensemble))
    log_prior = np.empty(len(ensemble))
    components = posterior.components
    weight_laws_alone = share_all_but_weights(components)
    with np.errstate(divide="ignore"):
        log_pi = np.log([component.weight for component in components])
    for part, weights in weights_in_parts(ensemble):
        of_draw = ensemble.components[part]
        by_component = np.stack([_log_q(component, weights) for component in components])
        prior = np.stack([_log_prior(component, weights) for component in components])
        places = np.arange(len(of_draw))
        if weight_laws_alone:
            log_q[part] = np.logaddexp.reduce(log_pi[:, None] + by_component, axis=0)
            log_prior[part] = prior[0]
        else:
            log_q[part] = log_pi[of_draw] + by_component[of_draw, places]
            log_prior[part] = log_pi[of_draw] + prior[of_draw, places]
    return log_q, log_prior


def share_all_but_weights(components: Sequence[Component]) -> bool:
    """Whether the networks of all components are one network with other laws of its weights."""
    first = components[0]
    return all(
        component.sigma == first.sigma
        and all(map(_same_but_weights, component.layers, first.layers))
        for component in components[1:]
    )


def _same_but_weights(layer: Layer, other: Layer) -> bool:
    if layer is other:
        return True
    if layer.num_real_weights:
        equal = ("noise", "noise_scale", "step")
        arrays: tuple[str, ...] = ("bias", "prior_scale")
        points = np.array_equal(_points(layer), _points(other), equal_nan=True)
    else:
        equal, arrays, points = (
            ("noise", "noise_scale", "normalisation_eps"),
            ("bias", "scale", "prior"),
            True,
        )
    return (
        points
        and all(getattr(layer, name) == getattr(other, name) for name in equal)
        and all(np.array_equal(getattr(layer, name), getattr(other, name)) for name in arrays)
    )


def _points(layer: Any) -> Float64:
    """The real weights that are parameters, NaN where they are drawn."""
    points: Float64 = np.where(layer.spread > 0, np.nan, layer.loc)
    return points


def _log_q(component: Component, weights: Sequence[npt.NDArray[Any]]) -> Float64:
    total = np.zeros(len(weights[0]))
    shared: list[tuple[Any, npt.NDArray[Any]]] = []
    for layer, values in zip(component.layers, weights, strict=True):
        known: Any = layer
        if layer.num_real_weights:
            total += grid_log_prob(known, values, known.loc, known.spread)
        elif hasattr(known, "loadings"):
            shared.append((known, values))
        else:
            total += sign_log_prob(values, known.probabilities)
    if shared:
        total += factor_log_prob([one for one, _ in shared], [values for _, values in shared])
    return total


def _log_prior(component: Component, weights: Sequence[npt.NDArray[Any]]) -> Float64:
    total = np.zeros(len(weights[0]))
    for layer, values in zip(component.layers, weights, strict=True):
        known: Any = layer
        if layer.num_real_weights:
            total += grid_log_prob(known, values, np.zeros(()), known.prior_scale)
        else:
            shape = (layer.num_units, layer.num_inputs)
            total += sign_log_prob(values, np.broadcast_to(known.prior, shape))
    return total


def sign_log_prob(signs: Int8, probabilities: Float64) -> Float64:
    """``sum_i log P(w_i)`` of each draw, -inf where one of its weights cannot be; (draws,).

    Args:
        signs: ±1, shape (draws, out, in).
        probabilities: ``P(w = +1)``, shape (out, in).
    """
    p = probabilities.ravel()
    positive = signs.reshape(len(signs), -1) > 0
    free = (p > 0) & (p < 1)
    log_p, log_rest = np.log(p[free]), np.log1p(-p[free])
    total = positive[:, free] @ (log_p - log_rest) + log_rest.sum()
    impossible = (positive[:, ~free] != (p[~free] == 1)).any(axis=1)
    return np.where(impossible, -np.inf, total)


def grid_log_prob(
    layer: RealPosteriorLayer, steps: npt.NDArray[Any], loc: Float64, spread: Float64
) -> Float64:
    """``sum_i log P(n_i)`` of each draw, over the weights that are no points; (draws,).

    Args:
        layer: whose grid and points they are.
        steps: whole steps of the grid, int16, shape (draws, out, in).
        loc: means of the normal law, which broadcast to the weights.
        spread: its standard deviations, likewise.
    """
    from scipy.special import log_ndtr

    drawn = np.broadcast_to(layer.spread, layer.loc.shape) > 0
    mean = np.broadcast_to(loc, drawn.shape)[drawn]
    scale = np.broadcast_to(spread, drawn.shape)[drawn]
    step = layer.step
    assert step is not None
    values = steps[:, drawn].astype(np.float64)
    # both ends on the side of the mean where the distribution function is not near 1
    near = (np.abs(values * step - mean) - step / 2) / scale
    far = near + step / scale
    upper, lower = log_ndtr(-near), log_ndtr(-far)
    total: Float64 = (upper + np.log(-np.expm1(lower - upper))).sum(axis=1)
    return total
