"""What the conformance suite runs: every registered estimator, on tiny networks, at given uniforms.

Uniforms are given rather than values, so that rules which need more than the state (antithetic
draws, say) are run as well.  Estimators are taken from the registry; :data:`NEEDS` says what one
of them cannot do without, and one without an entry gets the defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyro
import torch
from pyro.poutine.messenger import Messenger

import bayes_sbn as sbn
from bayes_sbn.estimators.estimator import REGISTRY
from tests import chance, problems
from tests.pyro_networks import PyroNetwork


@dataclass(frozen=True)
class Needs:
    """What an estimator asks of the ELBO.

    Args:
        particles: how many draws, in one batched run; 1 is an ordinary run.
        couples_particles: whether the gradient of one draw depends on the others.
        knows_places: whether what a uniform decides depends on the place of its unit.
    """

    particles: int = 1
    couples_particles: bool = False
    knows_places: bool = False


NEEDS: dict[str, Needs] = {
    "bitflip1": Needs(knows_places=True),
    "loo": Needs(particles=3, couples_particles=True),
    "ugc": Needs(knows_places=True),
}
"""By name, for the estimators that the defaults do not serve."""

EVERY = sorted(name for name, cls in REGISTRY.items() if cls.__module__.startswith("bayes_sbn."))
"""The estimators that the package registers."""

NAMES = [name for name in EVERY if REGISTRY[name].scope == "site"]
"""Those of single sites, which draw; the others list states, and are for a whole ELBO."""

HARD = [name for name in NAMES if REGISTRY[name].output == "sign"]
"""Those whose draws are ±1."""

PATHS = [name for name in HARD if sbn.estimators.get_estimator(name).is_path]
"""Those whose draw alone carries the gradient, which every ELBO of Pyro can use."""

DETERMINISTIC = ["ap2"]
"""Those that draw nothing."""

ALONE = [name for name in NAMES if not NEEDS.get(name, Needs()).couples_particles]
"""Those that treat every draw for itself."""


def needs(name: str) -> Needs:
    """The entry of the table, or the defaults: as many draws as the estimator says it needs."""
    return NEEDS.get(name, Needs(particles=REGISTRY[name].particles))


def network(name: str = "two_hidden_layers", num_data: int = 3, **options: Any) -> PyroNetwork:
    """A problem of ``tests.problems`` as a Pyro model."""
    return PyroNetwork(getattr(problems, name)(num_data=num_data), **options)


def site_shapes(net: PyroNetwork) -> dict[str, tuple[int, ...]]:
    """The shape of one draw of every ±1 site."""
    shapes: dict[str, tuple[int, ...]] = {
        f"{name}.weight": layer.shape for name, layer in net.net.maps if layer.is_random
    }
    for name, layer in net.net.maps[:-1]:
        shapes[name] = (len(net.x), layer.shape[0])
    return shapes


def uniforms_of(
    net: PyroNetwork, label: str, particles: int = 1, dtype: torch.dtype = torch.float64
) -> dict[str, torch.Tensor]:
    """Uniforms for every ±1 site, with a leading dim for several particles."""
    generator = chance.torch_generator(label)
    lead = (particles,) if particles > 1 else ()
    return {
        name: torch.rand(lead + shape, generator=generator, dtype=dtype)
        for name, shape in site_shapes(net).items()
    }


class Spy(Messenger):
    """Notes every site the first time it is drawn: that of the run itself, not of its reruns."""

    def __init__(self) -> None:
        super().__init__()
        self.sites: dict[str, Any] = {}

    def _pyro_post_sample(self, msg: Any) -> None:
        self.sites.setdefault(msg["name"], dict(msg))


@dataclass
class Step:
    """One call of the ELBO.

    Args:
        loss: its value.
        gradients: of every parameter.
        passes: how many network evaluations it counted.
        sites: Pyro's messages of the first run.
    """

    loss: float
    gradients: Mapping[str, np.ndarray]
    passes: int
    sites: dict[str, Any] = field(default_factory=dict)


def elbo_of(name: str, particles: int | None = None, **options: Any) -> sbn.TraceEstimator_ELBO:
    """The ELBO of an estimator, with as many batched particles as are wanted or needed."""
    number = needs(name).particles if particles is None else particles
    if number > 1:
        options.update(num_particles=number, vectorize_particles=True, max_plate_nesting=1)
    return sbn.TraceEstimator_ELBO(name, **options)


def step(
    elbo: Any,
    net: PyroNetwork,
    uniforms: Mapping[str, torch.Tensor],
    *,
    rows: slice = slice(None),
) -> Step:
    """Loss and gradients at given uniforms, on some rows of the data."""
    given = {k: u if k.endswith("weight") else u[..., rows, :] for k, u in uniforms.items()}
    with sbn.force_draws({}, uniforms=given), Spy() as spy:
        loss = elbo.loss_and_grads(net.model, net.guide, net.x[rows], net.y[rows])
    return Step(float(loss), net.gradients(), getattr(elbo, "passes", 0), spy.sites)


def given_step(name: str, net: PyroNetwork, label: str, **options: Any) -> Step:
    """A step of an estimator at uniforms that depend on the label alone."""
    return step(elbo_of(name, **options), net, uniforms_of(net, label, needs(name).particles))


def assert_nonzero(gradients: Mapping[str, np.ndarray]) -> None:
    """Most blocks are not zero, so that comparing them means something.

    Not all: an estimator that compares two draws gives nothing where both are the same.
    """
    blocks = [np.abs(value).max() > 1e-8 for value in gradients.values()]
    assert 2 * sum(blocks) >= len(blocks)


class Subsampled:
    """One hidden layer on rows that the plate itself draws, or on rows that are given."""

    num_data, batch = 7, 3

    def __init__(self) -> None:
        generator = chance.torch_generator("subsampled")
        self.x = torch.randn(self.num_data, 2, generator=generator)
        self.y = torch.randint(0, 3, (self.num_data,), generator=generator)
        self.head = torch.randn(3, 4, generator=generator)
        self.bias = torch.randn(4, generator=generator).requires_grad_()
        self.guide = sbn.guides.AutoSignBernoulli(self.model, example=(torch.arange(2),))
        start = torch.randn(4, 2, generator=generator)
        self.guide.leaf("w").data.copy_(start)

    def model(self, rows: torch.Tensor | None = None) -> None:
        law = sbn.SignBernoulli(logits=torch.zeros(4, 2)).to_event(2)
        w = pyro.sample("w", law)
        size = self.batch if rows is None else None
        with pyro.plate("data", self.num_data, size, subsample=rows, dim=-1) as chosen:
            h = pyro.sample("h", sbn.NoisySign(sbn.affine(self.x[chosen], w, self.bias)))
            head = sbn.AffineCategorical(sbn.affine(h, self.head))
            pyro.sample("y", head, obs=self.y[chosen])

    def uniforms(self, particles: int) -> dict[str, torch.Tensor]:
        """Of both sites."""
        generator = chance.torch_generator("subsampled uniforms")
        lead = (particles,) if particles > 1 else ()
        shapes = {"w": (4, 2), "h": (self.batch, 4)}
        return {k: torch.rand(lead + s, generator=generator) for k, s in shapes.items()}

    def step(
        self,
        elbo: sbn.TraceEstimator_ELBO,
        rows: torch.Tensor | None,
        count: int,
        *,
        has_gradient: bool = True,
    ) -> Step:
        """Loss and gradients; the rows that were drawn are the value of site ``data``."""
        with sbn.force_draws({}, uniforms=self.uniforms(count)), Spy() as spy:
            arguments = () if rows is None else (rows,)
            loss = elbo.loss_and_grads(self.model, self.guide, *arguments)
        leaves = {"bias": self.bias, "w": self.guide.leaf("w")}
        found = {}
        for name, leaf in leaves.items():
            assert (leaf.grad is not None) == has_gradient
            if leaf.grad is not None:
                found[name] = leaf.grad.numpy().copy()
            leaf.grad = None
        return Step(float(loss), found, elbo.passes, spy.sites)
