"""The course of the temperature and of the step sizes in a fit."""

import math

import pytest
import torch
from pyro.infer import SVI

import bayes_sbn as sbn
from bayes_sbn.training_schedule import ANNEALINGS
from tests import problems
from tests.pyro_networks import PyroNetwork
from tests.test_training import assert_equal, fitted, network, numbers, order, rows


@pytest.mark.parametrize("weight_kl", [True, False])
@pytest.mark.parametrize("estimator", ["exact", "psa"])
def test_a_factor_is_that_temperature(estimator, weight_kl):
    def run(temperature, factor):
        torch.manual_seed(0)
        network = PyroNetwork(problems.one_hidden_layer())
        elbo = sbn.TraceEstimator_ELBO(estimator, temperature=temperature, weight_kl=weight_kl)
        elbo.scale_temperature(7.0)  # factors do not add up
        elbo.scale_temperature(factor)
        loss = elbo.loss_and_grads(network.model, network.guide, network.x, network.y)
        options = {"lr": 0.3, "adaptive": False, "kl": "loss" if weight_kl else "prox"}
        optim = sbn.optim.MirrorDescent(options)
        leaf = network.guide.leaf("layers.0.weight")
        optim([leaf])
        return loss, leaf.detach()

    found, wanted = run(0.4, 0.25), run(0.1, 1.0)
    assert found[0] == pytest.approx(wanted[0], abs=1e-12)
    torch.testing.assert_close(found[1], wanted[1], rtol=0, atol=1e-12)
    assert float((run(0.4, 1.0)[1] - wanted[1]).abs().max()) > 1e-3


def test_a_factor_holds_for_an_automatic_temperature_and_is_saved():
    network = PyroNetwork(problems.one_hidden_layer())
    args = network.model, network.guide, network.x, network.y
    plain = sbn.TraceEstimator_ELBO("exact", temperature="auto")
    plain.loss(*args)
    scaled = sbn.TraceEstimator_ELBO("exact", temperature="auto")
    scaled.scale_temperature(0.5)
    loss = scaled.loss(*args)
    assert scaled.temperature == plain.temperature
    halved = sbn.TraceEstimator_ELBO("exact", temperature=0.5 * plain.temperature)
    assert loss == pytest.approx(halved.loss(*args), abs=1e-12)
    again = sbn.TraceEstimator_ELBO("exact", temperature="auto")
    again.load_state_dict(scaled.state_dict())
    assert again.loss(*args) == loss


@pytest.mark.parametrize("factor", [-0.1, math.nan, math.inf, True, "hot"])
def test_factors_that_are_none_are_errors(factor):
    elbo = sbn.TraceEstimator_ELBO("psa")
    with pytest.raises(ValueError, match=r"scale_temperature\(.*finite number of at least 0"):
        elbo.scale_temperature(factor)


@pytest.mark.parametrize(
    ("annealing", "wanted"),
    [
        ("constant", [1, 1, 1, 1]),
        ("warm_up", [0, 0.5, 1, 1]),
        ("cooling", [10, 10**0.5, 1, 1]),
        (lambda fraction: 2 - fraction, [2, 1.75, 1.5, 1.25]),
    ],
)
def test_temperatures_follow_the_course_and_end_at_their_own(annealing, wanted):
    fit, found = fitted(epochs=4, temperature=0.2, annealing=annealing)
    assert [r.temperature for r in fit.history] == pytest.approx([0.2 * f for f in wanted])
    assert fit.temperature == pytest.approx(0.2 * wanted[-1])
    assert fit.elbo.temperature_factor == 1.0
    _, constant = fitted(epochs=4, temperature=0.2)
    name = "posterior.hidden.0.weight"
    assert torch.equal(found[name], constant[name]) == (annealing == "constant")
    assert set(ANNEALINGS) == {"constant", "warm_up", "cooling"}


def test_an_annealed_fit_is_the_loop_one_would_write():
    x, y = rows()
    model, guide = network()
    guide(x[:20], y[:20])  # fit looks at the model once
    optim = sbn.optim.MirrorDescent({"lr": 0.05, "real": ("Adam", {"lr": 0.01})})
    elbo = sbn.TraceEstimator_ELBO("psa", temperature=0.2)
    svi, generator = SVI(model, guide, optim, loss=elbo), order()
    for epoch in range(3):
        elbo.scale_temperature(min(1.0, 2 * epoch / 3))
        for some in torch.randperm(50, generator=generator).split(20):
            svi.step(x[some], y[some])
    _, found = fitted(temperature=0.2, annealing="warm_up", schedule="constant")
    assert_equal(found, numbers(model, guide))


@pytest.mark.parametrize("schedule", ["plateau", sbn.Plateau(factor=0.1, patience=1)])
def test_a_plateau_lowers_the_step_sizes(schedule):
    x, y = rows(30, seed=6)
    options = {"validation": (-x, y), "epochs": 14, "schedule": schedule}  # it can only get worse
    fit, _ = fitted(**options)
    law = sbn.Plateau() if schedule == "plateau" else schedule
    losses = [record.validation_nll for record in fit.history]
    for k, record in enumerate(fit.history):
        assert record.rate == pytest.approx(law.rate(losses[:k]))
    assert fit.history[-1].rate < 1.0


def test_a_plateau_counts_from_the_last_fall_and_from_the_last_cut():
    law = sbn.Plateau(factor=0.5, patience=2)
    assert law.rate([3.0, 3.0, 3.0]) == 0.5
    assert law.rate([3.0, 3.0, 3.0, 3.0]) == 0.5
    assert law.rate([3.0, 3.0, 3.0, 3.0, 3.0]) == 0.25
    assert law.rate([3.0, 3.0, 2.0, 2.0]) == 1.0
    assert law.rate([3.0, math.nan, math.nan]) == 0.5


@pytest.mark.parametrize("options", [{"annealing": "warm_up"}, {"schedule": "plateau"}])
def test_an_interrupted_fit_goes_on_in_the_same_course(tmp_path, options):
    validation = rows(30, seed=6)
    whole, wanted = fitted(epochs=6, validation=validation, **options)

    def stop(record):
        if record.epoch == 3:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fitted(epochs=6, validation=validation, checkpoint=tmp_path, after_epoch=stop, **options)
    fit, found = fitted(epochs=6, validation=validation, checkpoint=tmp_path, **options)
    assert_equal(found, wanted)
    for name in ("loss", "temperature", "rate", "validation_nll"):
        assert [getattr(r, name) for r in fit.history] == [getattr(r, name) for r in whole.history]


def test_another_course_is_another_fit(tmp_path):
    fitted(checkpoint=tmp_path)
    with pytest.raises(ValueError, match="annealing was 'constant' and is 'warm_up'"):
        fitted(checkpoint=tmp_path, annealing="warm_up")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"annealing": "hot"}, r"fit\(annealing='hot'\): it is one of constant, cooling, warm_up"),
        ({"annealing": lambda _: -1.0}, r"fit\(annealing=...\): it gave -1.0"),
        ({"schedule": "plateau"}, "goes by the validation NLL"),
        ({"schedule": "falling"}, "plateau, a sbn.Plateau, or a function"),
    ],
)
def test_wrong_courses_are_errors(options, words):
    with pytest.raises(ValueError, match=words):
        fitted(**options)


@pytest.mark.parametrize("options", [{"factor": 1.0}, {"factor": 0.0}, {"patience": 0}])
def test_wrong_plateaus_are_errors(options):
    with pytest.raises(ValueError, match=rf"Plateau\({next(iter(options))}="):
        sbn.Plateau(**options)
