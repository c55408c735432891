r"""Tiny networks with structure between their layers as Pyro models, beside their enumeration.

A network is written twice: with the functions of the package, as a Pyro model, and in plain torch
for one joint state of all its bits.  The oracle is a finite sum over those states,

    E log p(y | z) = sum_{w, z} P(w) sum_n [prod_kj F(z_kj a_kj(x_n, z, w))] log p(y_n | z, w),

whose derivatives by autograd are the exact gradient.  A ±1 weight's is that in its mean.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

import bayes_sbn as sbn
from bayes_sbn.noise import get_noise
from tests.oracles import differentiable_cdf

Gradients = dict[str, Tensor]


@dataclass
class Structure:
    """A network in both languages; ``p`` holds parameters and weights, ``z`` the states so far.

    Args:
        image: the shape of an input.
        units: the shape of each hidden layer.
        hidden: its pre-activations, ours and in plain torch, by ``(p, x, z)``.
        head: the logits of three classes, ours and in plain torch.
        parameters: shapes of the real parameters.
        signs: shapes of the random ±1 weights.
    """

    image: tuple[int, ...]
    units: list[tuple[int, ...]]
    hidden: list[tuple[Callable[..., Any], Callable[..., Tensor]]]
    head: tuple[Callable[..., Any], Callable[..., Tensor]]
    parameters: Mapping[str, tuple[int, ...]]
    signs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


class StructuredNetwork:
    """A structure with random parameters: its Pyro model and guide, and its enumeration."""

    def __init__(self, structure: Structure, noise: str = "logistic", seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)

        def normal(shape: tuple[int, ...]) -> Tensor:
            return torch.randn(shape, generator=generator)

        self.structure = structure
        self.noise = get_noise(noise, {"uniform": 5.0, "triangular": 6.0}.get(noise, 1.0))
        self.x, self.y = normal((2, *structure.image)), torch.tensor([0, 2])
        self.parameters = {
            name: normal(shape).requires_grad_() for name, shape in structure.parameters.items()
        }
        self.means = {name: torch.tanh(normal(shape)) for name, shape in structure.signs.items()}
        self.guide: Any = self._nothing
        if self.means:
            self.guide = sbn.guides.AutoSignBernoulli(self.model, example=(self.x, self.y))
            for site, mean in self.means.items():
                self.guide.leaf(site).data.copy_(torch.atanh(mean))

    def _nothing(self, x: Tensor, y: Tensor) -> None:
        with poutine.block(hide_fn=lambda m: m["type"] == "sample" and m["is_observed"]):
            self.model(x, y)

    def model(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        p = dict(self.parameters)
        for site, mean in self.means.items():
            prior = sbn.SignBernoulli(logits=torch.zeros(mean.shape)).to_event(mean.dim())
            p[site] = pyro.sample(site, prior)
        with pyro.plate("data", len(x), dim=-1):
            z: list[Tensor] = []
            for k, (ours, _) in enumerate(self.structure.hidden):
                law = sbn.NoisySign(ours(p, x, z), noise=self.noise)
                z.append(pyro.sample(f"z{k}", law, infer={"follows_model": True}))
            return pyro.sample("y", sbn.AffineCategorical(self.structure.head[0](p, x, z)), obs=y)

    def states(self) -> Gradients:
        """Every joint state of all bits: weights, and one state of the units for all rows."""
        shapes = dict(self.structure.signs)
        shapes |= {f"z{k}": units for k, units in enumerate(self.structure.units)}
        sizes = [torch.Size(shape).numel() for shape in shapes.values()]
        table = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=sum(sizes))))
        parts = table.split(sizes, 1)
        return {
            name: part.reshape(-1, *shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }

    def _activities(self, p: Gradients, state: Gradients) -> tuple[list[Tensor], Tensor]:
        """The pre-activations of all layers in one joint state, (rows, *units), and the logits."""
        p = {**p, **{site: state[site] for site in self.means}}
        z = [
            state[f"z{k}"].expand(len(self.x), *units)
            for k, units in enumerate(self.structure.units)
        ]
        a = [plain(p, self.x, z) for _, plain in self.structure.hidden]
        return a, self.structure.head[1](p, self.x, z)

    def _of_states(self, states: Gradients) -> tuple[Tensor, Tensor]:
        """Of every state, for each row: its probability given the weights, and log p(y)."""
        activities, logits = torch.vmap(self._activities, (None, 0))(self.parameters, states)
        probability = torch.ones(logits.shape[:2])
        for k, a in enumerate(activities):
            z = states[f"z{k}"].unsqueeze(1)
            cdf = differentiable_cdf(z * a, self.noise.name, self.noise.scale)
            probability = probability * cdf.flatten(2).prod(2)
        log_p = torch.log_softmax(logits, -1)
        return probability, log_p[:, torch.arange(len(self.y)), self.y]

    def _of_weights(self, means: Gradients, states: Gradients) -> Tensor:
        probability = torch.ones(len(next(iter(states.values()))))
        for site, mean in means.items():
            probability = probability * ((1 + states[site] * mean) / 2).flatten(1).prod(1)
        return probability

    def exact_gradient(self) -> Gradients:
        """Of the expected negative log-likelihood, in the parameters and the means."""
        states = self.states()
        means = {site: mean.clone().requires_grad_() for site, mean in self.means.items()}
        probability, log_p = self._of_states(states)
        loss = -(self._of_weights(means, states) * (probability * log_p).sum(1)).sum()
        wanted = {**self.parameters, **means}
        return dict(zip(wanted, torch.autograd.grad(loss, list(wanted.values())), strict=True))

    def expected_gradient(self, estimator: Any) -> Gradients:
        """The expectation of an estimator's gradient over all states, in one call."""
        states = self.states()
        with torch.no_grad():
            probability, _ = self._of_states(states)
            probability = probability * self._of_weights(self.means, states).unsqueeze(1)
        torch.testing.assert_close(probability.sum(0), torch.ones(len(self.x)))
        number, rows = probability.shape
        wide = {
            name: value.unsqueeze(1).expand(number, rows, *value.shape[1:])
            if name not in self.means
            else value
            for name, value in states.items()
        }
        elbo = sbn.TraceEstimator_ELBO(
            estimator,
            weight_kl=False,
            num_particles=number,
            vectorize_particles=True,
            max_plate_nesting=1,
        )
        with poutine.scale(scale=probability * number), sbn.force_draws(wide):
            elbo.loss_and_grads(self.model, self.guide, self.x, self.y)
        leaves = {**self.parameters, **{site: self.guide.leaf(site) for site in self.means}}
        found = {name: leaf.grad.clone() for name, leaf in leaves.items()}
        for leaf in leaves.values():
            leaf.grad = None
        return found


def relative_bias(found: Gradients, exact: Gradients) -> dict[str, float]:
    """``|E[estimate] - exact| / |exact|`` of each block."""
    return {k: float((found[k] - exact[k]).norm() / exact[k].norm()) for k in exact}


def assert_same(found: Gradients, wanted: Gradients, names: Any = None) -> None:
    """Equality to 1e-10 of blocks whose gradient is not nothing."""
    assert set(found) == set(wanted)
    for name in wanted if names is None else names:
        assert wanted[name].abs().max() > 1e-4, name
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-10, atol=1e-10, msg=name)
