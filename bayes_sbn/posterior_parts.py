r"""A posterior as what a file holds: JSON and arrays by name, and back.

A single component is ``"layers": [...]`` with arrays ``"{layer}.{name}"``; several are
``"components": [{"weight": ..., "layers": [...]}, ...]`` with arrays
``"{component}.{layer}.{name}"``.  A component of a real target has its ``"sigma"`` beside its
layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bayes_sbn.container import (
    COMPONENTS_VERSION,
    FIRST_VERSION,
    NORMAL_VERSION,
    REAL_LAYERS_VERSION,
    RECALIBRATED_VERSION,
    Array,
    Json,
    typed,
)
from bayes_sbn.posterior_chain import Layer, kind_of
from bayes_sbn.posterior_components import Component
from bayes_sbn.posterior_low_rank_layer import LowRankPosteriorLayer


def least_version(components: Sequence[Component]) -> int:
    """The oldest version of the file format that can hold them."""
    if any(component.sigma is not None for component in components):
        return NORMAL_VERSION
    layers = [layer for component in components for layer in component.layers]
    if len(components) > 1 or any(isinstance(layer, LowRankPosteriorLayer) for layer in layers):
        return COMPONENTS_VERSION
    if any(layer.is_recalibrated for layer in layers):
        return RECALIBRATED_VERSION
    return REAL_LAYERS_VERSION if any(la.num_real_weights for la in layers) else FIRST_VERSION


def parts_of(components: Sequence[Component]) -> tuple[Json, dict[str, Array]]:
    """Components as JSON and arrays; :func:`components_from` is the inverse."""
    if len(components) == 1:
        entries, tensors = _layer_parts(components[0].layers, "")
        return {"layers": entries, **_sigma(components[0])}, tensors
    found: list[Json] = []
    tensors = {}
    for index, component in enumerate(components):
        entries, own = _layer_parts(component.layers, f"{index}.")
        found.append({"weight": component.weight, "layers": entries, **_sigma(component)})
        tensors.update(own)
    return {"components": found}, tensors


def _sigma(component: Component) -> Json:
    return {} if component.sigma is None else {"sigma": component.sigma}


def _layer_parts(layers: Sequence[Layer], prefix: str) -> tuple[list[Json], dict[str, Array]]:
    tensors: dict[str, Array] = {}
    for index, layer in enumerate(layers):
        tensors.update({f"{prefix}{index}.{n}": v for n, v in layer.to_tensors().items()})
    return [layer.to_entry() for layer in layers], tensors


def arguments_from(header: Mapping[str, object], tensors: Mapping[str, Array]) -> dict[str, Any]:
    """The arguments of the posterior with a file's header and tensors, neither of which is trusted.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: they do not describe one.
    """
    components = components_from(header, tensors)
    temperature = header["temperature"]
    return {
        "components": components,
        "input_scale": typed(header, "input_scale", float),
        "likelihood": typed(header, "likelihood", str),
        "temperature": None if temperature is None else typed(header, "temperature", float),
        "attrs": typed(header, "attrs", dict),
        "package_version": typed(header, "package_version", str),
    }


def components_from(
    header: Mapping[str, object], tensors: Mapping[str, Array]
) -> tuple[Component, ...]:
    """The components of a file's header and tensors, neither of which is trusted.

    Raises:
        KeyError: something is missing.
        TypeError: something has the wrong type.
        ValueError: the numbers are not those of components.
    """
    left = dict(tensors)
    if "components" in header:
        found = tuple(
            Component(
                typed(_dict(entry), "weight", float),
                _layers_from(_dict(entry)["layers"], left, f"{index}."),
                _sigma_from(_dict(entry)),
            )
            for index, entry in enumerate(_list(header["components"], "components"))
        )
        if len(found) < 2:
            raise ValueError("it has several components, of which there are fewer than two")
    else:
        found = (Component(1.0, _layers_from(header["layers"], left, ""), _sigma_from(header)),)
    if left:
        raise ValueError("its tensors are not those of its layers")
    return found


def _layers_from(entries: object, left: dict[str, Array], prefix: str) -> tuple[Layer, ...]:
    """Layers, whose tensors are taken from those that are left."""
    layers = []
    for index, entry in enumerate(_list(entries, "layers")):
        kind = kind_of(entry)
        names = {name: f"{prefix}{index}.{name}" for name in kind.TENSORS}
        if not set(names.values()) <= set(left):
            raise ValueError("its tensors are not those of its layers")
        own = {name: left.pop(full) for name, full in names.items()}
        layers.append(kind.from_parts(entry, own))
    return tuple(layers)


def _sigma_from(entry: Mapping[str, object]) -> float | None:
    return typed(entry, "sigma", float) if "sigma" in entry else None


def _list(value: object, what: str) -> list[Json]:
    if not isinstance(value, list):
        raise TypeError(f"its {what} are not a list")
    return value


def _dict(value: object) -> Json:
    if not isinstance(value, dict):
        raise TypeError(f"a component is {type(value).__name__} and not dict")
    return value
