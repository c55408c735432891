"""Tiny networks on which controls by relaxations are integrated over all uniforms."""

import numpy as np

import bayes_sbn as sbn
from tests.oracles import Array, Layer, Net
from tests.problems import Problem
from tests.pyro_networks import PyroNetwork
from tests.uniform_cells import all_uniforms

SCALES = {"uniform": 2.5, "triangular": 3.0}


def _head(generator: np.random.Generator, inputs: int) -> Layer:
    weight = generator.normal(0, 1.2, (2, inputs))
    return Layer(np.ones(2), np.array([0.2, -0.1]), weight=weight)


def two_layers(noise: str = "logistic", **options) -> PyroNetwork:
    """Two units and one above them, real weights, one datum."""
    draw = np.random.default_rng(4)
    first = Layer(
        draw.uniform(0.6, 1.4, 2), draw.uniform(-0.4, 0.4, 2), weight=draw.normal(0, 1, (2, 1))
    )
    second = Layer(
        draw.uniform(0.6, 1.4, 1), draw.uniform(-0.4, 0.4, 1), weight=draw.normal(0, 1, (1, 2))
    )
    net = Net((first, second), _head(draw, 1), noise, SCALES.get(noise, 1.0))
    return PyroNetwork(Problem("two_layers", net, np.array([[0.8]]), np.array([0])), **options)


def one_unit_of_two_weights(noise: str = "logistic", **options) -> PyroNetwork:
    """A unit with two ±1 weights, one datum."""
    draw = np.random.default_rng(3)
    mean = np.array([[0.3, -0.6]])
    layer = Layer(draw.uniform(0.6, 1.4, 1), draw.uniform(-0.4, 0.4, 1), weight_mean=mean)
    net = Net((layer,), _head(draw, 1), noise, SCALES.get(noise, 1.0))
    problem = Problem("two_weights", net, np.array([[0.8, -0.5]]), np.array([0]))
    return PyroNetwork(problem, **options)


def one_unit(a: float = 0.4, noise: str = "logistic") -> PyroNetwork:
    """One unit of pre-activation a and a loss that is not linear in it, one datum."""
    layer = Layer(np.array([1.0]), np.array([0.0]), weight=np.array([[a]]))
    net = Net((layer,), _head(np.random.default_rng(5), 1), noise, SCALES.get(noise, 1.0))
    return PyroNetwork(Problem("one_unit", net, np.array([[1.0]]), np.array([1])))


def towards_the_ends(p: float, place: int) -> list[float]:
    """Cells that shrink to 0 and 1, where quantiles have no derivatives, and meet at 1/2."""
    del p, place
    small = [4.0**-k for k in range(1, 24)]
    return [0.5, *small, *(1 - s for s in small)]


def expected_gradient_of_particles(
    net: PyroNetwork, estimator: sbn.Estimator | str, nodes: int
) -> dict[str, Array]:
    """The expected gradient over all uniforms, each particle's loss weighed by its volume.

    For controls of a size of their own, which do not grow with the scale of the costs.
    """
    uniforms, volume = all_uniforms(net, (), None, nodes)
    elbo = sbn.TraceEstimator_ELBO(
        estimator, num_particles=len(volume), vectorize_particles=True, max_plate_nesting=1
    )
    with sbn.force_draws({}, uniforms):
        (elbo.particle_losses(net.model, net.guide, net.x, net.y) * volume).sum().backward()
    return net.gradients()
