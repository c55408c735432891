"""A network of few ±1 weights read from a model or from a posterior, or refused.

Refused are real weights with a spread, layers whose statistics each draw measures, components that
are different models, and what has too many states to be listed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.analysis.small_network import Float64, SmallLayer, SmallNetwork
from bayes_sbn.metrics.arguments import to_numpy

if TYPE_CHECKING:
    from bayes_sbn.posterior import Posterior

MAX_WEIGHTS = 20
"""The most ±1 weights whose states are listed: about a million of them."""

MAX_ACTIVATIONS = 12
"""The most ±1 activations of a layer whose states are summed over, for each row."""


def read_network(call: str, model: object) -> SmallNetwork:
    """The network of a model or a posterior, small enough to be listed.

    Args:
        call: the call to name in errors.
        model: a model of ``bayes_sbn.models``, or a posterior.
    """
    network = read_unbounded(call, model)
    _refuse_large(call, network)
    return network


def read_unbounded(call: str, model: object) -> SmallNetwork:
    """The same of any size, for what lists no states."""
    from bayes_sbn.posterior import Posterior

    if isinstance(model, Posterior):
        return _of_posterior(call, model)
    if hasattr(model, "architecture") and hasattr(model, "prior_probabilities"):
        return _of_model(call, model)
    raise TypeError(
        f"{call} needs a network that states its numbers: received {type(model).__name__}. "
        "Pass a sbn.models.BinaryMLP or BinaryRegressor, or the sbn.Posterior of a fit."
    )


def _of_model(call: str, model: Any) -> SmallNetwork:
    priors = {site: to_numpy(p) for site, p in model.prior_probabilities().items()}
    architecture = model.architecture()
    layers = []
    for entry in architecture["layers"]:
        site = entry["weight_site"]
        if site not in priors:
            raise ValueError(
                f'{call}: layer "{entry["name"]}" has real weights, whose states cannot be listed. '
                "Build the model without real=..., or pass the posterior of a fit in which they "
                'are points: AutoHybrid(model, real="point").'
            )
        _refuse_measured(call, entry["name"], entry.get("normalisation_eps"))
        layers.append(_layer(entry, site, prior=priors[site]))
    sigma = architecture.get("sigma")
    number = None if sigma is None else float(sigma)
    return SmallNetwork(tuple(layers), str(architecture["likelihood"]), number, None)


def _of_posterior(call: str, posterior: Posterior) -> SmallNetwork:
    from bayes_sbn.posterior_real_layer import RealPosteriorLayer

    networks = []
    for component in posterior.components:
        layers = []
        for layer in component.layers:
            numbers: dict[str, Any] = vars(layer)
            site = f"{layer.name}.weight"
            _refuse_measured(call, layer.name, layer.normalisation_eps)
            if not isinstance(layer, RealPosteriorLayer):
                shape = (layer.num_units, layer.num_inputs)
                prior = np.array(np.broadcast_to(layer.prior, shape))
                layers.append(_layer(numbers, site, prior=prior))
                continue
            if np.any(layer.spread > 0):
                raise ValueError(
                    f'{call}: layer "{layer.name}" has real weights with a spread, whose states '
                    "cannot be listed. posterior.mode() has them at their means."
                )
            assert layer.step is not None
            given = np.rint(layer.loc / layer.step) * layer.step  # as the kernels have them
            ones = np.ones(layer.num_units)
            layers.append(_layer({**numbers, "scale": ones}, site, weights=given))
        networks.append(
            SmallNetwork(
                tuple(layers), posterior.likelihood, component.sigma, posterior.input_scale
            )
        )
    first = numbers_of(networks[0])
    for index, other in enumerate(networks[1:], 1):
        if not all(map(np.array_equal, first, numbers_of(other))):
            raise ValueError(
                f"{call}: component {index} of the posterior has other scales, biases, noises or "
                "priors than component 0, so that they are different models. Pass the model, or "
                "a posterior of one of them."
            )
    return networks[0]


def _layer(
    numbers: Mapping[str, Any],
    site: str,
    *,
    prior: npt.NDArray[Any] | None = None,
    weights: Float64 | None = None,
) -> SmallLayer:
    from bayes_sbn.noise import get_noise

    noise = numbers["noise"]
    return SmallLayer(
        site,
        to_numpy(numbers["scale"]).astype(np.float64),
        to_numpy(numbers["bias"]).astype(np.float64),
        None if noise is None else get_noise(noise, float(numbers["noise_scale"])),
        None if prior is None else prior.astype(np.float64),
        weights,
    )


def numbers_of(network: SmallNetwork) -> list[Any]:
    """All that the components of one model have in common."""
    found: list[Any] = [network.sigma]
    for layer in network.layers:
        noise = (None, None) if layer.noise is None else (layer.noise.name, layer.noise.scale)
        found += [layer.scale, layer.bias, noise, layer.prior, layer.weights]
    return found


def _refuse_measured(call: str, name: str, eps: float | None) -> None:
    if eps is not None:
        raise ValueError(
            f'{call}: each draw of the weights measures the statistics of layer "{name}" on rows '
            "of its own, so that there is no one network. Build the model without "
            'normalisation="recalibrated".'
        )


def _refuse_large(call: str, network: SmallNetwork) -> None:
    number = network.num_weights
    each = ", ".join(f'"{site}" {math.prod(shape)}' for site, shape in network.sites.items())
    if number > MAX_WEIGHTS:
        raise ValueError(
            f"{call}: the network has {number} ±1 weights ({each}), 2^{number} states; at most "
            f"{MAX_WEIGHTS} weights are listed. Take fewer inputs or units, or judge a posterior "
            "of this size by sbn.analysis.kfold() and by held-out rows."
        )
    for layer in network.layers[:-1]:
        units = layer.shape[0]
        if units > MAX_ACTIVATIONS:
            raise ValueError(
                f'{call}: the layer of "{layer.site}" has {units} ±1 activations, 2^{units} states '
                f"for each row; at most {MAX_ACTIVATIONS} are summed out. Take fewer hidden units."
            )
