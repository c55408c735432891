r"""How a ±1 draw remembers what it is: the tag by which children choose their Jacobian.

A draw of a ±1 site is an ordinary tensor that carries a :class:`SignTag`.  The tag says that the
values are ±1, and by which rule a child differentiates its own conditional in them:

* *derivative* (straight-through): the tensor is in the autograd graph and any torch operation
  may follow;
* *flip* (path sample-analytic): a child must answer with exact differences,
  ``[h(x_i = +1) - h(x_i = -1)] / 2`` in place of ``dh/dx_i``.  Only functions that know the rule
  can do that; they differentiate ``tag.open``.  The visible tensor is closed: an operation that
  does not know the rule (a reshape, a product) would silently turn flips into derivatives, so a
  gradient that arrives through one raises, naming the site.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Redraw:
    """With what probability each bit of a draw would be drawn otherwise.

    Args:
        states: the draw, without gradient.
        probs: gives ``P(+1)`` of every bit; only heads that ask for it compute it.
    """

    states: Tensor
    probs: Callable[[], Tensor]

    def other(self) -> Tensor:
        """The probability of the state that was not drawn, a constant."""
        with torch.no_grad():
            return 0.5 + self.states * (0.5 - self.probs())

    def is_of(self, x: Tensor) -> bool:
        """Whether x are the very states, or a broadcast of them."""
        pairs = zip(reversed(self.states.shape), reversed(x.shape), strict=False)
        fits = self.states.dim() <= x.dim() and all(size in (1, to) for size, to in pairs)
        return fits and bool((self.states == x).all())

    def rearranged(self, how: Callable[[Tensor], Tensor]) -> Redraw:
        """The same for the draw rearranged."""
        return Redraw(how(self.states), lambda: how(self.probs()))


@dataclass(frozen=True)
class FlipRule:
    """Options of the flip rule that the children of a site follow.

    Args:
        real_inputs: how ±1 weights flip on real inputs, where the one-matmul identity does not
            hold: ``"series"`` (the first two Taylor terms of F, smooth noises only; others are
            always exact) or ``"exact"`` (each flip evaluated).
        rao_blackwell: whether heads average their value over redraws of one bit.
        redraw: of the draw that carries the rule; None in the rule of an estimator.
    """

    real_inputs: str = "series"
    rao_blackwell: bool = False
    redraw: Redraw | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.real_inputs not in ("series", "exact"):
            raise ValueError(
                f"real_inputs={self.real_inputs!r} is not known; it is 'series' (two Taylor "
                "terms, one matrix product each) or 'exact' (every flip evaluated)."
            )

    def for_pooled(self) -> FlipRule:
        """The rule of what is no longer the bits of the draw, whose probabilities it has not."""
        return self if self.redraw is None else replace(self, redraw=None)

    def probability_of_other(self, x: Tensor, site: str) -> Tensor:
        """The probability of the state that was not drawn, for every one of the states x."""
        if self.redraw is None or not self.redraw.is_of(x):
            raise ValueError(
                f'rao_blackwell=True: a head received the draw of site "{site}" after it was '
                "pooled or otherwise changed; it averages over redraws of the bits of a site, "
                "unchanged or rearranged by bayes_sbn.flatten(), reshape() or permute(). Give "
                'that site infer={"estimator": "psa"}.'
            )
        return self.redraw.other()


@dataclass(frozen=True)
class SignTag:
    """What a ±1 draw tells its children.

    Args:
        site: the name of the site that was drawn.
        flip: the flip rule, or None for derivatives.
        open: the tensor to differentiate in place of a closed draw; None if that is the draw
            itself (a tag that held its own tensor would keep it from being freed).
        version: torch's count of changes in place when the tensor was tagged.
    """

    site: str
    flip: FlipRule | None
    open: Tensor | None = None
    version: int = 0


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mean: Tensor, hard: Tensor) -> Tensor:
        del ctx, mean
        return hard.view_as(hard)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        del ctx
        return gradients[0], None


def hard_with_path(hard: Tensor, path: Tensor) -> Tensor:
    """The values of ``hard`` with the backward of ``path``, a tensor of the same shape."""
    if not path.requires_grad:
        return hard
    value: Tensor = _StraightThrough.apply(path, hard)  # type: ignore[no-untyped-call]
    return value


class _Closed(torch.autograd.Function):
    """Identity whose backward refuses: gradients of a flip site go through ``tag.open``."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, site: str) -> Tensor:
        ctx.site = site
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None]:
        del gradients
        raise RuntimeError(
            f'the draw of site "{ctx.site}" is differentiated by exact flips, but between the '
            "draw and the next stochastic layer it went through an operation that does not know "
            "them (a product, a reshape or pooling by torch, ...). Pass the draw unchanged to "
            "bayes_sbn.affine() or affine_conv2d(), rearrange it with bayes_sbn.flatten(), "
            "reshape() or permute(), pool it with bayes_sbn.max_pool2d() or average_pool2d(), or "
            'give this site infer={"estimator": "st"}, whose derivatives go through any operation.'
        )


def closed_sign(value: Tensor, site: str) -> Tensor:
    """The same values, through which no gradient goes: it raises, naming the site."""
    visible: Tensor = _Closed.apply(value, site)  # type: ignore[no-untyped-call]
    return visible


def tag_sign(value: Tensor, site: str, flip: FlipRule | None) -> Tensor:
    """The same ±1 values, tagged for their children; closed if they are to be flipped."""
    if flip is not None and value.requires_grad:
        visible = closed_sign(value, site)
        tag = SignTag(site, flip, open=value, version=_version(visible))
    else:
        visible = value.view_as(value)  # a fresh tensor: that of the caller must not be tagged
        tag = SignTag(site, flip, version=_version(visible))
    visible._sbn_sign = tag  # type: ignore[attr-defined]
    return visible


def _version(value: Tensor) -> int:
    """How often a tensor was changed in place, as far as torch counts."""
    return 0 if value.is_inference() else value._version


def sign_tag(value: Tensor) -> SignTag | None:
    """The tag of a ±1 draw, or None for any other tensor.

    Raises:
        RuntimeError: the draw was changed in place since, so that it may not be ±1 any more.
    """
    tag = getattr(value, "_sbn_sign", None)
    if not isinstance(tag, SignTag):
        return None
    if _version(value) > tag.version:
        raise RuntimeError(
            f'the ±1 values of "{tag.site}" were changed in place after they were drawn, so that '
            "flips of them would be wrong. Write h = 0.5 * h in place of h.mul_(0.5), and scale "
            "inside the layer: bayes_sbn.affine(h, weight, scale=0.5)."
        )
    return tag


def open_sign(value: Tensor) -> Tensor:
    """The tensor that a function which knows flips differentiates: ``tag.open``, or the value."""
    tag = sign_tag(value)
    return value if tag is None or tag.open is None else tag.open
