"""The 2-5-5-5-1 network of the PSA paper's figure: data, REINFORCE training, and as a Pyro model.

States are 0/1 in the parameters, as in the paper: a layer's weights multiply ``(x + 1) / 2`` of the
±1 states x.  Hidden units fire by logistic noise; the loss is ``log(1 + exp(-eta y))``.  Random
numbers are drawn in the order of the authors' program (github.com/shekhovt/PSA-Neurips2020), so
that with its seed, 1, the data, the start and the first epoch are theirs to rounding.  At its first
checkpoint that program draws numbers for pictures, and the later epochs are others.
"""

import contextlib
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
    """Class +1 uniform over a box, class -1 uniform below a cosine; in float32, as the authors'."""
    generator = torch.Generator().manual_seed(seed)
    half = math.pi / 2

    def uniform(number: int, low: float, high: float) -> torch.Tensor:
        found = torch.empty(number, dtype=torch.float32)
        return found.uniform_(low, high, generator=generator)

    above = torch.stack([uniform(per_class, -half, half), uniform(per_class, 0, 1)], 1)
    below: list[torch.Tensor] = []
    while len(below) < per_class:
        x, y = uniform(1, -half, half), uniform(1, -1, 1)
        if y < x.cos():
            below.append(torch.cat([x, y]))
    labels = np.repeat([1.0, -1.0], per_class)
    return Data(torch.cat([above, torch.stack(below)]).double().numpy(), labels)


def initial(generator: torch.Generator, data: Data, sizes: Sequence[int] = SIZES) -> Parameters:
    """Uniform on (-1, 1), then each hidden layer scaled and shifted to pre-activations (0, 1).

    Moments go from layer to layer analytically: the inputs have those of the data, units that fire
    with probability 1/2 have mean 1/2 and variance 1/4.  The head stays as it was drawn.
    """
    found: Parameters = []
    mean, variance = data.x.mean(0), data.x.var(0, ddof=1)
    for inputs, outputs in itertools.pairwise(sizes):
        shapes = ((outputs, inputs), (outputs,))
        weight, bias = (
            torch.empty(shape, dtype=torch.float32)
            .uniform_(-1, 1, generator=generator)
            .double()
            .numpy()
            for shape in shapes
        )
        if len(found) < len(sizes) - 2:
            scale = np.sqrt((weight**2 * variance).sum(1))
            # the drawn bias cancels: it shifts the mean that is taken off
            weight, bias = weight / scale[:, None], -(weight @ mean) / scale
        found.append((weight, bias))
        mean, variance = np.full(outputs, 0.5), np.full(outputs, 0.25)
    return found


def sigmoid(a: Array) -> Array:
    """The logistic function."""
    return 0.5 * (1 + np.tanh(a / 2))


def reinforce_gradient(parameters: Parameters, x: Array, y: Array, uniforms: Array) -> Parameters:
    """One draw of the score function's gradient of the mean loss of some points.

    Parameters, x (..., rows, 2), y (..., rows) and uniforms (..., rows, units) may have any number
    of networks on the left, which are treated side by side.
    """
    states, surprises, drawn = [x], [], 0
    for weight, bias in parameters[:-1]:
        p = sigmoid(states[-1] @ weight.swapaxes(-1, -2) + bias[..., None, :])
        states.append((uniforms[..., drawn : drawn + p.shape[-1]] < p).astype(np.float64))
        surprises.append(states[-1] - p)
        drawn += p.shape[-1]
    weight, bias = parameters[-1]
    margin = (states[-1] @ weight.swapaxes(-1, -2) + bias[..., None, :])[..., 0] * y
    loss = np.logaddexp(0, -margin)
    signals = [loss[..., None] * surprise for surprise in surprises]
    signals.append((-y * sigmoid(-margin))[..., None])
    rows = x.shape[-2]
    return [
        (signal.swapaxes(-1, -2) @ state / rows, signal.mean(-2))
        for signal, state in zip(signals, states, strict=True)
    ]


def draws_of_epoch(generator: torch.Generator, num_data: int) -> tuple[Array, Array]:
    """The order of the points and the uniforms of their units, as the authors' program draws them.

    Ten draws of every unit of every point, which only show the progress, and the seed of the
    loader come first; without them the epochs would not be the authors'.
    """
    units = sum(SIZES[1:-1])
    torch.rand(10 * num_data * units, dtype=torch.float64, generator=generator)
    torch.empty((), dtype=torch.int64).random_(generator=generator)
    order = torch.randperm(num_data, generator=generator).numpy()
    uniforms = torch.rand(num_data, units, dtype=torch.float64, generator=generator)
    return order, uniforms.numpy()


def train(
    data: Data, seeds: Sequence[int] = (1,), epochs: Sequence[int] = CHECKPOINTS
) -> list[dict[int, Parameters]]:
    """Stochastic gradient descent with momentum by REINFORCE, a network for every seed.

    The networks are trained side by side, each by the numbers of its own generator alone.

    Returns:
        for each seed the parameters after some epochs.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    networks = [initial(generator, data) for generator in generators]
    parameters = [
        (np.stack([w for w, _ in layer]), np.stack([b for _, b in layer]))
        for layer in zip(*networks, strict=True)
    ]
    velocity = [(np.zeros_like(w), np.zeros_like(b)) for w, b in parameters]
    kept: list[dict[int, Parameters]] = [{} for _ in seeds]
    for epoch in range(1, max(epochs) + 1):
        drawn = [draws_of_epoch(generator, len(data.x)) for generator in generators]
        order, uniforms = (np.stack(part) for part in zip(*drawn, strict=True))
        for start in range(0, len(data.x), BATCH):
            rows = order[:, start : start + BATCH]
            gradient = reinforce_gradient(
                parameters, data.x[rows], data.y[rows], uniforms[:, start : start + BATCH]
            )
            velocity = [
                (MOMENTUM * v + w, MOMENTUM * c + b)
                for (v, c), (w, b) in zip(velocity, gradient, strict=True)
            ]
            parameters = [
                (w - LEARNING_RATE * v, b - LEARNING_RATE * c)
                for (w, b), (v, c) in zip(parameters, velocity, strict=True)
            ]
        if epoch in epochs:
            for k, networks_kept in enumerate(kept):
                networks_kept[epoch] = [(w[k], b[k]) for w, b in parameters]
    return kept


class PaperNetwork:
    """The network as a Pyro model whose gradients may be taken in each row's pre-activations.

    Args:
        parameters: of each layer.
        repeats: with this many copies of the parameters, each with its own draws of the units of
            every row, so that one backward pass gives as many estimates of the gradient.
    """

    def __init__(self, parameters: Parameters, repeats: int | None = None) -> None:
        copies = () if repeats is None else (repeats, 1)
        self.repeats = repeats
        self.leaves = [
            tuple(
                torch.tensor(part).expand(*copies, *part.shape).clone().requires_grad_()
                for part in layer
            )
            for layer in parameters
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
            torch.zeros(rows, bias.shape[-1], dtype=bias.dtype, requires_grad=True)
            for _, bias in self.leaves
        ]
        return self.shifts

    def model(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Sample the hidden layers h1, h2, ... and score the labels y in {0, 1}, (rows, 1)."""
        with contextlib.ExitStack() as plates:
            plates.enter_context(pyro.plate("data", len(x), dim=-1))
            if self.repeats is not None:
                plates.enter_context(pyro.plate("repeats", self.repeats, dim=-2))
                x, y = (part.expand(self.repeats, *part.shape) for part in (x, y))
            for k, (weight, bias) in enumerate(self.leaves):
                if k > 0:  # 0/1 states
                    weight, bias = weight / 2, bias + weight.sum(-1) / 2
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
