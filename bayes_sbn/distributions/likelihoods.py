r"""Likelihoods on a lazy pre-activation: categorical, Bernoulli and normal.

Each is an :class:`~bayes_sbn.distributions.affine_likelihood.AffineLikelihood`:

    categorical   log p = a_y - log sum_c exp(a_c)
    Bernoulli     log p = sum_j y_j a_j - log(1 + exp(a_j)),         y_j in {0, 1}
    normal        log p = sum_j log N(y_j; a_j, sigma_j^2)

Where an operand is known by its moments, a is taken for normal with mean m and variance v
(:mod:`bayes_sbn.affines.moments`), its units for independent, and what is scored is ``E[log p]``:
for the normal law its value, ``log N(y_j; m_j, sigma_j^2) - v_j / 2 sigma_j^2``, for the others a
lower bound, by the upper one of :mod:`bayes_sbn.affines.tilted` for their normaliser.
"""

from __future__ import annotations

from typing import Any, cast

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor

from bayes_sbn.affines import (
    BernoulliLogLikelihood,
    NormalLogLikelihood,
    PreActivation,
    categorical_log_likelihood,
    categorical_redraw,
)
from bayes_sbn.affines.dense import Affine
from bayes_sbn.affines.tilted import Tilted, tilted
from bayes_sbn.distributions.affine_likelihood import AffineLikelihood


class AffineCategorical(AffineLikelihood):
    """Labels ``y in {0, ..., classes - 1}`` with logits ``a``; event_dim 0.

    Args:
        affine: the logits, (..., rows, classes).
        validate_args: check the labels that are scored.
    """

    target_dim = 0
    has_enumerate_support = True

    @property
    def support(self) -> Any:
        """The integers below the number of classes."""
        return constraints.integer_interval(0, self.affine.shape[-1] - 1)

    @property
    def logits(self) -> Tensor:
        """The pre-activation."""
        return self.affine.tensor

    @property
    def probs(self) -> Tensor:
        """The class probabilities, (..., rows, classes)."""
        return torch.softmax(self.affine.tensor, -1)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Labels."""
        with torch.no_grad():
            law = dist.Categorical(logits=self.logits)
            return self._drawn(cast(Tensor, law.sample(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """``a_y - log sum_c exp(a_c)``."""
        if self._validate_args:
            classes = self.affine.shape[-1]
            allowed = f"labels are integers from 0 to {classes - 1}, one per row"
            self._check_kind(value, allowed)
            self._check_target(
                value,
                ~((value >= 0) & (value < classes) & (value == value.floor())),
                allowed,
                f"Give the model {classes} classes' labels, or make the last layer wider.",
            )
        log_p = categorical_log_likelihood(self._scored, value)
        if self._is_redrawn(value):
            log_p = log_p + categorical_redraw(self._affine_at(value.shape), value)
        if self._tilted is None:
            return log_p
        lift, remainder = self._tilted.lift, self._tilted.remainder
        shape = torch.broadcast_shapes(lift.shape, (*log_p.shape, lift.shape[-1]))
        label = value.long().expand(log_p.shape).unsqueeze(-1)
        return log_p - lift.expand(shape).gather(-1, label).squeeze(-1) - remainder.sum(-1)

    def _tilt(self, affine: Affine) -> Tilted:
        return tilted(affine, lambda r: torch.softmax(r, -1))

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All labels, (classes, *batch)."""
        return cast(Tensor, dist.Categorical(logits=self.logits).enumerate_support(expand=expand))


class AffineBernoulli(AffineLikelihood):
    """Independent labels ``y_j in {0, 1}`` with log-odds ``a_j``; event_dim 1.

    Args:
        affine: the log-odds, (..., rows, outputs).
        validate_args: check the labels that are scored.
    """

    @property
    def support(self) -> Any:
        """0 or 1 in every output."""
        return constraints.independent(constraints.boolean, 1)

    @property
    def probs(self) -> Tensor:
        """``P(y = 1)``."""
        return torch.sigmoid(self.affine.tensor)

    @property
    def mean(self) -> Tensor:
        """``P(y = 1)``."""
        return self.probs

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Labels."""
        with torch.no_grad():
            probs = self.probs
            shape = torch.Size(sample_shape) + probs.shape
            uniform = torch.rand(shape, dtype=probs.dtype, device=probs.device)
            return self._drawn((uniform < probs).to(probs.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        """``sum_j y_j a_j - log(1 + exp(a_j))``."""
        if self._validate_args:
            allowed, remedy = "labels are 0 or 1", "Map labels in {-1, 1} with (y + 1) / 2."
            self._check_kind(value, allowed)
            self._check_target(value, ~((value == 0) | (value == 1)), allowed, remedy)
        pre = self._affine_at(value.shape[:-1])
        label = value.to(pre.tensor.dtype).expand(torch.broadcast_shapes(value.shape, pre.shape))
        log_p = self._sum_units(value, pre, BernoulliLogLikelihood(label))
        if self._tilted is None:
            return log_p
        return log_p - (label * self._tilted.lift + self._tilted.remainder).sum(-1)

    def _tilt(self, affine: Affine) -> Tilted:
        return tilted(affine, torch.sigmoid)


class AffineNormal(AffineLikelihood):
    """Independent real outputs with means ``a_j`` and standard deviations sigma; event_dim 1.

    Args:
        affine: the means, (..., rows, outputs).
        sigma: a positive number, or one per output; may be a parameter.
        validate_args: check sigma and the values that are scored.
    """

    has_rsample = False

    def __init__(
        self, affine: PreActivation, sigma: Tensor | float, *, validate_args: bool | None = None
    ) -> None:
        super().__init__(affine, validate_args=validate_args)
        like = affine.tensor
        self.sigma = torch.as_tensor(sigma, dtype=like.dtype, device=like.device)
        if self._validate_args and not bool((self.sigma > 0).all()):
            raise ValueError(
                f"AffineNormal(sigma=...): sigma is {self.sigma.detach().flatten().tolist()[:4]}; "
                "it must be positive. For a parameter use constraints.positive."
            )

    @property
    def support(self) -> Any:
        """Real outputs."""
        return constraints.real_vector

    @property
    def mean(self) -> Tensor:
        """The pre-activation."""
        return self.affine.tensor

    @property
    def variance(self) -> Tensor:
        """``sigma^2``."""
        return self.sigma.square().expand(self.shape())

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Outputs."""
        with torch.no_grad():
            mean = self.mean
            shape = torch.Size(sample_shape) + mean.shape
            noise = torch.randn(shape, dtype=mean.dtype, device=mean.device)
            return self._drawn(mean + self.sigma * noise)

    def log_prob(self, value: Tensor) -> Tensor:
        """``sum_j log N(y_j; a_j, sigma_j^2)``."""
        if self._validate_args:
            allowed, remedy = "targets are numbers", "Drop rows with missing targets."
            self._check_kind(value, allowed)
            self._check_target(value, torch.isnan(value), allowed, remedy)
        pre = self._affine_at(value.shape[:-1])
        shape = torch.broadcast_shapes(value.shape, pre.shape)
        h = NormalLogLikelihood(value.expand(shape), self.sigma.expand(shape))
        log_p = self._sum_units(value, pre, h)
        v = self.variance_of_affine
        return log_p if v is None else log_p - 0.5 * (v / self.sigma.square()).expand(shape).sum(-1)
