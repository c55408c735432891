"""The estimators' definitions: unbiasedness, autograd, closed forms and recorded biases."""

import itertools

import numpy as np
import pytest
import torch

from tests.oracle_estimators import (
    expected_psa_gradient,
    expected_score_gradient,
    expected_st_gradient,
    psa_gradient_of_path,
    relative_bias,
    score_gradient_of_path,
    st_gradient_of_path,
)
from tests.oracle_flips import literal_differences, literal_flip_differences
from tests.oracle_noise import NOISES, SMOOTH_NOISES, cdf, density
from tests.oracles import exact_gradient, log_likelihood, paths, pre_activation
from tests.problems import ONE_HIDDEN_LAYER, PROBLEMS, two_hidden_layers


@pytest.mark.parametrize("name", ["one_hidden_layer", "chain", "one_hidden_layer_real_weights"])
def test_expectations_over_data_equal_full_joint_paths(name):
    """The estimators' factorised expectations are averages over complete paths."""
    problem = PROBLEMS[name](num_data=2)
    net, x, y = problem.net, problem.x, problem.y
    pairs = (
        (psa_gradient_of_path, expected_psa_gradient),
        (st_gradient_of_path, expected_st_gradient),
        (score_gradient_of_path, expected_score_gradient),
    )
    totals = [{key: 0.0 for key in net.parameters} for _ in pairs]
    for path in paths(net, x, y):
        for total, (of_path, _) in zip(totals, pairs, strict=True):
            found = of_path(net, path.weights, path.activations, x, y)
            for key in total:
                total[key] = total[key] + path.probability * found[key]
    for total, (_, expectation) in zip(totals, pairs, strict=True):
        expected = expectation(net, x, y)
        for key in total:
            np.testing.assert_allclose(total[key], expected[key], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_score_function_is_unbiased(name, noise):
    problem = PROBLEMS[name](noise)
    data = problem.net, problem.x, problem.y
    exact, expected = exact_gradient(*data), expected_score_gradient(*data)
    for key in exact:
        np.testing.assert_allclose(expected[key], exact[key], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", [*ONE_HIDDEN_LAYER, "chain"])
def test_path_sample_analytic_is_unbiased_with_one_hidden_layer_or_one_unit_wide(name, noise):
    problem = PROBLEMS[name](noise)
    data = problem.net, problem.x, problem.y
    exact, expected = exact_gradient(*data), expected_psa_gradient(*data)
    for key in exact:
        np.testing.assert_allclose(expected[key], exact[key], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(
    "name",
    ["two_hidden_layers", "two_hidden_layers_real_weights", "two_hidden_layers_sign_head"],
)
def test_path_sample_analytic_is_unbiased_in_the_last_layers_only(name, noise):
    problem = PROBLEMS[name](noise)
    data = problem.net, problem.x, problem.y
    bias = relative_bias(expected_psa_gradient(*data), exact_gradient(*data))
    for key, value in bias.items():
        if key.startswith("layers.0"):
            assert 1e-3 < value < 0.3, key
        else:
            assert value < 1e-11, key


RECORDED_BIAS = {
    ("two_hidden_layers", "psa"): {"scale": 0.084133, "bias": 0.008829, "weight_mean": 0.0069902},
    ("two_hidden_layers", "st"): {"scale": 0.74757, "bias": 0.34641, "weight_mean": 0.27211},
    ("two_hidden_layers_real_weights", "psa"): {
        "scale": 0.059931,
        "bias": 0.023688,
        "weight": 0.038835,
    },
    ("two_hidden_layers_real_weights", "st"): {
        "scale": 0.04869,
        "bias": 0.10741,
        "weight": 0.057415,
    },
}
"""|E estimate - exact| / |exact| in the first hidden layer, logistic noise of scale 1."""


@pytest.mark.parametrize(("name", "estimator"), RECORDED_BIAS)
def test_bias_equals_the_recorded_number(name, estimator):
    problem = PROBLEMS[name]()
    data = problem.net, problem.x, problem.y
    expectation = {"psa": expected_psa_gradient, "st": expected_st_gradient}[estimator]
    bias = relative_bias(expectation(*data), exact_gradient(*data))
    recorded = RECORDED_BIAS[name, estimator]
    assert {f"layers.0.{key}" for key in recorded} == {k for k in bias if k.startswith("layers.0")}
    for key, value in recorded.items():
        assert bias[f"layers.0.{key}"] == pytest.approx(value, rel=1e-4)


def drawn_path(net, num_data, seed):
    """Any path will do: uniformly random bits, fixed weights as they are."""
    generator = np.random.default_rng(seed)
    weights = tuple(
        np.where(generator.uniform(size=layer.shape) < 0.5, 1.0, -1.0)
        if layer.is_random
        else layer.weight
        for _, layer in net.maps
    )
    activations = tuple(
        np.where(generator.uniform(size=(num_data, layer.shape[0])) < 0.5, 1.0, -1.0)
        for layer in net.layers
    )
    return weights, activations


@pytest.mark.parametrize("noise", SMOOTH_NOISES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_straight_through_of_path_equals_autograd(name, noise):
    """``x + (2 F(a) - 1) - detach`` under automatic differentiation, weights being leaves."""
    problem = PROBLEMS[name](noise, 1.3)
    net, x, y = problem.net, problem.x, problem.y
    weights, activations = drawn_path(net, len(x), seed=5)
    leaves = {key: torch.tensor(value, requires_grad=True) for key, value in net.parameters.items()}
    state = torch.tensor(x)
    law = {
        "logistic": lambda a: torch.sigmoid(a / 1.3),
        "gaussian": lambda a: torch.distributions.Normal(0.0, 1.3).cdf(a),
    }[noise]
    for k, (prefix, layer) in enumerate(net.maps):
        key = f"{prefix}.weight_mean" if layer.is_random else f"{prefix}.weight"
        w = torch.tensor(weights[k]) + leaves[key] - leaves[key].detach()
        a = leaves[f"{prefix}.scale"] * (state @ w.T) + leaves[f"{prefix}.bias"]
        if prefix != "head":
            mean = 2 * law(a) - 1
            state = torch.tensor(activations[k]) + mean - mean.detach()
    if net.likelihood == "categorical":
        value = -torch.nn.functional.cross_entropy(a, torch.tensor(y), reduction="sum")
    elif net.likelihood == "bernoulli":
        value = torch.distributions.Bernoulli(logits=a).log_prob(torch.tensor(y)).sum()
    else:
        value = torch.distributions.Normal(a, leaves["sigma"]).log_prob(torch.tensor(y)).sum()
    value.backward()
    found = st_gradient_of_path(net, weights, activations, x, y)
    for key, leaf in leaves.items():
        np.testing.assert_allclose(found[key], leaf.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("noise", NOISES)
def test_path_sample_analytic_of_path_equals_the_matrix_identity(noise):
    """±1 weights and inputs: x (g A) 1 + (g B) W for activations, w 1 A + Bᵀ x for weights."""
    problem = two_hidden_layers(noise, sign_inputs=True)
    net, x, y = problem.net, problem.x, problem.y
    (w1, w2, head), (z1, z2) = drawn_path(net, len(x), seed=6)
    g = np.empty_like(z2)
    for n, j in np.ndindex(*z2.shape):
        others = pre_activation(net.head, head, z2[n]) - z2[n, j] * net.head.scale * head[:, j]
        up, down = others + net.head.scale * head[:, j], others - net.head.scale * head[:, j]
        g[n, j] = log_likelihood(net, up, y[n]) - log_likelihood(net, down, y[n])
    expected = {}
    for k, (w, below) in reversed(list(enumerate(((w1, x), (w2, z1))))):
        layer = net.layers[k]
        a = pre_activation(layer, w[None], below)
        centre = cdf(noise, a)
        plus = centre - cdf(noise, a - 2 * layer.scale)
        minus = centre - cdf(noise, a + 2 * layer.scale)
        common, odd = g * (plus + minus) / 2, g * (plus - minus) / 2
        expected[f"layers.{k}.weight_mean"] = 0.5 * (w * common.sum(0)[:, None] + odd.T @ below)
        expected[f"layers.{k}.bias"] = (density(noise, a) * g).sum(0)
        g = below * common.sum(1, keepdims=True) + odd @ w
    found = psa_gradient_of_path(net, (w1, w2, head), (z1, z2), x, y)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-11, atol=1e-13)


def test_path_sample_analytic_of_path_equals_the_division_form():
    """Real weights, logistic noise: 2 F'(a) t / (1 - x t τ), t = tanh(s w), τ = tanh(a / 2)."""
    problem = PROBLEMS["two_hidden_layers_real_weights"]()
    net, x, y = problem.net, problem.x, problem.y
    weights, (z1, z2) = drawn_path(net, len(x), seed=7)

    for n in range(len(x)):

        def value(state, n=n):
            return log_likelihood(net, pre_activation(net.head, weights[2], state), y[n])

        g = literal_differences(value, z2[n])
        a = pre_activation(net.layers[1], weights[1], z1[n])
        t = np.tanh(net.layers[1].scale[:, None] * weights[1])
        tau = np.tanh(a / 2)[:, None]
        jacobian = 2 * density("logistic", a)[:, None] * t / (1 - z1[n][None, :] * t * tau)
        g1 = (jacobian * g[:, None]).sum(0)
        a1 = pre_activation(net.layers[0], weights[0], x[n])
        expected = density("logistic", a1) * g1
        found = psa_gradient_of_path(net, weights, (z1[[n]], z2[[n]]), x[[n]], y[[n]])
        np.testing.assert_allclose(found["layers.0.bias"], expected, rtol=1e-11)


def test_literal_flip_differences_of_the_identity_are_twice_the_slope():
    generator = np.random.default_rng(1)
    weight, x = generator.normal(size=(3, 2)), generator.normal(size=(4, 2))
    scale, bias = np.array([0.5, 1.0, 2.0]), np.array([0.1, 0.0, -0.3])
    of_inputs, of_weights = literal_flip_differences(lambda a: a, weight, x, scale, bias)
    assert of_inputs.shape == of_weights.shape == (4, 3, 2)
    expected = np.broadcast_to(2 * scale[:, None] * weight, (4, 3, 2))
    np.testing.assert_allclose(of_inputs, expected, rtol=1e-13)
    expected = 2 * scale[None, :, None] * x[:, None, :] * np.ones((4, 3, 2))
    np.testing.assert_allclose(of_weights, expected, rtol=1e-13)


def test_literal_flip_differences_agree_with_each_other():
    generator = np.random.default_rng(2)
    weight, x = generator.choice([-1.0, 1.0], (3, 2)), generator.choice([-1.0, 1.0], (4, 2))
    scale, bias = np.array([0.5, 1.0, 2.0]), np.array([0.1, 0.0, -0.3])
    of_inputs, of_weights = literal_flip_differences(np.tanh, weight, x, scale, bias)

    def units(w, inputs):
        return np.tanh(scale * (inputs @ w.T) + bias)

    by_input = literal_differences(lambda inputs: units(weight, inputs), x)
    for n, m in itertools.product(range(4), repeat=2):
        expected = of_inputs[n].T if n == m else np.zeros((2, 3))
        np.testing.assert_allclose(by_input[n, :, m, :], expected, rtol=1e-12, atol=1e-15)
    by_weight = literal_differences(lambda w: units(w, x), weight)
    for j, i in np.ndindex(3, 2):
        expected = np.zeros((4, 3))
        expected[:, j] = of_weights[:, j, i]
        np.testing.assert_allclose(by_weight[j, i], expected, rtol=1e-12, atol=1e-15)
