r"""Weights in the dual: the leaf of a ±1 weight, its mean, and the one node between them.

The trained leaf is the natural parameter ``lam = atanh(mu) = logit(p) / 2`` of a ±1 variable with
mean ``mu``.  It enters a model through one node, whose value is ``mu = tanh(lam)`` and whose
backward is the *identity*: so ``leaf.grad`` is the derivative of the loss in the **mean**, which
is the natural gradient, whatever estimator or ELBO produced it.  The step of mirror descent is
then ``lam <- lam - lr * leaf.grad``.

Optimisers must know which tensors are such leaves, and by what path to name their state; modules
register both here, weakly keyed by the tensor, each time they run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

DUAL_LIMIT = 8.0
"""The largest |lam| that a step leaves: P(w = +1) is then within 1.2e-7 of 0 or 1, the resolution
of a float32 uniform."""


@dataclass(frozen=True, eq=False)
class LeftKL:
    """The KL that a loss left to the optimiser: its derivative in the mean, linear in the leaf.

    ``d(T KL)/dmu = T (lam - lam_0) = weight * lam - pull``.

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
        is_dual: whether it is the natural parameter of ±1 weights (step by mirror descent).
        left_kl: the KL that the last loss left out for the optimiser, or None.
    """

    path: str
    is_dual: bool
    left_kl: LeftKL | None = None


_LEAVES: WeakIdKeyDictionary = WeakIdKeyDictionary()


def register_leaf(parameter: Tensor, path: str, *, is_dual: bool) -> None:
    """Tell optimisers the path of a parameter, and whether it is a dual leaf.

    What an earlier loss said of its KL is forgotten.
    """
    _LEAVES[parameter] = Leaf(path, is_dual)


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
    """``tanh(natural)`` with the identity as backward: gradients are those in the mean.

    Args:
        natural: the leaf ``lam``.
        probs: ``sigmoid(2 lam)``, a constant, where it is there already; ``tanh`` is computed from
            it, which is cheaper on a CPU than torch's own.
    """
    if probs is None:
        probs = torch.sigmoid(2 * natural.detach())
    mean: Tensor = _MeanNode.apply(natural, probs)  # type: ignore[no-untyped-call]
    return mean
