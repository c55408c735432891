r"""The mean and the variance of a dense pre-activation whose operands are known by their moments.

For independent operands, ``a_j = s_j sum_i w_ji x_i + b_j`` has

    E[a_j]   = s_j sum_i E[w_ji] E[x_i] + b_j,
    Var[a_j] = s_j^2 sum_i ( E[w_ji^2] Var[x_i] + Var[w_ji] E[x_i]^2 ).

A ±1 variable has second moment 1, whether it is drawn (variance 0) or known by its mean m
(variance ``1 - m^2``).  As a sum of many terms a_j is taken for normal.  What is injected noise in
``sign(a_j - Z)`` absorbs that spread: ``Z - (a_j - E[a_j])`` is again symmetric noise, and with the
law of Z stretched to its variance

    P(x_j = +1) ~ F( E[a_j] / sqrt(1 + Var[a_j] / Var[Z]) ),

exactly so for Gaussian noise and normal a_j.  The result is an ordinary pre-activation, with means
for operands and its scale and bias divided by the root: drawn ±1 inputs can still be flipped, as
they do not change the variance.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from bayes_sbn.affines.dense import Affine
from bayes_sbn.affines.pre_activation import PreActivation


def dense_moments(pre: PreActivation, call: str) -> Affine:
    """The pre-activation, if moments can be propagated through it; else raise, naming the sites."""
    sites = pre.moment_sites
    if not isinstance(pre, Affine):
        raise TypeError(
            f"{call}: the {type(pre).__name__} holds the moments of {sites}, which are propagated "
            'through dense layers only. Give these sites infer={"estimator": "st"}.'
        )
    if pre.weight.flip is not None:
        raise ValueError(
            f"{call}: site {sites} passes its moments on, but the ±1 weights of site "
            f'"{pre.weight.site}" are differentiated by exact flips, which is not known for '
            'moments. Give the weights infer={"estimator": "ap2"} or {"estimator": "st"}.'
        )
    return pre


def variance(pre: Affine) -> Tensor:
    """``Var[a]``, broadcast against the units."""
    x, w = pre.inputs, pre.matrix
    spread = torch.zeros((), dtype=w.open.dtype, device=w.open.device)
    if x.is_mean:
        rest = 1 - x.open.square()
        if w.is_mean or w.is_sign:
            spread = spread + rest.sum(-1, keepdim=True)
        else:
            spread = spread + _product(pre, rest, w.open.square())
    if w.is_mean:
        rest = 1 - w.open.square()
        if x.is_sign:
            of_units = rest.sum(-1)
            spread = spread + (of_units.unsqueeze(-2) if pre.has_rows else of_units)
        else:
            spread = spread + _product(pre, x.open.square(), rest)
    return spread if pre.scale is None else pre.scale.square() * spread


def _product(pre: Affine, x: Tensor, w: Tensor) -> Tensor:
    return torch.matmul(x, w.mT) if pre.has_rows else torch.matmul(w, x)


def absorbed(pre: Affine, noise_variance: float) -> Affine:
    """The ordinary pre-activation whose noise has absorbed the variance of this one."""
    shrink = torch.rsqrt(1 + variance(pre) / noise_variance)
    scale = shrink if pre.scale is None else pre.scale * shrink
    return _ordinary(pre, None if pre.bias is None else pre.bias * shrink, scale)


def at_mean(pre: Affine) -> Affine:
    """The mean as an ordinary pre-activation."""
    return _ordinary(pre, pre.bias, pre.scale)


def raised(pre: Affine, lift: Tensor) -> Affine:
    """The mean plus a lift, of the shape of ``a``, as an ordinary pre-activation."""
    return _ordinary(pre, lift if pre.bias is None else pre.bias + lift, pre.scale)


def _ordinary(pre: Affine, bias: Tensor | None, scale: Tensor | None) -> Affine:
    x, w = (dataclasses.replace(o, is_mean=False) for o in (pre.inputs, pre.weight))
    return Affine(x, w, bias, scale)
