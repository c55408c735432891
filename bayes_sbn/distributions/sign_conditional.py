r"""±1 variables that are independent only given an auxiliary variable: a component, or factors.

    q(w) = E_a prod_i q(w_i | a).

A site is drawn, and differentiated by estimators, from ``q(. | a)`` at the draw of a.  The
divergence of ``q(w)`` is none of single sites: the laws of a run point to the joint law that they
are conditionals of, and losses ask that for a bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from bayes_sbn.distributions.sign_bernoulli import SignBernoulli


class JointLaw(Protocol):
    """What ties the sites of one run together: the auxiliary variable at its draw."""

    name: str
    """Of the auxiliary variable, as handlers see it."""
    shape: torch.Size
    """Of its draws: one for each place of the plates around the guide, such as particles."""
    frames: tuple[Any, ...]
    """Those plates."""
    is_learned: bool
    """Whether its own law is learned, from the costs of its draws."""
    states: int | None
    """How many values the auxiliary variable has; None if it is continuous."""

    def divergence_bound(self, priors: Mapping[str, SignBernoulli]) -> Tensor:
        """An upper bound on ``KL(q(w) || p(w))`` over all sites together, or an estimate of one."""

    def probabilities(self) -> Tensor:
        """Of the values of the auxiliary variable, if it has finitely many."""

    def surrogate(self, cost: Tensor) -> Tensor | None:
        """What has the gradient of the auxiliary variable's own law, for the costs of its draws."""

    def marginal(self, site: str) -> SignBernoulli:
        """The law of each single weight of a site."""


class ConditionalSign(SignBernoulli):
    """Independent ±1 variables given an auxiliary variable.

    As a ``SignBernoulli`` it is the conditional law; :attr:`joint` knows the rest.
    """

    joint: JointLaw

    @classmethod
    def given(cls, natural: Tensor, joint: JointLaw, *, gradient: str = "natural") -> Self:
        """The law with natural parameters ``lam(a)``, a conditional of ``joint``.

        Args:
            natural: ``lam(a)`` at the draw of a, with the dims of a leftmost.
            joint: the law of all sites together.
            gradient: as in :meth:`SignBernoulli.from_natural`.
        """
        law = cls.from_natural(natural, gradient=gradient)
        assert isinstance(law, cls)
        law.joint = joint
        return law

    def _like(self, shape: torch.Size, event_dim: int) -> Self:
        new = super()._like(shape, event_dim)
        assert isinstance(new, type(self))
        new.joint = self.joint
        return new


def as_event(prior: SignBernoulli, shape: torch.Size) -> SignBernoulli:
    """A prior that plates around it have broadcast, as one event of the shape that it had alone.

    Raises:
        ValueError: its parameter differs between those places.
    """
    parameter = prior.parameter
    extra = parameter.dim() - len(shape)
    if extra > 0 and parameter.shape[:extra].numel() > 1:
        raise ValueError(
            f"the prior of ±1 weights of shape {tuple(shape)} has parameters of shape "
            f"{tuple(parameter.shape)}, other ones for every particle; the bound of a guide beyond "
            "mean field takes priors that no other latent variable drives. Use AutoSignBernoulli."
        )
    return prior._like(torch.Size(shape), len(shape))
