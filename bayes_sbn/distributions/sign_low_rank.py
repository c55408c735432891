r"""±1 laws whose natural parameters share normal factors, and the bound of their divergence.

    q(w) = E_z prod_i q(w_i | z),      lam_i(z) = lam_i + sum_k L_ki z_k,      z ~ N(0, I).

Gradients enter ``lam(z)`` as those in the mean mu(z) (:mod:`bayes_sbn.dual`).  With
``e_i = (1 - mu_i(z)^2) dloss/dmu_i(z)``, the derivative in ``lam_i(z)``, the leaves get

    lam_i:  e_i / v_i,   v_i = E_z[1 - mu_i(z)^2],          L_ki:  e_i z_k.

v_i is the Fisher information of (z, w) in ``lam_i``, so that the first is the natural gradient;
with L = 0 it is the mean-field one.

The divergence is bounded by several draws of the factors (Yin & Zhou 2018; Molchanov et al. 2019),

    B_K = E ln [1/(K+1) sum_{k=0}^K q(w | z_k)] - E ln p(w),     w ~ q(. | z_0),
        = E_z KL(q(. | z) || p) + E ln [1/(K+1) sum_k q(w | z_k) / q(w | z_0)],

which falls with K from the mean divergence of the conditionals to ``KL(q || p)``.  The first term
needs no draw of w.  The second, ``E h(w)``, is differentiated in mu_i(z_0), given all other
weights, by exact flips, and so are its factors' own derivatives averaged over both states of w_i:

    dE[h]/dmu_i(z_0) = [h(+1) - h(-1)] / 2 + [r_0(+1) - r_0(-1)] / 2,
    dE[h]/dmu_i(z_k) = [r_k(+1) q_0(+1) / q_k(+1) - r_k(-1) q_0(-1) / q_k(-1)] / 2,

with ``r_k(s)`` the share of ``q(w | z_k)`` in the sum, at ``w_i = s``.

References:
    Yin, Zhou. Semi-implicit variational inference. ICML 2018.
    Molchanov, Kharitonov, Sobolev, Vetrov. Doubly semi-implicit variational inference. AISTATS
    2019.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

LARGEST_EXPONENT = 80.0
"""Ratios of probabilities beyond exp of this meet a variance that makes them vanish."""

logsigmoid = torch.nn.functional.logsigmoid


@cache
def _gauss_hermite(points: int) -> tuple[tuple[float, float], ...]:
    """Places and weights of the expectation under N(0, 1): exact for polynomials."""
    places, weights = np.polynomial.hermite_e.hermegauss(points)
    weights = weights / weights.sum()
    return tuple((float(a), float(b)) for a, b in zip(places, weights, strict=True))


@cache
def _trapezoids() -> tuple[tuple[float, float], ...]:
    """Places and weights of the expectation under N(0, 1): for steps as sharp as a sigmoid.

    With spacing h the error for ``sigmoid(2 (lam + size z))`` is about ``exp(-pi^2 / (size h))``.
    """
    places = np.linspace(-8, 8, 129)
    weights = np.exp(-np.square(places) / 2)
    weights = weights / weights.sum()
    return tuple((float(a), float(b)) for a, b in zip(places, weights, strict=True))


def spread(loadings: Tensor) -> Tensor:
    """The standard deviation of ``lam(z)``, from loadings (rank, *shape)."""
    size: Tensor = loadings.square().sum(0).sqrt()
    return size


def mean_variance(natural: Tensor, loadings: Tensor, points: int = 5) -> Tensor:
    """``E_z[1 - mu(z)^2]`` by Gauss-Hermite quadrature, a constant: a scale of steps."""
    with torch.no_grad():
        size = spread(loadings)
        total = torch.zeros_like(natural)
        for place, weight in _gauss_hermite(points):
            total += weight * variance(natural + place * size)
        return total


def marginal_probs(natural: Tensor, loadings: Tensor) -> Tensor:
    """``P(w = +1) = E_z sigmoid(2 lam(z))`` by the trapezoidal rule."""
    size = spread(loadings)
    total = torch.zeros_like(natural)
    for place, weight in _trapezoids():
        total += weight * torch.sigmoid(2 * (natural + place * size))
    return total


def variance(natural: Tensor) -> Tensor:
    """``1 - tanh(lam)^2`` as a product of probabilities, which does not cancel."""
    rest: Tensor = 4 * torch.sigmoid(2 * natural) * torch.sigmoid(-2 * natural)
    return rest


class _AtFactors(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, natural: Tensor, loadings: Tensor, factors: Tensor) -> Tensor:
        given: Tensor = natural + torch.tensordot(factors, loadings, 1)
        ctx.save_for_backward(given, factors, natural, loadings)
        return given

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        given, factors, natural, loadings = ctx.saved_tensors
        each = gradients[0] * variance(given)
        least = torch.finfo(each.dtype).tiny
        fisher = mean_variance(natural, loadings).clamp_min(least)
        return each.sum(0) / fisher, torch.tensordot(factors, each, ([0], [0])), None


def at_factors(natural: Tensor, loadings: Tensor, factors: Tensor) -> Tensor:
    """``lam(z)``, whose gradient is that in the mean mu(z).

    Args:
        natural: ``lam``, of the shape of the site.
        loadings: ``L``, (rank, *shape).
        factors: ``z``, (number, rank).

    Returns:
        (number, *shape).
    """
    given: Tensor = _AtFactors.apply(natural, loadings, factors)  # type: ignore[no-untyped-call]
    return given


class _LogMeanRatio(torch.autograd.Function):
    """``ln 1/(K+1) sum_k q(w | z_k) / q(w | z_0)`` at a draw w, with the gradient of its mean."""

    @staticmethod
    def forward(ctx: Any, states: Sequence[Tensor], *naturals: Tensor) -> Tensor:
        ratios = torch.zeros_like(naturals[0].flatten(1)[:, 0])
        for natural, state in zip(naturals, states, strict=True):
            scores = logsigmoid(2 * natural * state)
            ratios += (scores - scores[0]).flatten(1).sum(1)
        ctx.states = states
        ctx.save_for_backward(ratios, *naturals)
        return torch.logsumexp(ratios, 0) - math.log(len(ratios))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        ratios, *naturals = ctx.saved_tensors
        log_shares = ratios.log_softmax(0)
        slopes = [
            gradients[0] * _slopes(natural, state, log_shares)
            for natural, state in zip(naturals, ctx.states, strict=True)
        ]
        return (None, *slopes)


def _slopes(natural: Tensor, state: Tensor, log_shares: Tensor) -> Tensor:
    """The derivatives in the means mu(z_k) of one site, (K + 1, *shape)."""
    log_shares = log_shares.reshape(-1, *(1,) * state.dim())
    # the shares where one bit is flipped, each of them alone
    flipped = log_shares - 2 * state * (natural - natural[0])
    log_sum = torch.logsumexp(flipped, 0)  # ln of the sum of ratios, flipped over not
    flipped = flipped - log_sum
    here, there = (logsigmoid(2 * s * natural) for s in (state, -state))
    at_state = torch.exp((log_shares + here[0] - here).clamp_max(LARGEST_EXPONENT))
    at_other = torch.exp((flipped + there[0] - there).clamp_max(LARGEST_EXPONENT))
    slopes = (at_state - at_other) * state / 2
    slopes[0] -= log_sum * state / 2  # h(w) - h(flipped)
    return slopes


def log_mean_ratio(naturals: Sequence[Tensor], states: Sequence[Tensor]) -> Tensor:
    """``h(w)``; its gradient estimates that of ``E[h]`` for states drawn from ``q(. | z_0)``.

    Args:
        naturals: ``lam(z_k)`` of every site, each (K + 1, *shape).
        states: the draw, each of the shape of a site.
    """
    ratio: Tensor = _LogMeanRatio.apply(tuple(states), *naturals)  # type: ignore[no-untyped-call]
    return ratio
