"""What is true of every estimator under Pyro: its handlers, plates, particles and stock ELBOs."""

import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

import bayes_sbn as sbn
from tests.estimators.conformance import (
    ALONE,
    EVERY,
    HARD,
    NAMES,
    PATHS,
    Subsampled,
    assert_nonzero,
    elbo_of,
    needs,
    network,
    step,
    uniforms_of,
)
from tests.pyro_networks import assert_same_gradient


@pytest.mark.parametrize("name", HARD)
def test_trace_and_replay_keep_the_draws(name):
    net = network()
    handler = sbn.EstimatorMessenger(name)
    guide_trace = poutine.trace(handler(net.guide.unrolled())).get_trace(net.x, net.y)
    guide_trace.compute_log_prob()
    model_trace = poutine.trace(poutine.replay(net.model, guide_trace)).get_trace(net.x, net.y)
    sites = [k for k, v in guide_trace.nodes.items() if v["type"] == "sample" and k != "data"]
    assert sorted(sites) == sorted(handler.uniforms)
    for site in sites:
        value = guide_trace.nodes[site]["value"]
        assert model_trace.nodes[site]["value"] is value
        assert guide_trace.nodes[site]["infer"]["drawn_by"].name == name
    assert torch.isfinite(model_trace.log_prob_sum())
    # the recorded uniforms repeat the run
    given = sbn.force_draws({}, uniforms=handler.uniforms)
    with given:
        again = poutine.trace(handler(net.guide.unrolled())).get_trace(net.x, net.y)
    for site in sites:
        assert torch.equal(again.nodes[site]["value"], guide_trace.nodes[site]["value"])


@pytest.mark.parametrize("problem", ["two_hidden_layers", "two_hidden_layers_real_weights"])
@pytest.mark.parametrize("name", EVERY)
def test_scale_scales_value_and_gradient(name, problem):
    net = network(problem)
    uniforms = uniforms_of(net, f"scale/{problem}", needs(name).particles)
    plain = step(elbo_of(name), net, uniforms)
    with poutine.scale(scale=0.25):
        scaled = step(elbo_of(name), net, uniforms)
    assert scaled.loss == pytest.approx(0.25 * plain.loss, abs=1e-11)
    quarter = {k: 0.25 * g for k, g in plain.gradients.items()}
    assert_same_gradient(scaled.gradients, quarter, 1e-11)


@pytest.mark.parametrize("name", EVERY)
def test_subsampling_scales_by_the_number_of_data(name):
    net = network()
    uniforms = uniforms_of(net, "data", needs(name).particles)
    plain = step(elbo_of(name, weight_kl=False), net, uniforms)
    net.num_data = 30
    scaled = step(elbo_of(name, weight_kl=False), net, uniforms)
    assert scaled.loss == pytest.approx(10 * plain.loss, rel=1e-12)
    tenfold = {k: 10 * g for k, g in plain.gradients.items()}
    assert_same_gradient(scaled.gradients, tenfold, 1e-11)
    assert_nonzero(scaled.gradients)


@pytest.mark.parametrize("name", EVERY)
def test_rows_drawn_by_the_plate_are_those_of_every_pass(name):
    net, number = Subsampled(), needs(name).particles
    drawn = net.step(elbo_of(name), None, number)
    rows = drawn.sites["data"]["value"]
    assert len(rows) == net.batch < net.num_data
    given = net.step(elbo_of(name), rows, number)
    assert drawn.loss == pytest.approx(given.loss, abs=1e-11)
    assert_same_gradient(drawn.gradients, given.gradients, 1e-11)
    assert_nonzero(drawn.gradients)


def test_rerun_sees_the_rows_that_the_plate_drew():
    costs = []

    class Repeat(sbn.Estimator):
        def draw(self, site, uniform):
            return site.fn.draw(uniform)

        def surrogate(self, site, cost, rerun):
            costs.append((cost, rerun({site.name: site.value})))

    net = Subsampled()
    for _ in range(5):
        net.step(sbn.TraceEstimator_ELBO(Repeat(), weight_kl=False), None, 1, has_gradient=False)
    assert len(costs) == 10
    for cost, again in costs:
        assert torch.allclose(cost, again, atol=1e-12)
    assert len({float(cost.sum()) for cost, _ in costs}) > 2  # the rows were others each time


@pytest.mark.parametrize("problem", ["two_hidden_layers", "two_hidden_layers_real_weights"])
@pytest.mark.parametrize("name", ALONE)
def test_batched_particles_give_the_mean_of_single_runs(name, problem):
    net, number = network(problem), 4
    uniforms = uniforms_of(net, f"particles/{problem}", number)
    batched = step(elbo_of(name, number), net, uniforms)
    single = [
        step(elbo_of(name, 1), net, {k: u[p] for k, u in uniforms.items()}) for p in range(number)
    ]
    assert batched.loss == pytest.approx(sum(s.loss for s in single) / number, abs=1e-11)
    mean = {k: sum(s.gradients[k] for s in single) / number for k in batched.gradients}
    assert_same_gradient(batched.gradients, mean, 1e-11)


@pytest.mark.parametrize("name", ALONE)
def test_sequential_particles_give_the_mean_of_single_runs(name):
    net, number = network(), 3
    torch.manual_seed(8)
    elbo = sbn.TraceEstimator_ELBO(name, num_particles=number)
    loss = elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    found = net.gradients()
    torch.manual_seed(8)
    single = []
    for _ in range(number):
        one = sbn.TraceEstimator_ELBO(name).loss_and_grads(net.model, net.guide, net.x, net.y)
        single.append((one, net.gradients()))
    assert loss == pytest.approx(sum(one for one, _ in single) / number, abs=1e-11)
    assert_same_gradient(found, {k: sum(g[k] for _, g in single) / number for k in found}, 1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_order_of_particles_does_not_matter(name):
    net, number = network(), max(needs(name).particles, 3)
    uniforms = uniforms_of(net, "order", number)
    found = step(elbo_of(name, number), net, uniforms)
    turned = step(elbo_of(name, number), net, {k: u.flip(0) for k, u in uniforms.items()})
    assert turned.loss == pytest.approx(found.loss, abs=1e-11)
    assert_same_gradient(turned.gradients, found.gradients, 1e-11)


def stock_step(elbo, name, net, uniforms):
    # differentiable_loss: loss_and_grads of Pyro steps only where it finds parameters of its own
    guide = sbn.EstimatorMessenger(name)(net.guide)
    with sbn.force_draws({}, uniforms=uniforms):
        loss = elbo.differentiable_loss(net.model, guide, net.x, net.y)
    loss.backward()
    return float(loss.detach()), net.gradients()


@pytest.mark.parametrize("name", PATHS)
def test_stock_elbo_takes_path_estimators_draw_for_draw(name):
    # activations alone: the Monte Carlo KL of Trace_ELBO is zero pointwise, and so is its gradient
    net = network("two_hidden_layers_real_weights")
    uniforms = uniforms_of(net, "stock")
    lean = step(elbo_of(name), net, uniforms)
    loss, gradients = stock_step(Trace_ELBO(), name, net, uniforms)
    assert loss == pytest.approx(lean.loss, abs=1e-11)
    assert_same_gradient(gradients, lean.gradients, 1e-11)
    assert_nonzero(lean.gradients)


@pytest.mark.parametrize("problem", ["one_hidden_layer", "two_hidden_layers"])
@pytest.mark.parametrize("name", PATHS)
def test_stock_mean_field_elbo_takes_path_estimators_draw_for_draw(name, problem):
    net = network(problem)
    uniforms = uniforms_of(net, f"mean field/{problem}")
    lean = step(elbo_of(name), net, uniforms)
    loss, gradients = stock_step(TraceMeanField_ELBO(), name, net, uniforms)
    assert loss == pytest.approx(lean.loss, abs=1e-11)
    assert_same_gradient(gradients, lean.gradients, 1e-11)
