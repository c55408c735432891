r"""How a fitted model and guide become plain numbers: the protocol that both must speak.

* ``model.architecture()`` returns ``{"likelihood": str, "input_scale": float, "layers": [...]}``,
  each layer ``{"name", "weight_site", "scale", "bias", "noise", "noise_scale"}``: scale and bias
  with a number for each unit, noise a name or None, from the inputs to the logits; a layer whose
  statistics each draw measures has its ``"normalisation_eps"`` too;
* ``guide.weight_probabilities()`` returns ``P(w = +1)`` of each weight site by name;
* ``guide.prior_probabilities()`` returns the same of the prior;
* ``guide.export_advice``, if there, says what to export instead: the weights are not independent.
* ``guide.real_weights()``, where there are real weights, returns mean and standard deviation (0 of
  a point) of each of their sites by name, and ``guide.real_priors()`` the same of the prior, whose
  means are 0; the scale of such a layer is 1.

Whatever speaks it can be exported; nothing is looked for in Pyro's parameter store.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.inputs import LARGEST_INPUT
from bayes_sbn.posterior_chain import Layer
from bayes_sbn.posterior_layer import PosteriorLayer
from bayes_sbn.posterior_real_layer import RealPosteriorLayer

RealNumbers = tuple[Float64, ...]
"""Mean and standard deviation of real weights, and the same of their prior."""

_ARCHITECTURE = ("likelihood", "input_scale", "layers")
_LAYER = ("name", "weight_site", "scale", "bias", "noise", "noise_scale")


@runtime_checkable
class ExportableModel(Protocol):
    """A model that states its architecture."""

    def architecture(self) -> Mapping[str, object]:
        """The network as plain numbers."""


@runtime_checkable
class ExportableGuide(Protocol):
    """A guide over ±1 weights that states their probabilities."""

    def weight_probabilities(self) -> Mapping[str, object]:
        """``P(w = +1)`` by weight site."""

    def prior_probabilities(self) -> Mapping[str, object]:
        """The prior ``P(w = +1)`` by weight site."""


@runtime_checkable
class HybridGuide(Protocol):
    """A guide that has real weights too."""

    def real_weights(self) -> Mapping[str, tuple[object, object]]:
        """Mean and standard deviation by weight site."""

    def real_priors(self) -> Mapping[str, tuple[object, object]]:
        """The same of the prior."""


@dataclass(frozen=True, eq=False)
class Export:
    """What a model and its guide say of the posterior."""

    layers: tuple[Layer, ...]
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
            "PackedPredictive and Predictions.from_predictive, which are meant for models of your "
            "own, are not in this version: give the class probabilities that "
            "pyro.infer.Predictive samples to bayes_sbn.Predictions(probs_per_draw)."
        )
    if not isinstance(guide, ExportableGuide):
        raise TypeError(
            "Posterior.from_guide() needs a guide that states the probabilities of ±1 weights, "
            f"such as bayes_sbn.guides.AutoSignBernoulli: received {_name(guide)}, which lacks "
            "weight_probabilities() or prior_probabilities() and cannot be exported."
        )
    advice = getattr(guide, "export_advice", None)
    if advice is not None:
        raise TypeError(
            f"Posterior.from_guide(): the weights of {_name(guide)} are not independent, and a "
            f"Posterior is of independent weights. Make {advice}."
        )
    architecture = model.architecture()
    _need("model.architecture()", architecture, _ARCHITECTURE)
    posteriors, priors = dict(guide.weight_probabilities()), guide.prior_probabilities()
    reals: dict[str, RealNumbers] = {}
    if isinstance(guide, HybridGuide):
        prior_reals = guide.real_priors()
        reals = {
            name: (_numbers(loc), _numbers(spread), *map(_numbers, prior_reals[name]))
            for name, (loc, spread) in guide.real_weights().items()
        }
    entries = architecture["layers"]
    if not isinstance(entries, Sequence):
        raise TypeError(
            'Posterior.from_guide(): model.architecture()["layers"] is '
            f"{type(entries).__name__}; it is a list of layers."
        )
    layers: list[Layer] = []
    for site, entry in enumerate(entries):
        _need(f"layer {site} of model.architecture()", entry, _LAYER)
        weight_site, noise = str(entry["weight_site"]), entry["noise"]
        if weight_site in reals:
            layers.append(_real_layer(site, entry, *reals.pop(weight_site)))
            continue
        if weight_site not in posteriors or weight_site not in priors:
            raise ValueError(
                f'Posterior.from_guide(): the guide has no weights at site "{weight_site}" of '
                f'layer "{entry["name"]}"; it has {", ".join(posteriors) or "none"}. Give the '
                "guide that was made for this model."
            )
        layers.append(
            PosteriorLayer(
                name=str(entry["name"]),
                site=site,
                probabilities=_numbers(posteriors.pop(weight_site)),
                scale=_numbers(entry["scale"]),
                bias=_numbers(entry["bias"]),
                noise=None if noise is None else str(noise),
                noise_scale=1.0 if noise is None else float(_numbers(entry["noise_scale"])),
                prior=_one_if_all_alike(_numbers(priors[weight_site])),
                normalisation_eps=_number_or_none(entry.get("normalisation_eps")),
            )
        )
    left = [*posteriors, *reals]
    if left:
        raise ValueError(
            f"Posterior.from_guide(): the guide has weights at {', '.join(left)}, which no "
            "layer of model.architecture() names. Give the model that the guide was made for."
        )
    step = float(_numbers(architecture["input_scale"]))
    return Export(tuple(layers), step, str(architecture["likelihood"]))


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
