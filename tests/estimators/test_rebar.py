"""REBAR: exact over all uniforms whatever its temperature and eta; a learned eta that helps."""

import numpy as np
import pytest
import torch
from pyro.infer import SVI

import bayes_sbn as sbn
from bayes_sbn.estimators import Rebar
from bayes_sbn.estimators.estimator import Site
from bayes_sbn.estimators.rebar import relax
from tests.estimators.relaxed_controls import (
    one_unit,
    one_unit_of_two_weights,
    towards_the_ends,
    two_layers,
)
from tests.estimators.test_disarm import exact_of
from tests.estimators.test_exact_expectation import NOISES, lean, network
from tests.oracle_estimators import relative_bias
from tests.pyro_networks import assert_same_gradient
from tests.uniform_cells import all_uniforms, expected_gradient_over_uniforms

SMOOTH = ("logistic", "uniform")
"""Noises whose relaxed draws are smooth in the uniform, so that Gauss's rule is exact soon."""


@pytest.mark.parametrize("noise", SMOOTH)
@pytest.mark.parametrize("make", [two_layers, one_unit_of_two_weights])
@pytest.mark.parametrize(("temperature", "eta"), [(1.0, 1.0), (0.5, 1.0), (0.5, -0.7)])
def test_equals_the_exact_gradient(make, noise, temperature, eta):
    net = make(noise)
    estimator = Rebar(temperature=temperature, eta=eta)
    _, found = expected_gradient_over_uniforms(net, lean(estimator), (), None, 24)
    assert_same_gradient(found, exact_of(net))


def test_is_exact_in_a_layer_of_several_units():
    net = network("one_hidden_layer_real_weights", num_data=1)
    _, found = expected_gradient_over_uniforms(net, lean(Rebar(temperature=1.0)), (), None, 16)
    assert_same_gradient(found, exact_of(net))


@pytest.mark.parametrize("a", [0.4, -2.0])
@pytest.mark.parametrize("noise", NOISES)
def test_equals_the_exact_gradient_of_one_unit_for_every_noise(noise, a):
    net = one_unit(a, noise)
    graded = {"layers.0": towards_the_ends}
    _, found = expected_gradient_over_uniforms(net, lean("rebar"), (), graded, 20)
    assert_same_gradient(found, exact_of(net))


class OneSided(Rebar):
    """REBAR whose conditional noise is taken for given noise."""

    def control(self, site, relaxed, deviation, rerun):
        value, slope = super().control(site, relaxed, deviation, rerun)
        return value, torch.zeros_like(slope)


@pytest.mark.parametrize("make", [two_layers, one_unit_of_two_weights])
def test_missing_derivatives_of_the_control_would_be_noticed(make):
    net = make()
    _, found = expected_gradient_over_uniforms(net, lean(OneSided()), (), None, 12)
    assert max(relative_bias(found, exact_of(net)).values()) > 0.05


def literal(net, u, temperature, eta):
    """One unit's gradient in its bias by the definition, the conditional noise differentiated."""
    head = net.net.head
    a, y = float(net.net.layers[0].weight[0, 0]), int(net.problem.y[0])
    p = 1 / (1 + np.exp(-a))
    x = 1.0 if u < p else -1.0
    t = u / p if x > 0 else (1 - u) / (1 - p)

    def cost(r):
        logits = head.scale * (head.weight[:, 0] * r) + head.bias
        return np.log(np.exp(logits).sum()) - logits[y]

    def given(b):
        return cost(np.tanh((b - np.log(u / (1 - u))) / (2 * temperature)))

    def conditional(b):
        q = 1 / (1 + np.exp(-b))
        v = t * q if x > 0 else 1 - t * (1 - q)
        return cost(np.tanh((b - np.log(v / (1 - v))) / (2 * temperature)))

    def slope(f):
        return (f(a + 1e-6) - f(a - 1e-6)) / 2e-6

    score = (1 - p) if x > 0 else -p
    left = cost(x) - eta * conditional(a)
    return left * score + eta * (slope(given) - slope(conditional))


@pytest.mark.parametrize("u", [0.03, 0.4, 0.7, 0.99])
def test_one_draw_is_the_definition(u):
    net = one_unit(0.4)
    with sbn.force_draws({}, {"layers.0": torch.full((1, 1), u)}):
        elbo = sbn.TraceEstimator_ELBO(Rebar(temperature=0.7, eta=0.8))
        elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    found = net.gradients()["layers.0.bias"].item()
    assert found == pytest.approx(literal(net, u, 0.7, 0.8), rel=1e-6)


@pytest.mark.parametrize("noise", NOISES)
def test_what_is_kept_of_a_slope_is_between_none_and_all(noise):
    a = torch.tensor([-40.0, -3.0, -0.5, 0.0, 1.0, 40.0])
    for u in (0.0, 1e-12, 0.3, 0.5, 0.9, 1.0):
        fn = sbn.NoisySign(sbn.affine(a[:, None], torch.ones(1, 1)), noise=noise)
        uniform = torch.full((6, 1), u)
        site = Site("h", fn, fn.draw(uniform), uniform)
        relaxation = relax(site, uniform, 0.5)
        for part in (relaxation.kept, relaxation.score, relaxation.slope, relaxation.value):
            assert torch.isfinite(part).all()
        assert ((relaxation.kept >= 0) & (relaxation.kept <= 1)).all()


def second_moments(net, estimators):
    uniforms, weight = all_uniforms(net, (), None, 12)
    found = {}
    for name, estimator in estimators.items():
        elbo, total = sbn.TraceEstimator_ELBO(estimator), 0.0
        for u, share in zip(uniforms["layers.0"], weight, strict=True):
            with sbn.force_draws({}, {"layers.0": u}):
                elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
            total += float(share) * float((net.gradients()["layers.0.bias"] ** 2).sum())
        found[name] = total
    return found


def test_varies_less_than_the_score_function_and_more_where_it_is_cold():
    estimators = {"warm": Rebar(), "cold": Rebar(temperature=0.2), "score": "score"}
    moments = second_moments(one_unit(0.4), estimators)
    assert moments["warm"] < 0.5 * moments["score"]
    assert moments["warm"] < 0.9 * moments["cold"]


def test_gradient_of_eta_is_that_of_half_the_second_moment():
    net = one_unit(0.4)
    grid = {eta: Rebar(eta=eta) for eta in (0.0, 1.0, 2.0)}
    low, middle, high = second_moments(net, grid).values()
    estimator = Rebar(eta="learned")
    elbo = sbn.TraceEstimator_ELBO(estimator)

    def step(uniform):
        with sbn.force_draws({}, {"layers.0": uniform.reshape(1, 1)}):
            elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
        net.gradients()

    step(torch.tensor(0.5))
    (eta,) = estimator.parameters()
    assert eta.item() == 1
    assert eta.grad is None  # the first step has no unit to measure in
    estimator.costs.decay = 1.0  # and the unit stays 2
    estimator.costs.means["layers.0"] = torch.tensor(0.0)
    estimator.costs.squares["layers.0"] = torch.tensor(4.0)
    uniforms, weight = all_uniforms(net, (), None, 12)
    total = 0.0
    for u, share in zip(uniforms["layers.0"], weight, strict=True):
        eta.grad = None
        step(u)
        total += float(share) * eta.grad.item()
    # the second moment is a parabola in eta, whose slope at 1 is half the rise from 0 to 2
    assert total == pytest.approx((high - low) / 4 / 4, rel=1e-9)
    best = 1 - (high - low) / (2 * (high - 2 * middle + low))
    assert second_moments(net, {"best": Rebar(eta=best)})["best"] < 0.99 * middle


def test_learned_eta_is_trained_in_the_svi_step_and_saved():
    torch.manual_seed(0)
    x, y = torch.randn(16, 4), torch.randint(2, (16,))
    model = sbn.models.BinaryMLP(4, [3], 2, num_data=16)
    guide = sbn.guides.AutoSignBernoulli(model)
    estimator = Rebar(eta="learned")
    elbo = sbn.TraceEstimator_ELBO(estimator)
    svi = SVI(model, guide, sbn.optim.MirrorDescent({"lr": 0.05}), loss=elbo)
    for _ in range(5):
        svi.step(x, y)
    etas = {site: estimator.etas[site].item() for site in estimator.etas}
    assert len(etas) == 3
    assert all(abs(eta - 1) > 1e-4 for eta in etas.values())
    again = sbn.TraceEstimator_ELBO(Rebar(eta="learned"))
    again.load_state_dict(elbo.state_dict())
    assert {s: again.estimators.default.etas[s].item() for s in etas} == etas


def test_draws_given_by_value_are_an_error():
    net = one_unit(0.3)
    with (
        pytest.raises(ValueError, match=r'"rebar", site "layers.0": the draw was.*uniform'),
        sbn.force_draws({"layers.0": torch.ones(1, 1)}),
    ):
        sbn.TraceEstimator_ELBO("rebar").loss_and_grads(net.model, net.guide, net.x, net.y)


def test_states_that_cannot_be_drawn_leave_gradients_finite():
    for noise in NOISES:
        for a in (60.0, -60.0):
            net = one_unit(a, noise)
            for u in (0.0, 0.5, 1.0):
                with sbn.force_draws({}, {"layers.0": torch.full((1, 1), u)}):
                    elbo = sbn.TraceEstimator_ELBO("rebar")
                    elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
                assert np.isfinite(net.gradients()["layers.0.weight"]).all()


def test_wrong_options_are_errors():
    with pytest.raises(ValueError, match=r'eta is a number, such as 1\.0, or "learned"'):
        Rebar(eta="best")
    with pytest.raises(ValueError, match="eta is a number"):
        Rebar(eta=float("nan"))
    with pytest.raises(ValueError, match=r"Rebar\(temperature=0\): a temperature is a positive"):
        Rebar(temperature=0)
    assert repr(Rebar(eta="learned")) == "Rebar(temperature=1.0, eta='learned')"
