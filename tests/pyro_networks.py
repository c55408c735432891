r"""Oracle networks as Pyro models, and expectations over all their paths as finite sums.

:class:`PyroNetwork` writes a ``tests.problems`` network as a Pyro model of this package, with leaf
tensors for its parameters and an :class:`~bayes_sbn.guides.AutoSignBernoulli` whose means are the
problem's.  :func:`expected_gradient` gives every joint path to a loss in one call, each weighed
by its probability through ``pyro.poutine.scale``, so that what comes back is the exact expectation
of an estimator's gradient.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyro
import torch
from pyro import poutine

import bayes_sbn as sbn
from bayes_sbn.dual import NATURAL, latent_of
from bayes_sbn.noise import Noise, get_noise
from tests.oracles import joint_paths
from tests.problems import Problem


class PyroNetwork:
    """A tiny network as a Pyro model ``network.model(x, y)`` with ``network.guide``."""

    def __init__(
        self,
        problem: Problem,
        *,
        num_data: int | None = None,
        gradient: str = "natural",
        mirror: str | Noise = NATURAL,
        infer: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self.problem = problem
        self.net = problem.net
        self.infer = dict(infer or {})
        self.num_data = len(problem.x) if num_data is None else num_data
        self.noise = get_noise(self.net.noise, self.net.noise_scale)
        self.x = torch.tensor(problem.x)
        self.y = torch.tensor(problem.y)
        self.leaves = {
            name: torch.tensor(value, requires_grad=True)
            for name, value in self.net.parameters.items()
            if not name.endswith("weight_mean")
        }
        random = {n: layer for n, layer in self.net.maps if layer.is_random}
        self.guide: Any = self._nothing
        if random:
            self.guide = sbn.guides.AutoSignBernoulli(
                self.model, example=(self.x, self.y), gradient=gradient, noise=mirror
            )
            for name, layer in random.items():
                leaf = self.guide.leaf(f"{name}.weight")
                lam = torch.atanh(torch.tensor(layer.weight_mean))
                leaf.data.copy_(latent_of(lam, get_noise(mirror)))

    def _nothing(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """A guide for a network without random weights: its activations follow the model."""
        with poutine.block(hide_fn=lambda m: m["type"] == "sample" and m["is_observed"]):
            self.model(x, y)

    def model(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        weights = {name: self._weight(name, layer) for name, layer in self.net.maps}
        with pyro.plate("data", self.num_data, subsample=x, dim=-1):
            for name, _ in self.net.maps[:-1]:
                law = sbn.NoisySign(self._affine(name, x, weights[name]), noise=self.noise)
                infer = {"follows_model": True, **self.infer.get(name, {})}
                x = pyro.sample(name, law, infer=infer)
            return pyro.sample("y", self.likelihood(x, weights["head"]), obs=y)

    def likelihood(self, h: torch.Tensor, weight: torch.Tensor) -> Any:
        """The law of the data given the last ±1 layer."""
        head = self._affine("head", h, weight)
        return {
            "categorical": lambda: sbn.AffineCategorical(head),
            "bernoulli": lambda: sbn.AffineBernoulli(head),
            "normal": lambda: sbn.AffineNormal(head, self.leaves["sigma"]),
        }[self.net.likelihood]()

    def _weight(self, name: str, layer: Any) -> torch.Tensor:
        if not layer.is_random:
            return self.leaves[f"{name}.weight"]
        site = f"{name}.weight"
        prior = sbn.SignBernoulli(logits=torch.zeros(layer.shape)).to_event(2)
        return pyro.sample(site, prior, infer=dict(self.infer.get(site, {})))

    def _affine(self, name: str, x: torch.Tensor, weight: torch.Tensor) -> Any:
        scale, bias = self.leaves[f"{name}.scale"], self.leaves[f"{name}.bias"]
        return sbn.affine(x, weight, bias, scale=scale)

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """Every leaf by the oracle's name; a ±1 weight's under ``weight_mean``."""
        random = {
            f"{name}.weight_mean": self.guide.leaf(f"{name}.weight")
            for name, layer in self.net.maps
            if layer.is_random
        }
        return {**self.leaves, **random}

    def gradients(self) -> dict[str, np.ndarray]:
        """The gradients that a backward pass left, and a clean slate."""
        found = {}
        for name, leaf in self.parameters.items():
            zero = torch.zeros_like(leaf)
            found[name] = (zero if leaf.grad is None else leaf.grad).numpy().copy()
            leaf.grad = None
        return found


def all_paths(network: PyroNetwork) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Every joint state of positive probability by site, and the probabilities."""
    paths = joint_paths(network.net, network.problem.x, network.problem.y)
    possible = paths.probability > 0
    values = {
        f"{name}.weight": torch.tensor(w[possible])
        for (name, layer), w in zip(network.net.maps, paths.weights, strict=True)
        if layer.is_random
    }
    for (name, _), z in zip(network.net.maps[:-1], paths.activations, strict=True):
        values[name] = torch.tensor(z[possible])
    return values, torch.tensor(paths.probability[possible])


def expected_gradient(
    network: PyroNetwork,
    make_elbo: Callable[..., Any],
    wrap: Callable[[Any], Any] = lambda guide: guide,
) -> tuple[float, dict[str, np.ndarray]]:
    """The expected loss and gradient of an ELBO over every path, in one call.

    Args:
        network: whose parameters the gradient is of.
        make_elbo: makes the ELBO from ``num_particles`` and ``vectorize_particles``.
        wrap: a handler around the guide.
    """
    values, probability = all_paths(network)
    number = len(probability)
    elbo = make_elbo(num_particles=number, vectorize_particles=True, max_plate_nesting=1)
    share = poutine.scale(scale=(probability * number).unsqueeze(-1))
    with share, sbn.force_draws(values):
        # an empty parameter trace: loss_and_grads of stock ELBOs looks for parameters there
        loss = elbo.loss_and_grads(network.model, wrap(network.guide), network.x, network.y)
    return float(loss), network.gradients()


def assert_same_gradient(
    found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], tolerance: float = 1e-10
) -> None:
    """Equality of every block, absolute and relative to its largest entry."""
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        bound = tolerance * max(1.0, float(np.abs(value).max()))
        error = float(np.abs(found[name] - value).max())
        assert error <= bound, f"{name}: off by {error}"
