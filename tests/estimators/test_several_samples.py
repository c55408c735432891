"""Several samples a step are the mean of single ones, exactly: one after another, and vectorised.

Every path estimator is given the same uniforms in all three ways; the convolutional network has
kernels that differ by particle.
"""

import numpy as np
import pyro
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators import PathSampleAnalytic
from tests import problems
from tests.distributions.test_flip_likelihood import UserHead
from tests.estimators.conformance import site_shapes
from tests.pyro_networks import PyroNetwork, assert_same_gradient

NUMBER = 4
ESTIMATORS = {
    "psa": lambda: "psa",
    "exact": lambda: PathSampleAnalytic(real_inputs="exact"),
    "rao_blackwell": lambda: PathSampleAnalytic(rao_blackwell=True),
    "st": lambda: "st",
}
NETWORKS = {
    **{
        name: lambda make=make: PyroNetwork(make(num_data=3), num_data=30)
        for name, make in problems.PROBLEMS.items()
    },
    "user head": lambda: UserHead(problems.two_hidden_layers(num_data=3), num_data=30),
}


def of(estimator, number=1, *, vectorize=False):
    return sbn.TraceEstimator_ELBO(
        ESTIMATORS[estimator](),
        num_particles=number,
        vectorize_particles=vectorize,
        max_plate_nesting=1,
        temperature=0.5,
    )


def run(elbo, net, uniforms=None):
    if uniforms is None:
        loss = elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    else:
        with sbn.force_draws({}, uniforms):
            loss = elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    return loss, net.gradients()


def mean_of(runs):
    losses, gradients = zip(*runs, strict=True)
    mean = {name: np.mean([g[name] for g in gradients], 0) for name in gradients[0]}
    assert any(np.abs(gradients[0][name] - mean[name]).max() > 1e-3 for name in mean)
    return np.mean(losses), mean


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", NETWORKS)
def test_vectorised_samples_are_the_mean_of_single_ones(name, estimator):
    net = NETWORKS[name]()
    generator = torch.Generator().manual_seed(0)
    uniforms = {
        site: torch.rand(NUMBER, *shape, generator=generator)
        for site, shape in site_shapes(net).items()
    }
    singles = [
        run(of(estimator), net, {site: u[k] for site, u in uniforms.items()}) for k in range(NUMBER)
    ]
    loss, gradient = mean_of(singles)
    together, found = run(of(estimator, NUMBER, vectorize=True), net, uniforms)
    assert together == pytest.approx(loss, abs=1e-12)
    assert_same_gradient(found, gradient, 1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", NETWORKS)
def test_samples_one_after_another_are_the_mean_of_single_ones(name, estimator):
    net = NETWORKS[name]()
    torch.manual_seed(0)
    loss, gradient = mean_of([run(of(estimator), net) for _ in range(NUMBER)])
    torch.manual_seed(0)
    together, found = run(of(estimator, NUMBER), net)
    assert together == pytest.approx(loss, abs=1e-12)
    assert_same_gradient(found, gradient, 1e-12)


def convolutional(images, y):
    kernel = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(2, 1, 2, 2)).to_event(4))
    with pyro.plate("data", 30, subsample=images, dim=-1):
        a = sbn.affine_conv2d(images, kernel, scale=0.6, padding=1)
        h = pyro.sample("h", sbn.NoisySign(a))
        head = sbn.affine(sbn.flatten(h, 3), HEAD)
        pyro.sample("y", sbn.AffineCategorical(head), obs=y)


HEAD = torch.linspace(-1, 1, 3 * 32, dtype=torch.float64).reshape(3, 32).sin()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_samples_of_kernels_are_the_mean_of_single_ones(estimator):
    generator = torch.Generator().manual_seed(0)
    images, y = torch.randn(2, 1, 3, 3, generator=generator), torch.tensor([0, 2])
    guide = sbn.guides.AutoSignBernoulli(convolutional, example=(images, y))
    leaf = guide.leaf("w")
    values = {"w": torch.rand(NUMBER, 2, 1, 2, 2), "h": torch.rand(NUMBER, 2, 2, 4, 4)}

    def gradient(elbo, uniforms):
        leaf.grad = None
        with sbn.force_draws({}, uniforms):
            elbo.loss_and_grads(convolutional, guide, images, y)
        return leaf.grad

    singles = [gradient(of(estimator), {n: u[k] for n, u in values.items()}) for k in range(NUMBER)]
    together = gradient(of(estimator, NUMBER, vectorize=True), values)
    assert torch.allclose(together, torch.stack(singles).mean(0), atol=1e-12)
    assert (singles[0] - singles[1]).abs().max() > 1e-3
