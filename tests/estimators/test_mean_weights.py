"""Means in place of drawn weights: the gradient at the mean, and what is left to other rules."""

import numpy as np
import pyro
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators import BayesBiNN, MeanWeights
from tests.chance import numpy_generator

ROWS, BITS = 9, 5


def regression():
    generator = numpy_generator("means")
    x, lam = generator.normal(size=(ROWS, BITS)), generator.normal(size=BITS)
    y = (generator.uniform(size=ROWS) < 0.5).astype(float)

    def model():
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(BITS)).to_event(1))
        law = pyro.distributions.Bernoulli(logits=(torch.tensor(x) * w).sum(-1))
        pyro.sample("y", law.to_event(1), obs=torch.tensor(y))

    guide = sbn.guides.AutoSignBernoulli(model, example=())
    guide.leaf("w").data = torch.tensor(lam)
    return model, guide, x, y, lam


def test_loss_and_gradient_are_those_at_the_mean():
    model, guide, x, y, lam = regression()
    loss = sbn.TraceEstimator_ELBO("mean", temperature=0.0).loss_and_grads(model, guide)
    a = x @ np.tanh(lam)
    assert loss == pytest.approx((np.logaddexp(0, a) - y * a).sum(), rel=1e-12)
    np.testing.assert_allclose(guide.leaf("w").grad, x.T @ (1 / (1 + np.exp(-a)) - y), rtol=1e-10)


def test_a_draw_cannot_be_given():
    model, guide, *_ = regression()
    elbo = sbn.TraceEstimator_ELBO("mean")
    words = 'estimator "mean", site "w": the draw was given by its value'
    with pytest.raises(ValueError, match=words), sbn.force_draws({"w": torch.ones(BITS)}):
        elbo.loss(model, guide)


@pytest.mark.parametrize("estimator_of", [MeanWeights, lambda a: BayesBiNN(activations=a)])
def test_activations_are_left_to_the_estimator_that_is_named(estimator_of):
    model = sbn.models.BinaryMLP(4, [6, 5], 3, num_data=20)
    guide = sbn.guides.AutoSignBernoulli(model)
    x, y = torch.randn(20, 4), torch.arange(20) % 3
    gradients = {}
    for name in ("st", "psa", "score"):
        torch.manual_seed(1)
        elbo = sbn.TraceEstimator_ELBO(estimator_of(name), temperature=0.0)
        elbo.loss_and_grads(model, guide, x, y)
        gradients[name] = guide.leaf("hidden.0.weight").grad.clone()
        guide.zero_grad()
    assert all(bool(g.isfinite().all()) and bool((g != 0).any()) for g in gradients.values())
    assert not torch.equal(gradients["st"], gradients["psa"])
    assert not torch.equal(gradients["st"], gradients["score"])


def test_the_state_of_the_estimator_of_activations_is_theirs():
    relax = sbn.estimators.Relax()  # learns, so that its state is to be saved
    for estimator in (MeanWeights(relax), BayesBiNN(activations=relax)):
        assert dict(estimator.named_children()) == {"activations": relax}
