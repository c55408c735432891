r"""The Kullback-Leibler divergence of two laws of ±1 variables, registered with torch.

    KL(q || q0) = sum_x q(x) [log q(x) - log q0(x)],     dKL/dmu = lam - lam0,
    dKL/dmu0 = -(q(+1) / p0(+1) - q(-1) / p0(-1)) / 2.

The value is computed from natural parameters and the derivatives are stated
(:mod:`bayes_sbn.distributions.sign_bernoulli`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import register_kl

from bayes_sbn.distributions.sign_bernoulli import SignBernoulli
from bayes_sbn.distributions.sign_coordinates import zero_with_slope
from bayes_sbn.distributions.sign_divergence import (
    CERTAIN,
    MODERATE,
    expected_log_prob,
    finite,
    largest,
    log_two_cosh,
    mean_ratio,
    summed_kl,
)
from bayes_sbn.distributions.support import sum_rightmost


class _WithSlope(torch.autograd.Function):
    """A value that was computed elsewhere, with a given derivative in the mean."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, mean: Tensor, slope: Tensor) -> Tensor:
        del mean
        ctx.save_for_backward(slope)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (slope,) = ctx.saved_tensors
        return gradients[0], gradients[0] * slope, None


def _needs_slope(law: SignBernoulli) -> bool:
    return law._slopes_in_mean() or law._natural.requires_grad


@register_kl(SignBernoulli, SignBernoulli)  # type: ignore[untyped-decorator]
def kl_sign_bernoulli(q: SignBernoulli, p: SignBernoulli) -> Tensor:
    """``sum_x q(x) [log q(x) - log p(x)]``; its derivative in the mean of q is lam - lam0."""
    if q.event_shape != p.event_shape:
        raise ValueError(
            f"KL of SignBernoulli: the event shapes {tuple(q.event_shape)} and "
            f"{tuple(p.event_shape)} differ; use .to_event on both."
        )
    # on the unexpanded parameters, which vectorised particles share
    lam, lam0 = q._lam(), p._lam()
    batch = torch.broadcast_shapes(q.batch_shape, p.batch_shape)
    size = largest(lam)
    is_whole = lam.shape == q.event_shape and lam0.numel() == 1 and not _needs_slope(p)
    if q._probs is not None and is_whole and size <= MODERATE:
        shift = float(lam0)
        if abs(shift) <= MODERATE:
            total = summed_kl(lam, q._probs, shift, size)
            if q._slopes_in_mean():
                gap = lam - shift if shift else lam
                total = _WithSlope.apply(total, q._node, gap)  # type: ignore[no-untyped-call]
            return total.expand(batch)
    if max(size, largest(lam0)) <= CERTAIN:
        gap = lam - lam0
        value = q._constant_mean() * gap - log_two_cosh(lam) + log_two_cosh(lam0)
    else:
        gap = finite(lam) - finite(lam0)
        inside, mean = lam.clamp(-CERTAIN, CERTAIN), q._constant_mean()
        value = expected_log_prob(mean, inside) - expected_log_prob(mean, lam0)
    if q._slopes_in_mean():
        value = _WithSlope.apply(value, q._node, gap)  # type: ignore[no-untyped-call]
    if p._slopes_in_mean():
        value = value + zero_with_slope(p._mean_node(), -mean_ratio(lam, lam0))
    if q.event_dim and value.shape[-q.event_dim :] != q.event_shape:
        value = value.expand(torch.broadcast_shapes(value.shape, q.event_shape))
    return sum_rightmost(value, q.event_dim).expand(batch)
