"""DisARM: exact over all uniforms in every layer, and less variable than ARM and the score."""

import itertools

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from tests.estimators.test_exact_expectation import NOISES, lean, network, wanted
from tests.oracle_estimators import relative_bias
from tests.oracles import Layer, Net, exact_gradient
from tests.problems import Problem, one_hidden_layer_real_weights
from tests.pyro_networks import PyroNetwork, assert_same_gradient
from tests.uniform_cells import all_uniforms, expected_gradient_over_uniforms


def exact_of(net: PyroNetwork):
    return wanted(net, exact_gradient(net.net, net.problem.x, net.problem.y))


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(
    ("name", "num_data"),
    [("one_hidden_layer_real_weights", 2), ("chain", 1)],
)
def test_disarm_equals_the_exact_gradient(name, num_data, noise):
    net = network(name, noise, num_data=num_data)
    sites = {"layers.0", "layers.0.weight", "layers.1", "layers.1.weight"}
    sites |= {"layers.2", "layers.2.weight"}
    _, found = expected_gradient_over_uniforms(net, lean("disarm"), mirrored=sites)
    assert_same_gradient(found, exact_of(net))


def test_disarm_is_exact_below_another_layer():
    net = network("two_hidden_layers_real_weights", num_data=1)
    _, found = expected_gradient_over_uniforms(net, lean("disarm"), {"layers.0", "layers.1"})
    assert_same_gradient(found, exact_of(net))


def test_disarm_is_exact_for_weights_that_share_a_cost():
    infer = {"layers.0.weight": {"estimator": "disarm"}}
    net = network("one_hidden_layer", num_data=1, infer=infer)
    _, found = expected_gradient_over_uniforms(net, lean("psa"), {"layers.0.weight"})
    exact = exact_of(net)["layers.0.weight_mean"]
    assert found["layers.0.weight_mean"] == pytest.approx(exact, abs=1e-10)


def test_cells_that_are_not_mirrored_would_be_noticed():
    net = network("one_hidden_layer_real_weights", num_data=1)
    _, found = expected_gradient_over_uniforms(net, lean("disarm"))
    assert relative_bias(found, exact_of(net))["layers.0.weight"] > 0.01


def one_unit(a: float) -> PyroNetwork:
    layer = Layer(np.array([1.0]), np.array([0.0]), weight=np.array([[a]]))
    head = Layer(np.array([0.9]), np.array([-0.2]), weight=np.array([[1.3]]))
    net = Net((layer,), head, "logistic", 1.0, "normal", np.array([0.7]))
    return PyroNetwork(Problem("one_unit", net, np.array([[1.0]]), np.array([[0.5]])))


@pytest.mark.parametrize("a", [-2.0, 0.3])
def test_a_pair_that_agrees_has_no_gradient_and_one_that_differs_the_larger_probability(a):
    net = one_unit(a)
    p = 1 / (1 + np.exp(-a))
    costs = {
        x: 0.5 * ((0.5 - 0.9 * 1.3 * x + 0.2) / 0.7) ** 2 + np.log(0.7) + 0.5 * np.log(2 * np.pi)
        for x in (1, -1)
    }
    for u, differs in ((0.02, 1), (0.5, 0), (0.98, -1)):
        with sbn.force_draws({}, {"layers.0": torch.full((1, 1), u)}):
            elbo = sbn.TraceEstimator_ELBO("disarm")
            elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
        assert elbo.passes == 2
        gradient = net.gradients()["layers.0.weight"].item()
        # a pair is (+1, -1) or (-1, +1): the difference of its costs times its sign is the same
        closed = 0.5 * (costs[1] - costs[-1]) * max(p, 1 - p) * abs(differs)
        assert gradient == pytest.approx(closed, abs=1e-12)
    assert abs(costs[1] - costs[-1]) > 0.1


def test_disarm_varies_less_than_the_score():
    net = PyroNetwork(one_hidden_layer_real_weights(num_data=1))
    uniforms, volume = all_uniforms(net, {"layers.0"})
    moments = {}
    for estimator in ("disarm", "score"):
        elbo = sbn.TraceEstimator_ELBO(estimator)
        total = 0.0
        for u, share in zip(uniforms["layers.0"], volume, strict=True):
            with sbn.force_draws({}, {"layers.0": u}):
                elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
            total += float(share) * float((net.gradients()["layers.0.weight"] ** 2).sum())
        moments[estimator] = total
    assert moments["disarm"] < 0.5 * moments["score"]


def test_states_that_cannot_be_drawn_leave_gradients_finite():
    for noise, a in itertools.product(NOISES, (60.0, -60.0)):
        net = one_unit(a)
        net.noise = sbn.noise.get_noise(noise)
        for u in (0.0, 0.5, 1.0):
            with sbn.force_draws({}, {"layers.0": torch.full((1, 1), u)}):
                elbo = sbn.TraceEstimator_ELBO("disarm")
                elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
            assert np.isfinite(net.gradients()["layers.0.weight"]).all()


def test_draws_given_by_value_are_an_error():
    net = one_unit(0.3)
    with (
        pytest.raises(ValueError, match=r'site "layers.0": the draw was given by its value.*unif'),
        sbn.force_draws({"layers.0": torch.ones(1, 1)}),
    ):
        sbn.TraceEstimator_ELBO("disarm").loss_and_grads(net.model, net.guide, net.x, net.y)
