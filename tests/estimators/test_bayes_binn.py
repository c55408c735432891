"""BayesBiNN: the published derivative and step, and what becomes of them at small temperatures."""

import numpy as np
import pyro
import pytest
import torch
from sklearn.datasets import load_digits

import bayes_sbn as sbn
from bayes_sbn.estimators import BayesBiNN, Concrete
from bayes_sbn.optim.bop import Bop
from tests.chance import numpy_generator

ALPHA = 0.01


def drawn(estimator, law, uniform):
    return estimator.draw(sbn.Site("w", law), uniform)


def published(lam, u, tau):
    """Relaxed weights and the factor of their gradient, as the published code writes them."""
    w = np.tanh((lam + np.log(u / (1 - u)) / 2) / tau)
    return w, (1 - w * w + 1e-10) / tau / (1 - np.tanh(lam) ** 2 + 1e-10)


@pytest.mark.parametrize("tau", [1.0, 0.3])
def test_draw_and_derivative_are_the_published_ones(tau):
    generator = numpy_generator("published")
    lam, u = generator.normal(0, 1.5, (6, 5)), generator.uniform(size=(6, 5))
    leaf = torch.tensor(lam, requires_grad=True)
    law = sbn.SignBernoulli.from_natural(leaf)
    # a draw here is +1 where the uniform is small, and there where it is large
    value = drawn(BayesBiNN(temperature=tau), law, torch.tensor(1 - u))
    w, scale = published(lam, u, tau)
    np.testing.assert_allclose(value.detach(), w, rtol=0, atol=1e-12)
    value.sum().backward()
    np.testing.assert_allclose(leaf.grad, scale, rtol=1e-8, atol=1e-11)  # both cancel


def test_at_moderate_temperatures_it_is_the_concrete_relaxation():
    leaf = torch.linspace(-3, 3, 41, dtype=torch.float64).requires_grad_()
    law = sbn.SignBernoulli.from_natural(leaf)
    u = torch.linspace(0.05, 0.95, 41, dtype=torch.float64)
    found = []
    for estimator in (BayesBiNN(temperature=0.8), Concrete(temperature=0.8)):
        value = drawn(estimator, law, u)
        (slope,) = torch.autograd.grad(value.sum(), leaf)
        found.append((value.detach(), slope))
    torch.testing.assert_close(found[0], found[1], rtol=1e-7, atol=1e-9)


def test_one_step_is_the_published_one():
    """lam <- (1 - alpha) lam - alpha [s g - lam_0] on a loss whose gradient is known."""
    generator = numpy_generator("one step")
    lam, u, lam0 = (generator.normal(size=7), generator.uniform(size=7), generator.normal(size=7))
    x, rows = generator.normal(size=7), 12

    def model():
        prior = sbn.SignBernoulli(logits=torch.tensor(2 * lam0)).to_event(1)
        w = pyro.sample("w", prior)
        with pyro.plate("data", rows, subsample=torch.arange(3), dim=-1):
            # a mini-batch of 3 of 12 rows, each of -log p = (w . x)^2 / 2 + constant
            mean = (w * torch.tensor(x)).sum(-1)
            law = pyro.distributions.Normal(mean, torch.ones(3, dtype=torch.float64))
            pyro.sample("y", law, obs=torch.zeros(3, dtype=torch.float64))

    for momentum in (0.0, 0.9):
        guide = sbn.guides.AutoSignBernoulli(model, example=())
        guide.leaf("w").data = torch.tensor(lam)
        optim = sbn.optim.BayesBiNN({"lr": ALPHA, "momentum": momentum})
        loss = sbn.TraceEstimator_ELBO("bayes_binn", temperature=1.0)
        svi = pyro.infer.SVI(model, guide, optim, loss=loss)
        expected, average = lam.copy(), np.zeros(7)
        for t in (1, 2):
            with sbn.force_draws({}, uniforms={"w": torch.tensor(1 - u)}):
                svi.step()
            w, scale = published(expected, u, 1.0)
            gradient = (w @ x) * x  # of the mean loss of a mini-batch
            bracket = rows * scale * gradient - lam0 + expected
            average = momentum * average + (1 - momentum) * bracket
            expected = expected - ALPHA * average / (1 - momentum**t)
            np.testing.assert_allclose(guide.leaf("w").detach(), expected, rtol=1e-8)


class Recorded(BayesBiNN):
    """Keeps the weights of each pass and the gradient in them."""

    def draw(self, site, uniform):
        value = super().draw(site, uniform)
        self.weights[site.name] = value.detach()
        value.register_hook(lambda gradient: self.gradients.__setitem__(site.name, gradient))
        return value

    weights: dict
    gradients: dict


def digits(rows=500):
    x, y = (torch.tensor(part[:rows]) for part in load_digits(return_X_y=True))
    return x.float() / 8 - 1, y


def teacher_forced(temperature, start, steps=40):
    """Share of forward weights that are Bop's on the same gradients, and the final leaves."""
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    pyro.set_rng_seed(0)
    x, y = digits()
    model = sbn.models.BinaryMLP(64, [64], 10, num_data=len(x))
    guide = sbn.guides.AutoSignBernoulli(model, init_scale=1.0)
    names = list(guide.weight_probabilities())
    if start is not None:
        for name in names:
            leaf = guide.leaf(name)
            leaf.data = torch.where(leaf >= 0, start, -start)
    estimator = Recorded(temperature=temperature)
    estimator.weights, estimator.gradients = {}, {}
    loss = sbn.TraceEstimator_ELBO(estimator, temperature=1.0)
    svi = pyro.infer.SVI(model, guide, sbn.optim.BayesBiNN({"lr": ALPHA}), loss=loss)
    flips = {name: torch.nn.Parameter(torch.zeros_like(guide.leaf(name))) for name in names}
    bop = Bop(list(flips.values()), lr=ALPHA, threshold=0.0)
    agree = count = 0.0
    for step in range(steps):
        rows = torch.randint(len(x), (128,))
        svi.step(x[rows], y[rows])
        for name in names:
            if step:  # the first forward weights are those of the start
                said = bop.state[flips[name]]["average"] != 0
                same = (estimator.weights[name] >= 0) == (flips[name] >= 0)
                agree += float((same & said).sum())
                count += float(said.sum())
            flips[name].grad = estimator.gradients[name]
        bop.step()
    assert count > 0.8 * (steps - 1) * sum(flips[name].numel() for name in names)
    return agree / count, guide


def test_at_the_published_temperature_and_start_it_is_bop_with_threshold_zero():
    with pytest.warns(UserWarning, match=r'estimator "bayes_binn", site .* 100.0% of the weights'):
        share, guide = teacher_forced(1e-10, 10.0)
    assert share >= 0.999
    assert (
        guide.leaf("hidden.0.weight").detach().abs().median() > 1e4
    )  # no probability is anything but 0 or 1


def test_at_temperature_one_it_is_not_and_nothing_warns():
    share, _ = teacher_forced(1.0, None)
    assert share < 0.9


@pytest.mark.parametrize(
    ("temperature", "spread", "warns"),
    [(1.0, 1.5, False), (0.1, 0.1, False), (1e-10, 1.5, True), (1e-10, 10.0, True)],
)
def test_the_warning_names_the_share_of_derivatives_that_vanished(temperature, spread, warns):
    generator = numpy_generator("shares")
    lam = torch.tensor(generator.normal(0, spread, 400), dtype=torch.float32)
    u = torch.tensor(generator.uniform(size=400), dtype=torch.float32)
    estimator, law = BayesBiNN(temperature=temperature), sbn.SignBernoulli.from_natural(lam)
    if not warns:
        drawn(estimator, law, u)
        return
    decided = float((1 - torch.tanh(lam) ** 2 == 0).float().mean())
    words = rf"is 0 in float32 for 100.0% .* For {decided:.1%} of the weights .* sbn.optim.Bop"
    with pytest.warns(UserWarning, match=words):
        drawn(estimator, law, u)
    drawn(estimator, law, u)  # once a site is enough


def test_without_decided_weights_the_derivative_is_that_of_no_expectation():
    """With w = ±1 the published derivative is 1 / (1 - mu^2): in the mean of a linear loss it
    exceeds the right one, 1, by that factor."""
    lam = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    with pytest.warns(UserWarning, match="For 0.0% of the weights"):
        value = drawn(
            BayesBiNN(temperature=1e-10),
            sbn.SignBernoulli.from_natural(lam),
            torch.rand(3),
        )
    (slope,) = torch.autograd.grad(value.sum(), lam)
    torch.testing.assert_close(slope, 1 / (1 - torch.tanh(lam.detach()) ** 2), rtol=1e-6, atol=0)


def test_misfits_are_errors():
    with pytest.raises(ValueError, match=r"BayesBiNN\(temperature=0\): a temperature is"):
        BayesBiNN(temperature=0)
    model = sbn.models.BinaryMLP(4, [8], 3, num_data=20)
    guide = sbn.guides.AutoSignDelta(model)
    with pytest.raises(TypeError, match="a point mass on ±1 weights has no noise"):
        sbn.TraceEstimator_ELBO("bayes_binn").loss(
            model, guide, torch.randn(5, 4), torch.zeros(5, dtype=torch.int64)
        )
