r"""Estimators other than psa, st and score by their definitions, in NumPy, and their expectations.

*Trapezoid straight-through* is back-propagation along a path in which a unit has slope
:math:`dx_j / da_j = F'(a_j) / P(x_j)`, and the mean of a ±1 weight gets the derivative in the
weight divided by :math:`1 + w \mu`.  *Straight-through by proxy* has the slope
:math:`2 p(a_j)` with the density of a noise that is not the one that was injected.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from tests.oracle_estimators import Gradient, _affine_gradients, _expectation, _head_gradients
from tests.oracle_noise import cdf, density
from tests.oracles import Array, Net, pre_activation


def _over(numerator: Array, probability: Array) -> Array:
    """The quotient, 0 where a state of probability 0 is never drawn."""
    shape = np.broadcast_shapes(numerator.shape, probability.shape)
    out = np.zeros(shape)
    return np.divide(numerator, probability, out=out, where=np.broadcast_to(probability > 0, shape))


def _backward(
    net: Net,
    weights: Sequence[Array],
    states: Sequence[Array],
    x: Array,
    y: ArrayLike,
    slope: Callable[[Array, Array], Array],
    weigh: Callable[[Array, Array, Array], Array],
) -> Gradient:
    """Back-propagation along a path, with dx/da = slope(a, x) and d/dmu = weigh(d/dw, w, mu)."""
    inputs = [x, *states]
    gradient, d_logits, d_weight = _head_gradients(net, weights[-1], inputs[-1], y)
    if net.head.weight_mean is not None:
        gradient["head.weight_mean"] = weigh(d_weight, weights[-1], net.head.weight_mean)
    d_state = ((d_logits * net.head.scale)[..., :, None] * weights[-1]).sum(-2)
    for k in reversed(range(len(net.layers))):
        name, layer, weight, below = f"layers.{k}", net.layers[k], weights[k], inputs[k]
        signal = slope(pre_activation(layer, weight, below), inputs[k + 1]) * d_state
        found, d_weight = _affine_gradients(name, layer, weight, below, signal)
        gradient |= found
        if layer.weight_mean is not None:
            gradient[f"{name}.weight_mean"] = weigh(d_weight, weight, layer.weight_mean)
        d_state = ((signal * layer.scale)[..., :, None] * weight).sum(-2)
    return gradient


def _zgr_of_datum(
    net: Net, weights: Sequence[Array], states: Sequence[Array], x: Array, y: ArrayLike
) -> Gradient:
    def slope(a: Array, state: Array) -> Array:
        probability = cdf(net.noise, state * a, net.noise_scale)
        return _over(density(net.noise, a, net.noise_scale), probability)

    def weigh(d_weight: Array, weight: Array, mean: Array) -> Array:
        return _over(d_weight, 1 + weight * mean)

    return _backward(net, weights, states, x, y, slope, weigh)


def expected_proxy_gradient(
    net: Net, x: Array, y: ArrayLike, proxy: str, proxy_scale: float = 1.0
) -> Gradient:
    """Straight-through by the density of another noise, averaged over every path."""

    def of_datum(
        net: Net, weights: Sequence[Array], states: Sequence[Array], x: Array, y: ArrayLike
    ) -> Gradient:
        def slope(a: Array, state: Array) -> Array:
            return 2 * density(proxy, a, proxy_scale)

        return _backward(net, weights, states, x, y, slope, lambda d_weight, *_: d_weight)

    return _expectation(of_datum, net, x, y)


def expected_zgr_gradient(net: Net, x: Array, y: ArrayLike) -> Gradient:
    """Trapezoid straight-through averaged over every path with its probability."""
    return _expectation(_zgr_of_datum, net, x, y)


def reinmax(a: float, state: int, derivative: float) -> float:
    """ReinMax for two states with logits (a, 0), as published, in a.

    ``state`` is ±1 and ``derivative`` that of the loss in it; the one-hot vector D of the state
    has the derivative ``(derivative, -derivative)``.
    """
    softmax = np.exp([a, 0.0]) / np.exp([a, 0.0]).sum()
    one_hot = np.array([1.0, 0.0]) if state == 1 else np.array([0.0, 1.0])
    halfway = (softmax + one_hot) / 2
    signal = np.array([derivative, -derivative])

    def jacobian(p: Array) -> Array:
        return np.diag(p) - np.outer(p, p)

    # the second-order term's Jacobian is taken at the sample: row vector times d softmax / d logits
    second = halfway * (signal - halfway @ signal)
    first = jacobian(softmax) @ signal
    return float((2 * second - 0.5 * first)[0])
