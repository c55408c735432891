"""Steps under every noise law: the proximal problem they solve, and agile and lazy clipping.

The Bregman divergences are those of ``tests.optim.proximal_oracle``, checked here by quadrature.
"""

import copy

import numpy as np
import pyro
import pytest
import torch
from scipy import integrate
from scipy.optimize import minimize

import bayes_sbn as sbn
from bayes_sbn.dual import NATURAL, LeftKL, latent_of, leaf_of, leave_kl, limit_of, register_leaf
from bayes_sbn.noise import Gaussian, Laplace, Logistic, Triangular, Uniform, get_noise
from bayes_sbn.optim.mirror_descent import MirrorDescent
from tests.chance import numpy_generator
from tests.optim.proximal_oracle import (
    INTEGRALS,
    LAWS,
    mean_of,
    proximal,
)
from tests.optim.sign_regression import SignRegression
from tests.oracle_noise import NOISES

PLAIN = {"adaptive": False}
RULES = [PLAIN, {"adaptive": False, "momentum": 0.6}, {"adaptive": True, "betas": (0.6, 0.9)}]
CASES = numpy_generator("cases of divergences").uniform(0, 1, (200, 5))


def leaf_under(noise, start, *, cost=None, prior=0.0):
    leaf = torch.nn.Parameter(torch.tensor([start]))
    register_leaf(leaf, "posterior.w", is_dual=True, noise=get_noise(noise))
    if cost is not None:
        weight = torch.tensor([cost])
        leave_kl(leaf, LeftKL(weight, weight * prior))
    return leaf


def stepped(leaf, *gradients, **options):
    rule = MirrorDescent([leaf], **options)
    for gradient in gradients:
        leaf.grad = torch.full_like(leaf, gradient)
        rule.step()
    return leaf.detach()


@pytest.mark.parametrize("name", NOISES)
def test_potentials_are_integrals_of_quantile_functions(name):
    for p, start in ((0.1, 0.7), (0.8, 0.55)):
        area, _ = integrate.quad(LAWS[name].ppf, start, p, epsabs=1e-13)
        assert INTEGRALS[name](p) - INTEGRALS[name](start) == pytest.approx(area, abs=1e-9)


def case(name, row):
    """Leaf, gradient, step size, cost of the KL, mean of the prior."""
    u, g, lr, cost, prior = row
    eta = float(LAWS[name].ppf(0.02 + 0.96 * u))
    return eta, 4 * g - 2, 0.05 + lr, 0.05 + 2 * cost, 1.8 * prior - 0.9


@pytest.mark.parametrize("name", NOISES)
def test_plain_step_is_the_proximal_step_of_the_divergence(name):
    halves = []
    for row in CASES:
        eta, g, lr, _, _ = case(name, row)
        wanted = proximal(name, eta, g, lr)
        found = mean_of(name, float(stepped(leaf_under(name, eta), g, lr=lr, **PLAIN)))
        assert found == pytest.approx(wanted, abs=1e-6)
        half = mean_of(name, float(stepped(leaf_under(name, eta), g / 2, lr=lr, **PLAIN)))
        halves.append(abs(half - wanted))
    assert max(halves) > 0.2  # the missing factor of two would be noticed


@pytest.mark.parametrize("name", NOISES)
def test_step_with_the_exact_kl_is_the_proximal_step_of_both_divergences(name):
    linear = []
    for row in CASES:
        eta, g, lr, cost, mu0 = case(name, row)
        leaf = leaf_under(name, eta, cost=cost, prior=float(np.arctanh(mu0)))
        found = mean_of(name, float(stepped(leaf, g, lr=lr, kl="prox", **PLAIN)))
        wanted = proximal(name, eta, g, lr, cost, mu0)
        assert found == pytest.approx(wanted, abs=1e-6)
        slope = g + cost * (np.arctanh(mean_of(name, eta)) - np.arctanh(mu0))
        linear.append(abs(mean_of(name, eta - lr * slope) - wanted))
    assert max(linear) > 0.05  # the linearised KL is another step


@pytest.mark.parametrize("options", RULES)
@pytest.mark.parametrize("noise", [Uniform(0.7), Gaussian(2.0), Triangular(3.0), Laplace(0.4)])
def test_proximal_steps_are_stationary_under_every_rule_and_scale(noise, options):
    # g + T (lam - lam0) + (eta - eta_t) / eps = 0, with the averages of each rule
    generator = numpy_generator("stationary")
    prior, cost, lr = 0.3, 0.8, 0.6
    leaf = leaf_under(noise, float(latent_of(torch.tensor(0.4), noise)), cost=cost, prior=prior)
    rule, gradients = MirrorDescent([leaf], lr=lr, kl="prox", **options), []
    for _ in range(5):
        before = leaf.detach().clone()
        gradients.append(generator.normal())
        leaf.grad = torch.tensor(gradients[-1:])
        rule.step()
        decay, eps = options.get("momentum", 0.0), lr
        if options["adaptive"]:
            decay, second = options["betas"]
            weights = second ** np.arange(len(gradients))[::-1]
            eps = lr / (np.sqrt(np.average(np.square(gradients), weights=weights)) + 1e-8)
        average = np.average(gradients, weights=decay ** np.arange(len(gradients))[::-1])
        lam = np.arctanh(mean_of(noise.name, leaf.detach().numpy() / noise.scale))
        rest = average + cost * (lam - prior) + (leaf.detach() - before).numpy() / eps
        np.testing.assert_allclose(rest, 0, atol=1e-8)
        assert float((leaf.detach() - before).abs()) > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("noise", [Uniform(), Gaussian(), Triangular(), Laplace(), Logistic()])
def test_proximal_steps_of_any_size_end_in_the_support(noise, dtype):
    generator = numpy_generator("sizes")
    for size in (1e-9, 1e-3, 1.0, 1e4, 1e9):
        for cost in (0.0, 1e-9, 1e-3, 1.0, 1e4):
            start = np.append(generator.normal(0, 3, 20), [-limit_of(noise), limit_of(noise), 0.0])
            leaf = torch.nn.Parameter(torch.tensor(start, dtype=dtype))
            register_leaf(leaf, "posterior.w", is_dual=True, noise=noise)
            leave_kl(leaf, LeftKL(torch.full_like(leaf, cost), torch.full_like(leaf, -0.3 * cost)))
            leaf.grad = torch.tensor(generator.normal(0, 2, 23), dtype=dtype)
            MirrorDescent([leaf], lr=size, kl="prox", **PLAIN).step()
            assert torch.isfinite(leaf).all()
            assert float(leaf.detach().abs().max()) <= limit_of(noise) * (1 + 1e-6)
            if cost == 1e4 and size == 1e4:  # nothing but the prior counts
                wanted = latent_of(torch.full_like(leaf, -0.3), noise)
                assert torch.allclose(leaf, wanted, atol=1e-3)


def test_a_step_of_nothing_is_none():
    leaf = leaf_under("triangular", 0.4, cost=0.5)
    assert float(stepped(leaf, 0.7, lr=0.0, kl="prox", **PLAIN)) == 0.4


def test_the_step_of_uniform_noise_is_projected_gradient():
    for mu, g, lr in CASES[:, :3] * [2, 4, 1] - [1, 2, 0]:
        found = float(stepped(leaf_under("uniform", mu), g, lr=lr, **PLAIN))
        assert found == pytest.approx(np.clip(mu - lr * g, -1, 1), abs=1e-15)
        best = minimize(
            lambda m, mu=mu, g=g, lr=lr: g * m[0] + (m[0] - mu) ** 2 / (2 * lr),
            [0.0],
            bounds=[(-1, 1)],
        )
        assert found == pytest.approx(best.x[0], abs=1e-6)


@pytest.mark.parametrize(("clipping", "leaf", "mean"), [("agile", -1.0, -1.0), ("lazy", 4.0, 1.0)])
def test_agile_and_lazy_clipping_are_two_algorithms(clipping, leaf, mean):
    found = stepped(
        leaf_under("uniform", 0.0), *[-0.2] * 30, *[0.2] * 10, lr=1.0, clipping=clipping, **PLAIN
    )
    assert float(found) == pytest.approx(leaf, abs=1e-12)
    assert float(sbn.SignBernoulli.from_latent(found, Uniform()).mean) == mean


@pytest.mark.parametrize("noise", [NATURAL, "logistic", "gaussian", "laplace"])
def test_agile_and_lazy_coincide_where_the_support_is_the_line(noise):
    found = [
        stepped(leaf_under(noise, 0.0), *[-0.2] * 30, 0.3, lr=9.0, clipping=clipping, **PLAIN)
        for clipping in ("agile", "lazy")
    ]
    assert torch.equal(*found)
    assert float(found[0]) == pytest.approx(limit_of(get_noise(noise)) - 2.7)


@pytest.mark.parametrize(
    ("clamp", "clipping", "wanted"),
    [(None, "agile", 0.5), (0.3, "agile", 0.3), (7.0, "agile", 0.5), (7.0, "lazy", 7.0)],
)
def test_a_clamp_is_kept_beside_the_support(clamp, clipping, wanted):
    leaf = leaf_under(Uniform(0.5), 0.0)
    found = stepped(leaf, -100.0, lr=1.0, clamp=clamp, clipping=clipping, **PLAIN)
    assert float(found) == pytest.approx(wanted)


@pytest.mark.parametrize("options", [PLAIN, {"adaptive": True}])
@pytest.mark.parametrize(
    ("noise", "clipping"),
    [*((noise, "agile") for noise in NOISES), ("uniform", "lazy"), ("triangular", "lazy")],
)
def test_float32_stays_finite_from_saturation(noise, clipping, options):
    noise, signs = get_noise(noise), torch.tensor([-15.0, 15.0] * 50, dtype=torch.float32)
    leaf = torch.nn.Parameter(signs.clone())
    register_leaf(leaf, "posterior.w", is_dual=True, noise=noise)
    rule = MirrorDescent([leaf], lr=0.02, clipping=clipping, **options)
    prior = sbn.SignBernoulli(logits=torch.zeros(100, dtype=torch.float32))
    limit = np.inf if noise.is_bounded and clipping == "lazy" else limit_of(noise) * (1 + 1e-6)
    for _ in range(1000):
        law = sbn.SignBernoulli.from_latent(leaf, noise)
        loss = torch.distributions.kl_divergence(law, prior).sum() - law.mean.sum()
        rule.zero_grad()
        loss.backward()
        rule.step()
        assert torch.isfinite(leaf).all()
        assert float(leaf.detach().abs().max()) <= limit
    # from both sides towards the fixed point lam = 1
    p = float(sbn.SignBernoulli.from_latent(leaf.detach(), noise).probs.mean())
    assert p == pytest.approx(1 / (1 + np.exp(-2)), abs=0.35)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(
    ("options", "weight_kl"),
    [({"lr": 0.05, **PLAIN}, True), ({"lr": 1.0, "kl": "prox", **PLAIN}, False)],
)
def test_fits_end_at_the_minimum_of_the_tempered_loss_whatever_the_law(noise, options, weight_kl):
    problem = SignRegression(7, 3.0)
    path = problem.fit(options, 250, weight_kl=weight_kl, noise=noise)
    best = minimize(problem.tempered, problem.start, method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(path[-1], best.x, atol=1e-5)
    assert problem.tempered(path[-1]) == pytest.approx(best.fun, abs=1e-9)
    assert np.abs(path[0] - path[-1]).max() > 0.5


@pytest.mark.parametrize("noise", NOISES)
def test_adams_rule_has_the_same_end_and_decoupled_decay_another(noise):
    problem, noise = SignRegression(7, 3.0), get_noise(noise)
    best = minimize(problem.tempered, problem.start, method="BFGS", options={"gtol": 1e-9})
    ends = []
    for coupled in (True, False):
        start = latent_of(torch.tensor(problem.start), noise)
        leaf = torch.nn.Parameter(start)
        register_leaf(leaf, "posterior.w", is_dual=True, noise=noise)
        rule = MirrorDescent([leaf], lr=0.05, betas=(0.9, 0.95))
        for step in range(1000):
            rule.param_groups[0]["lr"] = 0.05 * 0.99**step
            lam = natural(leaf, noise)
            slope = problem.temperature * (lam - problem.prior)
            g = problem.natural_gradient(lam)
            leaf.grad = torch.tensor(g + slope if coupled else g)
            rule.step()
            if not coupled:
                leaf.data.sub_(rule.param_groups[0]["lr"] * torch.tensor(slope))
        ends.append(natural(leaf, noise))
    np.testing.assert_allclose(ends[0], best.x, atol=1e-4)
    assert np.abs(ends[1] - best.x).max() > 0.1
    assert problem.tempered(ends[1]) > best.fun + 0.01


def natural(leaf, noise):
    return np.arctanh(mean_of(noise.name, leaf.detach().numpy() / noise.scale))


def test_a_rule_takes_the_law_of_the_leaf_and_refuses_another():
    leaf = leaf_under("uniform", 0.9)
    assert float(stepped(leaf, -1.0, lr=1.0, **PLAIN)) == 1.0
    assert float(stepped(leaf, 0.0, lr=1.0, noise="uniform", **PLAIN)) == 1.0
    with pytest.raises(
        RuntimeError,
        match=r"noise=Gaussian\(scale=1.0\).*\"posterior.w\" are "
        r"quantiles of Uniform\(scale=1.0\).*Write AutoSignBernoulli\(model, noise="
        r"bayes_sbn.noise.Gaussian\(scale=1.0\)\), or MirrorDescent without",
    ):
        stepped(leaf, 1.0, noise="gaussian")
    assert float(leaf.detach()) == 1.0
    with pytest.raises(RuntimeError, match=r"quantiles of Logistic\(scale=0.5\)"):
        stepped(leaf_under(NATURAL, 0.0), 1.0, noise="logistic")


def test_a_leaf_on_its_own_has_the_law_that_is_given():
    leaf = torch.nn.Parameter(torch.zeros(1))
    assert leaf_of(leaf) is None
    assert float(stepped(leaf, -30.0, lr=1.0, noise=Uniform(2.0), **PLAIN)) == 2.0
    assert float(stepped(leaf, -30.0, lr=1.0, **PLAIN)) == 8.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clipping": "eager"}, "it is 'agile' .* or 'lazy'"),
        ({"noise": "cauchy"}, "it is one of 'logistic'"),
    ],
)
def test_wrong_options_are_errors(options, words):
    with pytest.raises(ValueError, match=words):
        sbn.optim.MirrorDescent({"lr": 0.1, **options})


def test_states_from_before_there_were_laws_go_on():
    leaf = torch.nn.Parameter(torch.zeros(1))
    rule = MirrorDescent([leaf], lr=1.0, **PLAIN)
    state = copy.deepcopy(rule.state_dict())
    for option in ("noise", "clipping"):
        del state["param_groups"][0][option]
    state["param_groups"][0]["clamp"] = 8.0
    rule.load_state_dict(state)
    leaf.grad = torch.tensor([-30.0])
    rule.step()
    assert float(leaf.detach()) == 8.0


@pytest.mark.parametrize("clipping", ["agile", "lazy"])
def test_digits_are_learned_under_uniform_noise(clipping):
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    pyro.set_rng_seed(0)
    x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
    x = (x / 8 - 1)[:600].float()
    model = sbn.models.BinaryMLP(64, [32], 10, num_data=600).float()
    guide = sbn.guides.AutoSignBernoulli(model, noise="uniform")
    optim = sbn.optim.MirrorDescent({"lr": 0.03, "clipping": clipping})
    loss = sbn.TraceEstimator_ELBO("psa", temperature="auto")
    svi = pyro.infer.SVI(model, guide, optim, loss=loss)
    for _ in range(120):
        svi.step(x, y[:600])
    beyond = max(float(p.detach().abs().max()) for p in guide.parameters())
    assert (beyond > 1) == (clipping == "lazy")
    posterior = sbn.Posterior.from_guide(model, guide)
    accuracy = (posterior.draw(32).predict(x).mean.argmax(1) == y[:600].numpy()).mean()
    assert accuracy > 0.85
