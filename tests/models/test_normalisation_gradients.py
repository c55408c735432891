"""Gradients of normalised networks: those of folded networks, and of the statistics themselves."""

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from tests import oracle_estimators, oracles
from tests.models.normalised_networks import (
    EPS,
    folded,
    gains_and_shifts,
    means_of,
    normalised_network,
    oracle_of,
    propagated,
)


def gradients(model, guide):
    """Of all parameters by the oracle's names, positive scales in themselves and not their logs."""
    found = {}
    for k, layer in enumerate([*model.hidden, model.output]):
        name = "head" if layer is model.output else f"layers.{k}"
        site = "output.weight" if layer is model.output else f"hidden.{k}.weight"
        scale = layer.scale_unconstrained.grad / layer.scale.detach()
        found[f"{name}.scale"] = scale.numpy()
        found[f"{name}.bias"] = layer.bias_unconstrained.grad.numpy()
        found[f"{name}.weight_mean"] = guide.leaf(site).grad.numpy()
    return found


def unfolded(gradient, statistics, model):
    """Gradients in scales and biases as those in gains and shifts: the statistics are constants."""
    found = dict(gradient)
    for k, (m, v) in enumerate(statistics):
        of_scale, of_bias = found[f"layers.{k}.scale"], found[f"layers.{k}.bias"]
        found[f"layers.{k}.scale"] = (of_scale - of_bias * m) / np.sqrt(v + EPS)
    return found


def largest_error(found, wanted):
    return max(float(np.abs(found[name] - wanted[name]).max()) for name in wanted)


@pytest.mark.parametrize("estimator", ["psa", "st"])
@pytest.mark.parametrize("noise", ["logistic", "uniform"])
def test_every_particle_is_normalised_by_its_own_draw(estimator, noise):
    model, guide, x, y = normalised_network("recalibrated", (3, 4, 3, 2), noise, rows=6)
    if estimator == "psa":
        estimator = sbn.estimators.PathSampleAnalytic(real_inputs="exact")
    weights = {
        name: torch.where(torch.rand(3, *p.shape) < p, 1.0, -1.0)
        for name, p in guide.weight_probabilities().items()
    }
    states = {"x1": torch.ones(3, 6, 4), "x2": torch.ones(3, 6, 3)}
    for draw in states.values():
        draw[torch.rand(draw.shape) < 0.5] = -1

    def gradient(values, **options):
        for parameter in [*model.parameters(), *guide.parameters()]:
            parameter.grad = None
        elbo = sbn.TraceEstimator_ELBO(estimator, weight_kl=True, **options)
        with sbn.force_draws(values):
            elbo.loss_and_grads(model, guide, x, y)
        return gradients(model, guide)

    both = {**weights, **states}
    together = gradient(both, num_particles=3, vectorize_particles=True, max_plate_nesting=1)
    apart = [gradient({name: v[p] for name, v in both.items()}) for p in range(3)]
    for name, value in together.items():
        wanted = np.mean([one[name] for one in apart], 0)
        np.testing.assert_allclose(value, wanted, atol=1e-10)


@pytest.mark.parametrize("kind", ["analytic", "frozen"])
def test_exact_gradient_by_kept_statistics_is_that_of_the_folded_network(kind):
    model, guide, x, y = normalised_network(kind)
    model.calibrate(guide, x)
    model.eval()
    found, net = oracle_of(model, guide, x)
    loss = sbn.TraceEstimator_ELBO("exact").loss_and_grads(model, guide, x, y)
    assert loss == pytest.approx(-oracles.elbo(net, x.numpy(), y.numpy()), abs=1e-10)
    exact = oracles.exact_gradient(net, x.numpy(), y.numpy())
    wanted = unfolded(oracles.negative_elbo_gradient(net, exact), found, model)
    assert largest_error(gradients(model, guide), wanted) < 1e-10


def test_psa_of_a_path_by_frozen_statistics_is_that_of_the_folded_network():
    model, guide, x, y = normalised_network("frozen", (2, 2, 2, 2))
    model.calibrate(guide, x)
    found, net = oracle_of(model, guide, x)
    psa = sbn.TraceEstimator_ELBO(sbn.estimators.PathSampleAnalytic(real_inputs="exact"))
    torch.manual_seed(1)
    psa.loss_and_grads(model, guide, x, y)
    trace = guide.get_traces()[1].nodes
    weights = [trace[name]["value"].detach().numpy() for name in guide.weight_probabilities()]
    states = [trace[f"x{k}"]["value"].detach().numpy() for k in (1, 2)]
    of_path = oracle_estimators.psa_gradient_of_path(net, weights, states, x.numpy(), y.numpy())
    wanted = unfolded(oracles.negative_elbo_gradient(net, of_path), found, model)
    assert largest_error(gradients(model, guide), wanted) < 1e-10
    # statistics that are off are noticed
    off = folded(
        means_of(guide),
        gains_and_shifts(model),
        [(m + 0.1, 1.1 * v) for m, v in found],
        "logistic",
    )
    of_path = oracle_estimators.psa_gradient_of_path(off, weights, states, x.numpy(), y.numpy())
    wanted = unfolded(oracles.negative_elbo_gradient(off, of_path), found, model)
    assert largest_error(gradients(model, guide), wanted) > 1e-3


def test_psa_of_a_path_by_measured_statistics_holds_those_of_the_draw():
    model, guide, x, y = normalised_network("recalibrated", (2, 2, 2, 2))
    psa = sbn.TraceEstimator_ELBO(sbn.estimators.PathSampleAnalytic(real_inputs="exact"))
    torch.manual_seed(1)
    psa.loss_and_grads(model, guide, x, y)
    trace = guide.get_traces()[1].nodes
    weights = [trace[name]["value"].detach().numpy() for name in guide.weight_probabilities()]
    states = [trace[f"x{k}"]["value"].detach().numpy() for k in (1, 2)]
    products = [x.numpy() @ weights[0].T, states[0] @ weights[1].T]
    found = [(p.mean(0), p.var(0)) for p in products]
    net = folded(means_of(guide), gains_and_shifts(model), found, "logistic")
    of_path = oracle_estimators.psa_gradient_of_path(net, weights, states, x.numpy(), y.numpy())
    wanted = unfolded(oracles.negative_elbo_gradient(net, of_path), found, model)
    assert largest_error(gradients(model, guide), wanted) < 1e-10


def test_propagated_statistics_are_differentiated_through_the_laws_of_the_weights():
    model, guide, x, y = normalised_network("analytic")
    sbn.TraceEstimator_ELBO("exact").loss_and_grads(model, guide, x, y)
    found = gradients(model, guide)
    means, units = means_of(guide), gains_and_shifts(model)

    def loss(means, units):
        statistics = propagated(x.numpy(), means, units, "logistic")
        net = folded(means, units, statistics, "logistic")
        return -oracles.elbo(net, x.numpy(), y.numpy())

    def slope(array, place):
        kept, step = array[place], 1e-5
        values = []
        for value in (kept + step, kept - step):
            array[place] = value
            values.append(loss(means, units))
        array[place] = kept
        return (values[0] - values[1]) / (2 * step)

    means = [m.copy() for m in means]
    units = [(g.copy(), b.copy()) for g, b in units]
    names = ["layers.0", "layers.1", "head"]
    for name, mean, (gain, shift) in zip(names, means, units, strict=True):
        for part, array in (("weight_mean", mean), ("scale", gain), ("bias", shift)):
            wanted = np.empty_like(array)
            for place in np.ndindex(*array.shape):
                wanted[place] = slope(array, place)
            np.testing.assert_allclose(found[f"{name}.{part}"], wanted, atol=1e-7)
    # a gradient that takes them for constants is another one
    statistics, net = oracle_of(model, guide, x)
    exact = oracles.exact_gradient(net, x.numpy(), y.numpy())
    constant = unfolded(oracles.negative_elbo_gradient(net, exact), statistics, model)
    assert largest_error(found, constant) > 0.01


@pytest.mark.parametrize("estimator", ["ap2", "local_reparametrisation", "score", "disarm", "zgr"])
@pytest.mark.parametrize("kind", ["analytic", "frozen", "recalibrated"])
def test_other_estimators_run(kind, estimator):
    model, guide, x, y = normalised_network(kind, (3, 4, 3, 2), rows=6)
    loss = sbn.TraceEstimator_ELBO(estimator).loss_and_grads(model, guide, x, y)
    assert np.isfinite(loss)
    assert all(bool(torch.isfinite(p.grad).all()) for p in guide.parameters())
