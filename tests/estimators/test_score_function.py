"""Baselines of the score function: exact, from earlier steps only, repeatable, and learned."""

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI

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


def expectation_from(net, estimator, state):
    """The sum over all paths, each by its probability, of the step that follows a state."""
    values, probability = all_paths(net)
    total = {name: np.zeros(leaf.shape) for name, leaf in net.parameters.items()}
    elbo = sbn.TraceEstimator_ELBO(estimator)
    for k, share in enumerate(probability.tolist()):
        estimator.load_state_dict(state)
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
    state = {key: value + 0.7 for key, value in estimator.state_dict().items()}
    assert len(state) == sum(1 + layer.is_random for layer in net.net.layers)
    assert_same_gradient(expectation_from(net, estimator, state), exact)


def test_a_baseline_that_knows_its_own_draw_would_be_noticed():
    class Late(ScoreFunction):
        def surrogate(self, site, cost, rerun):
            mean = torch.tensor(0.7).lerp(cost.mean(), 0.1)
            return (cost - mean) * site.log_prob()

    net = network("chain", num_data=1)
    exact = wanted(net, exact_gradient(net.net, net.problem.x, net.problem.y))
    found = expectation_from(net, Late(), {})
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
    assert len(estimator.means) == 0


def test_wrong_options_are_errors():
    with pytest.raises(ValueError, match='the baseline is None, "running", "learned" or a torch'):
        ScoreFunction(baseline="best")
    for decay in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"the decay is a number in \[0, 1\)"):
            ScoreFunction(decay=decay)
    text = repr(ScoreFunction(baseline="running"))
    assert text == "ScoreFunction(baseline='running', decay=0.9)"


class OfParents(torch.nn.Module):
    """A baseline that reads the parameters of any site's law: its largest and their mean."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def forward(self, given):
        return self.linear(torch.stack([given.amax(-1), given.mean(-1)], -1))


def learner(kind: str) -> ScoreFunction:
    return ScoreFunction(baseline=OfParents() if kind == "network" else kind, decay=0.75)


def perturbed_state(net, estimator):
    """The state after two steps, everything learned moved off its start."""
    torch.manual_seed(2)
    elbo = sbn.TraceEstimator_ELBO(estimator)
    for _ in range(2):
        elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    net.gradients()
    generator = torch.Generator().manual_seed(3)
    state = estimator.state_dict()
    for key, value in state.items():
        if not key.startswith(("means", "squares")):
            state[key] = value + torch.randn(value.shape, generator=generator)
    return state


@pytest.mark.parametrize("name", ["one_hidden_layer_real_weights", "chain"])
@pytest.mark.parametrize("kind", ["learned", "network"])
def test_the_score_with_any_learned_baseline_equals_the_exact_gradient(kind, name):
    net = network(name, num_data=1)
    exact = wanted(net, exact_gradient(net.net, net.problem.x, net.problem.y))
    estimator = learner(kind)
    state = perturbed_state(net, estimator)
    assert any(abs(float(v.max())) > 0.1 for k, v in state.items() if "means" not in k)
    assert_same_gradient(expectation_from(net, estimator, state), exact)


def test_a_learned_level_is_trained_by_its_squared_error():
    net = PyroNetwork(one_hidden_layer(num_data=2))
    estimator = learner("learned")
    state = perturbed_state(net, estimator)
    estimator.load_state_dict(state)
    torch.nn.Module.zero_grad(estimator)
    loss, _ = gradient_of_path(net, estimator)
    site = "layers.0.weight"  # its cost is the loss
    mean, square = (state[f"{kind}.layers%2E0%2Eweight"] for kind in ("means", "squares"))
    spread = float(square - mean**2) ** 0.5
    assert spread > 0.01 * float(square) ** 0.5
    error = (loss - float(mean)) / spread - float(state["levels.layers%2E0%2Eweight"])
    assert float(estimator.levels[site].grad) == pytest.approx(-error, rel=1e-10)
    # and the running numbers count this step
    assert float(estimator.means[site]) == pytest.approx(0.75 * float(mean) + 0.25 * loss)


def test_the_loss_does_not_contain_the_error_of_the_baseline():
    net = PyroNetwork(one_hidden_layer(num_data=2))
    estimator = learner("learned")
    plain, _ = gradient_of_path(net, ScoreFunction())
    for _ in range(3):
        loss, _ = gradient_of_path(net, estimator)
        assert loss == pytest.approx(plain, abs=1e-12)


def test_a_network_that_reads_pre_activations_removes_what_they_explain():
    torch.manual_seed(0)
    x = torch.randn(64, 1)
    y = 3 * x.squeeze(-1)  # the cost of a row depends on the row, and the bit adds little
    weight = torch.tensor([[1.0]], requires_grad=True)

    def model(x, y):
        with pyro.plate("data", 64, dim=-1):
            law = sbn.NoisySign(sbn.affine(x, weight))
            h = pyro.sample("h", law, infer={"follows_model": True})
            head = pyro.distributions.Normal(0.1 * h.squeeze(-1), 1.0)
            pyro.sample("y", head, obs=y)

    def guide(x, y):
        with poutine.block(hide=["y"]):
            model(x, y)

    class Square(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.curve = torch.nn.Parameter(torch.zeros(2))

        def forward(self, given):
            return self.curve[0] + self.curve[1] * given.squeeze(-1) ** 2

    spread = {}
    for name, baseline in (("running", "running"), ("network", Square())):
        elbo = sbn.TraceEstimator_ELBO(ScoreFunction(baseline=baseline))
        svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), loss=elbo)
        for _ in range(150):
            svi.step(x, y)
        found = []
        for _ in range(200):
            weight.grad = None
            elbo.loss_and_grads(model, guide, x, y)
            found.append(float(weight.grad))
        spread[name] = np.std(found)
    assert spread["network"] < 0.5 * spread["running"]


def test_a_network_of_a_wrong_shape_is_an_error():
    net = PyroNetwork(one_hidden_layer(num_data=2))
    elbo = sbn.TraceEstimator_ELBO(ScoreFunction(baseline=torch.nn.Identity()))
    elbo.loss(net.model, net.guide, net.x, net.y)
    elbo.loss_and_grads(net.model, net.guide, net.x, net.y)  # the first step has no baseline
    with pytest.raises(ValueError, match=r"network was given \(6,\) and returned \(6,\); it must"):
        elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
