r"""The in-128-128-C networks, many side by side, in plain torch.

With real activations, BN without parameters and one scale s of the logits,

    h_k = relu(BN(W_k h_{k-1})),    logits = s W_3 h_2 + b,

and with ±1 activations of the rivals, BN with them (a threshold once trained),

    h_k = sign(gamma_k BN(W_k h_{k-1}) + beta_k),

whose backward is that of uniform noise on [-1, 1] ("hard tanh").  Arrays are (networks, rows,
units), weights (networks, units, inputs).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

HIDDEN = (128, 128)
EPS = 1e-5
Statistics = list[tuple[Tensor, Tensor]]
"""Mean and variance of the pre-activations of each hidden layer."""


def signs(where: Tensor) -> Tensor:
    """+1 where true, -1 elsewhere."""
    return where.to(torch.get_default_dtype()).mul_(2).sub_(1)


def shapes(inputs: int, classes: int, hidden: Sequence[int] = HIDDEN) -> list[tuple[int, int]]:
    """(units, inputs) of each layer."""
    sizes = [inputs, *hidden, classes]
    return list(zip(sizes[1:], sizes[:-1], strict=True))


def hard_tanh_sign(a: Tensor) -> Tensor:
    """The sign, differentiated as the clipped identity."""
    clipped = a.clamp(-1, 1)
    return clipped + (signs(a >= 0) - clipped).detach()


def normalised(a: Tensor, statistics: tuple[Tensor, Tensor] | None) -> Tensor:
    """Less a mean, over a deviation; None takes those of the rows."""
    if statistics is not None:
        mean, variance = statistics
        return (a - mean) * (variance + EPS).rsqrt()
    average = a.new_full((1, a.shape[-2]), 1 / a.shape[-2])  # as products: quick on a CPU
    a = a - average @ a
    return a * (average @ (a * a) + EPS).rsqrt()


def statistics_of(a: Tensor) -> tuple[Tensor, Tensor]:
    """Of the rows."""
    variance, mean = torch.var_mean(a, -2, correction=0, keepdim=True)
    return mean, variance


@dataclass
class Head:
    """What a network has besides its weights, all real; all of it is trained by Adam.

    Args:
        log_scale: of the logits, (networks, 1, 1).
        bias: of the logits, (networks, 1, classes).
        gains: of each hidden layer with ±1 activations, (networks, 1, units), else none.
        shifts: likewise.
    """

    log_scale: Tensor
    bias: Tensor
    gains: list[Tensor] = field(default_factory=list)
    shifts: list[Tensor] = field(default_factory=list)

    @classmethod
    def start(cls, networks: int, layers: Sequence[tuple[int, int]], activation: str) -> "Head":
        """Logits of unit size under ±1 weights."""
        classes, width = layers[-1]
        hidden = [units for units, _ in layers[:-1]] if activation == "sign" else []
        return cls(
            torch.full((networks, 1, 1), -math.log(width) / 2),
            torch.zeros(networks, 1, classes),
            [torch.ones(networks, 1, units) for units in hidden],
            [torch.zeros(networks, 1, units) for units in hidden],
        )

    def parameters(self) -> list[Tensor]:
        """All of them."""
        return [self.log_scale, self.bias, *self.gains, *self.shifts]


def activated(a: Tensor, head: Head, layer: int) -> Tensor:
    """The units of a hidden layer."""
    if not head.gains:
        return torch.relu(a)
    return hard_tanh_sign(head.gains[layer] * a + head.shifts[layer])


def forward(
    x: Tensor,
    weights: Sequence[Tensor],
    head: Head,
    *,
    statistics: Statistics | None = None,
) -> Tensor:
    """Logits.

    Args:
        x: (networks, rows, inputs).
        weights: of each layer.
        head: the rest.
        statistics: of each hidden layer; None takes those of the rows.
    """
    h = x
    for k, weight in enumerate(weights[:-1]):
        a = normalised(h @ weight.mT, None if statistics is None else statistics[k])
        h = activated(a, head, k)
    return head.log_scale.exp() * (h @ weights[-1].mT) + head.bias


def recalibrated(x: Tensor, weights: Sequence[Tensor], head: Head) -> Statistics:
    """The statistics of all training rows under these weights."""
    record: Statistics = []
    h = x
    for k, weight in enumerate(weights[:-1]):
        a = h @ weight.mT
        record.append(statistics_of(a))
        h = activated(normalised(a, record[-1]), head, k)
    return record
