r"""The expectation of each estimator's gradient over all paths, against enumeration.

Unbiased means equal to the exact gradient to 1e-10; biased means equal to what the estimator's
definition gives by literal flips, with the bias recorded here.  Gradients of ±1 weights are those
in the mean.
"""

import functools

import pytest

import bayes_sbn as sbn
from bayes_sbn.estimators import PathSampleAnalytic
from tests import problems
from tests.oracle_estimators import (
    expected_psa_gradient,
    expected_st_gradient,
    relative_bias,
)
from tests.oracles import elbo as oracle_elbo
from tests.oracles import exact_gradient, negative_elbo_gradient
from tests.pyro_networks import PyroNetwork, assert_same_gradient, expected_gradient

NOISES = ("logistic", "gaussian", "laplace", "uniform", "triangular")
EXACT_PSA = PathSampleAnalytic(real_inputs="exact")

# name -> number of data, so that a joint path has at most 12 or 13 bits
SIZES = {
    "one_hidden_layer": 2,
    "one_hidden_layer_real_weights": 3,
    "one_hidden_layer_sign_head": 1,
    "two_hidden_layers": 1,
    "two_hidden_layers_real_weights": 2,
    "chain": 3,
    "bernoulli_head": 2,
    "normal_head": 2,
}
PSA_IS_UNBIASED = (
    "one_hidden_layer",
    "one_hidden_layer_real_weights",
    "one_hidden_layer_sign_head",
    "chain",
    "bernoulli_head",
    "normal_head",
)


def network(
    name: str, noise: str = "logistic", *, num_data: int | None = None, **options
) -> PyroNetwork:
    scale = {"uniform": 2.5, "triangular": 3.0}.get(noise, 1.0)
    problem = getattr(problems, name)(noise, scale, num_data=num_data or SIZES[name])
    return PyroNetwork(problem, **options)


def lean(estimator, **options):
    return functools.partial(sbn.TraceEstimator_ELBO, estimator, **options)


def wanted(net: PyroNetwork, likelihood_gradient, temperature=1.0):
    problem = net.problem
    scale = net.num_data / len(problem.x)
    return negative_elbo_gradient(
        problem.net, likelihood_gradient, temperature=temperature, data_scale=scale
    )


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", SIZES)
def test_score_equals_the_exact_gradient(name, noise):
    net = network(name, noise)
    problem = net.problem
    loss, found = expected_gradient(net, lean("score"))
    assert_same_gradient(found, wanted(net, exact_gradient(problem.net, problem.x, problem.y)))
    assert loss == pytest.approx(-oracle_elbo(problem.net, problem.x, problem.y), abs=1e-10)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", PSA_IS_UNBIASED)
def test_psa_equals_the_exact_gradient_where_a_flip_reaches_one_unit(name, noise):
    net = network(name, noise)
    problem = net.problem
    _, found = expected_gradient(net, lean(EXACT_PSA))
    assert_same_gradient(found, wanted(net, exact_gradient(problem.net, problem.x, problem.y)))


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", SIZES)
def test_psa_equals_its_definition_by_literal_flips(name, noise):
    net = network(name, noise)
    problem = net.problem
    _, found = expected_gradient(net, lean(EXACT_PSA))
    definition = expected_psa_gradient(problem.net, problem.x, problem.y)
    assert_same_gradient(found, wanted(net, definition))


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", SIZES)
def test_st_equals_its_closed_form(name, noise):
    net = network(name, noise)
    problem = net.problem
    _, found = expected_gradient(net, lean("st"))
    definition = expected_st_gradient(problem.net, problem.x, problem.y)
    assert_same_gradient(found, wanted(net, definition))


# Relative bias |E[estimate] - exact| / |exact| of each block, logistic noise. Blocks that are not
# listed are exact. The scale of the first ±1 layer has a nearly cancelling gradient.
RECORDED_BIAS = {
    ("two_hidden_layers", "psa"): {
        "layers.0.scale": 0.9138511997862573,
        "layers.0.bias": 0.007063786343193835,
        "layers.0.weight_mean": 0.008741954569961383,
    },
    ("two_hidden_layers", "st"): {
        "layers.0.scale": 10.684834429388694,
        "layers.0.bias": 0.5639639756874244,
        "layers.0.weight_mean": 0.336662136843779,
        "layers.1.scale": 2.6227753000442857,
        "layers.1.bias": 0.27161198120248065,
        "layers.1.weight_mean": 0.6365386867764137,
    },
    ("two_hidden_layers_real_weights", "psa"): {
        "layers.0.scale": 0.08391727022856839,
        "layers.0.bias": 0.03390827307136045,
        "layers.0.weight": 0.02757687714667575,
    },
    ("two_hidden_layers_real_weights", "st"): {
        "layers.0.scale": 0.10279522803487573,
        "layers.0.bias": 0.06037139412904972,
        "layers.0.weight": 0.07381257532242941,
        "layers.1.scale": 1.3171501789320395,
        "layers.1.bias": 0.018754886840906003,
        "layers.1.weight": 0.3081200936946939,
    },
}


@pytest.mark.parametrize(("name", "estimator"), RECORDED_BIAS)
def test_bias_in_depth_is_the_recorded_one(name, estimator):
    net = network(name)
    problem = net.problem
    chosen = EXACT_PSA if estimator == "psa" else estimator
    _, found = expected_gradient(net, lean(chosen, weight_kl=False))
    exact = {k: -g for k, g in exact_gradient(problem.net, problem.x, problem.y).items()}
    bias = relative_bias(found, exact)
    for block, value in bias.items():
        recorded = RECORDED_BIAS[name, estimator].get(block, 0.0)
        assert value == pytest.approx(recorded, rel=1e-8, abs=1e-12), block


def test_value_and_kl_gradient_scale_with_temperature_and_data():
    net = network("one_hidden_layer")
    net.num_data = 10 * len(net.problem.x)
    problem = net.problem
    loss, found = expected_gradient(net, lean("score", temperature=0.25))
    exact = exact_gradient(problem.net, problem.x, problem.y)
    assert_same_gradient(found, wanted(net, exact, temperature=0.25), 1e-9)
    value = oracle_elbo(problem.net, problem.x, problem.y, temperature=0.25, data_scale=10)
    assert loss == pytest.approx(-value, abs=1e-9)


def test_estimators_mix_site_by_site():
    # the score function is unbiased whatever its neighbours do; psa is exact in the last layer
    infer = {"layers.0": {"estimator": "score"}, "layers.0.weight": {"estimator": "score"}}
    net = network("two_hidden_layers", infer=infer)
    problem = net.problem
    _, found = expected_gradient(net, lean(EXACT_PSA))
    assert_same_gradient(found, wanted(net, exact_gradient(problem.net, problem.x, problem.y)))


def test_euclidean_gradient_is_the_natural_one_times_the_variance():
    natural, euclidean = network("chain"), network("chain", gradient="euclidean")
    _, g = expected_gradient(natural, lean("psa"))
    _, e = expected_gradient(euclidean, lean("psa"))
    for name, layer in natural.net.maps[:-1]:
        key = f"{name}.weight_mean"
        assert e[key] == pytest.approx(g[key] * (1 - layer.weight_mean**2), abs=1e-12)
