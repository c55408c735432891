"""The running baseline of the score function: exact, from earlier steps only, and repeatable."""

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators import ScoreFunction
from tests.estimators.test_exact_expectation import network, wanted
from tests.oracles import exact_gradient
from tests.problems import one_hidden_layer
from tests.pyro_networks import PyroNetwork, all_paths, assert_same_gradient

SITES = {"layers.0", "layers.0.weight"}


def gradient_of_path(net, estimator):
    values = {"layers.0.weight": torch.ones(3, 2), "layers.0": torch.ones(2, 3)}
    elbo = sbn.TraceEstimator_ELBO(estimator, weight_kl=False)
    with sbn.force_draws(values):
        loss = elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    return loss, net.gradients()


def expectation_with_means(net, estimator, means):
    """The sum over all paths, each by its probability, of the step that follows these means."""
    values, probability = all_paths(net)
    total = {name: np.zeros(leaf.shape) for name, leaf in net.parameters.items()}
    elbo = sbn.TraceEstimator_ELBO(estimator)
    for k, share in enumerate(probability.tolist()):
        estimator.means = dict(means)
        with sbn.force_draws({name: value[k] for name, value in values.items()}):
            elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
        total = {name: total[name] + share * g for name, g in net.gradients().items()}
    return total


@pytest.mark.parametrize("name", ["one_hidden_layer_real_weights", "chain"])
def test_the_score_with_a_running_baseline_equals_the_exact_gradient(name):
    net = network(name, num_data=1)
    exact = wanted(net, exact_gradient(net.net, net.problem.x, net.problem.y))
    estimator = ScoreFunction(baseline="running")
    torch.manual_seed(1)
    sbn.TraceEstimator_ELBO(estimator).loss_and_grads(net.model, net.guide, net.x, net.y)
    net.gradients()
    means = {site: mean + 0.7 for site, mean in estimator.means.items()}
    assert len(means) == sum(1 + layer.is_random for layer in net.net.layers)
    assert_same_gradient(expectation_with_means(net, estimator, means), exact)


def test_a_baseline_that_knows_its_own_draw_would_be_noticed():
    class Late(ScoreFunction):
        def surrogate(self, site, cost, rerun):
            mean = self.means[site.name].lerp(cost.mean(), 0.1)
            return (cost - mean) * site.log_prob()

    net = network("chain", num_data=1)
    exact = wanted(net, exact_gradient(net.net, net.problem.x, net.problem.y))
    names = [f"layers.{k}{kind}" for k in range(3) for kind in ("", ".weight")]
    found = expectation_with_means(net, Late(), {name: torch.tensor(0.7) for name in names})
    with pytest.raises(AssertionError, match="off by"):
        assert_same_gradient(found, exact)


def test_the_first_step_has_no_baseline_and_later_ones_the_decaying_mean():
    net = PyroNetwork(one_hidden_layer(num_data=2))
    running, plain = ScoreFunction(baseline="running", decay=0.75), ScoreFunction()
    loss, first = gradient_of_path(net, running)
    _, without = gradient_of_path(net, plain)
    assert set(running.means) == SITES
    assert_same_gradient(first, without, 1e-14)
    # the weights' cost is the loss, so that one earlier step of the same path leaves no score
    _, second = gradient_of_path(net, running)
    assert np.abs(second["layers.0.weight_mean"]).max() < 1e-12
    assert np.abs(first["layers.0.weight_mean"]).max() > 0.1
    running.means["layers.0.weight"] = torch.tensor(0.0)
    _, third = gradient_of_path(net, running)
    assert float(running.means["layers.0.weight"]) == pytest.approx(0.25 * loss, abs=1e-12)
    name = "layers.0.weight_mean"
    assert third[name] == pytest.approx(first[name], abs=1e-12)


def test_a_seed_gives_the_same_gradients():
    net = PyroNetwork(one_hidden_layer(num_data=2))
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        elbo = sbn.TraceEstimator_ELBO(ScoreFunction(baseline="running"))
        for _ in range(3):
            elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
        runs.append(net.gradients())
    assert all((runs[0][name] == runs[1][name]).all() for name in runs[0])
    assert any((runs[0][name] != runs[2][name]).any() for name in runs[0])


def test_evaluating_a_loss_leaves_the_baseline_alone():
    net = PyroNetwork(one_hidden_layer(num_data=2))
    estimator = ScoreFunction(baseline="running")
    sbn.TraceEstimator_ELBO(estimator).loss(net.model, net.guide, net.x, net.y)
    assert estimator.means == {}


def test_wrong_options_are_errors():
    with pytest.raises(ValueError, match='the baseline is None or "running"'):
        ScoreFunction(baseline="learned")
    for decay in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"the decay is a number in \[0, 1\)"):
            ScoreFunction(decay=decay)
    text = repr(ScoreFunction(baseline="running"))
    assert text == "ScoreFunction(baseline='running', decay=0.9)"
