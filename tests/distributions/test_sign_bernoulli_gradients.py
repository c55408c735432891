"""SignBernoulli: divergences, entropy, and derivatives in the mean, by enumeration."""

import math

import pyro
import pytest
import torch

from bayes_sbn import SignBernoulli
from tests.oracles import kl as oracle_kl
from tests.oracles import kl_gradient

MEAN = torch.tensor([[-0.8, 0.1], [0.6, 0.95]], dtype=torch.float64)
PRIOR = torch.tensor([[0.3, -0.5], [0.0, 0.7]], dtype=torch.float64)

kl_divergence = torch.distributions.kl_divergence


def leaf(mean: torch.Tensor = MEAN) -> torch.Tensor:
    return torch.atanh(mean).requires_grad_()


def expectation(law: SignBernoulli, f) -> torch.Tensor:
    """``E f(x)`` as a finite sum over joint states, weighed by exp log_prob."""
    support = law.enumerate_support()
    return (law.log_prob(support).exp() * f(support)).sum()


def loss(x: torch.Tensor) -> torch.Tensor:
    return (x * torch.tensor([[1.0, 2.0], [-1.0, 0.5]])).sum((-1, -2)).exp()


def test_leaf_gradient_is_half_the_difference_in_each_variable():
    lam = leaf()
    law = SignBernoulli.from_natural(lam).to_event(2)
    expectation(law, loss).backward()
    for index in ((0, 0), (0, 1), (1, 0), (1, 1)):
        values = []
        for state in (1.0, -1.0):
            mean = MEAN.clone()
            mean[index] = state
            values.append(expectation(SignBernoulli(mean=mean).to_event(2), loss))
        half = (values[0] - values[1]) / 2
        torch.testing.assert_close(lam.grad[index], half, rtol=1e-12, atol=0)


def test_mean_probs_and_draws_pass_the_gradient_on_as_it_is():
    lam = leaf()
    law = SignBernoulli.from_natural(lam).expand([3, 2, 2])
    g = torch.randn(3, 2, 2)
    (gradient,) = torch.autograd.grad((g * law.mean).sum(), lam)
    assert torch.equal(gradient, g.sum(0))
    (gradient,) = torch.autograd.grad((g * law.probs).sum(), lam)
    torch.testing.assert_close(gradient, g.sum(0) / 2)
    assert law.mean_path() is not None
    assert torch.equal(law.mean_path(), law.mean)
    assert not law.draw(torch.rand(3, 2, 2)).requires_grad


@pytest.mark.parametrize("name", ["logits", "probs", "mean"])
def test_derivatives_in_the_parameter_are_those_of_the_expectation(name):
    parameter = {"logits": 2 * torch.atanh(MEAN), "probs": (1 + MEAN) / 2, "mean": MEAN.clone()}[
        name
    ].requires_grad_()

    def value(p):
        law = SignBernoulli(**{name: p}).to_event(2)
        prior = SignBernoulli(mean=PRIOR).to_event(2)
        total = expectation(law, loss) + kl_divergence(law, prior) + law.entropy()
        return total + law.probs.square().sum() + law.mean.pow(3).sum()

    assert torch.autograd.gradcheck(value, parameter, rtol=1e-6)


def test_euclidean_gradient_is_the_natural_one_times_the_variance():
    gradients = []
    for kind in ("natural", "euclidean"):
        lam = leaf()
        law = SignBernoulli.from_natural(lam, gradient=kind).to_event(2)
        prior = SignBernoulli(mean=PRIOR).to_event(2)
        total = expectation(law, loss) + kl_divergence(law, prior) + 0.3 * law.entropy()
        total.backward()
        gradients.append(lam.grad)
    torch.testing.assert_close(gradients[1], gradients[0] * (1 - MEAN**2), rtol=1e-12, atol=1e-12)


# the Kullback-Leibler divergence ---------------------------------------------------------------


def test_kl_equals_enumeration_and_its_gradient_the_difference_of_parameters():
    lam, lam0 = leaf(), torch.atanh(PRIOR)
    q = SignBernoulli.from_natural(lam).to_event(2)
    kl = kl_divergence(q, SignBernoulli(mean=PRIOR).to_event(2))
    assert kl.shape == ()
    assert kl.item() == pytest.approx(oracle_kl(MEAN, PRIOR), rel=1e-13)
    kl.backward()
    torch.testing.assert_close(lam.grad, lam.detach() - lam0, rtol=1e-15, atol=1e-15)
    torch.testing.assert_close(lam.grad, torch.tensor(kl_gradient(MEAN, PRIOR)), rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", ["natural", "mean", "probs"])
def test_kl_is_differentiated_in_the_prior_too(kind):
    q = SignBernoulli(mean=MEAN).to_event(2)
    natural = leaf(PRIOR)
    parameter = {"natural": natural, "mean": PRIOR.clone(), "probs": (1 + PRIOR) / 2}[kind]
    parameter = parameter.detach().requires_grad_()
    if kind == "natural":
        prior = SignBernoulli.from_natural(parameter)
    else:
        prior = SignBernoulli(**{kind: parameter})
    kl_divergence(q, prior.to_event(2)).backward()
    # d KL / d mu0 = -(mu - mu0) / (1 - mu0^2), and twice that in a probability
    wanted = -(MEAN - PRIOR) / (1 - PRIOR**2) * (2 if kind == "probs" else 1)
    torch.testing.assert_close(parameter.grad, wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [50.0, 1e4])
@pytest.mark.parametrize(
    ("lam", "lam0", "wanted"),
    [
        (1, 0, lambda size: math.log(2)),
        (0, 1, lambda size: size - math.log(2)),
        (1, -1, lambda size: 2 * size),
        (-1, 1, lambda size: 2 * size),
        (1, 1, lambda size: 0.0),
    ],
)
def test_kl_is_right_far_out(lam, lam0, wanted, size, dtype):
    q_leaf = torch.tensor(size * lam, dtype=dtype, requires_grad=True)
    p_leaf = torch.tensor(size * lam0, dtype=dtype, requires_grad=True)
    for kind in ("natural", "euclidean"):
        q = SignBernoulli.from_natural(q_leaf, gradient=kind)
        kl = kl_divergence(q, SignBernoulli.from_natural(p_leaf, gradient=kind))
        assert kl.item() == pytest.approx(wanted(size), rel=1e-6)
        q_gradient, p_gradient = torch.autograd.grad(kl, (q_leaf, p_leaf))
        assert p_gradient.isfinite()
        if kind == "natural":
            assert q_gradient.item() == size * (lam - lam0)
        else:
            assert q_gradient.isfinite()


@pytest.mark.parametrize(
    ("p", "p0", "wanted"),
    [
        (1.0, 1.0, 0.0),
        (0.0, 0.0, 0.0),
        (1.0, 0.5, math.log(2)),
        (0.0, 0.25, -math.log(0.75)),
        (0.5, 1.0, math.inf),
        (1.0, 0.0, math.inf),
    ],
)
@pytest.mark.parametrize("name", ["probs", "natural"])
def test_kl_at_certainty(name, p, p0, wanted):
    q_leaf, p_leaf = torch.tensor(p), torch.tensor(p0)
    if name == "natural":
        q_leaf, p_leaf = torch.logit(q_leaf) / 2, torch.logit(p_leaf) / 2
    q_leaf.requires_grad_()
    p_leaf.requires_grad_()
    if name == "natural":
        laws = SignBernoulli.from_natural(q_leaf), SignBernoulli.from_natural(p_leaf)
    else:
        laws = SignBernoulli(probs=q_leaf), SignBernoulli(probs=p_leaf)
    kl = kl_divergence(*laws)
    assert kl.item() == pytest.approx(wanted, rel=1e-13)
    kl.backward()
    assert not q_leaf.grad.isnan()
    assert not p_leaf.grad.isnan()


@pytest.mark.parametrize(
    ("q_shape", "p_shape", "events", "wanted"),
    [
        ((3,), (3,), 1, ()),
        ((2, 3), (2, 3), 1, (2,)),
        ((2, 3), (2, 3), 0, (2, 3)),
        ((5, 2, 3), (2, 3), 2, (5,)),
        ((2, 3), (5, 2, 3), 2, (5,)),
        ((5, 1, 2, 3), (4, 2, 3), 1, (5, 4, 2)),
    ],
)
def test_kl_of_expanded_laws_has_the_broadcast_batch_shape(q_shape, p_shape, events, wanted):
    q_mean, p_mean = torch.tensor([-0.5, 0.1, 0.7]), torch.tensor(0.3)
    q = SignBernoulli(mean=q_mean).expand(q_shape).to_event(events)
    p = SignBernoulli(mean=p_mean).expand(p_shape).to_event(events)
    kl = kl_divergence(q, p)
    assert kl.shape == wanted
    single = torch.tensor([oracle_kl(m, 0.3) for m in q_mean.tolist()])
    full = single.expand(torch.broadcast_shapes(q_shape, p_shape))
    torch.testing.assert_close(kl, full.sum(tuple(range(-events, 0))) if events else full)


def test_kl_gradient_of_an_expanded_law_counts_every_copy():
    lam = leaf()
    q = SignBernoulli.from_natural(lam).to_event(2).expand([5])
    kl_divergence(q, SignBernoulli(mean=PRIOR).to_event(2)).sum().backward()
    torch.testing.assert_close(lam.grad, 5 * (lam.detach() - torch.atanh(PRIOR)))


def test_kl_of_different_event_shapes_is_refused():
    q, p = SignBernoulli(mean=MEAN).to_event(2), SignBernoulli(mean=MEAN).to_event(1)
    with pytest.raises(ValueError, match=r"event shapes \(2, 2\) and \(2,\) differ; use .to_event"):
        kl_divergence(q, p)


def test_kl_is_registered_with_torch_and_pyro():
    q, p = SignBernoulli(mean=MEAN).to_event(2), SignBernoulli(mean=PRIOR).to_event(2)
    assert torch.equal(pyro.distributions.kl.kl_divergence(q, p), kl_divergence(q, p))


def test_kl_does_not_touch_the_graph_under_no_grad():
    with torch.no_grad():
        q = SignBernoulli.from_natural(leaf())
        assert not kl_divergence(q, SignBernoulli(mean=PRIOR)).requires_grad
        assert not q.log_prob(torch.ones(2, 2)).requires_grad


# entropy ---------------------------------------------------------------------------------------


def test_entropy_equals_enumeration_and_its_gradient_the_parameter():
    lam = leaf()
    law = SignBernoulli.from_natural(lam).to_event(2)
    log_p = law.log_prob(law.enumerate_support()).detach()
    entropy = law.entropy()
    assert entropy.item() == pytest.approx(-(log_p.exp() * log_p).sum().item(), rel=1e-13)
    entropy.backward()
    torch.testing.assert_close(lam.grad, -lam.detach())
    assert law.expand([3]).entropy().shape == (3,)


@pytest.mark.parametrize("name", ["probs", "mean", "natural"])
def test_entropy_of_a_certain_law_is_zero(name):
    edges = {"probs": (0.0, 1.0), "mean": (-1.0, 1.0)}.get(name, (-math.inf, math.inf))
    parameter = torch.tensor(edges, requires_grad=True)
    if name == "natural":
        law = SignBernoulli.from_natural(parameter)
    else:
        law = SignBernoulli(**{name: parameter})
    entropy = law.to_event(1).entropy()
    assert entropy.item() == 0.0
    entropy.backward()
    assert parameter.grad.isfinite().all()
