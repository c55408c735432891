r"""How a fitted model and guide become plain numbers.

Whatever speaks the protocol of :mod:`bayes_sbn.posterior_protocol` can be exported; nothing is
looked for in Pyro's parameter store.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.inputs import LARGEST_INPUT
from bayes_sbn.posterior_chain import Layer
from bayes_sbn.posterior_components import Component
from bayes_sbn.posterior_layer import PosteriorLayer
from bayes_sbn.posterior_low_rank_layer import LowRankPosteriorLayer
from bayes_sbn.posterior_protocol import (
    ExportableGuide,
    ExportableModel,
    HybridGuide,
    LowRankGuide,
    MixtureGuide,
)
from bayes_sbn.posterior_real_layer import RealPosteriorLayer

SignNumbers = dict[str, tuple[Float64, ...]]
"""By site the probabilities of independent weights, or natural parameters and loadings."""

RealNumbers = tuple[Float64, ...]
"""Mean and standard deviation of real weights, and the same of their prior."""

_ARCHITECTURE = ("likelihood", "input_scale", "layers")
_LAYER = ("name", "weight_site", "scale", "bias", "noise", "noise_scale")


@dataclass(frozen=True, eq=False)
class Export:
    """What a model and its guide say of the posterior."""

    components: tuple[Component, ...]
    input_scale: float
    likelihood: str


def export(model: object, guide: object) -> Export:
    """Read a model and its guide.

    Raises:
        TypeError: one of them does not speak the protocol.
        ValueError: they do not fit each other, or a number is not allowed.
    """
    if not isinstance(model, ExportableModel):
        raise TypeError(
            "Posterior.from_guide() needs a model that states its architecture, such as "
            f"bayes_sbn.models.BinaryMLP: received {_name(model)}, which has no architecture(). "
            "Predict with a model of your own by bayes_sbn.PackedPredictive, or, where its layers "
            "are not dense, by pyro.infer.Predictive; give the class probabilities that follow "
            "from their samples to bayes_sbn.Predictions(probs_per_draw)."
        )
    if not isinstance(guide, ExportableGuide):
        raise TypeError(
            "Posterior.from_guide() needs a guide that states the probabilities of ±1 weights, "
            f"such as bayes_sbn.guides.AutoSignBernoulli: received {_name(guide)}, which lacks "
            "weight_probabilities() or prior_probabilities() and cannot be exported."
        )
    architecture = model.architecture()
    _need("model.architecture()", architecture, _ARCHITECTURE)
    entries = architecture["layers"]
    if not isinstance(entries, Sequence):
        raise TypeError(
            'Posterior.from_guide(): model.architecture()["layers"] is '
            f"{type(entries).__name__}; it is a list of layers."
        )
    for site, entry in enumerate(entries):
        _need(f"layer {site} of model.architecture()", entry, _LAYER)
    priors, reals = guide.prior_probabilities(), _real_numbers(guide)
    sigma = _number_or_none(architecture.get("sigma"))
    components = [
        Component(weight, _layers(entries, signs, priors, reals), sigma)
        for weight, signs in _sign_numbers(guide)
    ]
    step = float(_numbers(architecture["input_scale"]))
    return Export(tuple(components), step, str(architecture["likelihood"]))


def _sign_numbers(guide: ExportableGuide) -> list[tuple[float, SignNumbers]]:
    """For each component its weight, and by site either probabilities or (lam, loadings)."""
    if isinstance(guide, MixtureGuide):
        weights = _numbers(guide.component_weights())
        each = guide.component_probabilities()
        return [
            (float(weight), {name: (_numbers(p),) for name, p in own.items()})
            for weight, own in zip(weights, each, strict=True)
        ]
    if isinstance(guide, LowRankGuide):
        numbers = guide.naturals_and_loadings().items()
        return [(1.0, {name: (_numbers(lam), _numbers(load)) for name, (lam, load) in numbers})]
    return [(1.0, {name: (_numbers(p),) for name, p in guide.weight_probabilities().items()})]


def _real_numbers(guide: object) -> dict[str, RealNumbers]:
    """Mean, spread and their prior of the real weights by site; none where there are none."""
    if not isinstance(guide, HybridGuide):
        return {}
    priors = guide.real_priors()
    return {
        name: (_numbers(loc), _numbers(spread), *map(_numbers, priors[name]))
        for name, (loc, spread) in guide.real_weights().items()
    }


def _layers(
    entries: Sequence[Mapping[str, object]],
    signs: SignNumbers,
    priors: Mapping[str, object],
    reals: Mapping[str, RealNumbers],
) -> tuple[Layer, ...]:
    """The layers of one component; raise if its sites are not those of the entries."""
    layers: list[Layer] = []
    sites = [str(entry["weight_site"]) for entry in entries]
    for index, (entry, site) in enumerate(zip(entries, sites, strict=True)):
        if site in reals:
            layers.append(_real_layer(index, entry, *reals[site]))
            continue
        if site not in signs or site not in priors:
            raise ValueError(
                f'Posterior.from_guide(): the guide has no weights at site "{site}" of '
                f'layer "{entry["name"]}"; it has {", ".join(signs) or "none"}. Give the '
                "guide that was made for this model."
            )
        layers.append(_sign_layer(index, entry, signs[site], _numbers(priors[site])))
    left = [name for name in (*signs, *reals) if name not in sites]
    if left:
        raise ValueError(
            f"Posterior.from_guide(): the guide has weights at {', '.join(left)}, which no "
            "layer of model.architecture() names. Give the model that the guide was made for."
        )
    return tuple(layers)


def _sign_layer(
    site: int, entry: Mapping[str, object], numbers: tuple[Float64, ...], prior: Float64
) -> PosteriorLayer | LowRankPosteriorLayer:
    """A layer of ±1 weights, with probabilities or with natural parameters and loadings."""
    noise = entry["noise"]
    rest: dict[str, Any] = {
        "name": str(entry["name"]),
        "site": site,
        "scale": _numbers(entry["scale"]),
        "bias": _numbers(entry["bias"]),
        "noise": None if noise is None else str(noise),
        "noise_scale": 1.0 if noise is None else float(_numbers(entry["noise_scale"])),
        "prior": _one_if_all_alike(prior),
        "normalisation_eps": _number_or_none(entry.get("normalisation_eps")),
    }
    if len(numbers) == 1:
        return PosteriorLayer(probabilities=numbers[0], **rest)
    natural, loadings = numbers
    return LowRankPosteriorLayer(natural=natural, loadings=loadings, **rest)


def _real_layer(
    site: int,
    entry: Mapping[str, object],
    loc: Float64,
    spread: Float64,
    prior_mean: Float64,
    prior_scale: Float64,
) -> RealPosteriorLayer:
    """A layer of real weights; raise if its prior or its scale is one that a posterior lacks."""
    noise, scale = entry["noise"], _numbers(entry["scale"])
    if prior_mean.any() or not (scale == 1).all():
        raise ValueError(
            f'Posterior.from_guide(): layer "{entry["name"]}" has real weights with a prior whose '
            "mean is not 0, or a scale beside them that is not 1. Scale the weights themselves, as "
            "bayes_sbn.models.RealLinear does."
        )
    return RealPosteriorLayer(
        name=str(entry["name"]),
        site=site,
        loc=loc,
        spread=_one_if_all_alike(spread),
        bias=_numbers(entry["bias"]),
        noise=None if noise is None else str(noise),
        noise_scale=1.0 if noise is None else float(_numbers(entry["noise_scale"])),
        prior_scale=_one_if_all_alike(prior_scale),
    )


def _need(what: str, mapping: object, names: Sequence[str]) -> None:
    missing = [n for n in names if not isinstance(mapping, Mapping) or n not in mapping]
    if missing:
        raise TypeError(
            f"Posterior.from_guide(): {what} lacks {', '.join(missing)}; it is a dict with "
            f"{', '.join(names)}."
        )


def _name(thing: object) -> str:
    return str(getattr(thing, "__name__", type(thing).__name__))


def _numbers(values: object) -> Float64:
    if isinstance(values, torch.Tensor):
        return np.asarray(values.detach().to("cpu", torch.float64).numpy())
    return np.asarray(values, np.float64)


def _number_or_none(value: object) -> float | None:
    return None if value is None else float(_numbers(value))


def _one_if_all_alike(prior: Float64) -> Float64:
    """A constant prior as one number, which takes no room in the file."""
    if prior.size and (prior == prior.flat[0]).all():
        return np.asarray(prior.flat[0])
    return prior


def input_step(input_range: float) -> float:
    """The least power of two of which 32767 reach the range."""
    if not (math.isfinite(input_range) and input_range > 0):
        raise ValueError(
            f"Posterior.from_guide(input_range={input_range}): the largest magnitude of an input "
            "is a positive finite number. Write input_range=float(abs(x).max())."
        )
    mantissa, exponent = math.frexp(input_range / LARGEST_INPUT)
    return math.ldexp(1.0, exponent - 1 if mantissa == 0.5 else exponent)
