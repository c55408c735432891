r"""Weights in the dual: the leaf of a ±1 weight, its mean, and the one node between them.

Under the noise law F the trained leaf of a ±1 variable with mean ``mu = 2p - 1`` is

    eta = F^{-1}(p),      Psi'(mu) = F^{-1}((1 + mu) / 2),

the mirror image of the mean under the potential Psi.  It enters a model through one node, whose
value is ``mu = 2 F(eta) - 1`` and whose backward is the *identity*: so ``leaf.grad`` is the
derivative of the loss in the **mean**, whatever estimator or ELBO produced it.  The step of mirror
descent is then ``eta <- eta - lr * leaf.grad``.

By default F is logistic of scale 1/2, and the leaf the natural parameter
``lam = atanh(mu) = logit(p) / 2``: the divergence of Psi is that of Kullback and Leibler, and the
gradient in the mean the natural gradient.

Optimisers must know which tensors are such leaves, and by what path to name their state; modules
register both here, weakly keyed by the tensor, each time they run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from bayes_sbn.noise import Logistic, Noise

DUAL_LIMIT = 8.0
"""The largest |lam| that a step leaves: P(w = +1) is then within 1.2e-7 of 0 or 1, the resolution
of a float32 uniform."""

NATURAL = Logistic(scale=0.5)
"""The law under which the leaf is the natural parameter: ``F(lam) = sigmoid(2 lam)``."""

_ACCURATE = 0.5
"""|mu| up to which atanh mu is as good as the difference of two logarithms of probabilities."""


def natural_of(latent: Tensor, noise: Noise) -> Tensor:
    """The natural parameter ``(log F(eta) - log F(-eta)) / 2`` of a leaf, a constant.

    It is infinite where a bounded law makes P exactly 0 or 1.
    """
    eta = latent.detach()
    if type(noise) is Logistic:
        return eta / (2 * noise.scale)
    mean = noise.mean_sign(eta)
    far = 0.5 * (noise.log_cdf(eta) - noise.log_cdf(-eta))
    return torch.where(mean.abs() <= _ACCURATE, torch.atanh(mean), far)


def latent_of(natural: Tensor, noise: Noise) -> Tensor:
    """The leaf ``F^{-1}(sigmoid(2 lam))`` of a natural parameter, from the smaller probability."""
    if type(noise) is Logistic:
        return natural * (2 * noise.scale)
    size = -noise.quantile(torch.sigmoid(-2 * natural.abs()))
    return torch.copysign(size, natural)


def limit_of(noise: Noise) -> float:
    """The largest |leaf| that says something: where P is within 1.2e-7 of 0 or 1, or is 0 or 1."""
    if noise.is_bounded:
        return noise.scale
    if type(noise) is Logistic:
        return 2 * noise.scale * DUAL_LIMIT
    return float(latent_of(torch.tensor(DUAL_LIMIT, dtype=torch.float64), noise))


@dataclass(frozen=True, eq=False)
class LeftKL:
    """The KL that a loss left to the optimiser: its derivative in the mean, linear in lam.

    ``d(T KL)/dmu = T (lam - lam_0) = weight * lam - pull``, lam the natural parameter.

    Args:
        weight: ``T``, times the scale of the site; of the shape of the leaf.
        pull: ``T lam_0``, likewise.
        prior_is_trained: whether the prior has a gradient, which an optimiser cannot give it.
    """

    weight: Tensor
    pull: Tensor
    prior_is_trained: bool = False


@dataclass(frozen=True)
class Leaf:
    """What an optimiser knows of a parameter.

    Args:
        path: its module path, which names its state in files.
        is_dual: whether it is the dual leaf of ±1 weights (step by mirror descent).
        left_kl: the KL that the last loss left out for the optimiser, or None.
        noise: the law F of a dual leaf ``F^{-1}(p)``.
        is_point: whether the weights are surely the signs of the leaf, which has no law.
    """

    path: str
    is_dual: bool
    left_kl: LeftKL | None = None
    noise: Noise = NATURAL
    is_point: bool = False


_LEAVES: WeakIdKeyDictionary = WeakIdKeyDictionary()


def register_leaf(
    parameter: Tensor,
    path: str,
    *,
    is_dual: bool,
    noise: Noise = NATURAL,
    is_point: bool = False,
) -> None:
    """Tell optimisers the path of a parameter, and whether it is a dual leaf, under which law.

    What an earlier loss said of its KL is forgotten.
    """
    _LEAVES[parameter] = Leaf(path, is_dual, noise=noise, is_point=is_point)


def leave_kl(parameter: Tensor, left: LeftKL | None) -> None:
    """Leave the KL of a registered dual leaf to the optimiser, or say that the loss has it."""
    leaf = leaf_of(parameter)
    if leaf is None or not leaf.is_dual:
        raise ValueError(
            f"leave_kl: a parameter of shape {tuple(parameter.shape)} is not registered as a dual "
            "leaf. Write register_leaf(parameter, path, is_dual=True) first."
        )
    if leaf.left_kl is not left:
        _LEAVES[parameter] = replace(leaf, left_kl=left)


def leaf_of(parameter: Tensor) -> Leaf | None:
    """What is known of a parameter, or None."""
    leaf = _LEAVES.get(parameter)
    return leaf if isinstance(leaf, Leaf) else None


class _MeanNode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, natural: Tensor, probs: Tensor) -> Tensor:
        del ctx, natural
        return probs.mul(2).sub_(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        del ctx
        return gradients[0], None


def mean_node(natural: Tensor, probs: Tensor | None = None) -> Tensor:
    """``2 F(leaf) - 1`` with the identity as backward: gradients are those in the mean.

    Args:
        natural: the leaf; ``lam`` unless probabilities are given.
        probs: ``F(leaf)``, a constant; by default ``sigmoid(2 lam)``, from which ``tanh`` is
            cheaper on a CPU than torch's own.
    """
    if probs is None:
        probs = torch.sigmoid(2 * natural.detach())
    mean: Tensor = _MeanNode.apply(natural, probs)  # type: ignore[no-untyped-call]
    return mean
