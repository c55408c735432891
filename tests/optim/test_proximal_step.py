"""The proximal step with the exact KL: the problem it solves, and what loss it needs."""

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from scipy.optimize import minimize_scalar

import bayes_sbn as sbn
from bayes_sbn.dual import LeftKL, leaf_of, leave_kl, register_leaf
from bayes_sbn.optim.mirror_descent import MirrorDescent
from tests.chance import numpy_generator
from tests.optim.sign_regression import TEMPERATURE, SignRegression

CASES = numpy_generator("proximal problems").normal(0, 1, (40, 3))
PLAIN = {"adaptive": False}
RULES = [PLAIN, {"adaptive": False, "momentum": 0.6}, {"adaptive": True, "betas": (0.6, 0.9)}]


def divergence(p, q):
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


def chances(lam):
    return 1 / (1 + np.exp(-2 * lam))


def leaf_with_kl(start, weight, prior):
    leaf = torch.nn.Parameter(torch.tensor([start]))
    register_leaf(leaf, "posterior.w", is_dual=True)
    weight = torch.tensor([weight])
    leave_kl(leaf, LeftKL(weight, weight * prior))
    return leaf


def step_sizes_and_averages(options, lr, gradients):
    """What a rule makes of its gradients, as on paper."""
    decay = options.get("momentum", 0.0)
    size = lr
    if options["adaptive"]:
        decay, second = options["betas"]
        weights = second ** np.arange(len(gradients))[::-1]
        size = lr / (np.sqrt(np.average(np.square(gradients), weights=weights)) + 1e-8)
    return size, np.average(gradients, weights=decay ** np.arange(len(gradients))[::-1])


@pytest.mark.parametrize("options", RULES)
def test_step_solves_the_proximal_problem(options):
    lr, cost = 0.7, 0.9
    for lam, prior, gradient in CASES:
        leaf = leaf_with_kl(lam, cost, prior)
        rule, gradients = MirrorDescent([leaf], lr=lr, kl="prox", **options), []
        for g in (gradient, 0.5 - gradient):
            gradients.append(g)
            size, average = step_sizes_and_averages(options, lr, gradients)
            start = chances(leaf.item())

            def objective(p, start=start, prior=prior, average=average, size=size):
                terms = cost * divergence(p, chances(prior)) + divergence(p, start) / size
                return average * (2 * p - 1) + terms

            best = minimize_scalar(
                objective, bounds=(1e-9, 1 - 1e-9), method="bounded", options={"xatol": 1e-12}
            ).x
            leaf.grad = torch.tensor([g])
            rule.step()
            assert chances(leaf.item()) == pytest.approx(best, abs=1e-7)
            # the linearised KL is another step
            linear = np.arctanh(2 * start - 1)
            linear -= size * (average + cost * (linear - prior))
            if abs(linear - leaf.item()) > 0.1:
                assert abs(chances(linear) - best) > 1e-4


def test_step_is_that_of_the_linearised_kl_to_first_order():
    errors = []
    for lr in (1e-2, 1e-3):
        leaf = leaf_with_kl(0.8, 0.9, -0.4)
        leaf.grad = torch.tensor([0.3])
        MirrorDescent([leaf], lr=lr, kl="prox", **PLAIN).step()
        errors.append(abs(leaf.item() - (0.8 - lr * (0.3 + 0.9 * 1.2))))
    assert errors[0] > 1e-6
    assert errors[1] == pytest.approx(errors[0] / 100, rel=0.05)


def test_a_huge_step_ends_where_the_gradient_says_and_stays_in_the_clamp():
    leaf = leaf_with_kl(0.8, 0.5, -0.4)
    leaf.grad = torch.tensor([0.3])
    MirrorDescent([leaf], lr=1e9, kl="prox", **PLAIN).step()
    assert leaf.item() == pytest.approx(-0.4 - 0.3 / 0.5, abs=1e-6)
    leaf.grad = torch.tensor([-100.0])
    MirrorDescent([leaf], lr=1e9, kl="prox", **PLAIN).step()
    assert leaf.item() == 8.0


def test_a_free_kl_is_a_plain_step():
    leaf = leaf_with_kl(0.8, 0.0, -0.4)
    leaf.grad = torch.tensor([0.3])
    MirrorDescent([leaf], lr=0.5, kl="prox", **PLAIN).step()
    assert leaf.item() == pytest.approx(0.8 - 0.15, abs=1e-15)


def test_float32_stays_finite_from_saturation():
    leaf = torch.nn.Parameter(torch.full((50,), 15.0, dtype=torch.float32))
    register_leaf(leaf, "posterior.w", is_dual=True)
    leave_kl(leaf, LeftKL(torch.ones_like(leaf), torch.zeros_like(leaf)))
    rule = MirrorDescent([leaf], lr=0.5, kl="prox")
    for _ in range(1000):
        rule.zero_grad()
        (-3.0 * sbn.SignBernoulli.from_natural(leaf).mean.sum()).backward()
        rule.step()
        assert float(leaf.detach().abs().max()) <= 8.0
    assert leaf.dtype == torch.float32
    assert torch.allclose(leaf.detach(), torch.full_like(leaf, 3.0), atol=1e-4)


@pytest.mark.parametrize("options", RULES)
def test_fit_ends_where_the_tempered_loss_is_least(options):
    # also with Adam's rule: the fixed point does not depend on the step sizes
    problem = SignRegression()
    lam = problem.fit({"lr": 1.0, "kl": "prox", **options}, 400, weight_kl=False)[-1]
    fixed = problem.prior - problem.natural_gradient(lam) / TEMPERATURE
    np.testing.assert_allclose(lam, fixed, atol=1e-6)


def model(x, logits):
    weight = pyro.sample("w", sbn.SignBernoulli(logits=logits).to_event(2))
    with pyro.plate("rows", len(x), dim=-1):
        h = pyro.sample("h", sbn.NoisySign(sbn.affine(x, weight)))
        pyro.sample("y", sbn.AffineBernoulli(sbn.affine(h, torch.ones(1, 2))), obs=x[:, :1])


X = torch.tensor([[1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]], dtype=torch.float64).clamp_min(0)
LOGITS = torch.tensor([[0.4, -1.0, 0.2], [2.0, 0.0, -0.3]], dtype=torch.float64)


def guided(**options):
    torch.manual_seed(5)
    return sbn.guides.AutoSignBernoulli(model, example=(X, LOGITS), **options)


def gradient_of(guide, loss, wrapped):
    guide.leaf("w").grad = None
    torch.manual_seed(6)
    loss.loss_and_grads(wrapped(model), wrapped(guide), X, LOGITS)
    return guide.leaf("w").grad.clone()


LOSSES = {
    "one draw": {"temperature": 0.3},
    "auto": {"temperature": "auto"},
    "exact": {"estimator": "exact", "temperature": 0.3},
    "exact, in chunks": {"estimator": sbn.estimators.Exact(states_at_once=100)},
    "one by one": {"num_particles": 3, "temperature": 0.3},
    "side by side": {
        "num_particles": 3,
        "vectorize_particles": True,
        "max_plate_nesting": 1,
        "temperature": 0.3,
    },
    "copies": {"num_particles": 2, "num_importance": 2, "max_plate_nesting": 1},
}


@pytest.mark.parametrize("scale", [None, 0.7])
@pytest.mark.parametrize("name", LOSSES)
def test_what_is_left_is_the_gradient_that_the_kl_has_in_the_loss(name, scale):
    def wrapped(fn):
        return fn if scale is None else poutine.scale(fn, scale)

    guide, options = guided(), LOSSES[name]
    with_kl = gradient_of(guide, sbn.TraceEstimator_ELBO(**options), wrapped)
    assert leaf_of(guide.leaf("w")).left_kl is None
    without = gradient_of(guide, sbn.TraceEstimator_ELBO(**options, weight_kl=False), wrapped)
    left = leaf_of(guide.leaf("w")).left_kl
    assert left.weight.shape == left.pull.shape == (2, 3)
    slope = left.weight * guide.leaf("w").detach() - left.pull
    assert torch.allclose(with_kl - without, slope, atol=1e-12)
    assert float(slope.abs().max()) > 1e-3


def svi_of(options, loss, guide=None):
    guide = guided() if guide is None else guide
    return guide, SVI(model, guide, sbn.optim.MirrorDescent(options), loss=loss)


@pytest.mark.parametrize(
    ("options", "loss", "words"),
    [
        (
            {"lr": 0.1},
            sbn.TraceEstimator_ELBO(weight_kl=False),
            r"left the KL of the weights \"post",
        ),
        ({"lr": 0.1, "kl": "prox"}, sbn.TraceEstimator_ELBO(), "did not leave the KL"),
        ({"lr": 0.1, "kl": "prox"}, Trace_ELBO(), "did not leave the KL"),
    ],
)
def test_an_optimiser_and_a_loss_that_do_not_fit_are_an_error(options, loss, words):
    guide, svi = svi_of(options, loss)
    before = guide.leaf("w").detach().clone()
    with pytest.raises(RuntimeError, match=words):
        svi.step(X, LOGITS)
    assert torch.equal(guide.leaf("w"), before)


def test_the_last_loss_decides():
    _, svi = svi_of({"lr": 0.1, "kl": "prox"}, sbn.TraceEstimator_ELBO(weight_kl=False))
    svi.step(X, LOGITS)
    svi.loss_and_grads = sbn.TraceEstimator_ELBO().loss_and_grads
    with pytest.raises(RuntimeError, match="did not leave the KL"):
        svi.step(X, LOGITS)
    svi.loss_and_grads = sbn.TraceEstimator_ELBO(weight_kl=False).loss_and_grads
    svi.step(X, LOGITS)


@pytest.mark.parametrize("estimator", ["psa", "exact"])
def test_a_trained_prior_is_an_error(estimator):
    prior = LOGITS.clone().requires_grad_()
    loss = sbn.TraceEstimator_ELBO(estimator, weight_kl=False)
    _, svi = svi_of({"lr": 0.1, "kl": "prox"}, loss)
    with pytest.raises(RuntimeError, match=r'weights "posterior\.w" is trained'):
        svi.step(X, prior)


def test_euclidean_leaves_are_not_told():
    guide = guided(gradient="euclidean")
    _, svi = svi_of({"lr": 0.1, "kl": "prox"}, sbn.TraceEstimator_ELBO(weight_kl=False), guide)
    svi.step(X, LOGITS)
    assert leaf_of(guide.leaf("w")).left_kl is None


def test_a_leaf_that_nobody_registered_is_an_error():
    leaf = torch.nn.Parameter(torch.zeros(3))
    leaf.grad = torch.ones(3)
    with pytest.raises(RuntimeError, match=r"of shape \(3,\)"):
        MirrorDescent([leaf], kl="prox").step()
    with pytest.raises(ValueError, match="not registered as a dual leaf"):
        leave_kl(leaf, None)
    with pytest.raises(ValueError, match="it is 'loss' or 'prox'"):
        MirrorDescent([leaf], kl="exact")
