"""Names of layers, dims and coordinates, made from the names that modules and classes have.

The inputs are the dim ``feature``, the units of a hidden layer ``{layer}.unit``, and those of the
last one ``class`` (``target`` of a real target), so that the weights of a layer, (out, in), share
dims with those above and below.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from bayes_sbn.posterior import Posterior

RESERVED = ("chain", "draw", "row", "test_row", "feature", "class", "target", "component")
"""Dims that are no layer's."""


@dataclass(frozen=True)
class Names:
    """What variables and axes are called.

    Args:
        layers: of each layer, different from each other.
        dims: of each layer those of its weights, (out, in).
        coords: the values of a dim, of those that have other ones than 0, 1, ....
    """

    layers: tuple[str, ...]
    dims: tuple[tuple[str, str], ...]
    coords: dict[str, npt.NDArray[Any]]


def checked_names(
    call: str,
    posterior: Posterior,
    class_names: Sequence[str] | None,
    feature_names: Sequence[str] | None,
) -> Names:
    """The names of a posterior.

    Raises:
        ValueError: there are too many or too few names, or one stands twice.
    """
    layers = posterior.components[0].layers
    plain = [layer.name.replace("/", ".") for layer in layers]
    count = Counter(plain)
    unique = [
        f"{name}.{layer.site}" if count[name] > 1 or name in RESERVED or not name else name
        for name, layer in zip(plain, layers, strict=True)
    ]
    last = "target" if posterior.likelihood == "normal" else "class"
    units = [f"{name}.unit" for name in unique[:-1]]
    dims = tuple(zip([*units, last], ["feature", *units], strict=True))
    coords = {}
    if class_names is not None:
        if posterior.likelihood == "normal":
            raise ValueError(
                f"{call}: class_names are given, and the target is real. Leave them out."
            )
        coords["class"] = _checked(call, "class_names", class_names, posterior.num_classes)
    if feature_names is not None:
        coords["feature"] = _checked(call, "feature_names", feature_names, posterior.num_inputs)
    return Names(tuple(unique), dims, coords)


def _checked(call: str, what: str, names: Sequence[str], number: int) -> npt.NDArray[Any]:
    given = [str(name) for name in names]
    if isinstance(names, str) or len(given) != number:
        raise ValueError(
            f"{call} needs {number} {what}, one each: received {names!r}. Write "
            f'{what}=["...", ...] with {number} names, or leave them out.'
        )
    twice = [name for name, times in Counter(given).items() if times > 1]
    if twice:
        raise ValueError(
            f"{call}: of the {what} {twice[0]!r} stands twice. Give each a name of its own."
        )
    return np.array(given)
