r"""What every lazy pre-activation is: operands, their rules, and a value that is computed once.

A pre-activation is an affine function of an input and, separately, of a weight,
``a = s * W(x) + b``.  What ``W(x)`` is (a dense product, a convolution) and how ``a`` changes under
single flips is what the kinds differ in: :mod:`bayes_sbn.affines.dense`,
:mod:`bayes_sbn.affines.convolution`.  Flips enter the autograd graph as a term whose value is zero
and whose gradient is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bayes_sbn.affines.function import MeanSign, UnitFunction
from bayes_sbn.signs import FlipRule, moments_tag, open_sign, sign_tag

PreActivationT = TypeVar("PreActivationT", bound="PreActivation")


@dataclass(frozen=True)
class Operand:
    """An input or a weight of an affine map, with the rule by which it is differentiated.

    Args:
        open: the tensor, in the autograd graph.
        is_sign: whether it is known to be a ±1 draw.
        flip: the flip rule, or None for ordinary derivatives.
        site: the name of its site, if it is a draw.
        is_mean: whether it is the mean of a ±1 site in place of a draw.
    """

    open: Tensor
    is_sign: bool = False
    flip: FlipRule | None = None
    site: str = ""
    is_mean: bool = False

    @classmethod
    def of(cls, tensor: Tensor) -> Operand:
        """The operand that a tensor is, by its tag."""
        moments = moments_tag(tensor)
        if moments is not None:
            return cls(open_sign(tensor), site=moments.site, is_mean=True)
        tag = sign_tag(tensor)
        if tag is None:
            return cls(tensor)
        return cls(open_sign(tensor), is_sign=True, flip=tag.flip, site=tag.site)

    @property
    def by_flips(self) -> bool:
        """Whether gradients of this operand are exact flips."""
        return self.flip is not None and self.open.requires_grad

    @property
    def value(self) -> Tensor:
        """The tensor as ordinary operations may use it: detached if it is to be flipped."""
        return self.open.detach() if self.by_flips else self.open

    def with_open(self, tensor: Tensor) -> Operand:
        """The same operand with another view of its tensor."""
        return Operand(tensor, self.is_sign, self.flip, self.site, self.is_mean)


class PreActivation:
    """A lazy pre-activation ``a = s * W(x) + b``.

    ``tensor`` is the pre-activation; ``through(h)`` is a function of it with the Jacobian that
    each operand's rule asks for.
    """

    event_dim: int
    """How many of the last dims are units."""

    def __init__(
        self,
        inputs: Operand,
        weight: Operand,
        bias: Tensor | None,
        scale: Tensor | None,
        source: PreActivation | None = None,
    ) -> None:
        self.inputs = inputs
        self.weight = weight
        self.bias = bias
        self.scale = scale
        self.source = self if source is None else source
        """The pre-activation that this one was expanded from: the same conditional."""
        self._tensors: dict[bool, Tensor] = {}  # by whether autograd recorded the evaluation

    @property
    def tensor(self) -> Tensor:
        """The pre-activation ``a``; no gradient flows here to operands that are to be flipped.

        Evaluated once; once more if the first time was under ``torch.no_grad`` and this is not.
        """
        is_recorded = torch.is_grad_enabled()
        for key in (True, is_recorded):
            if key in self._tensors:
                return self._tensors[key]
        self._tensors[is_recorded] = self._evaluate()
        return self._tensors[is_recorded]

    def _evaluate(self) -> Tensor:
        raise NotImplementedError

    def _flip_gradients(
        self, h: UnitFunction, g: Tensor, of_inputs: bool, of_weight: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Half the exact differences of h times g, of the shapes of the operands' tensors."""
        raise NotImplementedError

    @property
    def unit_scale(self) -> Tensor:
        """The scale, a constant to the flips, broadcast against the units of ``a``."""
        raise NotImplementedError

    @property
    def needs_flips(self) -> bool:
        """Whether any operand is differentiated by flips."""
        return self.inputs.by_flips or self.weight.by_flips

    @property
    def holds_moments(self) -> bool:
        """Whether an operand is the mean of a ±1 site, and ``tensor`` the mean of ``a``."""
        return self.inputs.is_mean or self.weight.is_mean

    @property
    def shape(self) -> torch.Size:
        """The shape of the pre-activation, batch dims and then units."""
        return self.tensor.shape

    @property
    def batch_shape(self) -> torch.Size:
        """The shape without the units."""
        return self.shape[: len(self.shape) - self.event_dim]

    def through(self, h: UnitFunction) -> Tensor:
        """``h(a)``, differentiated in each operand by that operand's rule."""
        self.refuse_moments(type(h).__name__)
        return self.add_flips(h.value(self.tensor), h)

    def add_flips(self, value: Tensor, h: UnitFunction) -> Tensor:
        """A value of the units, with the gradient of the flips of ``h(a)`` added to its own."""
        if not self.needs_flips:
            return value
        flips: Tensor = _Flips.apply(  # type: ignore[no-untyped-call]
            self,
            h,
            self.inputs.open if self.inputs.by_flips else None,
            self.weight.open if self.weight.by_flips else None,
        )
        return value + flips

    def refuse_moments(self, function: str) -> None:
        """Raise if operands are moments: a function of the mean is not the mean of the function."""
        if not self.holds_moments:
            return
        sites = " and ".join(f'"{o.site}"' for o in (self.inputs, self.weight) if o.is_mean)
        raise TypeError(
            f"{function} of a pre-activation that holds the moments of {sites}: only NoisySign, "
            "AffineCategorical, AffineBernoulli and AffineNormal take moments. Give these sites "
            'infer={"estimator": "st"}.'
        )

    def with_path(self, states: Tensor, h: MeanSign) -> Tensor:
        """States of the units with the gradient of their means ``h(a)``, which are not computed."""
        a = self.tensor
        if not self.needs_flips:
            if not a.requires_grad:
                return states
            path: Tensor = _Slope.apply(a, states, h)  # type: ignore[no-untyped-call]
            return path
        hard: Tensor = _SlopeAndFlips.apply(  # type: ignore[no-untyped-call]
            self,
            h,
            states,
            a if a.requires_grad else None,
            self.inputs.open if self.inputs.by_flips else None,
            self.weight.open if self.weight.by_flips else None,
        )
        return hard

    def expand(self: PreActivationT, batch_shape: torch.Size) -> PreActivationT:
        """The same pre-activation with its batch shape broadcast."""
        batch_shape = torch.Size(batch_shape)
        if batch_shape == self.batch_shape:
            return self
        if not broadcasts_to(self.batch_shape, batch_shape):
            raise ValueError(
                f"{type(self).__name__}.expand({tuple(batch_shape)}): the pre-activation has "
                f"batch shape {tuple(self.batch_shape)}, which does not broadcast to it."
            )
        return self._expanded(batch_shape)

    def _expanded(self: PreActivationT, batch_shape: torch.Size) -> PreActivationT:
        raise NotImplementedError


class _Slope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, states: Tensor, h: MeanSign) -> Tensor:
        ctx.save_for_backward(a)
        ctx.h = h
        return states.view_as(states)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (a,) = ctx.saved_tensors
        return gradients[0] * ctx.h.slope(a), None, None


class _SlopeAndFlips(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        pre: PreActivation,
        h: MeanSign,
        states: Tensor,
        a: Tensor | None,
        x: Tensor | None,
        w: Tensor | None,
    ) -> Tensor:
        ctx.pre, ctx.h = pre, h
        del a, x, w  # there so that autograd knows where the gradients go
        return states.view_as(states)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        _, _, _, of_a, of_x, of_w = ctx.needs_input_grad
        a = ctx.pre.tensor.detach()
        h = ctx.h.at(a)
        flips = ctx.pre._flip_gradients(h, g, of_x, of_w) if of_x or of_w else (None, None)
        return None, None, None, g * h.slope(a) if of_a else None, *flips


class _Flips(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, pre: PreActivation, h: UnitFunction, x: Tensor | None, w: Tensor | None
    ) -> Tensor:
        ctx.pre, ctx.h = pre, h
        del x, w  # there so that autograd knows where the gradients go
        a = pre.tensor
        return torch.zeros((), dtype=a.dtype, device=a.device).expand(a.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[None, None, Tensor | None, Tensor | None]:
        _, _, of_inputs, of_weight = ctx.needs_input_grad
        return None, None, *ctx.pre._flip_gradients(ctx.h, g, of_inputs, of_weight)


def broadcasts_to(shape: torch.Size, wanted: torch.Size) -> bool:
    """Whether a tensor of a shape can be expanded to the wanted one."""
    pairs = zip(reversed(shape), reversed(wanted), strict=False)
    return len(shape) <= len(wanted) and all(size in (1, other) for size, other in pairs)
