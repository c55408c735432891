"""The torch operators of one layer alone, which take tensors and numbers that were checked.

Scale and bias are looked at here, inside the operators, where ``torch.compile`` need not know them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.bits import num_words
from bayes_sbn.kernels import loader
from bayes_sbn.kernels.native import fused_linear as native
from bayes_sbn.kernels.operators import forbid_gradient, register
from bayes_sbn.kernels.reference import fused_linear as reference


def check_finite(name: str, scale: Tensor, bias: Tensor) -> None:
    """Raises unless scale and bias are finite, when no pre-activation is NaN."""
    for what, value in (("scale", scale), ("bias", bias)):
        wrong = (~torch.isfinite(value)).nonzero()
        if len(wrong):
            unit = int(wrong[0])
            raise ValueError(
                f"{name}() needs a finite {what}: that of unit {unit} is {float(value[unit])}. "
                "Write torch.nan_to_num() of it, or drop such units."
            )


def _fake_stochastic_linear(
    rows: Tensor,
    weights: Tensor,  # noqa: ARG001 - the operator's schema
    cold: Tensor | None,  # noqa: ARG001
    scale: Tensor,
    *_: object,
) -> Tensor:
    return rows.new_empty((*rows.shape[:-1], num_words(scale.shape[0])), dtype=torch.int32)


def _fake_sign_linear(rows: Tensor, weights: Tensor, *_: object) -> Tensor:
    return rows.new_empty((*rows.shape[:-1], num_words(weights.shape[0])), dtype=torch.int32)


def _fake_linear_logits(rows: Tensor, weights: Tensor, *_: object) -> Tensor:
    return rows.new_empty((*rows.shape[:-1], weights.shape[0]), dtype=torch.float64)


def _fake_integer_linear(rows: Tensor, weights: Tensor) -> Tensor:
    return rows.new_empty((*rows.shape[:-1], weights.shape[0]), dtype=torch.int64)


def _register(arguments: str, fake: Callable[..., Tensor], place: int | None = None) -> None:
    """Registers an operator, whose arguments ``place`` and ``place + 1`` are scale and bias.

    What the compiled library gives back is the reference's: numbers that are not finite, to be
    refused in words, and sums that 32 bits may not hold, unless the library is forced.
    """
    name = arguments.partition("(")[0]
    defined: Callable[..., Tensor] = getattr(reference, name)
    compiled: Callable[..., Tensor | None] = getattr(native, name)

    def check(given: tuple[Any, ...]) -> None:
        if place is not None:
            check_finite(name, given[place], given[place + 1])

    @wraps(defined)
    def by_reference(*given: Any) -> Tensor:
        check(given)
        return defined(*given)

    @wraps(defined)
    def by_library(library: loader.NativeLibrary, *given: Any) -> Tensor:
        result = compiled(library, *given)
        if result is not None:
            return result
        check(given)
        if loader.is_native_forced():
            raise RuntimeError(
                f"{name}(): the compiled library is forced, and it is for sums of inputs that fit "
                "in 32 bits. Leave BAYES_SBN_BACKEND out: the reference has sums of 64 bits."
            )
        return defined(*given)

    register(f"{arguments} -> Tensor", native=by_library, reference=by_reference, fake=fake)
    if place is not None:
        forbid_gradient(name, "Write scale.detach() and bias.detach().")


_register(
    "stochastic_linear(Tensor rows, Tensor weights, Tensor? cold, Tensor scale, Tensor bias, "
    "SymInt inputs, str noise, float noise_scale, bool is_shared, SymInt seed, SymInt stream, "
    "SymInt draw, SymInt site, SymInt first_row)",
    _fake_stochastic_linear,
    3,
)
_register(
    "sign_linear(Tensor rows, Tensor weights, Tensor scale, Tensor bias, SymInt inputs)",
    _fake_sign_linear,
    2,
)
_register(
    "linear_logits(Tensor rows, Tensor weights, Tensor scale, Tensor bias, SymInt inputs)",
    _fake_linear_logits,
    2,
)
_register("integer_linear(Tensor rows, Tensor weights)", _fake_integer_linear)

stochastic_linear = torch.ops.bayes_sbn.stochastic_linear.default
sign_linear = torch.ops.bayes_sbn.sign_linear.default
linear_logits = torch.ops.bayes_sbn.linear_logits.default
integer_linear = torch.ops.bayes_sbn.integer_linear.default
