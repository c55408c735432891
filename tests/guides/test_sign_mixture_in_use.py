"""AutoSignMixture: its state, Pyro's own bound, a fit of digits, and what it refuses."""

import math

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO

import bayes_sbn as sbn
from tests.guides.joint_guides import (
    copies_of,
    shuffled_digits,
)
from tests.guides.mixture_networks import (
    BITS,
    COMPONENT,
    STATES,
    network,
    regression,
    regression_pair,
)


def test_state_survives_a_file_pickling_and_copying():
    model, guide, x, y = network(num_components=3)
    optim = sbn.optim.MirrorDescent({"lr": 0.1})
    svi = SVI(model, guide, optim, loss=sbn.TraceEstimator_ELBO("psa"))
    for _ in range(6):
        svi.step(x, y)
    assert sorted(guide.state_dict()) == [
        "mixture.costs",
        "mixture.logits",
        "posterior.hidden.0.weight",
        "posterior.output.weight",
    ]
    assert "mixture.logits" in optim.get_state()
    for other in copies_of(guide, sbn.guides.AutoSignMixture(model, num_components=3)):
        assert other.divergence_bound() == guide.divergence_bound()
        torch.testing.assert_close(other.component_weights(), guide.component_weights())


def test_a_lazy_guide_makes_its_parameters_at_the_first_call():
    guide, x, y = regression_pair()
    lazy = sbn.guides.AutoSignMixture(regression, num_components=2)
    with pytest.raises(RuntimeError, match=r"component_weights.*example="):
        lazy.component_weights()
    lazy(x, y)
    lazy.load_state_dict(guide.state_dict())
    assert lazy.divergence_bound() == guide.divergence_bound()


def test_pyros_own_bound_runs_and_is_the_looser_one():
    guide, x, y = regression_pair(learn_weights=False)
    mean = 0.0
    for component in range(2):
        for state in STATES:
            values = {COMPONENT: torch.tensor(component), "w": state[None]}
            single = guide.component(component)
            probs = single.weight_probabilities()["w"][0]
            chance_of = torch.where(state > 0, probs, 1 - probs).prod() / 2
            with torch.no_grad(), sbn.force_draws(values):
                mean += float(chance_of) * Trace_ELBO().loss(regression, guide, x, y)
    exact = sbn.TraceEstimator_ELBO("exact").loss(regression, guide, x, y)
    each = sum(
        sbn.TraceEstimator_ELBO("exact").loss(regression, guide.component(c), x, y) for c in (0, 1)
    )
    assert mean == pytest.approx(each / 2, abs=1e-12)
    assert exact < mean - 1e-3


def test_a_mixture_learns_digits_and_its_components_differ():
    torch.set_default_dtype(torch.float32)
    x, y = shuffled_digits()
    model = sbn.models.BinaryMLP(64, [64], 10, num_data=1437)
    guide = sbn.guides.AutoSignMixture(model, num_components=2)
    fit = sbn.fit(model, guide, (x[:1437], torch.tensor(y[:1437])), epochs=25, progress=False)
    assert fit.history[-1].kl_nats == pytest.approx(guide.divergence_bound(), rel=1e-4)
    posterior = sbn.Posterior.from_guide(model, guide)
    weights = [component.weight for component in posterior.components]
    assert weights == pytest.approx(guide.component_weights().tolist(), abs=1e-12)
    ensemble = posterior.draw(50)
    pred = ensemble.predict(x[1437:], progress=False)
    assert sbn.metrics.accuracy(pred, y[1437:]) >= 0.9
    for c in range(2):
        alone = sbn.Posterior.from_guide(model, guide.component(c)).draw(50)
        places = np.flatnonzero(ensemble.components == c)
        assert len(places) > 5
        found = alone.predict(x[1437:], progress=False).probs_per_draw[places]
        assert found.tobytes() == np.asarray(pred.probs_per_draw)[places].tobytes()
    assert guide.weight_probabilities()["hidden.0.weight"].shape == (64, 64)
    told = sbn.summary(model, guide)
    assert told.bits == 64 * 64 + 640
    p = guide.weight_probabilities()["output.weight"]
    entropy = -(torch.special.xlogy(p, p) + torch.special.xlogy(1 - p, 1 - p)).mean()
    assert told.layers[-1].entropy == pytest.approx(float(entropy) / math.log(2), rel=1e-5)
    first, second = (guide.component(c).weight_probabilities()["hidden.0.weight"] for c in (0, 1))
    assert float(((first > 0.5) != (second > 0.5)).double().mean()) > 0.2


def test_what_a_mixture_cannot_do_is_an_error():
    model, guide, x, y = network()
    with pytest.raises(NotImplementedError, match=r'AutoSignMixture.unrolled.*"exact"'):
        guide.unrolled()
    with pytest.raises(NotImplementedError, match="weight_probabilities"):
        guide.law(guide.leaf("output.weight"))
    with pytest.raises(ValueError, match="num_components=0"):
        sbn.guides.AutoSignMixture(model, num_components=0)
    with pytest.raises(ValueError, match="'natural' or 'euclidean'"):
        sbn.guides.AutoSignMixture(model, gradient="fisher")
    with pytest.raises(IndexError, match="components are 0 to 1"):
        guide.component(2)
    with pytest.raises(ValueError, match="at least 2 draws"):
        guide.divergence(1)
    with pytest.raises(ValueError, match=r"weight_kl=False.*AutoSignMixture"):
        sbn.TraceEstimator_ELBO("psa", weight_kl=False).loss_and_grads(model, guide, x, y)
    wrong = sbn.force_draws({COMPONENT: torch.tensor([0, 1])})
    with pytest.raises(ValueError, match="a component is an integer"), wrong:
        guide(x, y)


def test_sites_of_different_scales_are_an_error():
    def scaled(x, y=None):
        with poutine.scale(scale=0.5):
            v = pyro.sample("v", sbn.SignBernoulli(logits=torch.zeros(1, BITS)).to_event(2))
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(1, BITS)).to_event(2))
        with pyro.plate("data", len(x), dim=-1):
            a = sbn.affine(x, v) + sbn.affine(x, w)
            return pyro.sample("y", sbn.AffineBernoulli(a), obs=y)

    _, x, y = regression_pair()
    guide = sbn.guides.AutoSignMixture(scaled, example=(x, y))
    with pytest.raises(ValueError, match=r'"v" and "w" have one divergence'):
        sbn.TraceEstimator_ELBO("st").loss(scaled, guide, x, y)


def test_an_audit_samples_as_paths_do_not_tell_the_component():
    guide, x, y = regression_pair(learn_weights=False)
    audit = sbn.audit(regression, guide, (x, y), estimators=["psa"], repeats=20, progress=False)
    assert COMPONENT in audit.why_sampled
