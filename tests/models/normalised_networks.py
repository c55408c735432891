"""Tiny normalised networks, and their statistics and folded layers written out in NumPy."""

import numpy as np
import torch
from numpy.typing import NDArray

import bayes_sbn as sbn
from tests.chance import numpy_generator
from tests.oracle_networks import Layer, Net
from tests.oracle_noise import cdf

Array = NDArray[np.float64]
EPS = 1e-5
VARIANCE = {"logistic": np.pi**2 / 3, "uniform": 1 / 3, "gaussian": 1.0}


def normalised_network(kind: str, sizes=(2, 2, 1, 2), noise: str = "logistic", rows: int = 3):
    """A model with gains, shifts and means of its own, its guide, and data."""
    draw = numpy_generator(f"normalised/{sizes}")
    model = sbn.models.BinaryMLP(
        sizes[0], list(sizes[1:-1]), sizes[-1], num_data=rows, noise=noise, normalisation=kind
    )
    guide = sbn.guides.AutoSignBernoulli(model)
    for layer in [*model.hidden, model.output]:
        layer.scale = torch.tensor(draw.uniform(0.6, 1.4, layer.out_features))
        layer.bias = torch.tensor(draw.uniform(-0.4, 0.4, layer.out_features))
    for name in guide.weight_probabilities():
        leaf = guide.leaf(name)
        leaf.data.copy_(torch.tensor(np.arctanh(draw.uniform(-0.9, 0.9, tuple(leaf.shape)))))
    x = torch.tensor(draw.normal(0.5, 1.0, (rows, sizes[0])))
    return model, guide, x, torch.tensor(np.arange(rows) % sizes[-1])


def means_of(guide) -> list[Array]:
    """The means of the weights, layer by layer."""
    return [2 * p.numpy() - 1 for p in guide.weight_probabilities().values()]


def gains_and_shifts(model) -> list[tuple[Array, Array]]:
    """gamma and beta of every layer; scale and bias of the last."""
    layers = [*model.hidden, model.output]
    return [(la.scale.detach().numpy(), la.bias.detach().numpy()) for la in layers]


def propagated(x: Array, means, gains_shifts, noise: str) -> list[tuple[Array, Array]]:
    """m and v of every hidden layer, by the formulas, entry by entry."""
    found, phi, is_random = [], x, False
    for mu, (gain, shift) in zip(means[:-1], gains_shifts[:-1], strict=True):
        mean = np.array([[sum(mu[j] * row) for j in range(len(mu))] for row in phi])
        spread = np.empty_like(mean)
        for n, row in enumerate(phi):
            for j in range(len(mu)):
                if is_random:
                    spread[n, j] = len(row) - sum(mu[j] ** 2 * row**2)
                else:
                    spread[n, j] = sum((1 - mu[j] ** 2) * row**2)
        m = mean.mean(0)
        v = (spread + (mean - m) ** 2).mean(0)
        found.append((m, v))
        k = gain / np.sqrt(v + EPS)
        a = (k * (mean - m) + shift) / np.sqrt(1 + k**2 * spread / VARIANCE[noise])
        phi, is_random = 2 * cdf(noise, a) - 1, True
    return found


def folded(means, gains_shifts, statistics, noise: str) -> Net:
    """The ordinary network that normalisation by these statistics makes."""
    layers = []
    for k, (mu, (gain, shift)) in enumerate(zip(means, gains_shifts, strict=True)):
        if k < len(statistics):
            m, v = statistics[k]
            scale = gain / np.sqrt(v + EPS)
            layers.append(Layer(scale, shift - scale * m, weight_mean=mu))
        else:
            layers.append(Layer(gain, shift, weight_mean=mu))
    return Net(tuple(layers[:-1]), layers[-1], noise)


def oracle_of(model, guide, x: torch.Tensor):
    """The statistics and the folded network by NumPy alone."""
    means, units = means_of(guide), gains_and_shifts(model)
    found = propagated(x.numpy(), means, units, model.noise.name)
    return found, folded(means, units, found, model.noise.name)
