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
    from bayes_sbn.affines.pre_activation import PreActivation, Term

Gradients = tuple[Tensor | None, Tensor | None]
"""In the inputs and in the weight of a term."""

Flips = Callable[["Term", Tensor, bool, bool], Gradients]
"""Gradients in the inputs and the weight of a term, ``(term, g, of_inputs, of_weight)``."""


def zero_with_flips(pre: PreActivation, flips: Flips, shape: torch.Size) -> Tensor:
    """A zero of that shape whose gradient in each flipped operand is its flips.

    Args:
        pre: the pre-activation.
        flips: the flips of one term, which stands where the total is the pre-activation.
        shape: of the function whose flips they are.
    """
    operands = (operand for term in pre.terms for operand in (term.inputs, term.weight))
    ports = [port for operand in operands for port in operand.ports]
    zero: Tensor = _Flips.apply(pre, flips, shape, *ports)  # type: ignore[no-untyped-call]
    return zero


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
        wanted = iter(ctx.needs_input_grad[3:])
        gradients: list[Tensor | None] = []
        for term in ctx.pre.terms:
            located = term.at(ctx.pre.tensor)
            if term.inputs.pooled is not None and term.inputs.by_flips:
                for side in (1.0, -1.0):
                    asked = next(wanted)
                    gradients += ctx.flips(located.of_bits(side), g, asked, False)[:1]
                of_inputs: list[bool] = []
            else:
                of_inputs = [next(wanted) for _ in term.inputs.ports]
            of_weight = [next(wanted) for _ in term.weight.ports]
            x_gradient, w_gradient = ctx.flips(located, g, any(of_inputs), any(of_weight))
            gradients += [x_gradient] * len(of_inputs) + [w_gradient] * len(of_weight)
        return None, None, None, *gradients
