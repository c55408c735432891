r"""A network of few ±1 weights as numbers: its layers, and all states of its weights.

State number s of K weights is the binary expansion of s: weight i is +1 where bit i is set.  The
weights are numbered layer after layer from the inputs, each layer row by row, unit after unit.

    log p(w) = sum_i log P(w_i)

over the weights, whose prior probabilities may be 0 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import to_numpy

if TYPE_CHECKING:
    from bayes_sbn.noise import Noise
    from bayes_sbn.posterior import Posterior

Float64 = npt.NDArray[np.float64]
Int8 = npt.NDArray[np.int8]
Int64 = npt.NDArray[np.int64]

MAX_WEIGHTS = 20
"""The most ±1 weights whose states are listed: about a million of them."""

MAX_ACTIVATIONS = 12
"""The most ±1 activations of a layer whose states are summed over, for each row."""


@dataclass(frozen=True, eq=False)
class SmallLayer:
    """A dense layer, ``a_j = scale_j sum_i w_ji x_i + bias_j``.

    Args:
        site: the name of its weights.
        scale: (out,).
        bias: (out,).
        noise: law of the activations' noise, or None of the last layer.
        prior: ``P(w = +1)``, (out, in), of a layer of ±1 weights; None where they are given.
        weights: real weights that are given, (out, in); None of ±1 weights.
    """

    site: str
    scale: Float64
    bias: Float64
    noise: Noise | None
    prior: Float64 | None = None
    weights: Float64 | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        matrix = self.weights if self.prior is None else self.prior
        assert matrix is not None
        return cast("tuple[int, int]", matrix.shape)

    @property
    def num_weights(self) -> int:
        """Number of ±1 weights."""
        return 0 if self.prior is None else self.prior.size

    def pre_activations(self, numbers: Int64, seen: Float64) -> Float64:
        """What the units make of what they see, in states of the layer's own weights.

        Args:
            numbers: which states, (states,).
            seen: (1, rows or 1, activations, inputs).

        Returns:
            (states, rows or 1, activations, units).
        """
        if self.weights is None:
            w = signs_of(numbers, self.num_weights).reshape(-1, *self.shape).astype(np.float64)
        else:
            w = np.broadcast_to(self.weights, (len(numbers), *self.shape))
        return np.asarray(self.scale * (seen @ w.swapaxes(-1, -2)[:, None]) + self.bias)


@dataclass(frozen=True, eq=False)
class SmallNetwork:
    """Layers that make one network, with a likelihood.

    Args:
        layers: from the inputs to the logits, or to the mean.
        likelihood: ``"categorical"`` or ``"normal"``.
        sigma: standard deviation of a normal target, else None.
        input_scale: the step to which inputs are rounded, of a posterior; else None.
    """

    layers: tuple[SmallLayer, ...]
    likelihood: str
    sigma: float | None
    input_scale: float | None

    @property
    def num_weights(self) -> int:
        """Number of ±1 weights."""
        return sum(layer.num_weights for layer in self.layers)

    @property
    def num_inputs(self) -> int:
        """Number of inputs."""
        return self.layers[0].shape[1]

    @property
    def num_outputs(self) -> int:
        """Number of units of the last layer."""
        return self.layers[-1].shape[0]

    @property
    def sites(self) -> dict[str, tuple[int, int]]:
        """Shapes of the ±1 weights by site."""
        return {layer.site: layer.shape for layer in self.layers if layer.num_weights}

    def states(self, numbers: Int64) -> Int8:
        """The ±1 weights of states, (states, weights).

        Args:
            numbers: which states, (states,).
        """
        return signs_of(numbers, self.num_weights)

    def log_prior(self) -> Float64:
        """Log of the prior probability of every state, (2**weights,)."""
        priors = [layer.prior.ravel() for layer in self.layers if layer.prior is not None]
        return log_product(np.concatenate(priors))

    def split(self, flat: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Values of all weights, (..., weights), by site: (..., out, in)."""
        found, start = {}, 0
        for site, shape in self.sites.items():
            size = math.prod(shape)
            found[site] = flat[..., start : start + size].reshape(*flat.shape[:-1], *shape)
            start += size
        return found

    def inputs(self, call: str, x: npt.ArrayLike) -> Float64:
        """Rows as the network sees them, float64 of shape (rows, inputs)."""
        from bayes_sbn.kernels.reference.inputs import input_values, round_inputs

        if self.input_scale is not None:
            steps = round_inputs(call, x, self.num_inputs, self.input_scale)
            return steps.astype(np.float64) * self.input_scale
        values = input_values(call, x, self.num_inputs)
        if not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0, 0])
            raise ValueError(
                f"{call} needs finite inputs: x has NaN or infinite values, first in row {row}. "
                "Drop such rows, or fill them in."
            )
        return values


def signs_of(numbers: Int64, num_signs: int) -> Int8:
    """The bits of numbers as ±1, lowest first, (numbers, signs)."""
    bits = numbers[:, None] >> np.arange(num_signs) & 1
    return (2 * bits - 1).astype(np.int8)


def log_product(p: Float64) -> Float64:
    """Log probabilities of all states of independent ±1 variables.

    Args:
        p: the probabilities of +1, (variables,).

    Example:
        >>> np.exp(log_product(np.array([0.25, 1.0]))).tolist()  # bit 0 is the first variable
        [0.0, 0.0, 0.75, 0.25]
    """
    found = np.zeros(1)
    with np.errstate(divide="ignore"):
        for up, down in zip(np.log(p), np.log1p(-p), strict=True):
            found = np.concatenate([found + down, found + up])
    return found


def read_network(call: str, model: object) -> SmallNetwork:
    """The network of a model or a posterior, small enough to be listed.

    Args:
        call: the call to name in errors.
        model: a model of ``bayes_sbn.models``, or a posterior.
    """
    from bayes_sbn.posterior import Posterior

    if isinstance(model, Posterior):
        network = _of_posterior(call, model)
    elif hasattr(model, "architecture") and hasattr(model, "prior_probabilities"):
        network = _of_model(call, model)
    else:
        raise TypeError(
            f"{call} needs a network that states its numbers: received {type(model).__name__}. "
            "Pass a sbn.models.BinaryMLP or BinaryRegressor, or the sbn.Posterior of a fit."
        )
    _refuse_large(call, network)
    return network


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
    first = _numbers_of(networks[0])
    for index, other in enumerate(networks[1:], 1):
        if not all(map(np.array_equal, first, _numbers_of(other))):
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


def _numbers_of(network: SmallNetwork) -> list[Any]:
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
