r"""A rule for ±1 weights: what its steps have in common, and what it asks of their leaves.

A step looks at every leaf that has a gradient, at the KL that the loss left to it and at its law,
before it moves any; the errors name the rule that asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.dual import NATURAL, LeftKL, leaf_of
from bayes_sbn.noise import Noise, get_noise


class SignRule(torch.optim.Optimizer):
    """A torch optimiser of the leaves of ±1 weights; subclasses say how one leaf moves."""

    @torch.no_grad()
    # torch states two signatures, with a closure and without, which one with a default covers
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every leaf that has a gradient: of all, or of none if one is refused."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        steps = [
            (leaf, group)
            for group in self.param_groups
            for leaf in group["params"]
            if leaf.grad is not None
        ]
        for leaf, group in steps:
            self._check(leaf, group)
        self._move_all(steps)
        return loss

    def _check(self, leaf: Tensor, group: dict[str, Any]) -> None:
        """Raise where the rule is not for a leaf, or where it lacks the KL that the loss left."""
        del group
        left_kl(type(self).__name__, leaf)

    def _move_all(self, steps: list[tuple[Tensor, dict[str, Any]]]) -> None:
        for leaf, group in steps:
            assert leaf.grad is not None  # as of all that are stepped
            self._move(leaf, leaf.grad, group)

    def _move(self, leaf: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Step one leaf in place."""
        raise NotImplementedError(f"{type(self).__name__} has no step of a leaf")


def left_kl(rule: str, leaf: Tensor, kl: str = "loss") -> LeftKL | None:
    """The KL that a step has to have, by what the last loss said of it.

    Args:
        rule: the name of the rule.
        leaf: of ±1 weights.
        kl: ``"loss"`` or ``"prox"``, where the rule expects the KL.
    """
    known = leaf_of(leaf)
    left = None if known is None else known.left_kl
    name = _name(leaf)
    if kl == "loss" and left is not None:
        raise RuntimeError(
            f"{rule}: the loss left the KL of the weights {name} to the "
            'optimiser. Write MirrorDescent({..., "kl": "prox"}), or TraceEstimator_ELBO(...) '
            "without weight_kl=False (with temperature=0.0 the KL costs nothing)."
        )
    if kl == "prox" and left is None:
        raise RuntimeError(
            f'{rule}(kl="prox"): the loss did not leave the KL of the weights {name} to '
            "the optimiser, which would count it twice or not at all. Write "
            f'TraceEstimator_ELBO(..., weight_kl=False), or {rule} without "kl".'
        )
    if left is not None and left.prior_is_trained:
        raise RuntimeError(
            f'{rule}(kl="prox"): the prior of the weights {name} is trained, and a KL that '
            f'is not in the loss gives it no gradient. Write {rule} without "kl", and '
            "TraceEstimator_ELBO without weight_kl=False."
        )
    return left


def noise_of(rule: str, leaf: Tensor, given: tuple[str, float] | None) -> Noise:
    """The law F of a leaf ``F^{-1}(p)``: its guide's, or of a leaf on its own the one given.

    Args:
        rule: the name of the rule.
        leaf: of ±1 weights.
        given: name and scale of the law that the rule was told, or None.
    """
    known = leaf_of(leaf)
    if known is None:
        return NATURAL if given is None else get_noise(*given)
    noise = known.noise
    if given is not None and given != (noise.name, noise.scale):
        wanted = repr(get_noise(*given))
        raise RuntimeError(
            f"{rule}(noise={wanted}): the leaves of the weights {_name(leaf)} are quantiles of "
            f"{noise!r}, and stepping them as those of another law would be no mirror descent. "
            f"Write AutoSignBernoulli(model, noise=bayes_sbn.noise.{wanted}), or {rule} without "
            '"noise", which takes the law of the guide.'
        )
    return noise


def need_point(rule: str, leaf: Tensor) -> None:
    """Raise where the weights of a leaf are random: the rule is for signs.

    Args:
        rule: the name of the rule.
        leaf: of ±1 weights.
    """
    known = leaf_of(leaf)
    if known is not None and not known.is_point:
        raise RuntimeError(
            f"{rule}: the leaves of the weights {_name(leaf)} stand for probabilities, and {rule} "
            "is a rule for weights that are the signs of their leaves. Write "
            "sbn.guides.AutoSignDelta(model), or sbn.optim.MirrorDescent."
        )


def need_natural(rule: str, leaf: Tensor) -> None:
    """Raise where a leaf is no natural parameter: the rule is for the law of ``tanh lam``.

    Args:
        rule: the name of the rule.
        leaf: of ±1 weights.
    """
    known = leaf_of(leaf)
    if known is None:
        return
    if known.is_point:
        raise RuntimeError(
            f"{rule}: the weights {_name(leaf)} are the signs of their leaves, and {rule} is a "
            "rule for natural parameters of probabilities. Write "
            "sbn.guides.AutoSignBernoulli(model), or sbn.optim.LatentWeights."
        )
    if known.noise != NATURAL:
        raise RuntimeError(
            f"{rule}: the leaves of the weights {_name(leaf)} are quantiles of {known.noise!r}, "
            f"and {rule} is a rule for natural parameters. Write "
            'sbn.guides.AutoSignBernoulli(model) without "noise", or sbn.optim.MirrorDescent.'
        )


def _name(leaf: Tensor) -> str:
    known = leaf_of(leaf)
    return f"of shape {tuple(leaf.shape)}" if known is None else f'"{known.path}"'
