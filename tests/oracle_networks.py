r"""Tiny stochastic binary networks, and every state they can be in.

Nothing here shares code with the package, and nothing here is clever.  The model is

.. math::
    w_{ji} \in \{-1, +1\},\; P(w_{ji} = +1) = (1 + \mu_{ji}) / 2 \quad\text{(or a fixed real)},
    \qquad a_j = s_j \sum_i w_{ji} x_i + b_j, \qquad P(x'_j = +1 \mid x) = F(a_j),

layer after layer, and a likelihood of the head's :math:`s_c \sum_i w_{ci} x_i + b_c`.  Weights are
drawn once and shared by all data; activations are drawn for every datum.  Because activations of
different data are independent given the weights, one weight state and one datum at a time
(:func:`enumerate_datum`) suffice for sums over data; :func:`paths` walks the full joint states,
for tests that force complete draws.

Parameters carry names: ``layers.0.weight_mean`` (or ``.weight``), ``layers.0.scale``,
``layers.0.bias``, ..., ``head.weight``, ..., and ``sigma`` for a normal likelihood.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tests.oracle_noise import cdf

Array = NDArray[np.float64]

MAX_BITS = 20
"""More ±1 variables than this in one sum are refused: 2^20 states take seconds."""

MAX_PATHS = 2**16
"""More joint paths than this are refused: they are walked one at a time."""


@dataclass(frozen=True, eq=False)
class Layer:
    """``a = scale * (W x) + bias``, W either ±1 with means ``weight_mean`` or the fixed ``weight``.

    Args:
        scale: (outputs,).
        bias: (outputs,).
        weight_mean: (outputs, inputs), the means of independent ±1 weights.
        weight: (outputs, inputs), real weights; exactly one of the two is given.
    """

    scale: Array
    bias: Array
    weight_mean: Array | None = None
    weight: Array | None = None

    def __post_init__(self) -> None:
        if (self.weight_mean is None) == (self.weight is None):
            raise ValueError("Layer(...): give either weight_mean or weight")
        if self.scale.shape != (self.shape[0],) or self.bias.shape != (self.shape[0],):
            raise ValueError(f"Layer(...): scale and bias must have shape ({self.shape[0]},)")
        if self.weight_mean is not None and np.abs(self.weight_mean).max() > 1:
            raise ValueError("Layer(...): means of ±1 weights lie in [-1, 1]")

    @property
    def is_random(self) -> bool:
        """Whether the weights are random ±1."""
        return self.weight_mean is not None

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        matrix = self.weight if self.weight_mean is None else self.weight_mean
        assert matrix is not None
        return matrix.shape[0], matrix.shape[1]


@dataclass(frozen=True, eq=False)
class Net:
    """A network: hidden layers of ±1 units, a head, the noise law and the likelihood.

    Args:
        layers: the hidden layers, first to last.
        head: the last affine map.
        noise: a name of ``tests.oracle_noise.NOISES``.
        noise_scale: c of uniform[-c, c], b of triangular[-b, b], sigma of the gaussian, ...
        likelihood: ``categorical`` (y: class indices (B,)), ``bernoulli`` (y: 0/1, (B, outputs)),
            ``poisson`` (y: counts with log-rates, (B, outputs)) or ``normal`` (y: reals).
        sigma: (outputs,), the normal likelihood's standard deviations.
    """

    layers: tuple[Layer, ...]
    head: Layer
    noise: str = "logistic"
    noise_scale: float = 1.0
    likelihood: str = "categorical"
    sigma: Array | None = None

    def __post_init__(self) -> None:
        widths = [layer.shape for layer in (*self.layers, self.head)]
        if any(after[1] != before[0] for before, after in itertools.pairwise(widths)):
            raise ValueError(f"Net(...): the layers' (outputs, inputs) do not chain: {widths}")
        if self.likelihood not in ("categorical", "bernoulli", "poisson", "normal"):
            raise ValueError(f"Net(...): unknown likelihood {self.likelihood!r}")
        if (self.sigma is not None) != (self.likelihood == "normal"):
            raise ValueError("Net(...): sigma belongs to the normal likelihood, and only to it")

    @property
    def maps(self) -> tuple[tuple[str, Layer], ...]:
        """Every affine map with its name, the head last."""
        hidden = [(f"layers.{k}", layer) for k, layer in enumerate(self.layers)]
        return (*hidden, ("head", self.head))

    @property
    def parameters(self) -> dict[str, Array]:
        """Every parameter by name."""
        found: dict[str, Array] = {}
        for prefix, layer in self.maps:
            for field in dataclasses.fields(layer):
                value = getattr(layer, field.name)
                if value is not None:
                    found[f"{prefix}.{field.name}"] = value
        if self.sigma is not None:
            found["sigma"] = self.sigma
        return found

    def with_parameter(self, name: str, value: Array) -> "Net":
        """The same network with one parameter replaced."""
        if name not in self.parameters:
            raise KeyError(f"{name!r} is none of {list(self.parameters)}")
        if name == "sigma":
            return dataclasses.replace(self, sigma=value)
        prefix, field = name.rsplit(".", 1)
        if prefix == "head":
            return dataclasses.replace(self, head=dataclasses.replace(self.head, **{field: value}))
        changed = list(self.layers)
        index = int(prefix.removeprefix("layers."))
        changed[index] = dataclasses.replace(changed[index], **{field: value})
        return dataclasses.replace(self, layers=tuple(changed))


@dataclass(frozen=True, eq=False)
class Path:
    """One joint state of everything random.

    Args:
        weights: one (outputs, inputs) matrix a map, the head last; fixed ones as they are.
        activations: one (B, units) matrix of ±1 a hidden layer.
        probability: q of this state.
        log_likelihood: (B,), log p(y_n | state).
    """

    weights: tuple[Array, ...]
    activations: tuple[Array, ...]
    probability: float
    log_likelihood: Array


@dataclass(frozen=True, eq=False)
class Paths:
    """Every joint state, stacked.

    Args:
        weights: one (P, outputs, inputs) array a map, the head last.
        activations: one (P, B, units) array of ±1 a hidden layer.
        probability: (P,), sums to 1.
        log_likelihood: (P, B).
    """

    weights: tuple[Array, ...]
    activations: tuple[Array, ...]
    probability: Array
    log_likelihood: Array


def sign_states(num_bits: int) -> Array:
    """All ±1 vectors of a length, (2^num_bits, num_bits)."""
    if num_bits > MAX_BITS:
        raise ValueError(f"{num_bits} bits are too many to enumerate; at most {MAX_BITS}")
    states = list(itertools.product((-1.0, 1.0), repeat=num_bits))
    return np.array(states).reshape(2**num_bits, num_bits)


def pre_activation(layer: Layer, weight: Array, x: Array) -> Array:
    """``a_j = s_j sum_i w_ji x_i + b_j`` over any leading dimensions of ``weight`` and ``x``."""
    return layer.scale * (weight * x[..., None, :]).sum(-1) + layer.bias


def log_likelihood(net: Net, logits: Array, y: ArrayLike) -> Array:
    """log p(y | logits) of one datum, over any leading dimensions of ``logits``."""
    if net.likelihood == "categorical":
        shifted = logits - logits.max(-1, keepdims=True)
        return shifted[..., int(np.asarray(y))] - np.log(np.exp(shifted).sum(-1))
    target = np.asarray(y, dtype=np.float64)
    if net.likelihood == "bernoulli":
        if not np.isin(target, (0.0, 1.0)).all():
            raise ValueError("bernoulli targets are 0 or 1")
        return -np.logaddexp(0.0, np.where(target == 1, -logits, logits)).sum(-1)
    if net.likelihood == "poisson":
        log_factorial = np.vectorize(math.lgamma)(target + 1)
        return (target * logits - np.exp(logits) - log_factorial).sum(-1)
    assert net.sigma is not None
    standard = (target - logits) / net.sigma
    return (-0.5 * standard**2 - np.log(net.sigma) - 0.5 * math.log(2 * math.pi)).sum(-1)


def weight_states(net: Net) -> tuple[tuple[Array, ...], Array]:
    """Every state of all ±1 weights: one (S, outputs, inputs) a map, and their probabilities (S,).

    A map with fixed weights repeats them S times.
    """
    sizes = [math.prod(layer.shape) if layer.is_random else 0 for _, layer in net.maps]
    bits = sign_states(sum(sizes))
    probability = np.ones(len(bits))
    matrices = []
    for (_, layer), size, end in zip(net.maps, sizes, itertools.accumulate(sizes), strict=True):
        if layer.weight_mean is None:
            assert layer.weight is not None
            matrices.append(np.broadcast_to(layer.weight, (len(bits), *layer.shape)))
            continue
        matrix = bits[:, end - size : end].reshape(len(bits), *layer.shape)
        probability = probability * ((1 + matrix * layer.weight_mean) / 2).prod((1, 2))
        matrices.append(matrix)
    return tuple(matrices), probability


def activation_states(net: Net) -> tuple[Array, ...]:
    """Every state of one datum's ±1 activations: one (S, units) a hidden layer."""
    widths = [layer.shape[0] for layer in net.layers]
    bits = sign_states(sum(widths))
    ends = list(itertools.accumulate(widths))
    return tuple(bits[:, end - width : end] for width, end in zip(widths, ends, strict=True))


def run(
    net: Net, weights: Sequence[Array], activations: Sequence[Array], x: Array, y: ArrayLike
) -> tuple[Array, Array]:
    """P(activations | weights, x) and log p(y | activations, weights) of one datum.

    Any leading dimensions of the weights (..., outputs, inputs) and activations (..., units)
    are broadcast.
    """
    probability: Array = np.ones(())
    state = x
    for layer, weight, after in zip(net.layers, weights, activations, strict=False):
        a = pre_activation(layer, weight, state)
        probability = probability * cdf(net.noise, after * a, net.noise_scale).prod(-1)
        state = after
    return probability, log_likelihood(net, pre_activation(net.head, weights[-1], state), y)


def enumerate_datum(net: Net, x: Array, y: ArrayLike) -> tuple[Array, Array, Array]:
    """q(w) (S_w,), q(z | w) (S_w, S_z) and log p(y | z, w) (S_w, S_z) of one datum."""
    weights, weight_probability = weight_states(net)
    activations = activation_states(net)
    shape = len(weight_probability), len(activations[0])
    if math.prod(shape) > 2**MAX_BITS:
        raise ValueError(f"{shape[0]} x {shape[1]} states are too many to enumerate")
    probability, log_p = run(
        net, [w[:, None] for w in weights], [z[None] for z in activations], x, y
    )
    return (
        weight_probability,
        np.broadcast_to(probability, shape),
        np.broadcast_to(log_p, shape),
    )


def paths(net: Net, x: Array, y: ArrayLike) -> Iterator[Path]:
    """Every joint state of the weights and of the activations of all data, one at a time."""
    targets = np.asarray(y)
    weights, weight_probability = weight_states(net)
    activations = activation_states(net)
    num_paths = len(weight_probability) * len(activations[0]) ** len(x)
    if num_paths > MAX_PATHS:
        raise ValueError(f"{num_paths} paths are more than {MAX_PATHS}; take fewer data")
    for w, q in enumerate(weight_probability):
        drawn = tuple(matrix[w] for matrix in weights)
        for states in itertools.product(range(len(activations[0])), repeat=len(x)):
            probability, log_p = float(q), []
            for n, z in enumerate(states):
                q_n, log_p_n = run(
                    net, drawn, [layer[z] for layer in activations], x[n], targets[n]
                )
                probability *= float(q_n)
                log_p.append(float(log_p_n))
            joint = tuple(layer[list(states)] for layer in activations)
            yield Path(drawn, joint, probability, np.array(log_p))


def joint_paths(net: Net, x: Array, y: ArrayLike) -> Paths:
    """All of :func:`paths` at once, stacked along a leading dimension P."""
    listed = list(paths(net, x, y))
    return Paths(
        weights=tuple(
            np.stack(column) for column in zip(*(p.weights for p in listed), strict=True)
        ),
        activations=tuple(
            np.stack(column) for column in zip(*(p.activations for p in listed), strict=True)
        ),
        probability=np.array([p.probability for p in listed]),
        log_likelihood=np.stack([p.log_likelihood for p in listed]),
    )
