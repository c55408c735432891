r"""Gradient estimators by their definitions, with literal flips and loops, and their expectations.

All estimate the gradient of :math:`E_w E_z \sum_n \log p(y_n \mid z, w)` from one path, a draw of
the weights and of every datum's activations.  With :math:`f = \log p(y_n \mid x^L, w)`:

* *path sample-analytic* (Shekhovtsov, Yanush and Flach, NeurIPS 2020), the signal
  :math:`g_j` being "value at +1 minus value at -1":

  .. math::
      g^L_j = f(x_j := +1) - f(x_j := -1), \qquad
      g^{k-1}_i = \sum_j [F(a^k_j \mid x_i := +1) - F(a^k_j \mid x_i := -1)]\, g^k_j,

  a real parameter's gradient is :math:`\sum_j F'(a_j)\, \partial a_j / \partial\theta\; g_j`, the
  mean of a ±1 weight gets
  :math:`\tfrac12 \sum_j [F(a_j \mid w := +1) - F(a_j \mid w := -1)]\, g_j`, and of the head's
  :math:`\tfrac12 [f(w := +1) - f(w := -1)]`;
* *straight-through*: back-propagation in which a unit has slope
  :math:`dx_j / da_j = 2 F'(a_j)` and a ±1 weight's mean gets the derivative in the weight;
* *score function*: :math:`f \cdot \nabla \log q + \nabla f`, each datum with its own f.

All three are sums over data, so that a datum's share depends on the weights and its own
activations only, and the expectation is a sum over those.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from tests.oracle_flips import forced
from tests.oracle_noise import cdf, density
from tests.oracles import (
    Array,
    Layer,
    Net,
    activation_states,
    enumerate_datum,
    log_likelihood,
    pre_activation,
    weight_states,
)

Gradient = dict[str, Array]
DatumRule = Callable[[Net, Sequence[Array], Sequence[Array], Array, ArrayLike], Gradient]


def log_likelihood_slope(net: Net, logits: Array, y: ArrayLike) -> Array:
    """``d log p(y | logits) / d logits``."""
    if net.likelihood == "categorical":
        table = np.exp(logits - logits.max(-1, keepdims=True))
        return np.eye(logits.shape[-1])[int(np.asarray(y))] - table / table.sum(-1, keepdims=True)
    target = np.asarray(y, dtype=np.float64)
    if net.likelihood == "bernoulli":
        return target - cdf("logistic", logits)
    if net.likelihood == "poisson":
        return target - np.exp(logits)
    assert net.sigma is not None
    return (target - logits) / net.sigma**2


def _affine_gradients(
    name: str, layer: Layer, weight: Array, x: Array, signal: Array
) -> tuple[Gradient, Array]:
    """From ``signal_j = dE/da_j``: gradients of scale and bias, and dE/dweight."""
    dot = (weight * x[..., None, :]).sum(-1)
    gradient = {f"{name}.scale": signal * dot, f"{name}.bias": signal}
    d_weight = (signal * layer.scale)[..., :, None] * x[..., None, :]
    if not layer.is_random:
        gradient[f"{name}.weight"] = d_weight
    return gradient, d_weight


def _head_gradients(
    net: Net, weight: Array, z: Array, y: ArrayLike
) -> tuple[Gradient, Array, Array]:
    """``df/dtheta`` at the path for the head's real parameters, df/dlogits and df/dweight."""
    logits = pre_activation(net.head, weight, z)
    slope = log_likelihood_slope(net, logits, y)
    gradient, d_weight = _affine_gradients("head", net.head, weight, z, slope)
    if net.sigma is not None:
        residual = np.asarray(y, dtype=np.float64) - logits
        gradient["sigma"] = residual**2 / net.sigma**3 - 1 / net.sigma
    return gradient, slope, d_weight


def _psa_of_datum(
    net: Net, weights: Sequence[Array], states: Sequence[Array], x: Array, y: ArrayLike
) -> Gradient:
    inputs = [x, *states]

    def f(head_weight: Array, z: Array) -> Array:
        return log_likelihood(net, pre_activation(net.head, head_weight, z), y)

    gradient, _, _ = _head_gradients(net, weights[-1], inputs[-1], y)
    if net.head.is_random:
        flips = [
            f(forced(weights[-1], index, 1.0), inputs[-1])
            - f(forced(weights[-1], index, -1.0), inputs[-1])
            for index in np.ndindex(*net.head.shape)
        ]
        shape = np.broadcast_shapes(*(flip.shape for flip in flips))
        gradient["head.weight_mean"] = 0.5 * np.stack(flips, -1).reshape(*shape, *net.head.shape)
    g = np.stack(
        [
            f(weights[-1], forced(inputs[-1], (j,), 1.0))
            - f(weights[-1], forced(inputs[-1], (j,), -1.0))
            for j in range(net.head.shape[1])
        ],
        -1,
    )
    for k in reversed(range(len(net.layers))):
        name, layer, weight, below = f"layers.{k}", net.layers[k], weights[k], inputs[k]

        def probability(w: Array, state: Array, layer: Layer = layer) -> Array:
            return cdf(net.noise, pre_activation(layer, w, state), net.noise_scale)

        slope = density(net.noise, pre_activation(layer, weight, below), net.noise_scale)
        gradient |= _affine_gradients(name, layer, weight, below, slope * g)[0]
        if layer.is_random:
            flips = [
                (
                    (
                        probability(forced(weight, index, 1.0), below)
                        - probability(forced(weight, index, -1.0), below)
                    )
                    * g
                ).sum(-1)
                for index in np.ndindex(*layer.shape)
            ]
            stacked = np.stack(flips, -1)
            gradient[f"{name}.weight_mean"] = 0.5 * stacked.reshape(
                *stacked.shape[:-1], *layer.shape
            )
        if k > 0:
            g = np.stack(
                [
                    (
                        (
                            probability(weight, forced(below, (i,), 1.0))
                            - probability(weight, forced(below, (i,), -1.0))
                        )
                        * g
                    ).sum(-1)
                    for i in range(layer.shape[1])
                ],
                -1,
            )
    return gradient


def _st_of_datum(
    net: Net, weights: Sequence[Array], states: Sequence[Array], x: Array, y: ArrayLike
) -> Gradient:
    inputs = [x, *states]
    gradient, slope, d_weight = _head_gradients(net, weights[-1], inputs[-1], y)
    if net.head.is_random:
        gradient["head.weight_mean"] = d_weight
    d_state = ((slope * net.head.scale)[..., :, None] * weights[-1]).sum(-2)
    for k in reversed(range(len(net.layers))):
        name, layer, weight, below = f"layers.{k}", net.layers[k], weights[k], inputs[k]
        a = pre_activation(layer, weight, below)
        signal = 2 * density(net.noise, a, net.noise_scale) * d_state
        found, d_weight = _affine_gradients(name, layer, weight, below, signal)
        gradient |= found
        if layer.is_random:
            gradient[f"{name}.weight_mean"] = d_weight
        d_state = ((signal * layer.scale)[..., :, None] * weight).sum(-2)
    return gradient


def _score_of_datum(
    net: Net, weights: Sequence[Array], states: Sequence[Array], x: Array, y: ArrayLike
) -> Gradient:
    inputs = [x, *states]
    value = log_likelihood(net, pre_activation(net.head, weights[-1], inputs[-1]), y)
    gradient, _, _ = _head_gradients(net, weights[-1], inputs[-1], y)
    for k, layer in enumerate(net.layers):
        a = pre_activation(layer, weights[k], inputs[k])
        probability = cdf(net.noise, inputs[k + 1] * a, net.noise_scale)
        slope = inputs[k + 1] * density(net.noise, a, net.noise_scale)
        # A state of probability 0 is never drawn; its score is left at 0.
        score = np.divide(slope, probability, out=np.zeros_like(slope), where=probability > 0)
        signal = score * value[..., None]
        gradient |= _affine_gradients(f"layers.{k}", layer, weights[k], inputs[k], signal)[0]
    for (name, layer), weight in zip(net.maps, weights, strict=True):
        if layer.weight_mean is not None:
            possible = 1 + weight * layer.weight_mean
            score = np.divide(weight, possible, out=np.zeros_like(weight), where=possible > 0)
            gradient[f"{name}.weight_mean"] = score * value[..., None, None]
    return gradient


def _of_path(
    rule: DatumRule,
    net: Net,
    weights: Sequence[Array],
    activations: Sequence[Array],
    x: Array,
    y: ArrayLike,
) -> Gradient:
    total = {name: np.zeros_like(value) for name, value in net.parameters.items()}
    for n, y_n in enumerate(np.asarray(y)):
        share = rule(net, weights, [layer[n] for layer in activations], x[n], y_n)
        total = {name: total[name] + share[name] for name in total}
    return total


def _expectation(rule: DatumRule, net: Net, x: Array, y: ArrayLike) -> Gradient:
    drawn = [w[:, None] for w in weight_states(net)[0]]
    states = [z[None] for z in activation_states(net)]
    total = {name: np.zeros_like(value) for name, value in net.parameters.items()}
    for x_n, y_n in zip(x, np.asarray(y), strict=True):
        q_w, q_z, _ = enumerate_datum(net, x_n, y_n)
        q = q_w[:, None] * q_z
        share = rule(net, drawn, states, x_n, y_n)
        for name, value in total.items():
            spread = np.broadcast_to(share[name], q.shape + value.shape)
            total[name] = value + np.tensordot(q, spread, axes=2)
    return total


def psa_gradient_of_path(
    net: Net, weights: Sequence[Array], activations: Sequence[Array], x: Array, y: ArrayLike
) -> Gradient:
    """Path sample-analytic on one path: weights (outputs, inputs), activations (B, units)."""
    return _of_path(_psa_of_datum, net, weights, activations, x, y)


def st_gradient_of_path(
    net: Net, weights: Sequence[Array], activations: Sequence[Array], x: Array, y: ArrayLike
) -> Gradient:
    """Straight-through on one path: weights (outputs, inputs), activations (B, units)."""
    return _of_path(_st_of_datum, net, weights, activations, x, y)


def score_gradient_of_path(
    net: Net, weights: Sequence[Array], activations: Sequence[Array], x: Array, y: ArrayLike
) -> Gradient:
    """Score function on one path, each datum's score times its own log-likelihood."""
    return _of_path(_score_of_datum, net, weights, activations, x, y)


def expected_psa_gradient(net: Net, x: Array, y: ArrayLike) -> Gradient:
    """Path sample-analytic averaged over every path with its probability."""
    return _expectation(_psa_of_datum, net, x, y)


def expected_st_gradient(net: Net, x: Array, y: ArrayLike) -> Gradient:
    """Straight-through averaged over every path with its probability."""
    return _expectation(_st_of_datum, net, x, y)


def expected_score_gradient(net: Net, x: Array, y: ArrayLike) -> Gradient:
    """Score function averaged over every path; equals the exact gradient."""
    return _expectation(_score_of_datum, net, x, y)


def relative_bias(estimate: Gradient, exact: Gradient) -> dict[str, float]:
    """``|estimate - exact| / |exact|`` of every parameter, in the Euclidean norm."""
    return {
        name: float(np.linalg.norm(estimate[name] - exact[name]) / np.linalg.norm(exact[name]))
        for name in exact
    }
