"""Tiny networks with data, small enough for every state to be listed: plain arrays, fixed seeds.

A problem has at most 14 bits of weights and a datum's activations together, means of the ±1
weights up to 0.9 in size, unequal scales, biases that are not 0, and classes that are not
balanced (balanced ones nearly cancel the gradients of the biases).  The seeds are those, among a
hundred, under which the smallest gradient is largest, so that relative errors mean something.
``noise`` may be any law of ``tests.oracle_noise.NOISES``; under the bounded ones, at their default
scale, some states have probability exactly 0.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.oracles import Array, Layer, Net


@dataclass(frozen=True, eq=False)
class Problem:
    """A network and its data.

    Args:
        name: the constructor's name.
        net: the network.
        x: (B, inputs).
        y: (B,) class indices, or (B, outputs) of the bernoulli and normal heads.
    """

    name: str
    net: Net
    x: Array
    y: NDArray[np.float64] | NDArray[np.int64]


def _layer(generator: np.random.Generator, inputs: int, outputs: int, is_random: bool) -> Layer:
    scale = generator.uniform(0.6, 1.4, outputs) / np.sqrt(inputs)
    bias = generator.uniform(-0.4, 0.4, outputs)
    if is_random:
        return Layer(scale, bias, weight_mean=generator.uniform(-0.9, 0.9, (outputs, inputs)))
    return Layer(scale, bias, weight=generator.normal(0.0, 1.2, (outputs, inputs)))


def _problem(
    name: str,
    widths: tuple[int, ...],
    *,
    seed: int,
    noise: str,
    noise_scale: float,
    num_data: int,
    sign_inputs: bool,
    sign_weights: bool = True,
    sign_head: bool = False,
    likelihood: str = "categorical",
) -> Problem:
    generator = np.random.default_rng(seed)
    layers = tuple(
        _layer(generator, inputs, outputs, sign_weights)
        for inputs, outputs in itertools.pairwise(widths[:-1])
    )
    head = _layer(generator, widths[-2], widths[-1], sign_head)
    sigma = generator.uniform(0.6, 1.4, widths[-1]) if likelihood == "normal" else None
    x = generator.normal(0.0, 1.0, (num_data, widths[0]))
    if sign_inputs:
        x = np.where(x < 0, -1.0, 1.0)
    y: NDArray[np.float64] | NDArray[np.int64]
    if likelihood == "categorical":
        y = np.array([0, 0, widths[-1] - 1, 0, 0])[:num_data]
    elif likelihood == "bernoulli":
        y = np.where(generator.uniform(size=(num_data, widths[-1])) < 0.7, 1.0, 0.0)
    else:
        y = generator.normal(0.5, 1.0, (num_data, widths[-1]))
    return Problem(name, Net(layers, head, noise, noise_scale, likelihood, sigma), x, y)


def one_hidden_layer(
    noise: str = "logistic",
    noise_scale: float = 1.0,
    *,
    num_data: int = 3,
    sign_inputs: bool = False,
) -> Problem:
    """2-3-3: ±1 hidden weights, a real head; 6 weight bits and 3 activation bits a datum."""
    return _problem(
        "one_hidden_layer",
        (2, 3, 3),
        seed=108,
        noise=noise,
        noise_scale=noise_scale,
        num_data=num_data,
        sign_inputs=sign_inputs,
    )


def one_hidden_layer_real_weights(
    noise: str = "logistic",
    noise_scale: float = 1.0,
    *,
    num_data: int = 3,
    sign_inputs: bool = False,
) -> Problem:
    """2-3-3: real weights everywhere; 3 activation bits a datum."""
    return _problem(
        "one_hidden_layer_real_weights",
        (2, 3, 3),
        seed=112,
        noise=noise,
        noise_scale=noise_scale,
        num_data=num_data,
        sign_inputs=sign_inputs,
        sign_weights=False,
    )


def one_hidden_layer_sign_head(
    noise: str = "logistic",
    noise_scale: float = 1.0,
    *,
    num_data: int = 2,
    sign_inputs: bool = False,
) -> Problem:
    """2-2-3: ±1 weights everywhere; 4 + 6 weight bits and 2 activation bits a datum."""
    return _problem(
        "one_hidden_layer_sign_head",
        (2, 2, 3),
        seed=102,
        noise=noise,
        noise_scale=noise_scale,
        num_data=num_data,
        sign_inputs=sign_inputs,
        sign_head=True,
    )


def two_hidden_layers(
    noise: str = "logistic",
    noise_scale: float = 1.0,
    *,
    num_data: int = 3,
    sign_inputs: bool = False,
) -> Problem:
    """2-2-2-3: ±1 hidden weights, a real head; 4 + 4 weight bits, 4 activation bits a datum."""
    return _problem(
        "two_hidden_layers",
        (2, 2, 2, 3),
        seed=102,
        noise=noise,
        noise_scale=noise_scale,
        num_data=num_data,
        sign_inputs=sign_inputs,
    )


def two_hidden_layers_real_weights(
    noise: str = "logistic",
    noise_scale: float = 1.0,
    *,
    num_data: int = 3,
    sign_inputs: bool = False,
) -> Problem:
    """2-3-3-3: real weights everywhere; 6 activation bits a datum."""
    return _problem(
        "two_hidden_layers_real_weights",
        (2, 3, 3, 3),
        seed=117,
        noise=noise,
        noise_scale=noise_scale,
        num_data=num_data,
        sign_inputs=sign_inputs,
        sign_weights=False,
    )


def two_hidden_layers_sign_head(
    noise: str = "logistic",
    noise_scale: float = 1.0,
    *,
    num_data: int = 2,
    sign_inputs: bool = False,
) -> Problem:
    """1-2-2-2: ±1 weights everywhere; 2 + 4 + 4 weight bits and 4 activation bits a datum."""
    return _problem(
        "two_hidden_layers_sign_head",
        (1, 2, 2, 2),
        seed=123,
        noise=noise,
        noise_scale=noise_scale,
        num_data=num_data,
        sign_inputs=sign_inputs,
        sign_head=True,
    )


def chain(
    noise: str = "logistic",
    noise_scale: float = 1.0,
    *,
    num_data: int = 3,
    sign_inputs: bool = False,
) -> Problem:
    """1-1-1-1 and two classes: three hidden layers one unit wide, ±1 weights, a real head.

    A flip changes one unit of the next layer at most, so path sample-analytic gradients are exact
    at every depth.
    """
    return _problem(
        "chain",
        (1, 1, 1, 1, 2),
        seed=157,
        noise=noise,
        noise_scale=noise_scale,
        num_data=num_data,
        sign_inputs=sign_inputs,
    )


def bernoulli_head(
    noise: str = "logistic",
    noise_scale: float = 1.0,
    *,
    num_data: int = 3,
    sign_inputs: bool = False,
) -> Problem:
    """2-3-2 with a Bernoulli likelihood for each of two outputs; ±1 hidden weights."""
    return _problem(
        "bernoulli_head",
        (2, 3, 2),
        seed=100,
        noise=noise,
        noise_scale=noise_scale,
        num_data=num_data,
        sign_inputs=sign_inputs,
        likelihood="bernoulli",
    )


def normal_head(
    noise: str = "logistic",
    noise_scale: float = 1.0,
    *,
    num_data: int = 3,
    sign_inputs: bool = False,
) -> Problem:
    """2-2-2 with a normal likelihood, one sigma an output; ±1 weights everywhere."""
    return _problem(
        "normal_head",
        (2, 2, 2),
        seed=168,
        noise=noise,
        noise_scale=noise_scale,
        num_data=num_data,
        sign_inputs=sign_inputs,
        sign_head=True,
        likelihood="normal",
    )


ONE_HIDDEN_LAYER: dict[str, Callable[..., Problem]] = {
    "one_hidden_layer": one_hidden_layer,
    "one_hidden_layer_real_weights": one_hidden_layer_real_weights,
    "one_hidden_layer_sign_head": one_hidden_layer_sign_head,
    "bernoulli_head": bernoulli_head,
    "normal_head": normal_head,
}
"""Networks on which path sample-analytic gradients are exact."""

DEEP: dict[str, Callable[..., Problem]] = {
    "two_hidden_layers": two_hidden_layers,
    "two_hidden_layers_real_weights": two_hidden_layers_real_weights,
    "two_hidden_layers_sign_head": two_hidden_layers_sign_head,
    "chain": chain,
}
"""Networks with more than one hidden layer."""

PROBLEMS: dict[str, Callable[..., Problem]] = {**ONE_HIDDEN_LAYER, **DEEP}
"""Every problem's constructor by name."""
