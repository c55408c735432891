r"""The law of an estimator on the paper's network, over all 2^15 states of every point.

Points are independent given the parameters, so the gradient of the mean loss of N points has

    E[g] = (1/N) sum_n E[g_n],     Var[g] = (1/N^2) sum_n (E|g_n|^2 - |E g_n|^2),

and the layer's gradient of one point is ``delta (x, 1)`` with delta that of its pre-activations, so
that ``|g_n|^2 = |delta|^2 (|x|^2 + 1)``.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import torch

import bayes_sbn as sbn
from studies.gradient_accuracy.network import Array, Data, PaperNetwork

SHARES = (0.5, 0.25)
"""Two places of the uniforms inside the intervals that draw a state."""


Chosen = str | sbn.Estimator
"""An estimator or its name."""


@dataclass(frozen=True)
class Law:
    """Mean gradient and summed variance of one draw, by layer (weights, then bias)."""

    mean: list[Array]
    variance: list[float]


def all_states(widths: list[int]) -> list[torch.Tensor]:
    """Every joint state of the hidden layers, (2^bits, width) each, of ±1."""
    bits = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=sum(widths))))
    return [part.contiguous() for part in bits.double().split(widths, 1)]


def uniforms_of(
    network: PaperNetwork, x: torch.Tensor, states: list[torch.Tensor], share: float
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Uniforms that draw the given states, and the states' probabilities."""
    uniforms, probability, below = {}, torch.ones(len(x), dtype=x.dtype), x
    for k, state in enumerate(states):
        weight, bias = (leaf.detach() for leaf in network.leaves[k])
        p = torch.sigmoid(below @ weight.T + bias)
        up = state > 0
        uniforms[f"h{k + 1}"] = torch.where(up, p * share, p + (1 - p) * share)
        probability = probability * torch.where(up, p, 1 - p).prod(1)
        below = (state + 1) / 2
    return uniforms, probability


def signals(
    network: PaperNetwork,
    estimator: Chosen,
    x: torch.Tensor,
    y: torch.Tensor,
    uniforms: dict[str, torch.Tensor],
) -> list[torch.Tensor]:
    """The estimated gradient in every row's pre-activations, by layer."""
    shifts = network.add_shifts(len(x))
    with sbn.force_draws({}, uniforms=uniforms):
        elbo = sbn.TraceEstimator_ELBO(estimator, max_plate_nesting=1)
        loss = elbo.differentiable_loss(network.model, network.guide, x, y)
    found = torch.autograd.grad(loss, shifts)
    network.shifts = []
    return list(found)


def is_enumerable(network: PaperNetwork, estimator: Chosen, data: Data) -> bool:
    """Whether the estimate is a function of the states alone, on eight random paths.

    It is not where layers hand on real numbers in place of states.
    """
    chosen = sbn.estimators.get_estimator(estimator)
    if chosen.particles > 1 or chosen.output != "sign":
        return False
    generator = torch.Generator().manual_seed(0)
    x, y = torch.tensor(data.x[:8]), torch.tensor(data.y[:8, None] > 0).double()
    widths = [len(bias) for _, bias in network.leaves[:-1]]
    states = [torch.randint(2, (len(x), w), generator=generator).double() * 2 - 1 for w in widths]
    first, second = (
        signals(network, estimator, x, y, uniforms_of(network, x, states, share)[0])
        for share in SHARES
    )
    return all(torch.allclose(a, b, rtol=1e-9) for a, b in zip(first, second, strict=True))


def enumerated_law(network: PaperNetwork, estimator: Chosen, data: Data) -> Law:
    """Mean and variance over every state of every point."""
    states = all_states([len(bias) for _, bias in network.leaves[:-1]])
    num_states, num_data = len(states[0]), len(data.x)
    mean = [torch.zeros(w.numel() + len(w), dtype=w.dtype) for w, _ in network.leaves]
    variance = [0.0] * len(mean)
    for x_n, y_n in zip(data.x, data.y, strict=True):
        x = torch.tensor(x_n).expand(num_states, -1)
        y = torch.full((num_states, 1), float(y_n > 0), dtype=x.dtype)
        uniforms, probability = uniforms_of(network, x, states, SHARES[0])
        found = signals(network, estimator, x, y, uniforms)
        inputs = [x, *((state + 1) / 2 for state in states)]
        for k, (delta, below) in enumerate(zip(found, inputs, strict=True)):
            weighted = delta * probability[:, None]
            expected = torch.cat([(weighted.T @ below).flatten(), weighted.sum(0)])
            square = (weighted * delta).sum(1) @ (below.square().sum(1) + 1)
            mean[k] += expected / num_data
            variance[k] += float(square - expected @ expected) / num_data**2
    return Law([m.numpy() for m in mean], [float(np.maximum(v, 0)) for v in variance])
