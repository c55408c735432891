"""Real weights in the bound: their KL in closed form, what it costs, and the exact gradient."""

import functools
import math

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.distributions import Delta, Normal, StudentT
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

import bayes_sbn as sbn
from bayes_sbn.training_validation import weight_divergence
from tests import oracles
from tests.estimators.conformance import EVERY, elbo_of
from tests.hybrid_networks import ENDS, data, gradient, hybrid, oracle_name, oracle_net

REALS = [("first",), ("last",), ENDS, ("hidden.1",), ("first", "hidden.1")]


def divergence(guide) -> float:
    """The KL of normal laws from their priors, by the textbook."""
    total = 0.0
    for name, (loc, spread) in guide.real_weights().items():
        prior_scale = guide.real_priors()[name][1]
        ratio = (spread / prior_scale) ** 2
        total += float((0.5 * (ratio + (loc / prior_scale) ** 2 - 1 - ratio.log())).sum())
    return total


def log_prior(guide) -> float:
    """Of points, ``-log p``."""
    total = 0.0
    for name, (loc, _) in guide.real_weights().items():
        scale = guide.real_priors()[name][1]
        total += float((0.5 * (loc / scale) ** 2 + scale.log() + 0.5 * math.log(2 * math.pi)).sum())
    return total


@pytest.mark.parametrize("noise", ["logistic", "triangular"])
@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize("real", REALS, ids=str)
def test_exact_bound_with_points_is_the_oracles(real, temperature, noise):
    model, guide = hybrid(real, noise=noise)
    x, y = data()
    net = oracle_net(model, guide)
    elbo = sbn.TraceEstimator_ELBO("exact", temperature=temperature)
    loss = elbo.loss_and_grads(model, guide, x, y)
    value = -oracles.elbo(net, x.numpy(), y.numpy(), temperature=temperature)
    assert loss == pytest.approx(value + temperature * log_prior(guide), abs=1e-10)
    exact = oracles.exact_gradient(net, x.numpy(), y.numpy())
    wanted = oracles.negative_elbo_gradient(net, exact, temperature=temperature)
    for name, (loc, _) in guide.real_weights().items():
        prior_scale = guide.real_priors()[name][1]
        pull = temperature * (loc / prior_scale**2).numpy()
        found = gradient(guide.real_site(name).loc)
        np.testing.assert_allclose(found, wanted[f"{oracle_name(name)}.weight"] + pull, atol=1e-10)
    for name in guide.weight_probabilities():
        found = gradient(guide.leaf(name))
        np.testing.assert_allclose(found, wanted[f"{oracle_name(name)}.weight_mean"], atol=1e-10)
    for k, layer in enumerate([*model.hidden, model.output]):
        name = "head" if k == len(model.hidden) else f"layers.{k}"
        bias = gradient(layer._parameters["bias_unconstrained"])
        np.testing.assert_allclose(bias, wanted[f"{name}.bias"], atol=1e-10)


def test_exact_refuses_normal_weights_and_names_points():
    model, guide = hybrid(kind="normal")
    with pytest.raises(TypeError, match=r'law Normal, whose states .* AutoHybrid\(model, real="po'):
        sbn.TraceEstimator_ELBO("exact").loss(model, guide, *data())


def test_the_kl_of_normal_weights_is_analytic_and_costs_the_temperature():
    model, guide = hybrid(kind="normal")
    losses = {}
    for temperature in (0.0, 0.25, 1.0):
        torch.manual_seed(3)
        elbo = sbn.TraceEstimator_ELBO("psa", temperature=temperature)
        losses[temperature] = elbo.loss(model, guide, *data())
    signs = sum(oracles.kl(2 * p.numpy() - 1) for p in guide.weight_probabilities().values())
    whole = divergence(guide) + signs
    assert losses[1.0] - losses[0.0] == pytest.approx(whole, abs=1e-10)
    assert losses[0.25] - losses[0.0] == pytest.approx(0.25 * whole, abs=1e-10)


@pytest.mark.parametrize("kind", ["normal", "point"])
@pytest.mark.parametrize("estimator", ["psa", "st"])
def test_stock_mean_field_elbo_has_the_same_value_and_gradient_draw_by_draw(estimator, kind):
    model, guide = hybrid(kind=kind)
    x, y = data()
    parameters = dict([*guide.named_parameters(), *model.named_parameters()])
    found = []
    for elbo, wrapped in (
        (sbn.TraceEstimator_ELBO(estimator), guide),
        (TraceMeanField_ELBO(), sbn.EstimatorMessenger(estimator)(guide)),
    ):
        torch.manual_seed(7)
        loss = elbo.loss_and_grads(model, wrapped, x, y)
        found.append((loss, {n: gradient(p) for n, p in parameters.items()}))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-10)
    for name, value in found[0][1].items():
        np.testing.assert_allclose(value, found[1][1][name], atol=1e-10, err_msg=name)


def test_stock_trace_elbo_differs_by_the_log_ratio_at_the_draw_in_place_of_its_mean():
    model, guide = hybrid(kind="normal")
    x, y = data()
    locs = {name: loc + 0.1 for name, (loc, _) in guide.real_weights().items()}
    losses, ratio = [], -divergence(guide)
    for name, value in locs.items():
        (loc, spread), (_, scale) = guide.real_weights()[name], guide.real_priors()[name]
        ratio += float(
            (Normal(loc, spread).log_prob(value) - Normal(0, scale).log_prob(value)).sum()
        )
    for elbo, wrapped in (
        (sbn.TraceEstimator_ELBO("st"), guide.unrolled()),
        (Trace_ELBO(), sbn.EstimatorMessenger("st")(guide.unrolled())),
    ):
        torch.manual_seed(7)

        def forced(*args, wrapped=wrapped):
            with Given(locs):
                return wrapped(*args)

        losses.append(elbo.loss(model, forced, x, y))
    # of ±1 weights the stock ELBO has log q - log p at the draw too; their draws are the same
    torch.manual_seed(7)
    trace = poutine.trace(sbn.EstimatorMessenger("st")(forced)).get_trace(x, y)
    for name, p in guide.weight_probabilities().items():
        w = trace.nodes[name]["value"]
        log_q = torch.where(w > 0, p, 1 - p).log().sum()
        ratio += float(log_q) + w.numel() * math.log(2) - oracles.kl(2 * p.numpy() - 1)
    assert losses[1] - losses[0] == pytest.approx(ratio, abs=1e-9)


class Given(poutine.messenger.Messenger):
    """Gives real sites their values, without observing them."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg):
        if msg["name"] in self.values:
            torch.randn_like(self.values[msg["name"]])
            msg["value"] = self.values[msg["name"]]


@pytest.mark.parametrize("kind", ["normal", "point"])
@pytest.mark.parametrize("name", [n for n in EVERY if n != "exact"])
def test_every_estimator_runs_beside_real_weights(name, kind):
    model, guide = hybrid(kind=kind)
    x, y = data()
    elbo = elbo_of(name, temperature="auto")
    loss = elbo.loss_and_grads(model, guide, x, y)
    assert math.isfinite(loss)
    for site in guide.real_weights():
        assert np.abs(gradient(guide.real_site(site).loc)).max() > 1e-8


def test_a_score_sees_the_kl_of_real_weights_that_it_may_decide():
    # spike and slab: the sign decides the prior of the weight after it; all else is known
    posterior = torch.tensor(0.2, requires_grad=True)
    loc, spread = torch.tensor(0.7), torch.tensor(0.5)

    def model(y=None):
        s = pyro.sample("s", sbn.SignBernoulli(logits=torch.zeros(1)).to_event(1))
        w = pyro.sample("w", Normal(torch.zeros(1), (0.6 * s).exp()).to_event(1))
        del w
        with pyro.plate("data", 2):
            pyro.sample("y", Normal(0.0, 1.0), obs=torch.zeros(2))

    def guide(y=None):
        pyro.sample("s", sbn.SignBernoulli.from_natural(posterior.reshape(1)).to_event(1))
        pyro.sample("w", Normal(loc.expand(1), spread.expand(1)).to_event(1))

    def kl(sign):
        return torch.distributions.kl_divergence(
            torch.distributions.Normal(loc, spread),
            torch.distributions.Normal(0.0, math.exp(0.6 * sign)),
        )

    mean = torch.tanh(posterior.detach())
    for temperature in (1.0, 0.4):
        # of the ±1 prior's own KL the derivative in the mean is the natural parameter
        wanted = temperature * float((kl(1) - kl(-1)) / 2 + posterior.detach())
        total = 0.0
        for sign, share in ((1.0, (1 + mean) / 2), (-1.0, (1 - mean) / 2)):
            elbo = sbn.TraceEstimator_ELBO("score", temperature=temperature)
            with sbn.force_draws({"s": torch.full((1,), sign)}):
                elbo.loss_and_grads(model, guide)
            total += float(share * posterior.grad)
            posterior.grad = None
        assert total == pytest.approx(wanted, abs=1e-10)
        # a rerun has it too: the exact difference of both signs, whatever is drawn
        elbo = sbn.TraceEstimator_ELBO("local", temperature=temperature)
        elbo.loss_and_grads(model, guide)
        assert float(posterior.grad) == pytest.approx(wanted, abs=1e-10)
        posterior.grad = None


def test_a_law_without_a_closed_form_costs_the_temperature_too():
    def model(y=None):
        s = pyro.sample("s", sbn.SignBernoulli(logits=torch.zeros(1)).to_event(1))
        w = pyro.sample("w", StudentT(3.0, torch.zeros(1), 1.0).to_event(1))
        with pyro.plate("data", 2):
            pyro.sample("y", Normal((s * w).sum(), 1.0), obs=torch.zeros(2))

    def guide(y=None):
        pyro.sample("s", sbn.SignBernoulli.from_natural(torch.zeros(1)).to_event(1))
        pyro.sample("w", Normal(torch.ones(1), 0.5).to_event(1))

    losses = []
    for temperature in (0.0, 0.5):
        with Given({"w": torch.tensor([0.8])}), sbn.force_draws({"s": torch.ones(1)}):
            elbo = sbn.TraceEstimator_ELBO("st", temperature=temperature)
            losses.append(elbo.loss(model, guide))
    w = torch.tensor(0.8)
    ratio = Normal(1.0, 0.5).log_prob(w) - StudentT(3.0, 0.0, 1.0).log_prob(w)
    assert losses[1] - losses[0] == pytest.approx(0.5 * float(ratio), abs=1e-12)
    assert math.isnan(weight_divergence(model, guide, (torch.zeros(2),)).real_nats)


def test_a_point_may_carry_a_log_density():
    """As the laws of transformed variables do."""

    def model(y=None):
        s = pyro.sample("s", sbn.SignBernoulli(logits=torch.zeros(1)).to_event(1))
        w = pyro.sample("w", Normal(torch.zeros(1), 1.0).to_event(1))
        with pyro.plate("data", 2):
            pyro.sample("y", Normal((s * w).sum(), 1.0), obs=torch.zeros(2))

    def guide(y=None, density=0.0):
        pyro.sample("s", sbn.SignBernoulli.from_natural(torch.zeros(1)).to_event(1))
        pyro.sample("w", Delta(torch.ones(1), torch.tensor(density), event_dim=1))

    elbo = sbn.TraceEstimator_ELBO("exact", temperature=0.5)
    plain = elbo.loss(model, guide)
    carried = elbo.loss(model, functools.partial(guide, density=0.8))
    assert carried - plain == pytest.approx(0.4, abs=1e-12)


def test_latent_variables_of_each_datum_keep_their_full_price():
    def model(y=None):
        s = pyro.sample("s", sbn.SignBernoulli(logits=torch.zeros(1)).to_event(1))
        with pyro.plate("data", 2):
            z = pyro.sample("z", Normal(0.0, 1.0))
            pyro.sample("y", Normal(z * s.sum(-1), 1.0), obs=torch.zeros(2))

    def guide(y=None):
        pyro.sample("s", sbn.SignBernoulli.from_natural(torch.zeros(1)).to_event(1))
        with pyro.plate("data", 2):
            pyro.sample("z", Normal(torch.ones(2), 0.5))

    losses = []
    for temperature in (0.0, 1.0):
        torch.manual_seed(0)
        losses.append(sbn.TraceEstimator_ELBO("st", temperature=temperature).loss(model, guide))
    assert losses[0] == losses[1]  # the ±1 weight is at its prior


@pytest.mark.parametrize("kind", ["normal", "point"])
def test_the_proximal_kl_leaves_that_of_real_weights_in_the_loss(kind):
    model, guide = hybrid(kind=kind)
    losses = []
    for temperature in (0.0, 0.5):
        torch.manual_seed(3)
        elbo = sbn.TraceEstimator_ELBO("psa", temperature=temperature, weight_kl=False)
        losses.append(elbo.loss(model, guide, *data()))
    wanted = divergence(guide) if kind == "normal" else log_prior(guide)
    assert losses[1] - losses[0] == pytest.approx(0.5 * wanted, abs=1e-10)
    optim = sbn.optim.MirrorDescent({"lr": 0.05, "kl": "prox"})
    pyro.infer.SVI(model, guide, optim, loss=elbo).step(*data())


def test_the_automatic_temperature_counts_bits_alone():
    model, guide = hybrid(sizes=(2, 8, 8, 3), num_data=3)
    elbo = sbn.TraceEstimator_ELBO("psa", temperature="auto")
    elbo.loss(model, guide, *data())
    assert elbo.temperature == pytest.approx(3 * math.log(3) / (10 * 64 * math.log(2)))


def test_copies_of_a_tighter_bound_share_real_weights():
    model, guide = hybrid(kind="normal")
    x, y = data()
    elbo = sbn.TraceEstimator_ELBO("psa", num_importance=3, num_particles=2, max_plate_nesting=1)
    (run,) = elbo._get_traces(model, guide, (x, y), {})
    for site in guide.real_weights():
        value = run.guide_trace.nodes[site]["value"]
        assert value.shape[:2] == (6, 1)
        groups = value.reshape(2, 3, *value.shape[1:])
        assert torch.equal(groups, groups[:, :1].expand_as(groups))
        assert not torch.equal(groups[0], groups[1])
    assert math.isfinite(elbo.loss_and_grads(model, guide, x, y))
    assert np.abs(gradient(guide.real_site("output.weight").log_spread)).max() > 0


@pytest.mark.parametrize("kind", ["normal", "point"])
def test_particles_side_by_side_and_one_by_one_have_the_same_kl(kind):
    model, guide = hybrid(kind=kind)
    differences = []
    for vectorise in (False, True):
        losses = []
        for temperature in (0.0, 1.0):
            torch.manual_seed(5)
            elbo = sbn.TraceEstimator_ELBO(
                "psa",
                temperature=temperature,
                num_particles=4,
                vectorize_particles=vectorise,
                max_plate_nesting=1,
            )
            losses.append(elbo.loss(model, guide, *data()))
        differences.append(losses[1] - losses[0])
    assert differences[0] == pytest.approx(differences[1], abs=1e-10)
    assert differences[0] > 0.1


@pytest.mark.parametrize("kind", ["normal", "point"])
def test_records_of_a_fit_tell_the_nats_of_real_weights(kind):
    model, guide = hybrid(kind=kind, num_data=12)
    x, y = data(2, 12)
    fit = sbn.fit(model, guide, (x, y), validation=(x, y), epochs=2, batch_size=6, progress=False)
    record = fit.history[-1]
    wanted = divergence(guide) if kind == "normal" else log_prior(guide)
    assert record.kl_real_nats == pytest.approx(wanted, abs=1e-9)
    assert record.kl_bits_per_weight == pytest.approx(record.kl_bits / 4)
    bound = -record.validation_draw_nll - (record.kl_nats + record.kl_real_nats) / 12
    assert record.validation_elbo == pytest.approx(bound, abs=1e-12)
    assert fit.history[-1].to_dict()["kl_real_nats"] == record.kl_real_nats
