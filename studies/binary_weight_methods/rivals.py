r"""The single networks: ±1 weights by STE-Adam, Bop and BayesBiNN's rule, and real weights by Adam.

A rule turns its state into the weights of a forward pass and the gradient at these weights into a
step.  With g the gradient of the mean loss of a batch at w, and r falling from 1 to 0 as a cosine:

    STE-Adam    w = sign(v);               v <- clip(v - r lr Adam(g), -1, 1)
    Bop         w in {-1, +1};             m <- (1 - r gamma) m + r gamma g,
                                           w <- -w where m w > threshold
    BayesBiNN   w = tanh((lam + d) / tau), d = logit(u) / 2;
                lam <- (1 - r lr) lam - r lr s g,   s = N (1 - w^2) / (tau (1 - tanh(lam)^2))
    Adam        w real;                    w <- (1 - r lr decay) w - r lr Adam(g)

BayesBiNN's 1e-10, added to both of its 1 - (.)^2 in the authors' code, are kept: at its published
temperature they are all that is left of s in float32.  Deep ensembles are several networks of
STE-Adam that differ in their start and in the order of their rows.
"""

import math
from typing import Any

import torch
from torch import Tensor

from studies.binary_weight_methods.data import Batches, Problem
from studies.binary_weight_methods.networks import Head, forward, shapes, signs

REAL_RATE = 0.01
"""Of Adam for scales and biases, in every method, ours too."""


class Rule:
    """How weights are kept and stepped."""

    def __init__(self, layers: list[Tensor], num_data: int) -> None:
        self.state = layers
        self.num_data = num_data

    def weights(self, generator: torch.Generator) -> list[Tensor]:
        """Those of the next forward pass; gradients are taken at them."""
        raise NotImplementedError(f"{type(self).__name__} has no weights(generator)")

    def step(self, gradients: list[Tensor], factor: float) -> None:
        """One step, its size times the factor."""
        raise NotImplementedError(f"{type(self).__name__} has no step(gradients, factor)")

    def final(self) -> list[Tensor]:
        """The weights of the trained network."""
        raise NotImplementedError(f"{type(self).__name__} has no final()")


class _ByAdam(Rule):
    def __init__(
        self, layers: list[Tensor], num_data: int, *, lr: float, decay: float = 0.0
    ) -> None:
        super().__init__(layers, num_data)
        self.lr = lr
        self.adam = torch.optim.AdamW(self.state, lr=lr, weight_decay=decay, fused=True)

    def step(self, gradients: list[Tensor], factor: float) -> None:
        """Adam's."""
        for state, gradient in zip(self.state, gradients, strict=True):
            state.grad = gradient.contiguous()  # the fused step takes strides for equal
        self.adam.param_groups[0]["lr"] = self.lr * factor
        self.adam.step()


class STEAdam(_ByAdam):
    """Latent weights, clipped; Glorot's uniform start is that of BinaryConnect."""

    def weights(self, generator: torch.Generator) -> list[Tensor]:
        """Signs."""
        del generator
        return self.final()

    def step(self, gradients: list[Tensor], factor: float) -> None:
        """Adam's, then the clip."""
        super().step(gradients, factor)
        for state in self.state:
            state.clamp_(-1, 1)

    def final(self) -> list[Tensor]:
        """Signs of the latent weights."""
        return [signs(state >= 0) for state in self.state]


class FullPrecision(_ByAdam):
    """Real weights, decoupled weight decay."""

    def weights(self, generator: torch.Generator) -> list[Tensor]:
        """The state itself."""
        del generator
        return self.state

    def final(self) -> list[Tensor]:
        """The state itself."""
        return self.state


class Bop(Rule):
    """Flips where an average of gradients asks for it strongly enough."""

    def __init__(
        self, layers: list[Tensor], num_data: int, *, gamma: float, threshold: float
    ) -> None:
        super().__init__([signs(layer >= 0) for layer in layers], num_data)
        self.average = [torch.zeros_like(layer) for layer in layers]
        self.gamma, self.threshold = gamma, threshold

    def weights(self, generator: torch.Generator) -> list[Tensor]:
        """The state itself."""
        del generator
        return self.state

    def step(self, gradients: list[Tensor], factor: float) -> None:
        """Average, then flips."""
        for w, m, g in zip(self.state, self.average, gradients, strict=True):
            m.lerp_(g, self.gamma * factor)
            w.mul_(-signs(m * w > self.threshold))

    def final(self) -> list[Tensor]:
        """The state itself."""
        return self.state


class BayesBiNN(Rule):
    """The authors' rule: a Concrete relaxation, one draw a step; deployed is the mode."""

    START = 10.0

    def __init__(self, layers: list[Tensor], num_data: int, *, lr: float, tau: float) -> None:
        super().__init__([self.START * signs(layer >= 0) for layer in layers], num_data)
        self.lr, self.tau = lr, tau

    def weights(self, generator: torch.Generator) -> list[Tensor]:
        """Relaxed, drawn anew."""
        self.drawn = []
        for lam in self.state:
            u = torch.rand(lam.shape, generator=generator).clamp_(1e-10, 1 - 1e-7)
            self.drawn.append(torch.tanh((lam + torch.logit(u) / 2) / self.tau))
        return self.drawn

    def step(self, gradients: list[Tensor], factor: float) -> None:
        """With the gradient at the relaxed weights."""
        rate = self.lr * factor
        for lam, w, g in zip(self.state, self.drawn, gradients, strict=True):
            s = (1 - w * w + 1e-10) / self.tau / (1 - torch.tanh(lam) ** 2 + 1e-10)
            lam.mul_(1 - rate).sub_(rate * self.num_data * s * g)

    def final(self) -> list[Tensor]:
        """The mode."""
        return [signs(lam >= 0) for lam in self.state]


RULES = {"ste-adam": STEAdam, "bop": Bop, "bayesbinn": BayesBiNN, "full precision": FullPrecision}


def cosine(done: float) -> float:
    """From 1 to 0."""
    return (1 + math.cos(math.pi * done)) / 2


def train(
    problem: Problem, activation: str, rule: str, options: dict[str, Any], members: int, seed: int
) -> tuple[Rule, Head]:
    """Networks of one rule, ``members`` for each split; network m learns split m // members."""
    generator = torch.Generator().manual_seed(seed)
    batches = Batches(problem, members, generator)
    networks = members * len(problem.splits)
    layers = shapes(problem.inputs, problem.classes)
    starts = []
    for out, size in layers:
        reach = math.sqrt(6 / (out + size))
        u = torch.rand(networks, out, size, generator=generator)
        starts.append(reach * (2 * u - 1))
    kept = RULES[rule](starts, batches.num_rows, **options)
    head = Head.start(networks, layers, activation)
    if rule == "full precision":
        head.log_scale.zero_()
    real = torch.optim.Adam(head.parameters(), lr=REAL_RATE, fused=True)
    for epoch in range(problem.epochs):
        factor = cosine(epoch / problem.epochs)
        real.param_groups[0]["lr"] = REAL_RATE * factor
        for x, y in batches:
            weights = [w.detach().requires_grad_() for w in kept.weights(generator)]
            own = [p.requires_grad_() for p in head.parameters()]
            logits = forward(x.transpose(0, 1), weights, head)
            # the mean loss of each network, summed: networks do not touch one another
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), y.T.flatten(), reduction="sum"
            )
            gradients = torch.autograd.grad(loss / len(x), [*weights, *own])
            for parameter, gradient in zip(own, gradients[len(weights) :], strict=True):
                parameter.requires_grad_(False)
                parameter.grad = gradient.contiguous()
            real.step()
            kept.step(list(gradients[: len(weights)]), factor)
    return kept, head
