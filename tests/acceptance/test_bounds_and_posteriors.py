"""Acceptance 12-17, 19, 21: divergence, bounds, moments, and posteriors that say something."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.distributions import kl_divergence

import bayes_sbn as sbn
from bayes_sbn.affines.moments import variance
from bayes_sbn.kernels import unpack
from bayes_sbn.signs import tag_moments, tag_sign
from tests import oracles, problems
from tests.calibration_oracle import CalibratedNetwork
from tests.chance import numpy_generator
from tests.kernels.reference.draw_oracle import key_of, shared_u48
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
    before = torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state()
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
    torch.set_default_dtype(before[0])  # a module's fixtures come before what a test puts back
    torch.set_num_threads(before[1])
    torch.set_rng_state(before[2])
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


def test_19_recalibrated_statistics_are_those_of_a_direct_pass_and_bits_those_of_floats():
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 8 - 1), torch.tensor(labels)
    torch.manual_seed(0)
    model = sbn.models.BinaryMLP(64, [12, 8], 10, num_data=60, normalisation="recalibrated")
    guide = sbn.guides.AutoSignBernoulli(model)
    sbn.fit(model, guide, (x[:60], y[:60]), epochs=3, batch_size=30, progress=False)
    posterior = sbn.Posterior.from_guide(model, guide)
    ensemble = posterior.draw(2, seed=4, calibrate=x[:60])
    logits = ensemble.integer_logits(x[60:90])
    steps = np.rint(x.numpy() / posterior.input_scale).astype(np.int64)
    for draw in range(2):
        plain = CalibratedNetwork(posterior, key_of(4, 0), draw, steps[:60])
        weights = [unpack(bits)[draw].numpy().astype(np.float64) for bits in ensemble.weights]
        # statistics after calibration: those of a direct pass over the rows
        p = steps[:60] @ weights[0].T
        found = [(float(mean), float(square)) for mean, square in plain.statistics[0]]
        np.testing.assert_allclose(found, np.stack([p.mean(0), p.var(0)], 1), rtol=1e-12)
        hidden = zip(posterior.layers[:2], ensemble.units[:2], plain.statistics[:2], strict=True)
        for index, (layer, units, statistics) in enumerate(hidden):
            step = posterior.input_scale if index == 0 else 1.0
            mean, square = np.array([[float(v) for v in pair] for pair in statistics]).T
            scale = layer.scale / np.sqrt(square * step**2 + layer.normalisation_eps)
            np.testing.assert_allclose(units.scale[draw], scale, rtol=1e-14)
            bias = layer.bias - scale * mean * step
            np.testing.assert_allclose(units.bias[draw], bias, rtol=1e-12, atol=1e-12)
        # packed bits: those of a network in floats whose normalisation is not folded
        for row, inputs in enumerate(x[60:90].numpy()):
            state, step = inputs, posterior.input_scale
            for index, layer in enumerate(posterior.layers[:2]):
                mean, square = np.array(
                    [[float(v) for v in pair] for pair in plain.statistics[index]]
                ).T * [[step], [step**2]]
                product = weights[index] @ state
                a = (product - mean) / np.sqrt(square + layer.normalisation_eps)
                f = 1 / (1 + np.exp(-(layer.scale * a + layer.bias)))
                key = key_of(4, 0)
                u = [shared_u48(key, draw, layer.site, j) / 2**48 for j in range(len(f))]
                state, step = np.where(u < f, 1.0, -1.0), 1.0
            assert (logits[draw, row] == weights[2] @ state).all()


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
