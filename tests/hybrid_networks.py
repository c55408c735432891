"""Tiny hybrid networks of the package, and the same networks for the oracles.

With point weights a hybrid network has no chance beyond ±1 weights and activations, so that the
oracles, whose layers have either ±1 weights or given real ones, know its exact bound, gradient and
predictions.
"""

from collections.abc import Sequence

import numpy as np
import torch

import bayes_sbn as sbn
from tests.chance import torch_generator
from tests.oracle_networks import Layer, Net

ENDS = ("first", "last")


def hybrid(
    real: Sequence[str] = ENDS,
    kind: str = "point",
    sizes: Sequence[int] = (2, 2, 2, 3),
    noise: str = "logistic",
    num_data: int = 3,
    **options: object,
) -> tuple[sbn.models.BinaryMLP, sbn.guides.AutoHybrid]:
    """A model whose biases and scales are not at their start, and its guide."""
    generator = torch_generator(f"hybrid/{real}/{tuple(sizes)}/{kind}")
    model = sbn.models.BinaryMLP(
        sizes[0], list(sizes[1:-1]), sizes[-1], num_data=num_data, noise=noise, real=real
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    options = {"init_scale": 0.5, "generator": generator, **options}
    return model, sbn.guides.AutoHybrid(model, kind, **options)


def data(num_inputs: int = 2, num_rows: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs on a dyadic grid, and labels."""
    x = torch.randn(num_rows, num_inputs, generator=torch_generator(f"x/{num_inputs}/{num_rows}"))
    return (x * 64).round() / 64, torch.arange(num_rows) % 3


def oracle_net(model: sbn.models.BinaryMLP, guide: sbn.guides.AutoHybrid) -> Net:
    """The oracle's network: the means of ±1 weights, the locations of real ones."""
    means = {site: 2 * p.numpy() - 1 for site, p in guide.weight_probabilities().items()}
    reals = {site: loc.numpy() for site, (loc, _) in guide.real_weights().items()}
    layers = []
    for entry in model.architecture()["layers"]:
        site = entry["weight_site"]
        layers.append(
            Layer(
                scale=entry["scale"].numpy().copy(),
                bias=entry["bias"].numpy().copy(),
                weight_mean=means.get(site),
                weight=reals.get(site),
            )
        )
    return Net(tuple(layers[:-1]), layers[-1], model.noise.name, model.noise.scale)


def oracle_name(site: str) -> str:
    """The oracle's name of the layer of a weight site."""
    layer = site.removesuffix(".weight")
    return "head" if layer == "output" else f"layers.{int(layer.removeprefix('hidden.'))}"


def gradient(parameter: torch.Tensor) -> np.ndarray:
    """The gradient that a backward pass left, and a clean slate."""
    found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    parameter.grad = None
    return found.numpy().copy()
