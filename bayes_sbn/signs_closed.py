"""Tensors that no gradient goes through, which in the backward pass say what to do instead.

What is seen of a draw that is to be flipped, or of moments in place of a draw, is such a tensor: an
operation that does not know the rule (a reshape, a product) would silently turn flips into
derivatives, so a gradient that arrives through one raises, naming the site.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Closed(torch.autograd.Function):
    """Identity whose backward refuses: gradients go through the ``open`` tensor of the tag."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, refusal: str) -> Tensor:
        ctx.refusal = refusal
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None]:
        del gradients
        raise RuntimeError(ctx.refusal)


def _flips_refusal(site: str) -> str:
    return (
        f'the draw of site "{site}" is differentiated by exact flips, but between the '
        "draw and the next stochastic layer it went through an operation that does not know "
        "them (a product, a reshape or pooling by torch, ...). Pass the draw to "
        "bayes_sbn.affine(), affine_conv2d() or identity(), as it is, rearranged by "
        "bayes_sbn.flatten(), reshape() or permute(), or pooled by bayes_sbn.max_pool2d() or "
        "average_pool2d(); give any other function of it to bayes_sbn.exact_flips() or "
        'FlipLikelihood(); or give this site infer={"estimator": "st"}, whose derivatives go '
        "through any operation."
    )


def _moments_refusal(site: str, estimator: str) -> str:
    return (
        f'estimator "{estimator}" passes the moments of site "{site}" on, but between the site '
        "and the next stochastic layer they went through an operation that would take the mean "
        "for a state (a product, a pooling, ...). Pass the value unchanged to bayes_sbn.affine(), "
        "rearrange it with bayes_sbn.flatten(), reshape() or permute(), or give this site "
        'infer={"estimator": "st"}, whose draws go through any operation.'
    )


def closed_sign(value: Tensor, site: str) -> Tensor:
    """The same values, through which no gradient goes: it raises, naming the site."""
    visible: Tensor = _Closed.apply(value, _flips_refusal(site))  # type: ignore[no-untyped-call]
    return visible


def closed_moments(value: Tensor, site: str, estimator: str) -> Tensor:
    """The same means, through which no gradient goes: it raises, naming the site."""
    refusal = _moments_refusal(site, estimator)
    visible: Tensor = _Closed.apply(value, refusal)  # type: ignore[no-untyped-call]
    return visible
