"""An optimiser of torch by name and options, checked before anything is built of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch


def checked_name(
    call: str, option: str, given: Any, without: Collection[str] = ()
) -> tuple[str, dict[str, Any]]:
    """Name and options; raise unless torch has such an optimiser.

    Args:
        call: for messages.
        option: of the call.
        given: its value.
        without: optimisers of torch that are not allowed there.
    """
    if not (isinstance(given, (tuple, list)) and len(given) == 2 and isinstance(given[1], Mapping)):
        usage = f'write "{option}": ("Adam", {{"lr": 0.01}})'
        raise TypeError(f'{call}({{"{option}": {given!r}}}): {usage}.')
    name, options = given
    known = sorted(
        key
        for key, value in vars(torch.optim).items()
        if isinstance(value, type)
        and issubclass(value, torch.optim.Optimizer)
        and value is not torch.optim.Optimizer
        and key not in without
    )
    if name not in known:
        raise ValueError(
            f'{call}({{"{option}": ({name!r}, ...)}}): it is one of {", ".join(known)}.'
        )
    return name, dict(options)
