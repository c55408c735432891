r"""Data made by a network of ±1 weights, and weights drawn from whatever law was fitted to them.

Weights are drawn from the prior, the ±1 activations of each row from their own law given these, the
target from the likelihood.  Here there is no bound on the number of weights: nothing is listed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.analysis.exact_posterior import ExactPosterior
from bayes_sbn.analysis.small_network import Float64, SmallNetwork
from bayes_sbn.metrics.arguments import to_numpy

Weights = dict[str, Float64]
"""±1 weights by site, each (draws, out, in)."""


def prior_weights(network: SmallNetwork, generator: np.random.Generator) -> Weights:
    """One draw of all weights from the prior, each (1, out, in)."""
    return {
        layer.site: _signs(layer.prior[None], generator)
        for layer in network.layers
        if layer.prior is not None
    }


def simulated_targets(
    network: SmallNetwork, weights: Weights, x: Float64, generator: np.random.Generator
) -> npt.NDArray[Any]:
    """A target of each row, drawn from the network with these weights, (rows,)."""
    seen = x
    for layer in network.layers:
        a = layer.scale * (seen @ weights[layer.site][0].T) + layer.bias
        if layer.noise is not None:
            seen = np.where(generator.random(a.shape) < _of(layer.noise.cdf, a), 1.0, -1.0)
    if network.likelihood == "categorical":
        gumbel = generator.gumbel(size=a.shape)
        return np.asarray((a + gumbel).argmax(-1), np.int64)
    assert network.sigma is not None
    return np.asarray(a[:, 0] + network.sigma * generator.standard_normal(len(x)))


def mean_activation_log_likelihood(
    network: SmallNetwork, weights: Weights, x: Float64, y: npt.NDArray[Any]
) -> Float64:
    """Log-likelihood of all rows where activations have their means ``2 F(a) - 1``, (draws,).

    A number that data and weights determine, for networks of any size; not the likelihood itself.
    """
    seen = x[None]
    for layer in network.layers:
        a = layer.scale * (seen @ weights[layer.site].swapaxes(-1, -2)) + layer.bias
        if layer.noise is not None:
            seen = _of(layer.noise.mean_sign, a)
    if network.likelihood == "categorical":
        top = a.max(-1, keepdims=True)
        log_sum = top[..., 0] + np.log(np.exp(a - top).sum(-1))
        chosen = np.take_along_axis(a, np.broadcast_to(y[None, :, None], (*a.shape[:2], 1)), -1)
        return np.asarray((chosen[..., 0] - log_sum).sum(-1))
    assert network.sigma is not None
    gap = (y - a[..., 0]) / network.sigma
    return np.asarray(-0.5 * (gap**2).sum(-1) - len(y) * math.log(network.sigma))


def fitted_weights(
    call: str, fitted: Any, network: SmallNetwork, num_draws: int, generator: np.random.Generator
) -> Weights:
    """Draws of the weights from what was fitted, each (draws, out, in).

    Args:
        call: the call to name in errors.
        fitted: a posterior, a guide, an exact posterior, ``P(w = +1)`` by site, or a function of a
            number of draws and a seed that gives the weights by site.
        network: whose weights they are.
        num_draws: how many.
        generator: of the draws.
    """
    if isinstance(fitted, ExactPosterior):
        return fitted.weights(fitted.sample(num_draws, seed=int(generator.integers(2**63))))
    found = _by_law(call, fitted, num_draws, generator)
    shapes = {site: (num_draws, *shape) for site, shape in network.sites.items()}
    if {site: w.shape for site, w in found.items()} != shapes:
        got = ", ".join(f"{site} {w.shape[1:]}" for site, w in found.items())
        raise ValueError(
            f"{call}: guide_fn gave {num_draws} draws of {got or 'nothing'}; the model has ±1 "
            f"weights {', '.join(f'{site} {shape}' for site, shape in network.sites.items())}. "
            "Return the posterior of the same model."
        )
    if not all((np.abs(w) == 1).all() for w in found.values()):
        raise ValueError(f"{call}: guide_fn gave weights that are not ±1. Return draws in ±1.")
    return found


def _by_law(call: str, fitted: Any, num_draws: int, generator: np.random.Generator) -> Weights:
    from bayes_sbn.posterior import Posterior

    if isinstance(fitted, Posterior):
        which = generator.choice(
            len(fitted.components), num_draws, p=[each.weight for each in fitted.components]
        )
        each = [_of_layers(call, c.layers, num_draws, generator) for c in fitted.components]
        return {
            site: np.stack([each[c][site][draw] for draw, c in enumerate(which)])
            for site in each[0]
        }
    if hasattr(fitted, "naturals_and_loadings"):
        numbers = fitted.naturals_and_loadings()
        rank = {len(load) for _, load in numbers.values()}.pop()
        z = generator.standard_normal((num_draws, rank))
        found = {}
        for site, (natural, loadings) in numbers.items():
            shared = np.tensordot(z, to_numpy(loadings).astype(np.float64), 1)
            lam = to_numpy(natural).astype(np.float64) + shared
            found[site] = _signs(0.5 * (1 + np.tanh(lam)), generator)
        return found
    if hasattr(fitted, "component_weights"):
        weights = to_numpy(fitted.component_weights()).astype(np.float64)
        which = generator.choice(len(weights), num_draws, p=weights / weights.sum())
        named = fitted.component_probabilities()
        sites = list(named[0])
        return {
            site: _signs(np.stack([to_numpy(named[c][site]) for c in which]), generator)
            for site in sites
        }
    if hasattr(fitted, "weight_probabilities"):
        fitted = fitted.weight_probabilities()
    if isinstance(fitted, Mapping):
        return {
            site: _signs(np.broadcast_to(p, (num_draws, *p.shape)), generator)
            for site, p in ((site, to_numpy(p)) for site, p in fitted.items())
        }
    if callable(fitted) and not hasattr(fitted, "architecture"):
        drawn = fitted(num_draws, int(generator.integers(2**31)))
        return {site: to_numpy(w).astype(np.float64) for site, w in drawn.items()}
    name = "None" if fitted is None else type(fitted).__name__
    raise TypeError(
        f"{call}: guide_fn returned {name}; it returns what was fitted: a guide, a sbn.Posterior, "
        "an exact posterior, P(w = +1) by site, or a function (num_draws, seed) that gives weights "
        "by site."
    )


def _of_layers(call: str, layers: Any, num_draws: int, generator: np.random.Generator) -> Weights:
    from bayes_sbn.posterior_layer import PosteriorLayer

    found = {}
    for layer in layers:
        if not isinstance(layer, PosteriorLayer):
            raise TypeError(
                f'{call}: layer "{layer.name}" of the posterior is no layer of independent ±1 '
                "weights. Return the guide itself."
            )
        p = np.broadcast_to(layer.probabilities, (num_draws, *layer.probabilities.shape))
        found[f"{layer.name}.weight"] = _signs(p, generator)
    return found


def _signs(p: npt.NDArray[Any], generator: np.random.Generator) -> Float64:
    return np.where(generator.random(p.shape) < p, 1.0, -1.0)


def _of(function: Any, a: Float64) -> Float64:
    """A function of torch's, of an array."""
    import torch

    return np.asarray(function(torch.from_numpy(a)).numpy(), np.float64)
