"""Priors of ±1 weights by site, and the posterior of earlier data as the next prior."""

import copy
import pickle

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import SVI
from pyro.nn import PyroModule
from torch.distributions import kl_divergence

import bayes_sbn as sbn
from bayes_sbn.models import BinaryLinear
from tests import oracles
from tests.chance import numpy_generator


def network(**options):
    model = sbn.models.BinaryMLP(3, [2], 2, num_data=6, **options)
    return model, sbn.guides.AutoSignBernoulli(model)


def prior_of(model, site, x=None):
    x = torch.randn(6, 3) if x is None else x
    return pyro.poutine.trace(model).get_trace(x).nodes[site]["fn"]


def test_a_dict_of_numbers_and_tables_reaches_the_sites():
    model, guide = network(prior_logit=0.4)
    table = torch.tensor(numpy_generator("table").uniform(0.1, 0.9, (2, 3)))
    model.set_prior({"hidden.0.weight": table})
    torch.testing.assert_close(prior_of(model, "hidden.0.weight").probs, table)
    kept = prior_of(model, "output.weight").probs
    torch.testing.assert_close(kept, torch.full((2, 2), 0.4).sigmoid())
    model.set_prior({"output.weight": 0.25, "hidden.0.weight": 0.5})
    torch.testing.assert_close(prior_of(model, "output.weight").probs, torch.full((2, 2), 0.25))
    torch.testing.assert_close(prior_of(model, "hidden.0.weight").probs, torch.full((2, 3), 0.5))
    # the guide was made before, and knows
    torch.testing.assert_close(
        guide.prior_probabilities()["output.weight"], torch.full((2, 2), 0.25)
    )


@pytest.mark.parametrize("weight_kl", [True, False])
def test_the_divergence_is_to_the_earlier_posterior(weight_kl):
    model, guide = network()
    x, y = torch.randn(6, 3), torch.randint(2, (6,))
    old = {name: p.clone() for name, p in guide.weight_probabilities().items()}
    model.set_prior(old)
    lam0 = {name: torch.logit(p) / 2 for name, p in old.items()}
    generator = numpy_generator("moved")
    for name in old:
        shift = torch.tensor(generator.normal(0, 0.7, tuple(old[name].shape)))
        guide.leaf(name).data.add_(shift)

    def gradients(temperature):
        torch.manual_seed(0)
        elbo = sbn.TraceEstimator_ELBO("psa", temperature=temperature)
        loss = elbo.loss_and_grads(model, guide, x, y)
        found = {name: guide.leaf(name).grad.clone() for name in old}
        for name in old:
            guide.leaf(name).grad = None
        return loss, found

    (with_kl, gradient), (without, rest) = gradients(0.7), gradients(0.0)
    q, p = (
        np.concatenate([(2 * table[n].numpy() - 1).ravel() for n in old])
        for table in (guide.weight_probabilities(), old)
    )
    assert with_kl - without == pytest.approx(0.7 * oracles.kl(q, p), abs=1e-9)
    for name in old:
        wanted = 0.7 * (guide.leaf(name).detach() - lam0[name])
        torch.testing.assert_close(gradient[name] - rest[name], wanted, rtol=0, atol=1e-10)
        assert float(wanted.abs().max()) > 0.05
    if not weight_kl:  # the proximal step is told the same prior
        optim = sbn.optim.MirrorDescent({"lr": 1e9, "adaptive": False, "kl": "prox"})
        elbo = sbn.TraceEstimator_ELBO("psa", temperature=0.7, weight_kl=False)
        torch.manual_seed(0)
        SVI(model, guide, optim, loss=elbo).step(x, y)
        for name in old:
            best = (lam0[name] - rest[name] / 0.7).clamp(-8, 8)
            torch.testing.assert_close(guide.leaf(name).detach(), best, rtol=0, atol=1e-6)


class OneWeight(PyroModule):
    """A single ±1 weight, whose mean-field posterior is the posterior."""

    def __init__(self):
        with pyro.settings.context(module_local_params=True):
            super().__init__()
            self.layer = BinaryLinear(1, 1)

    def __call__(self, *args):
        with pyro.settings.context(module_local_params=True):
            return super().__call__(*args)

    def forward(self, x, y):
        _ = self.layer.weight
        with pyro.plate("data", len(x), dim=-1):
            return pyro.sample("y", sbn.AffineBernoulli(self.layer(x)), obs=y)


def test_the_posterior_of_two_halves_in_turn_is_that_of_both():
    generator = numpy_generator("halves")
    x = torch.tensor(generator.normal(0, 1, (10, 1)))
    y = torch.tensor((generator.uniform(size=(10, 1)) < 0.6).astype(float))
    model = OneWeight()
    guide = sbn.guides.AutoSignBernoulli(model)

    def learn(rows):
        # one proximal step of the whole way: lam = lam_0 - dE[-log p(y)] / dmu, Bayes' rule
        optim = sbn.optim.MirrorDescent(
            {"lr": 1e12, "adaptive": False, "kl": "prox", "real": ("SGD", {"lr": 0.0})}
        )
        elbo = sbn.TraceEstimator_ELBO("exact", weight_kl=False)
        SVI(model, guide, optim, loss=elbo).step(x[rows], y[rows])
        return guide.weight_probabilities()["layer.weight"].item()

    def exact(rows):
        logits = x[rows] * float(model.layer.scale.detach())
        log_p = [
            torch.distributions.Bernoulli(logits=sign * logits).log_prob(y[rows]).sum()
            for sign in (1, -1)
        ]
        return float(torch.sigmoid(log_p[0] - log_p[1]))

    whole, half = slice(0, 10), slice(0, 5)
    together = learn(whole)
    assert together == pytest.approx(exact(whole), abs=1e-9)
    first = learn(half)
    assert first == pytest.approx(exact(half), abs=1e-9)
    model.layer.set_prior_logit(torch.logit(torch.tensor(first)))
    assert learn(slice(5, 10)) == pytest.approx(together, abs=1e-9)
    assert abs(first - together) > 1e-3


def test_priors_are_saved_copied_and_exported():
    model, guide = network()
    x, y = torch.randn(6, 3), torch.randint(2, (6,))
    model(x, y)
    model.set_prior(guide.weight_probabilities())
    fresh, _ = network()
    fresh.load_state_dict(model.state_dict())
    for other in (fresh, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        q, p = (prior_of(m, "hidden.0.weight", x) for m in (other, model))
        assert float(kl_divergence(q, p)) == pytest.approx(0, abs=1e-12)
    model.load_state_dict(network()[0].state_dict())  # and back to one number
    assert model.hidden[0].prior_logit.shape == ()
    posterior = sbn.Posterior.from_guide(fresh, sbn.guides.AutoSignBernoulli(fresh))
    wanted = guide.weight_probabilities()["hidden.0.weight"].numpy()
    np.testing.assert_allclose(posterior.layers[0].prior, wanted, rtol=0, atol=1e-12)


def test_a_fit_under_a_strong_prior_stays_and_under_a_weak_one_moves():
    x, y = torch.randn(40, 3), torch.randint(2, (40,))
    moved = []
    for p in (1e-6, 0.5):
        torch.manual_seed(0)
        model = sbn.models.BinaryMLP(3, [4], 2, num_data=40)
        guide = sbn.guides.AutoSignBernoulli(model)
        model.set_prior({"hidden.0.weight": p, "output.weight": p})
        optim = sbn.optim.MirrorDescent({"lr": 0.3})
        sbn.fit(model, guide, (x, y), epochs=150, temperature=1.0, optim=optim, progress=False)
        q = torch.cat([t.ravel() for t in guide.weight_probabilities().values()])
        moved.append(float((q - p).abs().max()))
    assert moved[0] < 0.05 < moved[1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hidden.1.weight": 0.5}, r'"hidden.1.weight" is no site of ±1 weights; these are'),
        ({"output.weight": torch.full((3, 2), 0.5)}, r"has shape \(3, 2\); it is one number"),
        ({"output.weight": 0.5, "hidden.0.weight": 1.0}, "strictly between 0 and 1"),
        ({"output.weight": float("nan")}, "strictly between 0 and 1"),
    ],
)
def test_wrong_priors_are_errors_and_change_nothing(given, words):
    model, _ = network(prior_logit=0.3)
    with pytest.raises(ValueError, match=rf"BinaryMLP.set_prior: .*{words}"):
        model.set_prior(given)
    for layer in (model.hidden[0], model.output):
        assert layer.prior_logit == pytest.approx(0.3)


def test_real_layers_have_no_such_prior():
    model = sbn.models.BinaryMLP(3, [2], 2, num_data=6, real=("last",))
    with pytest.raises(ValueError, match=r'"output.weight" is no site of ±1 weights'):
        model.set_prior({"output.weight": 0.5})
