r"""The two coordinates of a law of ±1 variables, and which of them its gradients are taken in.

    lam = logit(p) / 2,        mu = 2p - 1 = tanh(lam).

Values are computed from ``lam``, and derivatives in ``mu`` stated, so that neither cancels or is
NaN where P is 0 or 1: a value v with the derivative s in mu is ``v + zero_with_slope(mu, s)``, all
else a constant.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bayes_sbn.distributions.support import SignDistribution
from bayes_sbn.dual import mean_node
from bayes_sbn.signs import hard_with_path, tag_expectation


class SignCoordinates(SignDistribution):
    """A law of ±1 variables as it is held: ``lam``, and what gradients in the mean enter."""

    _probs: Tensor | None = None  # a constant, where it was needed anyway

    def _set(
        self, natural: Tensor, node: Tensor, in_mean: bool, shape: torch.Size, event_dim: int
    ) -> None:
        self._natural = natural  # lam
        self._node = node  # what gradients in the mean enter, if in_mean: the mean, or the leaf
        self._in_mean = in_mean
        self._full_shape = shape
        self._event_dim = event_dim

    @property
    def mean(self) -> Tensor:
        """``2p - 1``."""
        return self._mean_node().expand(self._full_shape)

    @property
    def variance(self) -> Tensor:
        """``1 - mu^2``."""
        return 1 - self.mean.square()

    @property
    def natural(self) -> Tensor:
        """``lam = logit(p) / 2``."""
        return self._natural.expand(self._full_shape)

    @property
    def parameter(self) -> Tensor:
        """``lam`` before broadcasting: one entry per variable that is learned."""
        return self._natural

    @property
    def leaf(self) -> Tensor | None:
        """The trained leaf of a law made by ``from_natural`` or ``from_latent``, else None."""
        if self._probs is None:
            return None
        # a parameter in the course of a Pyro run is a view, which knows what it is a view of
        of: Any = getattr(self._node, "unconstrained", None)
        leaf: Tensor | None = self._node if of is None else of()
        return leaf

    @property
    def logits(self) -> Tensor:
        """Log-odds of +1."""
        return 2 * self.natural

    @property
    def probs(self) -> Tensor:
        """``P(x = +1)``."""
        value = torch.sigmoid(2 * self._lam()) if self._probs is None else self._probs
        if self._slopes_in_mean():
            value = value + zero_with_slope(self._mean_node(), torch.full_like(value, 0.5))
        return value.expand(self._full_shape)

    def _lam(self) -> Tensor:
        """``lam`` before broadcasting, a constant if the law is differentiated in its mean."""
        return self._natural.detach() if self._in_mean else self._natural

    def _mean_node(self) -> Tensor:
        """The mean before broadcasting, with its gradient."""
        return self._node if self._probs is None else mean_node(self._node, self._probs)

    def _constant_mean(self) -> Tensor:
        """The mean before broadcasting, a constant if the law is differentiated in its mean."""
        if self._probs is not None:
            return self._probs.mul(2).sub_(1)
        return self._node.detach() if self._in_mean else self._node

    def _slopes_in_mean(self) -> bool:
        """Whether values get their derivatives through the mean."""
        return self._in_mean and self._node.requires_grad and torch.is_grad_enabled()

    def remembered_by(self, value: Tensor) -> Tensor:
        """The same draw, which remembers the mean, before broadcasting and with its gradient."""
        return tag_expectation(value, self._mean_node)

    def mean_path(self) -> Tensor:
        """The mean, through which path estimators differentiate a draw."""
        return self.mean

    def with_path(self, hard: Tensor) -> Tensor:
        """See :meth:`SignDistribution.with_path`; the value of the mean is not needed."""
        return hard_with_path(hard, self._node.expand(self._full_shape))


def zero_with_slope(mean: Tensor, slope: Tensor) -> Tensor:
    """Zero, with a given derivative in the mean."""
    return (mean - mean.detach()) * slope.detach()
