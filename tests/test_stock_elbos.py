r"""Pyro's own ELBOs on the same model, against the oracle and against each other.

Guide-side enumeration is the exact gradient; ``Trace_ELBO`` and ``TraceGraph_ELBO`` are averaged
over all paths; with an :class:`EstimatorMessenger` around the guide they give our estimators.
"""

import functools

import pytest
import torch
from pyro.infer import (
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    config_enumerate,
)

import bayes_sbn as sbn
from bayes_sbn.estimators import PathSampleAnalytic
from tests import problems
from tests.oracles import elbo as oracle_elbo
from tests.oracles import exact_gradient, negative_elbo_gradient
from tests.pyro_networks import PyroNetwork, assert_same_gradient, expected_gradient

EXACT_PSA = PathSampleAnalytic(real_inputs="exact")


def network(name, num_data, gradient="natural"):
    return PyroNetwork(getattr(problems, name)(num_data=num_data), gradient=gradient)


def oracle(net):
    problem = net.problem
    exact = exact_gradient(problem.net, problem.x, problem.y)
    value = -oracle_elbo(problem.net, problem.x, problem.y)
    return value, negative_elbo_gradient(problem.net, exact)


@pytest.mark.parametrize(
    ("name", "num_data"),
    [("one_hidden_layer", 3), ("two_hidden_layers", 3), ("normal_head", 3), ("chain", 3)],
)
def test_guide_side_enumeration_is_exact(name, num_data):
    net = network(name, num_data)
    elbo = TraceEnum_ELBO(max_plate_nesting=1)
    guide = config_enumerate(net.guide.unrolled())
    loss = elbo.differentiable_loss(net.model, guide, net.x, net.y)
    loss.backward()
    value, gradient = oracle(net)
    assert float(loss.detach()) == pytest.approx(value, abs=1e-10)
    assert_same_gradient(net.gradients(), gradient)


@pytest.mark.parametrize("Elbo", [Trace_ELBO, TraceGraph_ELBO])
@pytest.mark.parametrize(("name", "num_data"), [("one_hidden_layer", 2), ("two_hidden_layers", 1)])
def test_stock_elbo_averaged_over_paths_is_exact(Elbo, name, num_data):
    net = network(name, num_data)
    loss, found = expected_gradient(net, Elbo)
    value, gradient = oracle(net)
    assert loss == pytest.approx(value, abs=1e-10)
    assert_same_gradient(found, gradient)


@pytest.mark.parametrize("Elbo", [Trace_ELBO, TraceMeanField_ELBO])
def test_stock_elbo_with_psa_messenger_is_exact_in_one_hidden_layer(Elbo):
    net = network("one_hidden_layer", 2)
    loss, found = expected_gradient(net, Elbo, sbn.EstimatorMessenger(EXACT_PSA))
    value, gradient = oracle(net)
    assert loss == pytest.approx(value, abs=1e-10)
    assert_same_gradient(found, gradient)


@pytest.mark.parametrize("estimator", [EXACT_PSA, "st", "score"])
def test_stock_elbo_with_messenger_has_the_lean_elbos_expectation(estimator):
    net = network("two_hidden_layers", 1)
    lean = functools.partial(sbn.TraceEstimator_ELBO, estimator)
    loss, wanted = expected_gradient(net, lean)
    stock_loss, found = expected_gradient(net, Trace_ELBO, sbn.EstimatorMessenger(estimator))
    assert stock_loss == pytest.approx(loss, abs=1e-10)
    assert_same_gradient(found, wanted)


def test_unrolled_guide_gives_the_lean_elbo_the_same_expectation():
    net = network("one_hidden_layer", 2)
    lean = functools.partial(sbn.TraceEstimator_ELBO, EXACT_PSA)
    loss, wanted = expected_gradient(net, lean)
    unrolled_loss, found = expected_gradient(net, lean, lambda guide: guide.unrolled())
    assert unrolled_loss == pytest.approx(loss, abs=1e-10)
    assert_same_gradient(found, wanted)


def test_the_three_bounds_are_in_order():
    # what is trained, and the two tighter ones that are reported
    from tests.oracles import log_marginal, log_marginal_given_weights

    problem = problems.two_hidden_layers(num_data=2)
    trained = -oracle_elbo(problem.net, problem.x, problem.y, temperature=0.0)
    given_weights = -log_marginal_given_weights(problem.net, problem.x, problem.y)
    marginal = -log_marginal(problem.net, problem.x, problem.y)
    assert trained > given_weights + 1e-3 > marginal + 2e-3
    elbo = functools.partial(sbn.TraceEstimator_ELBO, "psa", weight_kl=False)
    net = network("two_hidden_layers", 1)
    loss, _ = expected_gradient(net, elbo)
    single = net.problem
    assert loss == pytest.approx(
        -oracle_elbo(single.net, single.x, single.y, temperature=0.0), abs=1e-10
    )


def test_particles_one_by_one_and_vectorised_agree_in_value():
    net = network("one_hidden_layer", 2)
    torch.manual_seed(0)
    options = {"num_particles": 4000, "max_plate_nesting": 1}
    vectorised = sbn.TraceEstimator_ELBO("psa", vectorize_particles=True, **options)
    values = torch.tensor([vectorised.loss(net.model, net.guide, net.x, net.y) for _ in range(3)])
    value, _ = oracle(net)
    # 12000 draws of a loss whose standard deviation is below 3: six standard errors
    assert abs(float(values.mean()) - value) < 6 * 3 / 12000**0.5
    one_by_one = sbn.TraceEstimator_ELBO("psa", num_particles=3)
    forced = {"layers.0.weight": torch.ones(3, 2), "layers.0": torch.ones(2, 3)}
    three = sbn.TraceEstimator_ELBO(
        "psa", num_particles=3, vectorize_particles=True, max_plate_nesting=1
    )
    with sbn.force_draws(forced):
        a = one_by_one.loss(net.model, net.guide, net.x, net.y)
        b = three.loss(net.model, net.guide, net.x, net.y)
    assert a == pytest.approx(b, abs=1e-12)
