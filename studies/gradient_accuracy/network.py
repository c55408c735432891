"""The 2-5-5-5-1 network of the PSA paper's figure: data, REINFORCE training, and as a Pyro model.

States are 0/1 in the parameters, as in the paper: a layer's weights multiply ``(x + 1) / 2`` of the
±1 states x.  Hidden units fire by logistic noise; the loss is ``log(1 + exp(-eta y))``.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from pyro import poutine

import bayes_sbn as sbn

SIZES = (2, 5, 5, 5, 1)
CHECKPOINTS = (1, 100, 500, 2000)
LEARNING_RATE, MOMENTUM, BATCH = 0.03, 0.9, 10

Array = NDArray[np.float64]
Parameters = list[tuple[Array, Array]]
"""(weight, bias) of each layer, the head last."""


@dataclass(frozen=True)
class Data:
    """200 points of two overlapping classes: x (200, 2) and y in {-1, +1}."""

    x: Array
    y: Array


def make_data(seed: int = 1, per_class: int = 100) -> Data:
    """Class +1 uniform over a box, class -1 uniform below a cosine."""
    rng = np.random.default_rng(seed)
    half = math.pi / 2
    above = np.stack([rng.uniform(-half, half, per_class), rng.uniform(0, 1, per_class)], 1)
    below: list[Array] = []
    while len(below) < per_class:
        point = np.array([rng.uniform(-half, half), rng.uniform(-1, 1)])
        if point[1] < math.cos(point[0]):
            below.append(point)
    y = np.repeat([1.0, -1.0], per_class)
    return Data(np.concatenate([above, np.stack(below)]), y)


def initial(rng: np.random.Generator, sizes: Sequence[int] = SIZES) -> Parameters:
    """Uniform on (-1, 1), then each layer scaled and shifted to pre-activations (0, 1) in moments.

    Moments go from layer to layer analytically: inputs have mean 0 and variance 1, units that fire
    with probability 1/2 have mean 1/2 and variance 1/4.
    """
    found, mean, variance = [], 0.0, 1.0
    for inputs, outputs in itertools.pairwise(sizes):
        weight = rng.uniform(-1, 1, (outputs, inputs))
        scale = np.sqrt((weight**2 * variance).sum(1))
        weight = weight / scale[:, None]
        found.append((weight, -(weight * mean).sum(1)))
        mean, variance = 0.5, 0.25
    return found


def _sigmoid(a: Array) -> Array:
    return 0.5 * (1 + np.tanh(a / 2))


def reinforce_gradient(
    parameters: Parameters, x: Array, y: Array, rng: np.random.Generator
) -> list[tuple[Array, Array]]:
    """One draw of the score function's gradient of the mean loss of some points."""
    states, surprises = [x], []
    for weight, bias in parameters[:-1]:
        p = _sigmoid(states[-1] @ weight.T + bias)
        states.append((rng.random(p.shape) < p).astype(np.float64))
        surprises.append(states[-1] - p)
    weight, bias = parameters[-1]
    margin = (states[-1] @ weight.T + bias)[:, 0] * y
    loss = np.logaddexp(0, -margin)
    signals = [loss[:, None] * surprise for surprise in surprises]
    signals.append((-y * _sigmoid(-margin))[:, None])
    return [
        (signal.T @ state / len(x), signal.mean(0))
        for signal, state in zip(signals, states, strict=True)
    ]


def train(data: Data, seed: int = 1, epochs: Sequence[int] = CHECKPOINTS) -> dict[int, Parameters]:
    """Stochastic gradient descent with momentum by REINFORCE; the parameters after some epochs."""
    rng = np.random.default_rng(seed)
    parameters = initial(rng)
    velocity = [(np.zeros_like(w), np.zeros_like(b)) for w, b in parameters]
    kept = {}
    for epoch in range(1, max(epochs) + 1):
        order = rng.permutation(len(data.x))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            gradient = reinforce_gradient(parameters, data.x[rows], data.y[rows], rng)
            for k, (old, new) in enumerate(zip(velocity, gradient, strict=True)):
                step = tuple(MOMENTUM * v + g for v, g in zip(old, new, strict=True))
                velocity[k] = step
                parameters[k] = tuple(
                    p - LEARNING_RATE * v for p, v in zip(parameters[k], step, strict=True)
                )
        if epoch in epochs:
            kept[epoch] = list(parameters)
    return kept


class PaperNetwork:
    """The network as a Pyro model whose gradients may be taken in each row's pre-activations."""

    def __init__(self, parameters: Parameters) -> None:
        self.leaves = [
            tuple(torch.tensor(part, requires_grad=True) for part in layer) for layer in parameters
        ]
        self.shifts: list[torch.Tensor] = []

    @property
    def blocks(self) -> dict[str, torch.Tensor]:
        """The parameters by name."""
        names = [*(f"layer {k + 1}" for k in range(len(self.leaves) - 1)), "head"]
        return {
            f"{name} {kind}": leaf
            for name, layer in zip(names, self.leaves, strict=True)
            for kind, leaf in zip(("weight", "bias"), layer, strict=True)
        }

    def add_shifts(self, rows: int) -> list[torch.Tensor]:
        """Zeros to add to the pre-activations of each row: their gradients are its signals."""
        self.shifts = [
            torch.zeros(rows, len(bias), dtype=bias.dtype, requires_grad=True)
            for _, bias in self.leaves
        ]
        return self.shifts

    def model(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Sample the hidden layers h1, h2, ... and score the labels y in {0, 1}, (rows, 1)."""
        with pyro.plate("data", len(x), dim=-1):
            for k, (weight, bias) in enumerate(self.leaves):
                if k > 0:  # 0/1 states
                    weight, bias = weight / 2, bias + weight.sum(1) / 2
                if self.shifts:
                    bias = bias + self.shifts[k]
                pre = sbn.affine(x, weight, bias)
                if k == len(self.leaves) - 1:
                    pyro.sample("y", sbn.AffineBernoulli(pre), obs=y)
                else:
                    law = sbn.NoisySign(pre)
                    x = pyro.sample(f"h{k + 1}", law, infer={"follows_model": True})

    def guide(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """The hidden layers follow the model."""
        with poutine.block(hide_fn=lambda m: m["type"] == "sample" and m["is_observed"]):
            self.model(x, y)
