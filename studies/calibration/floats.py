r"""Float networks of one size side by side: deep ensembles and MC dropout, in plain torch.

A network has ReLU layers and a head.  Its loss a row is the cross-entropy, or of a real target

    log sigma + (y - m)^2 / (2 sigma^2),

``m`` the first output; ``sigma`` is softplus of the second output (deep ensembles: a
heteroskedastic normal head, Lakshminarayanan et al. 2017), or one number of each network (MC
dropout).  With N rows it adds ``decay / (2 N)`` times the squared norm of the weight matrices: a
normal prior.  Adam, whose step size falls as a cosine.  Dropout, where there is any, is before
every layer but the first, in training and, with masks anew for each draw, in prediction (Gal &
Ghahramani 2016).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from studies.calibration.data import Array, Rows

LEAST_SIGMA = 1e-3
"""In units of the targets' standard deviation."""


@dataclass(frozen=True)
class Training:
    """How networks are trained.

    Args:
        hidden: widths.
        steps: of Adam.
        batch_size: rows of a batch.
        rate: the first step size.
    """

    hidden: tuple[int, ...] = (50,)
    steps: int = 1000
    batch_size: int = 128
    rate: float = 0.01


class Networks:
    """M networks of one size, of M sets of as many rows.

    Args:
        sets: standardised rows of each network.
        outputs: units of the head.
        training: sizes and steps.
        decay: precision of the prior of each network's weights.
        dropout: rate of each network.
        classes: number of classes; 0 of a real target.
        seed: of starts, orders and masks.
    """

    def __init__(
        self,
        sets: Sequence[Rows],
        outputs: int,
        training: Training,
        *,
        decay: Sequence[float],
        dropout: Sequence[float],
        classes: int,
        seed: int,
    ) -> None:
        sizes = [sets[0].x.shape[1], *training.hidden, outputs]
        self.training, self.classes, self.number = training, classes, len(sets)
        self.generator = torch.Generator().manual_seed(seed)
        self.decay = torch.tensor(decay)
        self.keep = (1 - torch.tensor(dropout))[:, None, None]
        self.weights, self.biases = [], []
        for inputs, units in pairwise(sizes):
            start = torch.randn(self.number, inputs, units, generator=self.generator)
            self.weights.append((start * math.sqrt(2 / inputs)).requires_grad_())
            self.biases.append(torch.zeros(self.number, 1, units, requires_grad=True))
        self.log_sigma = torch.zeros(self.number, 1, requires_grad=True)
        own = {id(rows): rows for rows in sets}  # many networks may learn the same rows
        place = {key: number for number, key in enumerate(own)}
        self.set = torch.tensor([place[id(rows)] for rows in sets])[:, None]
        self.x = torch.stack([_tensor(rows.x) for rows in own.values()])
        kind = torch.int64 if classes else torch.float32
        self.y = torch.stack([torch.as_tensor(rows.y, dtype=kind) for rows in own.values()])

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (networks, rows, outputs), under new masks where there is dropout."""
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if layer:
                x = x.relu()
                if (self.keep < 1).any():
                    kept = torch.rand(x.shape, generator=self.generator) < self.keep
                    x = x * kept / self.keep
            x = torch.baddbmm(bias, x, weight)
        return x

    def sigma(self, outputs: Tensor) -> Tensor:
        """Standard deviation of the targets, (networks, rows) or (networks, 1)."""
        if outputs.shape[-1] == 2:
            return softplus(outputs[..., 1]) + LEAST_SIGMA
        return self.log_sigma.exp() + LEAST_SIGMA

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Mean loss of each network."""
        if self.classes:
            each = cross_entropy(outputs.flatten(0, 1), y.flatten(), reduction="none")
            return each.reshape(y.shape).mean(1)
        sigma = self.sigma(outputs)
        return (sigma.log() + 0.5 * ((y - outputs[..., 0]) / sigma).square()).mean(1)

    def train(self) -> None:
        """All steps; each network sees its rows in an order of its own."""
        rows = self.x.shape[1]
        size = min(self.training.batch_size, rows)
        parameters = [*self.weights, *self.biases, self.log_sigma]
        optim = torch.optim.Adam(parameters, lr=self.training.rate)
        fall = torch.optim.lr_scheduler.CosineAnnealingLR(optim, self.training.steps)
        place, order = rows, torch.empty(0)
        for _ in range(self.training.steps):
            if place + size > rows:
                order = torch.rand(self.number, rows, generator=self.generator).argsort(1)
                place = 0
            batch = order[:, place : place + size]
            place += size
            loss = self.losses(self.forward(self.x[self.set, batch]), self.y[self.set, batch])
            norms = sum(weight.square().sum((1, 2)) for weight in self.weights)
            total = (loss + self.decay / (2 * rows) * norms).sum()
            optim.zero_grad()
            total.backward()
            optim.step()
            fall.step()

    @torch.no_grad()
    def predict(self, x: Sequence[Array] | Array) -> tuple[Array, Array | None]:
        """Of one draw of the masks: class probabilities, or means and standard deviations.

        Args:
            x: standardised inputs, of each network or, as one array, of all.
        """
        if isinstance(x, np.ndarray):
            outputs = self.forward(_tensor(x).expand(self.number, -1, -1))
        else:
            outputs = self.forward(torch.stack([_tensor(each) for each in x]))
        if self.classes:
            return outputs.double().softmax(-1).numpy(), None
        mean = outputs[..., 0].double()
        return mean.numpy(), self.sigma(outputs).double().expand_as(mean).numpy()


def _tensor(x: Array) -> Tensor:
    return torch.as_tensor(x, dtype=torch.float32)
