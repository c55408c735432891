"""Acceptance 12-17, 21: the divergence, the bounds, moments, and posteriors that say something."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.distributions import kl_divergence

import bayes_sbn as sbn
from bayes_sbn.affines.moments import variance
from bayes_sbn.signs import tag_moments, tag_sign
from tests import oracles, problems
from tests.chance import numpy_generator
from tests.oracles import sign_states
from tests.pyro_networks import PyroNetwork


def test_12_the_divergence_is_that_of_enumeration_and_finite_far_out():
    lam = numpy_generator("divergence").normal(0, 1.5, 7)
    q = sbn.SignBernoulli.from_natural(torch.tensor(lam)).to_event(1)
    p = sbn.SignBernoulli(logits=torch.zeros(7)).to_event(1)
    found = float(kl_divergence(q, p))
    mean = np.tanh(lam)
    assert found == pytest.approx(oracles.kl(mean), abs=1e-12)
    assert found == pytest.approx((mean * lam - np.log(np.cosh(lam))).sum(), abs=1e-12)
    assert found == pytest.approx(7 * math.log(2) - float(q.entropy()), abs=1e-12)
    fair = sbn.SignBernoulli(logits=torch.zeros(4, dtype=torch.float32))
    for size in (50.0, 1e4):
        far = torch.tensor([size, -size] * 2, dtype=torch.float32)
        value = kl_divergence(sbn.SignBernoulli.from_natural(far), fair)
        torch.testing.assert_close(value, torch.full_like(value, math.log(2)))


def test_13_the_divergence_has_the_gradients_of_its_formula():
    lam = torch.tensor(numpy_generator("gradient").normal(0, 1.5, 7))
    fair = sbn.SignBernoulli(logits=torch.zeros(7))
    for gradient, wanted in (("natural", lam), ("euclidean", lam * (1 - lam.tanh() ** 2))):
        leaf = lam.clone().requires_grad_()
        law = sbn.SignBernoulli.from_natural(leaf, gradient=gradient)
        kl_divergence(law, fair).sum().backward()
        torch.testing.assert_close(leaf.grad, wanted, rtol=0, atol=1e-12)


def test_14_activations_cost_nothing_and_the_three_bounds_are_in_order():
    problem = problems.one_hidden_layer()
    network = PyroNetwork(problem)
    elbo = sbn.TraceEstimator_ELBO("exact")
    loss = elbo.loss(network.model, network.guide, network.x, network.y)
    args = problem.net, problem.x, problem.y
    bounds = [
        oracles.expected_log_likelihood(*args),
        oracles.log_marginal_given_weights(*args),
        oracles.log_marginal(*args),
    ]
    weights = sum(oracles.kl(layer.weight_mean) for _, layer in problem.net.maps if layer.is_random)
    # no divergence of activations in the bound that is trained
    assert -loss == pytest.approx(bounds[0] - weights, abs=1e-12)
    assert bounds[0] + 0.01 < bounds[1]
    assert bounds[1] + 0.01 < bounds[2]


def test_15_moments_of_sums_have_the_variance_of_what_is_random():
    generator = numpy_generator("moments")
    theta = generator.uniform(-0.9, 0.9, (1, 4))
    phi, h = generator.uniform(-0.9, 0.9, 4), generator.normal(0, 1, 4)
    mean = tag_moments(torch.tensor(theta), "w", "ap2")

    fixed = sbn.affine(torch.tensor(h), mean)
    torch.testing.assert_close(fixed.tensor, torch.tensor(theta @ h), rtol=0, atol=1e-12)
    wanted = ((1 - theta**2) * h**2).sum()
    assert float(variance(fixed)) == pytest.approx(wanted, abs=1e-12)
    assert abs(float(variance(fixed)) - (theta**2 * h**2).sum()) > 0.1  # the misprint

    random = sbn.affine(tag_moments(torch.tensor(phi), "h", "ap2"), mean)
    torch.testing.assert_close(random.tensor, torch.tensor(theta @ phi), rtol=0, atol=1e-12)
    wanted = 4 - (theta**2 * phi**2).sum()
    assert float(variance(random)) == pytest.approx(wanted, abs=1e-12)
    # and both are those of enumeration
    w, x = sign_states(4), sign_states(4)
    p = ((1 + w * theta) / 2).prod(1)
    q = ((1 + x * phi) / 2).prod(1)
    sums = w @ x.T
    each = np.outer(p, q)
    assert wanted == pytest.approx((each * (sums - theta @ phi) ** 2).sum(), abs=1e-12)
    assert not sbn.affine(tag_sign(torch.tensor(x), "h", None), torch.tensor(theta)).holds_moments


@pytest.fixture(scope="module")
def digits():
    """Networks fitted to digits at several temperatures; the second is the automatic one."""
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(1)
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 8 - 1, dtype=torch.float32), torch.tensor(labels)
    fits = []
    for factor in (0.1, 1.0, 10.0, 100.0):
        torch.manual_seed(0)
        model = sbn.models.BinaryMLP(64, [64], 10, num_data=1437)
        guide = sbn.guides.AutoSignBernoulli(model)
        if factor == 0.1:
            probe = sbn.TraceEstimator_ELBO("psa", temperature="auto")
            probe.loss(model, guide, x[:1437], y[:1437])
            auto = probe.temperature
        fit = sbn.fit(
            model, guide, (x[:1437], y[:1437]), temperature=factor * auto, epochs=25, progress=False
        )
        fits.append(sbn.Posterior.from_guide(model, guide, temperature=fit.temperature))
    torch.set_default_dtype(torch.float64)
    return fits, x[1437:], labels[1437:]


def test_16_at_the_default_temperature_the_posterior_is_neither_a_point_nor_the_prior(digits):
    (_, posterior, *_), _, _ = digits
    assert 0.05 < posterior.bits_per_weight < 0.99
    for layer in posterior.layers:
        mode = layer.probabilities >= 0.5
        differ = np.where(mode, 1 - layer.probabilities, layer.probabilities).mean()
        assert differ >= 0.01  # of the weights of a draw, in expectation


def test_17_the_ensemble_is_not_its_mode_and_heat_widens_the_posterior(digits):
    posteriors, x, labels = digits
    widths = [posterior.bits_per_weight for posterior in posteriors]
    assert all(low + 0.01 < high for low, high in itertools.pairwise(widths))
    posterior = posteriors[1]
    mean = posterior.draw(64).predict(x, progress=False).mean.argmax(1)
    mode = posterior.mode().draw(64).predict(x, progress=False).mean.argmax(1)
    assert (mean != mode).sum() >= 1
    assert (mean == labels).mean() > 0.85


def test_21_one_datum_updates_a_prior_to_its_exact_marginals():
    problem = problems.one_hidden_layer(num_data=1)
    args = problem.net, problem.x, problem.y
    (layer,) = [layer for _, layer in problem.net.maps if layer.is_random]
    states = oracles.weight_states(problem.net)[0][0].reshape(-1, layer.weight_mean.size)
    prior, log_p = oracles.log_marginals_given_weights(*args)
    posterior = oracles.weight_posterior(*args)
    marginals = torch.tensor((posterior[:, None] * states).sum(0))
    lam = np.arctanh(layer.weight_mean).reshape(-1)
    for i in range(len(lam)):
        evidence = []
        for sign in (1, -1):
            given = prior * (states[:, i] == sign)
            evidence.append((given * np.exp(log_p)).sum() / given.sum())
        lam[i] += 0.5 * math.log(evidence[0] / evidence[1])
    law = sbn.SignBernoulli.from_natural(torch.tensor(lam))
    torch.testing.assert_close(law.mean, marginals, rtol=0, atol=1e-12)
    shift = law.mean - torch.tensor(layer.weight_mean).reshape(-1)
    assert float(shift.abs().max()) > 1e-3
