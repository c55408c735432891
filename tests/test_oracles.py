"""The oracles themselves, against laws from SciPy, central differences, hand formulas and Pyro."""

import ast
import itertools
import math
from pathlib import Path as File

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate
from scipy import stats

from tests import oracles
from tests.import_graph import imports
from tests.oracle_noise import BOUNDED_NOISES, NOISES
from tests.oracles import (
    Layer,
    Net,
    elbo,
    enumerate_datum,
    exact_gradient,
    expected_log_likelihood,
    joint_paths,
    kl,
    kl_gradient,
    log_likelihood,
    log_marginal,
    log_marginal_given_weights,
    negative_elbo_gradient,
    paths,
    predictive_draws,
    predictive_mean,
    sign_states,
    weight_posterior,
    weight_states,
)
from tests.problems import PROBLEMS, two_hidden_layers

BOUNDS = {
    "expected_log_likelihood": expected_log_likelihood,
    "log_marginal_given_weights": log_marginal_given_weights,
    "log_marginal": log_marginal,
}


def central_difference(function, array, step=1e-5):
    gradient = np.empty_like(array)
    for index in np.ndindex(*array.shape):
        shift = np.zeros_like(array)
        shift[index] = step
        gradient[index] = (function(array + shift) - function(array - shift)) / (2 * step)
    return gradient


def test_oracles_import_nothing_of_the_package():
    files = [*File(__file__).parent.glob("oracle*.py")]
    files += [File(__file__).with_name(name) for name in ("problems.py", "chance.py")]
    assert len(files) >= 7
    for file in files:
        found = list(imports(ast.parse(file.read_text("utf-8")), set()))
        assert found
        assert not [entry for entry in found if entry.target.split(".")[0] == "bayes_sbn"], file


LOGITS = np.array([0.4, -1.3, 2.2])
SIGMA = np.array([0.5, 1.0, 2.0])
ONES, CENTRES = np.array([1.0, 0.0, 1.0]), np.array([0.1, 0.2, 0.3])
LIKELIHOODS = {
    "categorical": (2, None, math.log(math.exp(2.2) / sum(math.exp(z) for z in LOGITS))),
    "bernoulli": (ONES, None, stats.bernoulli(1 / (1 + np.exp(-LOGITS))).logpmf(ONES).sum()),
    "normal": (CENTRES, SIGMA, stats.norm(LOGITS, SIGMA).logpdf(CENTRES).sum()),
}
"""name -> (y, sigma, log p)."""


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_log_likelihood_equals_scipy(name):
    y, sigma, expected = LIKELIHOODS[name]
    layer = Layer(np.ones(3), np.zeros(3), weight=np.ones((3, 2)))
    net = Net((), layer, likelihood=name, sigma=sigma)
    assert log_likelihood(net, LOGITS, y) == pytest.approx(expected, rel=1e-13)


def test_expected_log_likelihood_of_one_unit_by_hand():
    # One ±1 weight of mean .4, one unit, a = .5 (w x) + .1, y ~ Normal(2 z + .3, 1).
    net = Net(
        (Layer(np.array([0.5]), np.array([0.1]), weight_mean=np.array([[0.4]])),),
        Layer(np.array([1.0]), np.array([0.3]), weight=np.array([[2.0]])),
        likelihood="normal",
        sigma=np.array([1.0]),
    )
    p_plus = 1 / (1 + math.exp(-(0.5 * 1.5 + 0.1)))
    p_minus = 1 / (1 + math.exp(-(-0.5 * 1.5 + 0.1)))
    p = 0.7 * p_plus + 0.3 * p_minus
    log_p = {z: -0.5 * (1.0 - (2 * z + 0.3)) ** 2 - 0.5 * math.log(2 * math.pi) for z in (1, -1)}
    x, y = np.array([[1.5]]), np.array([[1.0]])
    by_hand = p * log_p[1] + (1 - p) * log_p[-1]
    assert expected_log_likelihood(net, x, y) == pytest.approx(by_hand, rel=1e-14)
    given_weights = sum(
        q * math.log(r * math.exp(log_p[1]) + (1 - r) * math.exp(log_p[-1]))
        for q, r in ((0.7, p_plus), (0.3, p_minus))
    )
    assert log_marginal_given_weights(net, x, y) == pytest.approx(given_weights, rel=1e-14)
    marginal = math.log(p * math.exp(log_p[1]) + (1 - p) * math.exp(log_p[-1]))
    assert log_marginal(net, x, y) == pytest.approx(marginal, rel=1e-14)


@pytest.mark.parametrize("name", ["one_hidden_layer", "two_hidden_layers_real_weights", "chain"])
def test_factorised_sums_equal_full_joint_paths(name):
    problem = PROBLEMS[name](num_data=2)
    net, x, y = problem.net, problem.x, problem.y
    listed = list(paths(net, x, y))
    q = np.array([path.probability for path in listed])
    log_p = np.stack([path.log_likelihood for path in listed])
    assert q.sum() == pytest.approx(1.0, rel=1e-13)
    assert (q * log_p.sum(1)).sum() == pytest.approx(expected_log_likelihood(net, x, y), rel=1e-12)
    marginal = math.log((q * np.exp(log_p.sum(1))).sum())
    assert marginal == pytest.approx(log_marginal(net, x, y), rel=1e-12)

    stacked = joint_paths(net, x, y)
    np.testing.assert_array_equal(stacked.probability, q)
    np.testing.assert_array_equal(stacked.weights[0][7], listed[7].weights[0])
    assert stacked.activations[0].shape == (len(q), 2, net.layers[0].shape[0])
    drawn = [part.reshape(len(q), -1) for part in (*stacked.weights, *stacked.activations)]
    assert len(np.unique(np.concatenate(drawn, 1), axis=0)) == len(q)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_bounds_are_ordered(name, noise):
    problem = PROBLEMS[name](noise)
    first, second, third = (f(problem.net, problem.x, problem.y) for f in BOUNDS.values())
    assert first < second - 1e-3
    if any(layer.is_random for _, layer in problem.net.maps):
        assert second < third - 1e-3
    else:
        assert second == pytest.approx(third, rel=1e-12)


@pytest.mark.parametrize("noise", BOUNDED_NOISES)
def test_bounded_noise_problems_have_impossible_states(noise):
    problem = two_hidden_layers(noise)
    data = zip(problem.x, problem.y, strict=True)
    states = [enumerate_datum(problem.net, *datum)[1] for datum in data]
    assert any((q == 0).any() for q in states)
    for q in states:
        np.testing.assert_allclose(q.sum(1), 1.0, rtol=1e-13)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_exact_gradient_equals_central_differences(name, noise):
    problem = PROBLEMS[name](noise)
    net, x, y = problem.net, problem.x, problem.y
    exact = exact_gradient(net, x, y)
    assert set(exact) == set(net.parameters)
    for key, value in net.parameters.items():

        def shifted(array, key=key):
            return expected_log_likelihood(net.with_parameter(key, array), x, y)

        # The normal head's values reach 1e2, so that differences carry an error near 1e-8.
        difference = central_difference(shifted, value)
        np.testing.assert_allclose(exact[key], difference, rtol=1e-7, atol=3e-8)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("name", ["one_hidden_layer_sign_head", "bernoulli_head", "normal_head"])
def test_exact_gradient_of_each_bound_equals_central_differences(name, bound):
    problem = PROBLEMS[name]()
    net, x, y = problem.net, problem.x, problem.y
    exact = exact_gradient(net, x, y, bound)
    for key, value in net.parameters.items():

        def shifted(array, key=key):
            return BOUNDS[bound](net.with_parameter(key, array), x, y)

        np.testing.assert_allclose(
            exact[key], central_difference(shifted, value), rtol=1e-7, atol=3e-8
        )


@pytest.mark.parametrize("name", PROBLEMS)
def test_mean_gradient_is_half_the_difference_of_conditional_expectations(name):
    problem = PROBLEMS[name]("laplace")
    net, x, y = problem.net, problem.x, problem.y
    exact = exact_gradient(net, x, y)
    for key in (key for key in exact if key.endswith("weight_mean")):
        mean = net.parameters[key]
        by_forcing = np.empty_like(mean)
        for index in np.ndindex(*mean.shape):
            values = []
            for sign in (1.0, -1.0):
                certain = mean.copy()
                certain[index] = sign
                values.append(expected_log_likelihood(net.with_parameter(key, certain), x, y))
            by_forcing[index] = (values[0] - values[1]) / 2
        np.testing.assert_allclose(exact[key], by_forcing, rtol=1e-11, atol=1e-13)


def test_exact_gradient_equals_pyro_enumeration():
    """A 2-2-2 network written in stock Pyro, every bit a 0/1 site, summed by TraceEnum_ELBO."""
    generator = np.random.default_rng(3)
    mean = generator.uniform(-0.8, 0.8, (2, 2))
    scale, bias = np.array([0.7, 1.1]), np.array([0.2, -0.3])
    head = Layer(np.array([0.9, 1.3]), np.array([0.1, -0.2]), weight=generator.normal(size=(2, 2)))
    net = Net((Layer(scale, bias, weight_mean=mean),), head)
    x, y = generator.normal(size=(2, 2)), np.array([1, 1])
    leaves = {key: torch.tensor(value, requires_grad=True) for key, value in net.parameters.items()}
    inputs, labels = torch.tensor(x), torch.tensor(y)

    def draw():
        probability = (1 + leaves["layers.0.weight_mean"]) / 2
        w = [
            [2 * pyro.sample(f"w{j}{i}", dist.Bernoulli(probability[j, i])) - 1 for i in range(2)]
            for j in range(2)
        ]
        z, data = [], pyro.plate("data", 2)
        with data:
            for j in range(2):
                a = w[j][0] * inputs[:, 0] + w[j][1] * inputs[:, 1]
                a = leaves["layers.0.scale"][j] * a + leaves["layers.0.bias"][j]
                z.append(2 * pyro.sample(f"z{j}", dist.Bernoulli(logits=a)) - 1)
        return z, data

    def model():
        z, data = draw()
        logits = [
            leaves["head.scale"][c] * sum(leaves["head.weight"][c, j] * z[j] for j in range(2))
            + leaves["head.bias"][c]
            for c in range(2)
        ]
        with data:
            pyro.sample("y", dist.Categorical(logits=torch.stack(logits, -1)), obs=labels)

    loss = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(
        model, config_enumerate(draw, default="parallel")
    )
    loss.backward()
    # The guide is the model's own law, so that the divergence is 0 and its gradient too.
    assert -loss.item() == pytest.approx(expected_log_likelihood(net, x, y), rel=1e-12)
    for key, gradient in exact_gradient(net, x, y).items():
        np.testing.assert_allclose(-leaves[key].grad.numpy(), gradient, rtol=1e-10, atol=1e-13)


def test_kl_equals_the_sum_over_coordinates():
    mean, prior = np.array([[0.3, -0.9], [0.0, 0.6]]), np.array([[0.1, 0.2], [-0.5, 0.6]])
    p, q = (1 + prior) / 2, (1 + mean) / 2
    closed = (q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))).sum()
    assert kl(mean, prior) == pytest.approx(closed, rel=1e-13)
    assert kl(mean, mean) == pytest.approx(0.0, abs=1e-15)
    assert kl([1.0, -1.0]) == pytest.approx(2 * math.log(2), rel=1e-14)
    assert kl([0.5], [1.0]) == math.inf
    assert kl([1.0], [1.0]) == 0.0


def test_kl_gradient_equals_the_difference_of_the_duals():
    mean, prior = np.array([[0.3, -0.9], [0.0, 0.6]]), np.array([[0.1, 0.2], [-0.5, 0.6]])
    gradient = kl_gradient(mean, prior)
    np.testing.assert_allclose(gradient, np.arctanh(mean) - np.arctanh(prior), atol=1e-13)
    np.testing.assert_allclose(
        gradient, central_difference(lambda m: kl(m, prior), mean), rtol=1e-7, atol=1e-9
    )


def test_negative_elbo_gradient_equals_central_differences():
    problem = two_hidden_layers("gaussian")
    net, x, y = problem.net, problem.x, problem.y
    options = {"prior_mean": 0.2, "temperature": 0.3, "data_scale": 4.0}
    gradient = negative_elbo_gradient(net, exact_gradient(net, x, y), **options)
    for key, value in net.parameters.items():

        def shifted(array, key=key):
            return -elbo(net.with_parameter(key, array), x, y, **options)

        np.testing.assert_allclose(
            gradient[key], central_difference(shifted, value), rtol=1e-7, atol=1e-7
        )


@pytest.mark.parametrize("name", ["two_hidden_layers", "bernoulli_head"])
def test_predictive_mean_equals_marginals_of_each_outcome(name):
    problem = PROBLEMS[name](num_data=2)
    net, x = problem.net, problem.x
    q, table = predictive_draws(net, x)
    np.testing.assert_allclose(q.sum((0, 2)), 1.0, rtol=1e-13)
    mean = predictive_mean(net, x)
    num_outputs = net.head.shape[0]
    if net.likelihood == "categorical":
        np.testing.assert_allclose(table.sum(-1), 1.0, rtol=1e-13)
        outcomes = [(c, [c]) for c in range(num_outputs)]
    else:
        combinations = [np.array(v) for v in itertools.product((0.0, 1.0), repeat=num_outputs)]
        outcomes = [(c, [v for v in combinations if v[c] == 1]) for c in range(num_outputs)]
    for n in range(len(x)):
        for c, targets in outcomes:
            marginal = sum(math.exp(log_marginal(net, x[[n]], np.array([y]))) for y in targets)
            assert mean[n, c] == pytest.approx(marginal, rel=1e-12)


def test_weight_posterior_equals_bayes_rule_over_paths():
    problem = PROBLEMS["one_hidden_layer"](num_data=2)
    net, x, y = problem.net, problem.x, problem.y
    posterior = weight_posterior(net, x, y)
    every, _ = weight_states(net)
    joint = np.zeros(len(posterior))
    for path in paths(net, x, y):
        state = np.flatnonzero((every[0] == path.weights[0]).all((1, 2)))
        joint[state] += path.probability * math.exp(path.log_likelihood.sum())
    np.testing.assert_allclose(posterior, joint / joint.sum(), rtol=1e-11)
    assert joint.sum() == pytest.approx(math.exp(log_marginal(net, x, y)), rel=1e-12)


def test_sign_states_are_all_distinct_and_few():
    assert sorted(map(tuple, sign_states(3))) == sorted(itertools.product((-1.0, 1.0), repeat=3))
    assert sign_states(0).shape == (1, 0)
    with pytest.raises(ValueError, match="too many to enumerate"):
        sign_states(oracles.MAX_BITS + 1)


def test_malformed_networks_are_refused():
    one = np.ones(2)
    with pytest.raises(ValueError, match="either weight_mean or weight"):
        Layer(one, one)
    with pytest.raises(ValueError, match="shape"):
        Layer(one, np.ones(3), weight=np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"lie in \[-1, 1\]"):
        Layer(one, one, weight_mean=np.full((2, 2), 1.5))
    layer = Layer(one, one, weight=np.ones((2, 3)))
    with pytest.raises(ValueError, match="do not chain"):
        Net((layer,), layer)
    with pytest.raises(ValueError, match="sigma belongs"):
        Net((), layer, likelihood="normal")
    with pytest.raises(ValueError, match="0 or 1"):
        log_likelihood(Net((), layer, likelihood="bernoulli"), one, -one)
    with pytest.raises(KeyError, match=r"head\.weight"):
        Net((), layer).with_parameter("head.wieght", one)
