r"""How flips enter the autograd graph: as a term whose value is zero and whose gradient is theirs.

Of each term of a sum the flips are asked where the total is the pre-activation
(:meth:`bayes_sbn.affines.pre_activation.Term.at`), and of averages of bits once for the bits that
are +1 and once for those that are -1 (:meth:`bayes_sbn.affines.pre_activation.Term.of_bits`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from bayes_sbn.affines.function import MeanSign, UnitFunction
    from bayes_sbn.affines.pre_activation import PreActivation, Term

Gradients = tuple[Tensor | None, Tensor | None]
"""In the inputs and in the weight of a term."""

Flips = Callable[["Term", Tensor, bool, bool], Gradients]
"""Gradients in the inputs and the weight of a term, ``(term, g, of_inputs, of_weight)``."""


def flips_of(h: UnitFunction) -> Flips:
    """The flips of a function of each unit."""

    def flips(term: Term, g: Tensor, of_inputs: bool, of_weight: bool) -> Gradients:
        return term.flip_gradients(h, g, of_inputs, of_weight)

    return flips


def states_with_path(pre: PreActivation, states: Tensor, h: MeanSign) -> Tensor:
    """States of the units with the gradient of their means ``h(a)``, which are not computed."""
    a = pre.tensor
    if not pre.needs_flips:
        if not a.requires_grad:
            return states
        path: Tensor = _Slope.apply(a, states, h)  # type: ignore[no-untyped-call]
        return path
    hard: Tensor = _SlopeAndFlips.apply(  # type: ignore[no-untyped-call]
        pre, h, states, a if a.requires_grad else None, *_ports(pre)
    )
    return hard


def zero_with_flips(pre: PreActivation, flips: Flips, shape: torch.Size) -> Tensor:
    """A zero of that shape whose gradient in each flipped operand is its flips.

    Args:
        pre: the pre-activation.
        flips: the flips of one term, which stands where the total is the pre-activation.
        shape: of the function whose flips they are.
    """
    zero: Tensor = _Flips.apply(pre, flips, shape, *_ports(pre))  # type: ignore[no-untyped-call]
    return zero


def _ports(pre: PreActivation) -> list[Tensor]:
    operands = (operand for term in pre.terms for operand in (term.inputs, term.weight))
    return [port for operand in operands for port in operand.ports]


def _port_gradients(
    pre: PreActivation, flips: Flips, g: Tensor, needed: tuple[bool, ...]
) -> list[Tensor | None]:
    """The gradient of each port that needs one."""
    wanted = iter(needed)
    gradients: list[Tensor | None] = []
    for term in pre.terms:
        located = term.at(pre.tensor)
        if term.inputs.pooled is not None and term.inputs.by_flips:
            for side in (1.0, -1.0):
                asked = next(wanted)
                gradients += flips(located.of_bits(side), g, asked, False)[:1]
            of_inputs: list[bool] = []
        else:
            of_inputs = [next(wanted) for _ in term.inputs.ports]
        of_weight = [next(wanted) for _ in term.weight.ports]
        x_gradient, w_gradient = flips(located, g, any(of_inputs), any(of_weight))
        gradients += [x_gradient] * len(of_inputs) + [w_gradient] * len(of_weight)
    return gradients


class _Flips(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, pre: PreActivation, flips: Flips, shape: torch.Size, *ports: Tensor
    ) -> Tensor:
        ctx.pre, ctx.flips = pre, flips
        del ports  # there so that autograd knows where the gradients go
        a = pre.tensor
        return torch.zeros((), dtype=a.dtype, device=a.device).expand(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[3:]
        return None, None, None, *_port_gradients(ctx.pre, ctx.flips, g, needed)


class _Slope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, states: Tensor, h: MeanSign) -> Tensor:
        ctx.save_for_backward(a)
        ctx.h = h
        return states.view_as(states)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (a,) = ctx.saved_tensors
        return ctx.h.weigh_slope(a, gradients[0]), None, None


class _SlopeAndFlips(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        pre: PreActivation,
        h: MeanSign,
        states: Tensor,
        a: Tensor | None,
        *ports: Tensor,
    ) -> Tensor:
        ctx.pre, ctx.h = pre, h
        del a, ports  # there so that autograd knows where the gradients go
        return states.view_as(states)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        of_a, *needed = ctx.needs_input_grad[3:]
        a = ctx.pre.tensor.detach()
        is_single = len(ctx.pre.terms) == 1 and ctx.pre.terms[0].inputs.pooled is None
        h = ctx.h.at(a, is_for_one_pair=is_single)
        ports = _port_gradients(ctx.pre, flips_of(h), g, tuple(needed))
        return None, None, None, h.weigh_slope(a, g) if of_a else None, *ports
