r"""The file of an ensemble: its networks, drawn, at one bit a ±1 weight.

The container is that of :mod:`bayes_sbn.container`.  The header has seed and stream, which key the
noise of the activations, the step of the inputs, the attrs, and for each component the names and
laws of its layers.  The tensors are

    ``draws``, ``components``            int64, (draws,)
    ``{site}.weights``                   uint32 words, (draws, out, words), or int16, (draws, out,
                                         in), of one draw where all share the weights
    ``{site}.scale``, ``{site}.bias``    float64, (draws, out), where the draws measured statistics
    ``{component}.{site}.scale``, ``{component}.{site}.bias``    float64, (out,)
    ``sigmas``                           float64, (components,), of a real target's noise
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bayes_sbn.bits import PackedBits, num_words
from bayes_sbn.container import (
    ENSEMBLE,
    REGRESSION_ENSEMBLE,
    Array,
    Json,
    Kind,
    digest_of,
    json_copy,
    read_container,
    refuse,
    typed,
    write_container,
)
from bayes_sbn.ensemble_weights import Weights
from bayes_sbn.kernels.reference.cdf64 import CDF64, Float64
from bayes_sbn.kernels.reference.components import Mixture
from bayes_sbn.kernels.reference.network import KernelLayer, Network, Units
from bayes_sbn.kernels.reference.real_weights import Int16
from bayes_sbn.kernels.reference.sampling import Int64
from bayes_sbn.kernels.reference.stored import StoredLayer

_LARGEST_SITE = 0xFFFF


@dataclass(frozen=True, eq=False)
class StoredEnsemble:
    """What a file holds."""

    mixture: Mixture
    weights: Weights
    units: tuple[Units | None, ...]
    draws: Int64
    components: Int64
    seed: int
    stream: int
    attrs: Json
    sigmas: Float64 | None


def write_ensemble(
    path: str | os.PathLike[str],
    mixture: Mixture,
    weights: Weights,
    units: Sequence[Units | None],
    draws: Int64,
    components: Int64,
    *,
    seed: int,
    stream: int,
    attrs: Mapping[str, object],
    sigmas: Float64 | None = None,
) -> None:
    """Write a file whole, or leave the old one as it is."""
    tensors: dict[str, Array] = {"draws": draws, "components": components}
    if sigmas is not None:
        tensors["sigmas"] = sigmas
    for site, own in enumerate(weights):
        tensors[f"{site}.weights"] = _array(own)
        measured = units[site]
        if measured is not None:
            tensors[f"{site}.scale"], tensors[f"{site}.bias"] = measured
    entries: list[list[Json]] = []
    for index, network in enumerate(mixture.networks):
        entries.append([])
        for site, layer in enumerate(network.layers):
            entries[-1].append(
                {
                    "site": layer.site,
                    "inputs": layer.num_inputs,
                    "noise": layer.noise,
                    "noise_scale": float(layer.noise_scale),
                    "is_real": layer.is_real,
                }
            )
            tensors[f"{index}.{site}.scale"] = np.ascontiguousarray(layer.scale)
            tensors[f"{index}.{site}.bias"] = np.ascontiguousarray(layer.bias)
    header: Json = {
        "components": entries,
        "input_scale": mixture.networks[0].input_scale,
        "seed": str(seed),  # 64 bits, of which JSON's readers elsewhere may keep 53
        "stream": str(stream),
    }
    header["digest"] = digest_of(header, tensors)
    header["attrs"] = json_copy(attrs)
    kind = ENSEMBLE if sigmas is None else REGRESSION_ENSEMBLE
    write_container(path, header, tensors, kind.versions[-1])


def _array(weights: object) -> Array:
    """Words of ±1 weights, or the steps of real ones, a shared copy once."""
    if isinstance(weights, PackedBits):
        return np.ascontiguousarray(weights.data.numpy()).view(np.uint32)
    array = np.asarray(weights)
    return np.ascontiguousarray(array[:1] if array.strides[0] == 0 else array)


def read_ensemble(kind: Kind, path: str | os.PathLike[str]) -> StoredEnsemble:
    """The content of a file, which is not trusted.

    Args:
        kind: of ensemble that is asked for.
        path: the file.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is not an ensemble, of another format version, truncated or damaged.
    """
    header, tensors = read_container(kind, path)
    named = {name: value for name, value in header.items() if name not in ("attrs", "digest")}
    try:
        stored = _from_parts(header, dict(tensors), is_regression=kind is REGRESSION_ENSEMBLE)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        refuse(kind, path, f"its content does not describe an ensemble ({error})")
    if header.get("digest") != digest_of(named, tensors):
        refuse(kind, path, "its numbers are not those it was saved with")
    return stored


def _from_parts(header: Json, left: dict[str, Array], *, is_regression: bool) -> StoredEnsemble:
    entries = typed(header, "components", list)
    step = typed(header, "input_scale", float)
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"input_scale {step} is not positive and finite")
    draws = _taken(left, "draws", "int64", None).astype(np.int64)
    number = len(draws)
    components = _taken(left, "components", "int64", (number,)).astype(np.int64)
    if draws.ndim != 1 or not number or ((draws < 0) | (draws >= 1 << 32)).any():
        raise ValueError("its draws are not a list of indices")
    if not entries or ((components < 0) | (components >= len(entries))).any():
        raise ValueError("its draws are of components that are not there")
    networks = [
        Network(tuple(_layers(component, index, left)), step)
        for index, component in enumerate(entries)
    ]
    _check_networks(networks)
    weights: list[PackedBits | Int16] = []
    units: list[Units | None] = []
    for site, layer in enumerate(networks[0].layers):
        weights.append(_weights(left, site, layer, number))
        units.append(_measured(left, site, layer.num_units, number))
    sigmas = _sigmas(left, networks) if is_regression else None
    if left:
        raise ValueError("it has tensors that are not those of its layers")
    return StoredEnsemble(
        mixture=Mixture.of(*networks),
        weights=tuple(weights),
        units=tuple(units),
        draws=draws,
        components=components,
        seed=_seed(header, "seed"),
        stream=_seed(header, "stream"),
        attrs=typed(header, "attrs", dict),
        sigmas=sigmas,
    )


def _sigmas(left: dict[str, Array], networks: Sequence[Network]) -> Float64:
    sigmas = _finite(left, "sigmas", (len(networks),))
    if (sigmas <= 0).any():
        raise ValueError(f"sigmas {sigmas.tolist()} are not positive")
    if networks[0].layers[-1].num_units != 1:
        raise ValueError("its last layer has more than the unit of one real target")
    return sigmas


def _layers(entries: object, component: int, left: dict[str, Array]) -> list[StoredLayer]:
    if not isinstance(entries, list) or not entries:
        raise TypeError("the layers of a component are not a list of at least one")
    layers = []
    for site, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise TypeError(f"a layer is {type(entry).__name__} and not dict")
        scale = _finite(left, f"{component}.{site}.scale", None)
        if scale.ndim != 1 or not len(scale):
            raise ValueError(f"scale of shape {scale.shape}")
        noise = None if entry["noise"] is None else typed(entry, "noise", str)
        if (noise is None) != (site + 1 == len(entries)) or not (noise is None or noise in CDF64):
            raise ValueError(f"noise {noise!r} of layer {site}")
        noise_scale = typed(entry, "noise_scale", float)
        if not (math.isfinite(noise_scale) and noise_scale > 0):
            raise ValueError(f"noise_scale {noise_scale}")
        inputs, own_site = typed(entry, "inputs", int), typed(entry, "site", int)
        if inputs < 1 or not 0 <= own_site <= _LARGEST_SITE:
            raise ValueError(f"layer {site} has {inputs} inputs and site {own_site}")
        is_real = entry["is_real"]
        if not isinstance(is_real, bool):
            raise TypeError(f"is_real is {type(is_real).__name__} and not bool")
        bias = _finite(left, f"{component}.{site}.bias", scale.shape)
        is_fixed = is_real and left[f"{site}.weights"].shape[:1] == (1,)
        layers.append(
            StoredLayer(
                site=own_site,
                num_units=len(scale),
                num_inputs=inputs,
                scale=scale,
                bias=bias,
                noise=noise,
                noise_scale=noise_scale,
                is_real=is_real,
                is_fixed=is_fixed,
            )
        )
    return layers


def _check_networks(networks: Sequence[Network]) -> None:
    """Raise unless each is a network and all have one shape."""
    shapes = [
        [(la.num_inputs, la.num_units, la.is_real, la.site) for la in network.layers]
        for network in networks
    ]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("its components are of different shapes")
    first = networks[0].layers
    if any(a.num_units != b.num_inputs for a, b in itertools.pairwise(first)):
        raise ValueError("its layers do not make a network")
    if len({layer.site for layer in first}) < len(first):
        raise ValueError("its layers share random bits")


def _weights(
    left: dict[str, Array], site: int, layer: KernelLayer, number: int
) -> PackedBits | Int16:
    assert isinstance(layer, StoredLayer)
    name, inputs = f"{site}.weights", layer.num_inputs
    if layer.is_real:
        draws = 1 if layer.is_fixed else number
        shape = (draws, layer.num_units, inputs)
        steps = _taken(left, name, "int16", shape).astype(np.int16)
        return np.broadcast_to(steps, (number, *steps.shape[1:]))
    shape = (number, layer.num_units, num_words(inputs))
    words = _taken(left, name, "uint32", shape).astype(np.uint32)
    unused = 32 * num_words(inputs) - inputs
    if unused and (words[..., -1] >> np.uint32(32 - unused)).any():
        raise ValueError(f"padding bits of the weights of layer {site} are not 0")
    return PackedBits(torch.from_numpy(np.ascontiguousarray(words).view(np.int32)), inputs)


def _measured(left: dict[str, Array], site: int, units: int, number: int) -> Units | None:
    if f"{site}.scale" not in left:
        return None
    return Units(
        _finite(left, f"{site}.scale", (number, units)),
        _finite(left, f"{site}.bias", (number, units)),
    )


def _taken(left: dict[str, Array], name: str, kind: str, shape: tuple[int, ...] | None) -> Array:
    array = left.pop(name)
    if array.dtype != kind:
        raise TypeError(f"{name} is {array.dtype} and not {kind}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} of shape {array.shape} and not {shape}")
    return array


def _finite(left: dict[str, Array], name: str, shape: tuple[int, ...] | None) -> Float64:
    array = _taken(left, name, "float64", shape).astype(np.float64)
    if not np.isfinite(array).all() or (np.abs(array) > _LARGEST_NUMBER).any():
        raise ValueError(f"{name} has numbers that are not finite or overflow")
    return array


def _seed(header: Json, name: str) -> int:
    text = typed(header, name, str)
    if not (text.isascii() and text.isdigit() and int(text) < 1 << 64):
        raise ValueError(f"{name} {text!r} is not an integer of 64 bits")
    return int(text)


_LARGEST_NUMBER = 1e290
"""Of scales and biases: pre-activations, which a sum makes larger, stay finite."""
