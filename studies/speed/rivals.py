r"""The rivals of the estimators: hand-written torch, float back-propagation, literal flips.

The network is that of ``sbn.models.BinaryMLP``: ±1 weights with means tanh(lam), logistic noise,

    x_k = sign(s_k (W_k x_{k-1}) + b_k - Z_k),    y ~ Categorical(s (W x_L) + b).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def draw(uniform: Tensor, probability: Tensor) -> Tensor:
    """±1, compared straight into floats, which is much cheaper than ``torch.where`` on a CPU."""
    return torch.lt(uniform, probability, out=torch.empty_like(probability)).mul_(2).sub_(1)


class DrawWeight(Function):
    """±1 with P(+1) = sigmoid(2 lam), and its KL from fair coins, sharing the sigmoid.

    Backward: the gradient in the mean, which is the identity for the draw and lam for the KL,
    ``mu lam - log cosh lam``.
    """

    @staticmethod
    def forward(ctx: Any, lam: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """The draw, and the divergence in nats."""
        ctx.save_for_backward(lam)
        probability = torch.sigmoid(2 * lam)
        size = lam.abs()
        log_two_cosh = torch.nn.functional.softplus(-2 * size).add_(size)
        divergence = (2 * probability).sub_(1).mul_(lam).sub_(log_two_cosh).sum()
        return draw(uniform, probability), divergence + lam.numel() * 0.6931471805599453

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The gradient in the mean."""
        (lam,) = ctx.saved_tensors
        return torch.addcmul(gradients[0], gradients[1], lam), None


class DrawUnit(Function):
    """±1 with P(+1) = sigmoid(a); backward: the derivative of the mean, 2 F'(a)."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, uniform: Tensor) -> Tensor:
        """The draw."""
        probability = torch.sigmoid(a)
        ctx.save_for_backward(probability)
        return draw(uniform, probability)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The derivative of the mean."""
        (probability,) = ctx.saved_tensors
        return 2 * gradients[0] * probability * (1 - probability), None


class HandWritten:
    """The same loss by straight-through, with nothing but torch: the strongest rival."""

    def __init__(self, sizes: Sequence[int], num_data: int) -> None:
        self.num_data = num_data
        self.lam = [1.5 * torch.randn(out, size) for size, out in pairwise(sizes)]
        self.log_scale = [torch.full((w.shape[0],), w.shape[1] ** -0.5).log() for w in self.lam]
        self.bias = [torch.zeros(w.shape[0]) for w in self.lam]
        for leaf in self.parameters:
            leaf.requires_grad_()

    @property
    def real_parameters(self) -> list[Tensor]:
        """Scales and biases."""
        return [*self.log_scale, *self.bias]

    @property
    def parameters(self) -> list[Tensor]:
        """All leaves."""
        return [*self.lam, *self.real_parameters]

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The negative ELBO of one draw, scaled to all data."""
        divergence = torch.zeros(())
        last = len(self.lam) - 1
        for k, lam in enumerate(self.lam):
            weight, nats = DrawWeight.apply(lam, torch.rand_like(lam))
            a = self.log_scale[k].exp() * (x @ weight.mT) + self.bias[k]
            x = a if k == last else DrawUnit.apply(a, torch.rand_like(a))
            divergence = divergence + nats
        nll = torch.nn.functional.cross_entropy(x, y, reduction="sum")
        return self.num_data / len(y) * nll + divergence

    def loss_and_gradients(self, x: Tensor, y: Tensor) -> float:
        """What ``elbo.loss_and_grads`` does; gradients are left in ``grad``."""
        for leaf in self.parameters:
            leaf.grad = None
        loss = self.loss(x, y)
        loss.backward()
        return loss.item()


class FloatNetwork:
    """Ordinary back-propagation through real weights and tanh."""

    def __init__(self, sizes: Sequence[int]) -> None:
        layers: list[torch.nn.Module] = []
        for size, out in pairwise(sizes):
            layers += [torch.nn.Linear(size, out), torch.nn.Tanh()]
        self.net = torch.nn.Sequential(*layers[:-1])

    def loss_and_gradients(self, x: Tensor, y: Tensor) -> float:
        """Cross entropy and its gradients."""
        self.net.zero_grad()
        loss = torch.nn.functional.cross_entropy(self.net(x), y)
        loss.backward()
        return loss.item()


@torch.no_grad()
def literal_flips(sizes: Sequence[int], x: Tensor, y: Tensor) -> list[Tensor]:
    """PSA's gradients in the ±1 weights, every flip of a (rows, out, in) tensor evaluated.

    Weights are drawn as fair coins and scales are ``1 / sqrt(in)``; the work is the same for any.
    """
    weights = [torch.where(torch.rand(out, size) < 0.5, 1.0, -1.0) for size, out in pairwise(sizes)]
    scales = [w.shape[1] ** -0.5 for w in weights]
    states, activations = [x], []
    for w, s in zip(weights, scales, strict=True):
        a = s * (states[-1] @ w.mT)
        activations.append(a)
        states.append(torch.where(torch.rand_like(a) < torch.sigmoid(a), 1.0, -1.0))
    gradients = []
    signal: Tensor | None = None  # E[value at +1] - E[value at -1] of each unit of the layer above
    for k in reversed(range(len(weights))):
        w, s, state, a = weights[k], scales[k], states[k], activations[k]
        if signal is None:
            flip_w, flip_x = head_flips(a, s, w, state, y)
        else:
            entry = a.unsqueeze(-1)  # (rows, out, 1)
            z = state.unsqueeze(-2)  # (rows, 1, in)
            up, down = entry + s * z * (1 - w), entry - s * z * (1 + w)
            flip_w = signal.unsqueeze(-1) * (torch.sigmoid(up) - torch.sigmoid(down))
            flip_x = None
            if k:  # the data are not flipped
                up, down = entry + s * w * (1 - z), entry - s * w * (1 + z)
                flip_x = signal.unsqueeze(-1) * (torch.sigmoid(up) - torch.sigmoid(down))
        gradients.append(0.5 * flip_w.sum(0))
        signal = None if flip_x is None else flip_x.sum(-2)
    return gradients[::-1]


def head_flips(a: Tensor, s: float, w: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of the categorical log-likelihood, (rows, classes, in) and (rows, 1, in)."""
    label = torch.nn.functional.one_hot(y, a.shape[-1]).to(a.dtype).unsqueeze(-1)
    z, entry = x.unsqueeze(-2), a.unsqueeze(-1)
    inputs = [
        (label * moved).sum(-2, keepdim=True) - moved.logsumexp(-2, keepdim=True)
        for moved in (entry + s * w * (1 - z), entry - s * w * (1 + z))
    ]
    # a flip of a weight moves the logit of its class alone
    rest = torch.stack(
        [a.index_fill(-1, torch.tensor([c]), -torch.inf).logsumexp(-1) for c in range(a.shape[-1])],
        -1,
    ).unsqueeze(-1)
    own = [
        label * moved - torch.logaddexp(moved, rest)
        for moved in (entry + s * z * (1 - w), entry - s * z * (1 + w))
    ]
    return own[0] - own[1], inputs[0] - inputs[1]
