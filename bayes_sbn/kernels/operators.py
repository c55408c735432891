"""The ``bayes_sbn::`` operators of torch, and the one way in which they are registered.

An operator has a schema, an implementation for CPU tensors (the compiled library where there is
one, else the reference), the reference for every other device, and a fake that states the result's
shape, so that ``torch.compile`` passes through it without looking inside.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor

from bayes_sbn.kernels import loader

OPERATORS = torch.library.Library("bayes_sbn", "DEF")


def register(
    schema: str,
    *,
    native: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    fake: Callable[..., Tensor],
) -> None:
    """Registers an operator whose first argument is a tensor.

    Args:
        schema: ``"name(arguments) -> Tensor"``.
        native: takes the loaded library, then the operator's arguments, on the CPU.
        reference: takes the operator's arguments, on any device.
        fake: gives an empty result of the right shape, dtype and device.
    """
    name = schema.partition("(")[0]

    @wraps(reference)
    def on_cpu(*arguments: object) -> Tensor:
        library = loader.native_library()
        return reference(*arguments) if library is None else native(library, *arguments)

    @wraps(reference)
    def elsewhere(first: Tensor, *rest: object) -> Tensor:
        loader.check_device_is_not_forced(f"{name}()", str(first.device))
        return reference(first, *rest)

    OPERATORS.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    OPERATORS.impl(name, on_cpu, "CPU")
    OPERATORS.impl(name, elsewhere, "CompositeExplicitAutograd")
    torch.library.register_fake(f"bayes_sbn::{name}", fake, lib=OPERATORS)


def forbid_gradient(name: str, advice: str) -> None:
    """Makes an operator raise when one of its inputs requires a gradient.

    Args:
        name: the operator.
        advice: what to write instead.
    """
    message = f"{name}() has no gradient, but its input requires one. {advice}"

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError(message)

    torch.library.register_autograd(
        f"bayes_sbn::{name}", refuse, setup_context=refuse, lib=OPERATORS
    )
