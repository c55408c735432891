r"""Tiny convolutional networks as Pyro models, beside their enumeration.

The oracle is the expected log-likelihood as a finite sum in plain torch,

    E_w sum_n V_0(x_n)[y_n],   V_k(x) = sum_z prod_j F(z_j a_j(x)) V_{k+1}(z),   V_K = log softmax,

whose derivatives by autograd are the exact gradient.  A ±1 weight's is that in its mean.
"""

import functools
import itertools
from dataclasses import dataclass, field

import pyro
import pytest
import torch
from pyro import poutine
from torch.nn.functional import conv1d, conv2d

import bayes_sbn as sbn
from bayes_sbn.noise import get_noise
from tests.oracles import differentiable_cdf

Gradients = dict[str, torch.Tensor]


@dataclass
class Layer:
    """A hidden convolution of one output channel; ``is_sign`` if its weights are random ±1."""

    kernel: tuple[int, ...]
    map: tuple[int, ...]
    is_sign: bool
    options: dict[str, int] = field(default_factory=dict)


NETWORKS = {
    # 3 x 3 images; a kernel shared by four places, two of which lie on the padding
    "one_layer": [Layer((2, 2), (2, 2), True, {"padding": 1, "stride": 2})],
    "one_layer_real_weights": [Layer((2, 2), (2, 2), False, {"padding": 1, "stride": 2})],
    # the second kernel covers its map: a flip of an activation or weight reaches one unit
    "two_layers": [
        Layer((2, 2), (2, 2), False),
        Layer((2, 2), (1, 1), True),
    ],
    "two_layers_1d": [Layer((2,), (2,), False), Layer((2,), (1,), True)],
}
CONVOLUTIONS = {1: (conv1d, sbn.affine_conv1d), 2: (conv2d, sbn.affine_conv2d)}
SEEDS = {"one_layer": 99, "one_layer_real_weights": 14, "two_layers": 80, "two_layers_1d": 35}
"""Those, among a hundred, under which the smallest gradient is largest."""
NUM_DATA = {"two_layers": 1}  # so that a joint path has at most 12 bits


def tiny(name: str, noise: str = "logistic", **options) -> "Network":
    return Network(name, noise, **{"num_data": NUM_DATA.get(name, 2), **options})


class Network:
    """A tiny network: its parameters, its Pyro model and guide, and its enumeration."""

    def __init__(
        self, name: str, noise: str = "logistic", num_data: int = 2, seed: int | None = None
    ) -> None:
        generator = torch.Generator().manual_seed(SEEDS[name] if seed is None else seed)
        normal = functools.partial(torch.randn, generator=generator)
        self.layers = NETWORKS[name]
        self.dims = len(self.layers[0].kernel)
        self.convolve, self.affine = CONVOLUTIONS[self.dims]
        self.noise = get_noise(noise, {"uniform": 3.0, "triangular": 4.0}.get(noise, 1.0))
        self.x = normal(num_data, 1, *(3,) * self.dims)
        self.y = torch.tensor([0, 2])[:num_data]
        self.means, self.parameters = {}, {}
        for k, layer in enumerate(self.layers):
            if layer.is_sign:
                self.means[f"w{k}"] = torch.tanh(normal(1, 1, *layer.kernel))
            else:
                self.parameters[f"w{k}"] = normal(1, 1, *layer.kernel)
            self.parameters[f"scale{k}"] = 0.6 + 0.2 * normal(1)
            self.parameters[f"bias{k}"] = 0.3 * normal(1)
        units = torch.Size(self.layers[-1].map).numel()
        self.parameters["head"] = normal(3, units)
        self.parameters["offset"] = 0.5 * normal(3)
        for parameter in self.parameters.values():
            parameter.requires_grad_()
        self.guide = self._nothing
        if self.means:
            self.guide = sbn.guides.AutoSignBernoulli(self.model, example=(self.x, self.y))
            for site, mean in self.means.items():
                self.guide.leaf(site).data.copy_(torch.atanh(mean))

    def _nothing(self, x, y):
        with poutine.block(hide_fn=lambda m: m["type"] == "sample" and m["is_observed"]):
            self.model(x, y)

    def model(self, x, y=None):
        given = self.parameters
        for k, layer in enumerate(self.layers):
            if layer.is_sign:
                prior = sbn.SignBernoulli(logits=torch.zeros(1, 1, *layer.kernel))
                weight = pyro.sample(f"w{k}", prior.to_event(self.dims + 2))
                given = {**given, f"w{k}": weight}
        with pyro.plate("data", len(x), dim=-1):
            for k, layer in enumerate(self.layers):
                pre = self.affine(
                    x, given[f"w{k}"], given[f"bias{k}"], scale=given[f"scale{k}"], **layer.options
                )
                law = sbn.NoisySign(pre, noise=self.noise)
                x = pyro.sample(f"z{k}", law, infer={"follows_model": True})
            head = sbn.affine(sbn.flatten(x, self.dims + 1), given["head"], given["offset"])
            return pyro.sample("y", sbn.AffineCategorical(head), obs=y)

    def cdf(self, a: torch.Tensor) -> torch.Tensor:
        """F by the oracle, which shares no code with the package."""
        return differentiable_cdf(a, self.noise.name, self.noise.scale)

    # the enumeration ------------------------------------------------------------------------

    def pre_activation(self, k: int, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """One map for each x, by torch."""
        product = self.convolve(x, w, **self.layers[k].options)
        return self.parameters[f"scale{k}"] * product + self.parameters[f"bias{k}"]

    def value(self, k: int, x: torch.Tensor, weights: Gradients) -> torch.Tensor:
        """``V_k``, the expected log-probability of every class, (n, classes)."""
        if k == len(self.layers):
            logits = x.flatten(1) @ self.parameters["head"].mT + self.parameters["offset"]
            return torch.log_softmax(logits, -1)
        a = self.pre_activation(k, x, weights[f"w{k}"])
        states = all_signs((1, *self.layers[k].map))
        probability = self.cdf(states * a.unsqueeze(1)).flatten(2).prod(2)
        return probability @ self.value(k + 1, states, weights)

    def weight_states(self) -> list[Gradients]:
        """Every joint state of the ±1 weights beside the real ones."""
        tables = [all_signs((1, 1, *self.layers[int(site[1:])].kernel)) for site in self.means]
        return [
            {**self.parameters, **dict(zip(self.means, state, strict=True))}
            for state in itertools.product(*tables)
        ]

    def exact_gradient(self) -> Gradients:
        """Of the expected negative log-likelihood, in the parameters and the means."""
        leaves = {site: mean.clone().requires_grad_() for site, mean in self.means.items()}
        total = torch.zeros(())
        for weights in self.weight_states():
            probability = torch.ones(())
            for site, mean in leaves.items():
                probability = probability * ((1 + weights[site] * mean) / 2).prod()
            log_p = self.value(0, self.x, weights).gather(1, self.y[:, None])
            total = total - probability * log_p.sum()
        wanted = {**self.parameters, **leaves}
        return dict(zip(wanted, torch.autograd.grad(total, list(wanted.values())), strict=True))

    def paths(self) -> tuple[Gradients, torch.Tensor]:
        """Every joint state of positive probability by site, and the probabilities."""
        values: dict[str, list[torch.Tensor]] = {}
        probabilities = []
        with torch.no_grad():
            for weights in self.weight_states():
                start = torch.ones(1)
                for site, mean in self.means.items():
                    start = start * ((1 + weights[site] * mean) / 2).prod()
                x, probability, states = self.x[None], start, {}
                for k, layer in enumerate(self.layers):
                    z = all_signs((len(self.x), 1, *layer.map))
                    a = self.pre_activation(k, x.flatten(0, 1), weights[f"w{k}"])
                    a = a.reshape(*x.shape[:2], *a.shape[1:])
                    law = self.cdf(z * a.unsqueeze(1)).flatten(2).prod(2)
                    old, new = (
                        t.flatten()
                        for t in torch.meshgrid(
                            torch.arange(len(x)), torch.arange(len(z)), indexing="ij"
                        )
                    )
                    states = {site: value[old] for site, value in states.items()}
                    states[f"z{k}"] = x = z[new]
                    probability = probability[old] * law.flatten()
                for site in self.means:
                    states[site] = weights[site].expand(len(probability), *weights[site].shape)
                for site, value in states.items():
                    values.setdefault(site, []).append(value)
                probabilities.append(probability)
        joint = torch.cat(probabilities)
        return {s: torch.cat(v)[joint > 0] for s, v in values.items()}, joint[joint > 0]

    def expected_gradient(self, estimator) -> Gradients:
        """The expectation of an estimator's gradient over all paths, in one call."""
        values, probability = self.paths()
        assert probability.sum().item() == pytest.approx(1)
        number = len(probability)
        elbo = sbn.TraceEstimator_ELBO(
            estimator,
            weight_kl=False,
            num_particles=number,
            vectorize_particles=True,
            max_plate_nesting=1,
        )
        share = poutine.scale(scale=(probability * number).unsqueeze(-1))
        with share, sbn.force_draws(values):
            elbo.loss_and_grads(self.model, self.guide, self.x, self.y)
        leaves = {**self.parameters, **{site: self.guide.leaf(site) for site in self.means}}
        found = {name: leaf.grad.clone() for name, leaf in leaves.items()}
        for leaf in leaves.values():
            leaf.grad = None
        return found


def all_signs(shape: tuple[int, ...]) -> torch.Tensor:
    """Every ±1 tensor of a shape, (2^n, *shape)."""
    number = torch.Size(shape).numel()
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=number))).reshape(-1, *shape)
