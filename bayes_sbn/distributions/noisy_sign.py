r"""Stochastic binary units: ``x_j = sign(a_j - Z_j)``, ``Z_j ~ F``, for a lazy pre-activation a.

    P(x_j = +1) = F(a_j),     log P(x) = sum_j log F(x_j a_j)   (the noise is symmetric).

The law holds the :class:`~bayes_sbn.affines.PreActivation` itself, so that the gradients of its
mean and of its log-probability reach inputs and weights by the rule of each: derivatives or exact
flips.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions import register_kl

from bayes_sbn.affines import MeanSign, PreActivation, SignLogProb
from bayes_sbn.distributions.support import SignDistribution, enumerate_signs, signs
from bayes_sbn.noise import Noise, get_noise


class NoisySign(SignDistribution):
    """±1 units driven by a lazy pre-activation, whose unit dims are event dims.

    Args:
        affine: the pre-activation, from :func:`bayes_sbn.affine` (one event dim),
            :func:`bayes_sbn.affine_conv1d` (two) or :func:`bayes_sbn.affine_conv2d` (three).
        noise: the law of the injected noise, by name or as an object.
        validate_args: check the values that are scored.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}  # operands are checked by affine()
    has_enumerate_support = True

    def __init__(
        self,
        affine: PreActivation,
        noise: str | Noise = "logistic",
        *,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(affine, PreActivation):
            raise TypeError(
                f"NoisySign(affine=...): received a {type(affine).__name__}; the law holds a "
                "lazy pre-activation. Write NoisySign(bayes_sbn.affine(x, weight, bias)); a "
                "normalisation of it is bayes_sbn.fold_normalisation(affine, norm)."
            )
        self.affine = affine
        self.noise = get_noise(noise)
        shape = affine.shape
        split = len(shape) - affine.event_dim
        super().__init__(shape[:split], shape[split:], validate_args=validate_args)

    @property
    def support(self) -> Any:
        """±1 in every unit."""
        return constraints.independent(signs, self.event_dim)

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> NoisySign:
        """The same law with its batch shape broadcast; keeps its structure and its rule."""
        del _instance
        new = type(self).__new__(type(self))
        new.affine = self.affine.expand(torch.Size(batch_shape))
        new.noise = self.noise
        new._copy_rule(self)
        super(NoisySign, new).__init__(
            torch.Size(batch_shape), self.event_shape, validate_args=False
        )
        new._validate_args = self._validate_args
        return new

    @property
    def parameter(self) -> Tensor:
        """The pre-activation."""
        return self.affine.tensor

    @property
    def probs(self) -> Tensor:
        """``F(a)``; no gradient reaches operands that are to be flipped."""
        return self.noise.cdf(self.affine.tensor)

    @property
    def mean(self) -> Tensor:
        """``2 F(a) - 1``."""
        return self.noise.mean_sign(self.affine.tensor)

    @property
    def variance(self) -> Tensor:
        """``1 - E[x]^2``."""
        return 1 - self.mean.square()

    def mean_path(self) -> Tensor:
        """``2 F(a) - 1``, differentiated in each operand by its rule."""
        return self.affine.through(MeanSign(self.noise))

    def with_path(self, hard: Tensor) -> Tensor:
        """See :meth:`SignDistribution.with_path`; the value of the mean is not needed."""
        return self.affine.with_path(hard, MeanSign(self.noise))

    def state_log_prob(self, x: Tensor) -> Tensor:
        """``log F(x a)`` of every unit, differentiated in each operand by its rule."""
        split = x.dim() - self.event_dim
        batch = torch.broadcast_shapes(x.shape[:split], self.affine.batch_shape)
        pre = self.affine.expand(batch) if self.affine.needs_flips else self.affine
        return pre.through(SignLogProb(self.noise, x.expand(*batch, *x.shape[split:])))

    def half_log_odds(self) -> Tensor:
        """``(log F(a) - log F(-a)) / 2``, where log 0 is that of the smallest normal number."""
        a = self.affine.tensor.detach()
        up, down = self.noise.log_cdf(a), self.noise.log_cdf(-a)
        if self.noise.is_bounded:
            low = math.log(torch.finfo(a.dtype).tiny)
            up, down = up.clamp_min(low), down.clamp_min(low)
        return 0.5 * (up - down)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All joint states of the units, (2^n, *batch, *units); n at most 16."""
        return enumerate_signs(self, self.affine.tensor, expand)


@register_kl(NoisySign, NoisySign)  # type: ignore[untyped-decorator]
def _kl_noisy_sign(q: NoisySign, p: NoisySign) -> Tensor:
    """Zero where both are the same conditional; otherwise left to Monte Carlo."""
    if q.affine.source is p.affine.source and q.noise == p.noise:
        a = q.affine.tensor
        return torch.zeros((), dtype=a.dtype, device=a.device).expand(q.batch_shape)
    raise NotImplementedError(
        "the KL of two different NoisySign conditionals is estimated from draws"
    )
