"""Acceptance 6-11, 18, 20: the steps of ±1 weights, against what they claim to minimise."""

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import SVI
from scipy.integrate import quad
from scipy.optimize import brentq, minimize, minimize_scalar

import bayes_sbn as sbn
from bayes_sbn.dual import DUAL_LIMIT, LeftKL, leave_kl, register_leaf
from bayes_sbn.noise import NOISES, get_noise
from bayes_sbn.optim.mirror_descent import MirrorDescent
from tests.chance import numpy_generator
from tests.oracles import sign_states

TEMPERATURE = 0.7


def one_step(lam, g, left=None, **options):
    leaf = torch.nn.Parameter(torch.tensor([lam]))
    leaf.grad = torch.tensor([g])
    if left is not None:
        register_leaf(leaf, "w", is_dual=True)
        leave_kl(leaf, LeftKL(*(torch.tensor([value]) for value in left)))
    MirrorDescent([leaf], adaptive=False, clamp=50.0, **options).step()
    return float(leaf.detach())


def kl(p, p0):
    return p * np.log(p / p0) + (1 - p) * np.log((1 - p) / (1 - p0))


def logit(p):
    return np.log(p / (1 - p))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def minimiser(objective):
    """Of a convex function on (0, 1), by its derivative: sharper than comparing values."""

    def slope(p):
        step = 1e-6 * p * (1 - p)
        return (objective(p + step) - objective(p - step)) / (2 * step)

    rough = minimize_scalar(
        objective, bounds=(1e-9, 1 - 1e-9), method="bounded", options={"xatol": 1e-12}
    ).x
    low, high = sigmoid(logit(rough) - 0.1), sigmoid(logit(rough) + 0.1)
    return brentq(slope, low, high, xtol=1e-14)


def draws():
    generator = numpy_generator("proximal problems")
    return zip(
        generator.normal(0, 1, 200),
        generator.normal(0, 1, 200),
        generator.uniform(0.05, 1, 200),
        strict=True,
    )


def test_06_the_step_is_the_entropic_proximal_step():
    errors, without_two = [], []
    for lam, g, lr in draws():
        best = minimiser(lambda p, lam=lam, g=g, lr=lr: 2 * g * p + kl(p, sigmoid(2 * lam)) / lr)
        errors.append(abs(sigmoid(2 * one_step(lam, g, lr=lr)) - best))
        # in the logit the step is twice as long: eta - 2 lr dL/dmu
        assert 2 * one_step(lam, g, lr=lr) == pytest.approx(2 * lam - 2 * lr * g, abs=1e-12)
        without_two.append(abs(sigmoid(2 * lam - lr * g) - best))
    assert max(errors) < 1e-7
    assert max(without_two) > 0.1


@pytest.mark.parametrize("name", NOISES)
def test_07_the_potential_of_a_noise_law_has_its_quantile_as_slope(name):
    # D(p, p_t) of psi with psi' = F^-1, by quadrature: its proximal step is the step of the leaf
    law = get_noise(name)
    generator = numpy_generator(f"divergence of {name}")
    errors, others = [], []
    for _ in range(20):
        old, g = generator.uniform(0.15, 0.85), generator.normal(0, 0.3)
        eta = float(law.quantile(torch.tensor(old)))

        def slope(p, g=g, eta=eta):  # of 2 g p + 2 D(p, p_t) / lr, in p
            return g + (float(law.quantile(torch.tensor(p))) - eta) / 0.5

        def objective(p, g=g, old=old, eta=eta):
            area = quad(lambda q: float(law.quantile(torch.tensor(q))) - eta, old, p)[0]
            return g * p + area / 0.5

        ends = 1e-6, 1 - 1e-6
        if slope(ends[0]) > 0 or slope(ends[1]) < 0:
            continue  # at the edge of a bounded law
        best = brentq(slope, *ends, xtol=1e-12)
        nearby = [objective(best + step) for step in (-1e-3, 0.0, 1e-3)]
        assert nearby[1] < min(nearby[0], nearby[2])
        leaf = torch.nn.Parameter(torch.tensor([eta]))
        leaf.grad = torch.tensor([g])
        MirrorDescent([leaf], lr=0.5, adaptive=False, noise=law).step()
        errors.append(abs(float(law.cdf(leaf.detach())) - best))
        others.append(abs(sigmoid(logit(old) - 0.5 * g) - best))
    assert len(errors) > 10
    assert max(errors) < 2e-6
    assert (max(others) > 1e-3) == (name != "logistic")  # another law's step is another


def test_08_a_box_is_a_clip_and_agile_and_lazy_are_two_algorithms():
    law = get_noise("uniform")
    generator = numpy_generator("box")
    for mean, g, lr in zip(
        generator.uniform(-1, 1, 50),
        generator.normal(0, 2, 50),
        generator.uniform(0.05, 1, 50),
        strict=True,
    ):
        best = minimize(
            lambda m, mean=mean, g=g, lr=lr: g * m[0] + (m[0] - mean) ** 2 / (2 * lr),
            [0.0],
            bounds=[(-1, 1)],
        ).x[0]
        leaf = torch.nn.Parameter(torch.tensor([mean]))
        leaf.grad = torch.tensor([g])
        MirrorDescent([leaf], lr=lr, adaptive=False, noise=law).step()
        assert float(leaf.detach()) == pytest.approx(np.clip(mean - lr * g, -1, 1), abs=1e-14)
        assert float(leaf.detach()) == pytest.approx(best, abs=1e-6)
    ends = {}
    for clipping in ("agile", "lazy"):
        leaf = torch.nn.Parameter(torch.zeros(1))
        rule = MirrorDescent([leaf], lr=1.0, adaptive=False, noise=law, clipping=clipping)
        for step in range(40):
            leaf.grad = torch.tensor([-0.2 if step < 30 else 0.2])
            rule.step()
        ends[clipping] = float(leaf.detach())
    assert ends["agile"] == pytest.approx(-1)
    assert ends["lazy"] == pytest.approx(4)
    mean = sbn.SignBernoulli.from_latent(torch.tensor([ends["lazy"]]), law).mean
    assert float(mean) == 1.0


@pytest.mark.parametrize("prior", [0.0, 0.4])
def test_09_the_composite_step_and_the_bayesian_learning_rule_solve_their_problems(prior):
    p0 = sigmoid(2 * prior)
    exact, linear = [], []
    for lam, g, lr in draws():
        old = sigmoid(2 * lam)

        def composite(p, g=g, lr=lr, old=old):
            return 2 * g * p + TEMPERATURE * kl(p, p0) + kl(p, old) / lr

        def linearised(p, g=g, lr=lr, old=old, lam=lam):
            slope = 2 * g + 2 * TEMPERATURE * (lam - prior)
            return slope * p + kl(p, old) / lr

        left = TEMPERATURE, TEMPERATURE * prior
        found = one_step(lam, g, left, lr=lr, kl="prox")
        exact.append(abs(sigmoid(2 * found) - minimiser(composite)))
        rho = lr * TEMPERATURE / (1 + lr * TEMPERATURE)
        assert found == pytest.approx((1 - rho) * lam + rho * (prior - g / TEMPERATURE), abs=1e-12)
        found = one_step(lam, g + TEMPERATURE * (lam - prior), lr=lr)
        linear.append(abs(sigmoid(2 * found) - minimiser(linearised)))
        rho = lr * TEMPERATURE
        assert found == pytest.approx((1 - rho) * lam + rho * (prior - g / TEMPERATURE), abs=1e-12)
    assert max(exact) < 1e-7
    assert max(linear) < 1e-7


class Regression:
    """Logistic regression on 12 data with seven ±1 weights, and its loss ``J = E[NLL] + T KL``."""

    def __init__(self):
        generator = numpy_generator("seven weights")
        self.x = torch.tensor(generator.normal(0, 0.5, (12, 7)))
        self.y = torch.tensor(np.where(generator.uniform(size=12) < 0.5, 0.0, 1.0))
        self.start = generator.normal(0, 1, 7)

    def model(self, x, y=None):
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(1, 7)).to_event(2))
        with pyro.plate("data", 12, subsample=x, dim=-1):
            return pyro.sample("y", sbn.AffineBernoulli(sbn.affine(x, w)), obs=y)

    def objective(self, lam):
        states, mean = sign_states(7), np.tanh(lam)
        q = ((1 + states * mean) / 2).prod(1)
        signs = 2 * self.y.numpy() - 1
        nll = np.logaddexp(0, -signs * (states @ self.x.numpy().T)).sum(1)
        return float((q * (nll + TEMPERATURE * np.log(q / 0.5**7))).sum())

    def fit(self, steps, **options):
        guide = sbn.guides.AutoSignBernoulli(
            self.model, example=(self.x[:2], self.y[:2].unsqueeze(-1))
        )
        guide.leaf("w").data.copy_(torch.tensor(self.start).reshape(1, 7))
        optim = sbn.optim.MirrorDescent(options)
        elbo = sbn.TraceEstimator_ELBO("exact", temperature=TEMPERATURE)
        svi = SVI(self.model, guide, optim, loss=elbo)
        for step in range(steps):
            optim.scale_lr(min(1.0, 3 * (1 - step / steps)))
            svi.step(self.x, self.y.unsqueeze(-1))
        return guide.leaf("w").detach().numpy().reshape(-1)


@pytest.fixture(scope="module")
def best():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    problem = Regression()
    torch.set_default_dtype(before)  # a module's fixtures come before what every test puts back
    found = minimize(problem.objective, np.zeros(7), method="BFGS", options={"gtol": 1e-8})
    return problem, found


def natural_gradient(problem, lam):
    """``dE[NLL]/dmu`` by enumeration."""
    states, mean = sign_states(7), np.tanh(lam)
    signs = 2 * problem.y.numpy() - 1
    nll = np.logaddexp(0, -signs * (states @ problem.x.numpy().T)).sum(1)
    factors = (1 + states * mean) / 2
    return np.array(
        [0.5 * (np.delete(factors, i, 1).prod(1) * states[:, i] * nll).sum() for i in range(7)]
    )


def test_10_exact_gradients_lead_to_the_best_posterior(best):
    problem, bfgs = best
    lam = problem.fit(80, lr=0.8, adaptive=False)
    np.testing.assert_allclose(lam, -natural_gradient(problem, lam) / TEMPERATURE, atol=1e-6)
    assert problem.objective(lam) == pytest.approx(bfgs.fun, abs=1e-6)
    assert problem.objective(problem.start) > bfgs.fun + 0.5


def test_11_adam_with_the_kl_inside_ends_there_too_and_decoupled_decay_elsewhere(best):
    problem, bfgs = best
    lam = problem.fit(300, lr=0.1)
    assert problem.objective(lam) == pytest.approx(bfgs.fun, abs=1e-6)
    leaf = torch.nn.Parameter(torch.tensor(problem.start))
    adam = torch.optim.AdamW([leaf], lr=0.1, weight_decay=1.0)
    for step in range(300):
        adam.param_groups[0]["lr"] = 0.1 * min(1.0, 3 * (1 - step / 300))
        leaf.grad = torch.tensor(natural_gradient(problem, leaf.detach().numpy()) / TEMPERATURE)
        adam.step()
    assert problem.objective(leaf.detach().numpy()) > bfgs.fun + 0.1


@pytest.mark.parametrize("factor", [1024.0])
def test_18_without_clipping_and_decay_the_scale_of_the_latent_weights_does_not_matter(factor):
    x = torch.tensor(numpy_generator("rows").normal(0, 1, (20, 4)))
    y = (x[:, 0] * x[:, 1] > 0).long()

    def signs(factor, clamp):
        torch.manual_seed(0)
        model = sbn.models.BinaryMLP(4, [8], 2, num_data=20)
        guide = sbn.guides.AutoSignDelta(model)
        for name in ("hidden.0.weight", "output.weight"):
            guide.leaf(name).data.mul_(factor)
        # a power of two scales every number exactly; real parameters stay where they are
        optim = sbn.optim.MirrorDescent(
            {
                "lr": 0.02 * factor,
                "adaptive": False,
                "clamp": clamp,
                "real": ("SGD", {"lr": 0.0}),
            }
        )
        svi = SVI(model, guide, optim, loss=sbn.TraceEstimator_ELBO("st"))
        path = []
        for _ in range(40):
            svi.step(x, y)
            leaves = [guide.leaf(n).detach() for n in ("hidden.0.weight", "output.weight")]
            path.append(torch.cat([(v >= 0).reshape(-1) for v in leaves]))
        return torch.stack(path)

    free = signs(1.0, 1e9)
    assert torch.equal(free, signs(factor, 1e9))
    assert int((free[0] != free[-1]).sum()) > 0
    # a hidden clip gives the scale a meaning
    assert not torch.equal(signs(1.0, 8.0), signs(factor, 8.0))


@pytest.mark.parametrize("options", [{}, {"adaptive": False}])
def test_20_float32_is_safe_far_out(options):
    leaf = torch.nn.Parameter(torch.tensor([15.0, -15.0] * 50, dtype=torch.float32))
    prior = sbn.SignBernoulli(logits=torch.zeros(100, dtype=torch.float32))
    optimizer = MirrorDescent([leaf], lr=0.5, **options)
    limit = DUAL_LIMIT
    for step in range(1000):
        law = sbn.SignBernoulli.from_natural(leaf)
        optimizer.zero_grad()
        pull = 20.0 if step < 500 else -2.0
        loss = torch.distributions.kl_divergence(law, prior).sum() - pull * law.mean.sum()
        loss.backward()
        optimizer.step()
        assert torch.isfinite(leaf).all()
        assert float(leaf.detach().abs().max()) <= limit
    torch.testing.assert_close(leaf.detach(), torch.full_like(leaf, -2.0), atol=0.05, rtol=0)
