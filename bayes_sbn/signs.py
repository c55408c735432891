r"""How a draw remembers what it is: the tag by which children choose their Jacobian.

A draw of a ±1 site is an ordinary tensor that carries a :class:`SignTag`.  The tag says that the
values are ±1, and by which rule a child differentiates its own conditional in them:

* *derivative* (straight-through): the tensor is in the autograd graph and any torch operation
  may follow;
* *flip* (path sample-analytic): a child must answer with exact differences,
  ``[h(x_i = +1) - h(x_i = -1)] / 2`` in place of ``dh/dx_i``.  Only functions that know the rule
  can do that; they differentiate ``tag.open``.  The visible tensor is closed
  (:mod:`bayes_sbn.signs_closed`).

A *relaxed* draw is a real number between -1 and 1 in place of a state, in the autograd graph.  Its
:class:`RelaxedTag` lets what needs ±1 states refuse it by name.

The *moments* of a ±1 variable are its mean, as its second moment is 1.  A value that is the mean of
a site in place of a draw carries a :class:`MomentsTag`; only functions that know moments take it,
and the visible tensor is closed to all others.

Whatever its rule, a draw of ±1 weights remembers the mean of its law (:func:`expectation`), for
what depends on the law and not on the draw: statistics that must not move with the bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.signs_closed import closed_moments, closed_sign


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


@dataclass(frozen=True)
class RelaxedTag:
    """What the relaxed draw of a ±1 site tells of itself.

    Args:
        site: the name of the site that was drawn.
        estimator: the name of the estimator that drew it.
    """

    site: str
    estimator: str


@dataclass(frozen=True)
class MomentsTag:
    """What the mean of a ±1 site tells its children, in place of a draw.

    Args:
        site: the name of the site.
        estimator: the name of the estimator that passes moments on.
        open: the tensor to differentiate in place of a closed one; None if that is the value.
    """

    site: str
    estimator: str
    open: Tensor | None = None


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
    """The tensor that a function which knows the tag differentiates: ``tag.open``, or the value."""
    tag = sign_tag(value) or moments_tag(value)
    return value if tag is None or tag.open is None else tag.open


def tag_relaxed(value: Tensor, tag: RelaxedTag) -> Tensor:
    """The same values, tagged as the relaxed draw of a site."""
    visible = value.view_as(value)
    visible._sbn_relaxed = tag  # type: ignore[attr-defined]
    return visible


def relaxed_tag(value: Tensor) -> RelaxedTag | None:
    """The tag of a relaxed draw, or None for any other tensor."""
    tag = getattr(value, "_sbn_relaxed", None)
    return tag if isinstance(tag, RelaxedTag) else None


def tag_moments(value: Tensor, site: str, estimator: str) -> Tensor:
    """The same means, tagged as the moments of a site; closed to what does not know moments."""
    if value.requires_grad:
        visible = closed_moments(value, site, estimator)
        tag = MomentsTag(site, estimator, open=value)
    else:
        visible = value.view_as(value)
        tag = MomentsTag(site, estimator)
    visible._sbn_moments = tag  # type: ignore[attr-defined]
    return visible


def moments_tag(value: Tensor) -> MomentsTag | None:
    """The tag of the moments of a site, or None for any other tensor."""
    tag = getattr(value, "_sbn_moments", None)
    return tag if isinstance(tag, MomentsTag) else None


def tag_expectation(value: Tensor, mean: Callable[[], Tensor]) -> Tensor:
    """The same tensor, which remembers the mean of the law that it was drawn from."""
    value._sbn_expectation = mean  # type: ignore[attr-defined]
    return value


def expectation(value: Tensor) -> Tensor | None:
    """The mean of the law of ±1 weights by one draw of it, or None if the draw does not know."""
    mean = getattr(value, "_sbn_expectation", None)
    return None if mean is None else mean()


def no_state(value: Tensor) -> str | None:
    """In words what a value is in place of a ±1 state, with its site, or None if it is neither."""
    relaxed = relaxed_tag(value)
    tag = relaxed or moments_tag(value)
    if tag is None:
        return None
    kind = "mean" if relaxed is None else "relaxed draw"
    return f'the {kind} of site "{tag.site}" by estimator "{tag.estimator}"'
