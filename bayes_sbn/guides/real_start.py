r"""The warm start: ±1 weights with the means, and units with the scales, of a trained real network.

Unit j of a real layer has the pre-activation ``sum_i v_ji x_i + c_j``.  The binary layer's,
``s_j sum_i w_ji x_i + b_j``, has the same expectation for all x where ``s_j E[w_ji] = v_ji``:

    s_j = max_i |v_ji| / m,      mu_ji = v_ji / s_j,      lam_ji = atanh mu_ji,      b_j = c_j,

with m < 1 the largest mean (Krishnan, Subedar & Tickoo 2020 start normal posteriors so).  Noise of
law F makes the unit's mean ``2F(a) - 1``: with ``a = g (sum_i v_ji x_i + c_j)``, where
``g = f'(0) / 2F'(0)``, it has the slope at 0 of the real activation f, and is f itself for
tanh or the sigmoid and logistic noise, and for the hard tanh and uniform noise.

Of deterministic weights only the signs are there.  The scale that leaves the least sum of squares
``sum_i (v_ji - s_j sign v_ji)^2`` is ``s_j = mean_i |v_ji|`` (Rastegari et al. 2016), and the
leaves keep the sizes of the weights, in units of their root mean square.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.noise import Noise

LARGEST_MEAN = 0.95
"""The largest |E[w]| of a unit: larger is less noise, smaller is more room to change one's mind."""


@dataclass(frozen=True)
class RealLayer:
    """A layer of a real network, as a layer between values in [-1, 1].

    Args:
        name: of its module.
        weight: shape (out, in).
        bias: shape (out,).
    """

    name: str
    weight: Tensor
    bias: Tensor


def dual_start(call: str, weight: Tensor, largest_mean: float) -> tuple[Tensor, Tensor]:
    """The natural parameters and the scales of units, along dim 0, of the means ``weight``.

    Units whose weights are all 0 get the scale 1 / sqrt(inputs).
    """
    if not 0 < largest_mean < 1:
        raise ValueError(
            f"{call}: largest_mean={largest_mean} is the largest |E[w]| of a ±1 weight at the "
            f"start; it lies between 0 and 1. Write largest_mean={LARGEST_MEAN}."
        )
    rows = _finite_rows(call, weight)
    scale = rows.abs().amax(1) / largest_mean
    scale = torch.where(scale > 0, scale, 1 / math.sqrt(rows.shape[1]))
    natural = torch.atanh(rows / scale.unsqueeze(1))
    return natural.reshape(weight.shape), scale


def sign_start(call: str, weight: Tensor, spread: float) -> tuple[Tensor, Tensor]:
    """Latent weights whose signs are those of ``weight``, and the scales of units, along dim 0.

    The latent weights of each unit have the root mean square ``spread``.  Units whose weights are
    all 0 get latent weights 0, which are +1, and the scale 1 / inputs.
    """
    if not 0 < spread < math.inf:
        raise ValueError(
            f"{call}: spread={spread} is the root mean square of the latent weights of a unit at "
            "the start, a positive number. Write spread=1.5."
        )
    rows = _finite_rows(call, weight)
    size = rows.square().mean(1, keepdim=True).sqrt()
    latent = rows * (spread / torch.where(size > 0, size, 1.0))
    scale = rows.abs().mean(1)
    return latent.reshape(weight.shape), torch.where(scale > 0, scale, 1 / rows.shape[1])


def _finite_rows(call: str, weight: Tensor) -> Tensor:
    if not torch.isfinite(weight).all():
        raise ValueError(
            f"{call}: weights are NaN or infinite: the real network has diverged. Train it again "
            "with a smaller learning rate."
        )
    return weight.detach().to(torch.float64).flatten(1)


def set_units(
    model: torch.nn.Module, layers: Mapping[str, RealLayer], scales: Mapping[str, Tensor]
) -> None:
    """Give the units of a model's layers the biases of real layers, and their scales where given.

    Args:
        model: whose layers they are.
        layers: the real layers by weight site.
        scales: by weight site.
    """
    for site, layer in layers.items():
        units: Any = model.get_submodule(site.rpartition(".")[0])
        like = units.bias.detach()
        units.bias = layer.bias.to(like)
        if site in scales:
            units.scale = scales[site].to(like)


def real_layers(call: str, network: torch.nn.Module, noise: Noise) -> list[RealLayer]:
    """The dense layers of a real network, as those of a network whose activations are means.

    The pre-activations of hidden layers are multiplied by the gain g of the module's docstring; a
    sigmoid is taken for ``(1 + f) / 2`` with ``f(a) = tanh(a / 2)``, whose half and whose constant
    go into the layer above.
    """
    if not isinstance(network, torch.nn.Sequential):
        raise TypeError(
            f"{call}: the real network is a {type(network).__name__}; it must be a "
            "torch.nn.Sequential of Linear layers and activations, whose order can be read. Write "
            "torch.nn.Sequential(torch.nn.Linear(...), torch.nn.Tanh(), torch.nn.Linear(...))."
        )
    found: list[RealLayer] = []
    modules = list(_leaves(network, ""))
    halved, open_layer = False, False
    for name, module in modules:
        if isinstance(module, torch.nn.Linear):
            if open_layer:
                raise ValueError(
                    f'{call}: no activation stands before layer "{name}"; two Linear layers are '
                    "one. Merge them, or put torch.nn.Tanh() between them."
                )
            found.append(_layer(name, module, halved))
            open_layer = True
            continue
        slope = _slope(module)
        if slope is None or not open_layer:
            raise ValueError(
                f'{call}: module "{name}" of the real network is {module}, which has no '
                "counterpart among ±1 units there. Allowed are Linear layers, with Tanh, Sigmoid "
                "or Hardtanh (from -1 to 1) after each but the last, and Dropout, Flatten and "
                "Identity, which change nothing; train with Tanh."
            )
        gain = slope / (2 * float(noise.density(torch.zeros((), dtype=torch.float64))))
        last = found[-1]
        found[-1] = RealLayer(last.name, gain * last.weight, gain * last.bias)
        halved, open_layer = isinstance(module, torch.nn.Sigmoid), False
    if not open_layer:
        raise ValueError(
            f"{call}: the last module of the real network must be the Linear layer of the logits; "
            f"it is {modules[-1][1] if modules else 'not there'}. Drop what comes after it."
        )
    return found


def _leaves(network: torch.nn.Module, prefix: str) -> Iterator[tuple[str, torch.nn.Module]]:
    """The modules in the order in which they run, nested sequences and idle modules left out."""
    for name, module in network.named_children():
        if isinstance(module, torch.nn.Sequential):
            yield from _leaves(module, f"{prefix}{name}.")
        elif not isinstance(module, (torch.nn.Dropout, torch.nn.Flatten, torch.nn.Identity)):
            yield f"{prefix}{name}", module


def _layer(name: str, linear: torch.nn.Linear, halved: bool) -> RealLayer:
    weight = linear.weight.detach().to(torch.float64)
    if linear.bias is None:
        bias = weight.new_zeros(len(weight))
    else:
        bias = linear.bias.detach().to(torch.float64)
    if halved:  # of inputs (1 + x) / 2
        weight = weight / 2
        bias = bias + weight.sum(1)
    return RealLayer(name, weight, bias)


def _slope(activation: torch.nn.Module) -> float | None:
    """The slope at 0 of an activation, stretched to [-1, 1]; None for others."""
    if isinstance(activation, torch.nn.Tanh):
        return 1.0
    if isinstance(activation, torch.nn.Sigmoid):
        return 0.5
    # ReLU6 is a Hardtanh of torch's, of another range
    if isinstance(activation, torch.nn.Hardtanh):
        return 1.0 if (activation.min_val, activation.max_val) == (-1, 1) else None
    return None


def matched_layers(
    call: str, model: object, network: torch.nn.Module, shapes: Mapping[str, torch.Size]
) -> dict[str, RealLayer]:
    """The layers of a real network by the weight sites of the model's layers, of equal shapes."""
    architecture = getattr(model, "architecture", None)
    noise = getattr(model, "noise", None)
    if architecture is None or not isinstance(noise, Noise):
        raise TypeError(
            f"{call}: the model is a {type(model).__name__}, which does not state its layers and "
            "its noise as bayes_sbn.models.BinaryMLP does. For a model of your own write "
            "scales = guide.start_from({site: real_weights}) and set its scales to these."
        )
    normalisation = getattr(model, "normalisation", None)
    if normalisation is not None:
        raise ValueError(
            f"{call}: the model has normalisation={normalisation!r}, which would undo the "
            "scales of the real network. Start a model without it."
        )
    sites = [str(entry["weight_site"]) for entry in architecture()["layers"]]
    layers = real_layers(call, network, noise)
    if len(layers) != len(sites):
        raise ValueError(
            f"{call}: the real network has {len(layers)} Linear layers but the model has "
            f"{len(sites)} layers ({', '.join(sites)}); they must be as many."
        )
    for site, layer in zip(sites, layers, strict=True):
        if layer.weight.shape != shapes[site]:
            raise ValueError(
                f'{call}: layer "{layer.name}" of the real network has weights of shape '
                f'{tuple(layer.weight.shape)}, but those of the model at "{site}" have shape '
                f"{tuple(shapes[site])}. Build both networks with the same widths."
            )
    return dict(zip(sites, layers, strict=True))
