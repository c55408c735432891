"""Forced draws: every estimator's rule applies to the given values, and wrong use is an error."""

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO

import bayes_sbn as sbn
from bayes_sbn.signs import sign_tag
from tests import problems
from tests.oracle_estimators import psa_gradient_of_path, st_gradient_of_path
from tests.oracles import joint_paths, negative_elbo_gradient
from tests.pyro_networks import PyroNetwork, assert_same_gradient


def network(num_data=3):
    return PyroNetwork(problems.two_hidden_layers(num_data=num_data))


def forced(value_of_h0=1.0):
    return {
        "layers.0.weight": torch.ones(2, 2),
        "layers.1.weight": -torch.ones(2, 2),
        "layers.0": torch.full((3, 2), value_of_h0),
        "layers.1": torch.ones(3, 2),
    }


def drawn(net, estimator, values, **options):
    elbo = sbn.TraceEstimator_ELBO(estimator)
    with sbn.force_draws(values, **options), poutine.trace() as trace:
        elbo.differentiable_loss(net.model, net.guide, net.x, net.y)
    return {name: trace.trace.nodes[name] for name in values}


@pytest.mark.parametrize("estimator", ["psa", "st", "score"])
def test_sites_take_exactly_the_given_values(estimator):
    net = network()
    for name, site in drawn(net, estimator, forced(-1.0)).items():
        assert torch.equal(site["value"].detach(), forced(-1.0)[name])
        assert site["value"].requires_grad == (estimator != "score")
        assert sign_tag(site["value"]) is not None


@pytest.mark.parametrize(
    ("estimator", "of_path"), [("psa", psa_gradient_of_path), ("st", st_gradient_of_path)]
)
def test_gradient_on_one_path_is_the_definitions(estimator, of_path):
    problem = problems.two_hidden_layers(num_data=1)
    net = PyroNetwork(problem)
    exact = sbn.estimators.PathSampleAnalytic(real_inputs="exact")
    elbo = sbn.TraceEstimator_ELBO(exact if estimator == "psa" else estimator)
    paths = joint_paths(problem.net, problem.x, problem.y)
    for k in range(0, len(paths.probability), 977):
        weights = [w[k] for w in paths.weights]
        states = [z[k] for z in paths.activations]
        values = {
            **{f"layers.{i}.weight": torch.tensor(weights[i]) for i in range(2)},
            **{f"layers.{i}": torch.tensor(states[i]) for i in range(2)},
        }
        with sbn.force_draws(values):
            elbo.differentiable_loss(net.model, net.guide, net.x, net.y).backward()
        wanted = of_path(problem.net, weights, states, problem.x, problem.y)
        assert_same_gradient(net.gradients(), negative_elbo_gradient(problem.net, wanted))


def test_uniforms_give_the_draw_of_those_uniforms():
    net = network()
    u = torch.tensor([[0.01, 0.99]] * 3)
    values = {k: v for k, v in forced().items() if k != "layers.0"}
    elbo = sbn.TraceEstimator_ELBO("psa")
    with sbn.force_draws(values, uniforms={"layers.0": u}), poutine.trace() as trace:
        elbo.differentiable_loss(net.model, net.guide, net.x, net.y)
    site = trace.trace.nodes["layers.0"]
    assert torch.equal(site["value"].detach(), torch.where(u < site["fn"].probs, 1.0, -1.0))


def test_stock_elbos_take_the_values():
    net = network()
    with sbn.force_draws(forced()), poutine.trace() as trace:
        Trace_ELBO().differentiable_loss(net.model, net.guide, net.x, net.y)
    for name, value in forced().items():
        assert torch.equal(trace.trace.nodes[name]["value"], value)


def test_unnamed_sites_stay_random():
    net = network()
    elbo = sbn.TraceEstimator_ELBO("psa")
    torch.manual_seed(0)
    with sbn.force_draws({"layers.0": torch.ones(3, 2)}):
        losses = {elbo.loss(net.model, net.guide, net.x, net.y) for _ in range(20)}
    assert len(losses) > 1


def test_observed_and_replayed_sites_are_left_alone():
    net = network()
    with sbn.force_draws({"y": torch.ones(3)}):
        loss = sbn.TraceEstimator_ELBO("st").loss(net.model, net.guide, net.x, net.y)
    assert loss == loss
    fixed = {"layers.0": -torch.ones(3, 2)}
    replayed = poutine.condition(net.model, data=fixed)
    with sbn.force_draws({"layers.0": torch.ones(3, 2)}), poutine.trace() as trace:
        replayed(net.x, net.y)
    assert torch.equal(trace.trace.nodes["layers.0"]["value"], fixed["layers.0"])


def test_particles_take_one_value_each_or_share_one():
    net = network()
    elbo = sbn.TraceEstimator_ELBO(
        "psa", num_particles=2, vectorize_particles=True, max_plate_nesting=1
    )
    weight = torch.stack([torch.ones(2, 2), -torch.ones(2, 2)])
    values = {"layers.0.weight": weight, "layers.0": torch.ones(3, 2)}
    with sbn.force_draws(values):
        (run,) = elbo._get_traces(net.model, net.guide, (net.x, net.y), {})
    nodes = run.guide_trace.nodes
    assert torch.equal(nodes["layers.0.weight"]["value"].detach(), weight.unsqueeze(1))
    assert torch.equal(nodes["layers.0"]["value"].detach(), torch.ones(2, 3, 2))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"nowhere": torch.ones(2)}, "no site is called 'nowhere'"),
        ({"layers.0": torch.ones(3, 5)}, r"given shape \(3, 5\); its draws have shape \(3, 2\)"),
        ({"layers.0": torch.zeros(3, 2)}, r"received values in \{0, 1\}.*2 \* x - 1"),
        ({"layers.0": torch.full((3, 2), 0.3)}, "received the value 0.3"),
    ],
)
def test_wrong_values_are_errors(values, words):
    net = network()
    with pytest.raises(ValueError, match=words), sbn.force_draws(values):
        sbn.TraceEstimator_ELBO("psa").differentiable_loss(net.model, net.guide, net.x, net.y)


def test_wrong_kinds_are_errors():
    with pytest.raises(TypeError, match=r"was given a list; write torch.as_tensor"):
        sbn.force_draws({"h": [1.0]})
    with pytest.raises(ValueError, match="has values and uniforms"):
        sbn.force_draws({"h": torch.ones(1)}, uniforms={"h": torch.ones(1)})

    def model():
        pyro.sample("z", pyro.distributions.Normal(0.0, 1.0))

    with (
        pytest.raises(TypeError, match='site "z" has law Normal'),
        sbn.force_draws({"z": torch.ones(())}),
    ):
        model()


def test_a_rule_that_needs_more_than_the_value_asks_for_uniforms():
    class Backwards(sbn.Estimator):
        def draw(self, site, uniform):
            return -sbn.straight_through(site.fn, uniform)

    net = network()
    with (
        pytest.raises(ValueError, match="needs more than its value; give its uniforms"),
        sbn.force_draws({"layers.0": torch.ones(3, 2)}),
    ):
        sbn.TraceEstimator_ELBO(Backwards()).loss(net.model, net.guide, net.x, net.y)


def test_an_error_inside_is_not_hidden_by_unused_names():
    with pytest.raises(RuntimeError, match="from inside"), sbn.force_draws({"h": torch.ones(1)}):
        raise RuntimeError("from inside")
