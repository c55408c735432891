r"""A network of few ±1 weights as numbers: its layers, and all states of its weights.

State number s of K weights is the binary expansion of s: weight i is +1 where bit i is set.  The
weights are numbered layer after layer from the inputs, each layer row by row, unit after unit.

    log p(w) = sum_i log P(w_i)

over the weights, whose prior probabilities may be 0 or 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from bayes_sbn.noise import Noise

Float64 = npt.NDArray[np.float64]
Int8 = npt.NDArray[np.int8]
Int64 = npt.NDArray[np.int64]


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
