"""NoisySign: stochastic binary units, against the noise's definition and by enumeration."""

import copy
import math
import pickle

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO

import bayes_sbn as sbn
from bayes_sbn import NoisySign, affine
from bayes_sbn.affines import Affine
from bayes_sbn.noise import get_noise
from bayes_sbn.signs import FlipRule, tag_sign
from tests import chance, oracle_noise

kl_divergence = torch.distributions.kl_divergence

every_noise = pytest.mark.parametrize("noise", oracle_noise.NOISES)


def pre_activation(rows: int = 4, units: int = 3) -> Affine:
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, 2, generator=generator)
    return affine(x, torch.randn(units, 2, generator=generator), scale=0.6)


def signs_of(law: NoisySign, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.where(torch.rand(law.shape(), generator=generator) < 0.5, -1.0, 1.0)


@every_noise
def test_log_prob_is_the_sum_of_log_cdfs_of_the_signed_pre_activation(noise):
    pre = pre_activation()
    law = NoisySign(pre, get_noise(noise, 1.7))
    x = signs_of(law)
    with np.errstate(divide="ignore"):
        wanted = np.log(oracle_noise.cdf(noise, x * pre.tensor, 1.7)).sum(-1)
    assert law.log_prob(x).shape == (4,)
    np.testing.assert_allclose(law.log_prob(x), wanted, rtol=1e-12)
    assert torch.equal(law.probs, get_noise(noise, 1.7).cdf(pre.tensor))
    torch.testing.assert_close(law.mean, 2 * law.probs - 1)
    torch.testing.assert_close(law.variance, 4 * law.probs * (1 - law.probs))
    torch.testing.assert_close(law.mean_path(), law.mean)


@every_noise
def test_probabilities_of_all_states_sum_to_one(noise):
    law = NoisySign(pre_activation(), noise)
    support = law.enumerate_support()
    assert support.shape == (8, 4, 3)
    assert law.enumerate_support(expand=False).shape == (8, 1, 3)
    torch.testing.assert_close(law.log_prob(support).exp().sum(0), torch.ones(4))


@every_noise
def test_log_prob_has_the_derivative_of_its_multilinear_extension(noise):
    law = NoisySign(pre_activation(), get_noise(noise, 5.0))
    x = signs_of(law).requires_grad_()
    law.log_prob(x).sum().backward()
    up, down = (law.state_log_prob(torch.full((4, 3), s)) for s in (1.0, -1.0))
    assert up.isfinite().all()
    torch.testing.assert_close(x.grad, (up - down) / 2)


@every_noise
def test_log_prob_gradient_reaches_the_operands(noise):
    x, w = torch.randn(4, 2), torch.randn(3, 2, requires_grad=True)
    state = torch.where(x[:, :1] < 0, -1.0, 1.0).expand(4, 3)
    law = get_noise(noise, 9.0)
    assert torch.autograd.gradcheck(lambda v: NoisySign(affine(x, v), law).log_prob(state), w)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("noise", oracle_noise.BOUNDED_NOISES)
@pytest.mark.parametrize("rule", [None, FlipRule()])
def test_log_prob_off_a_bounded_support_is_minus_infinity_and_never_nan(rule, noise, dtype):
    leaf = torch.ones(1, 2, dtype=dtype, requires_grad=True)
    scale = torch.full((2,), 3.0, dtype=dtype, requires_grad=True)
    h = tag_sign(leaf, "h", rule)
    law = NoisySign(affine(h, torch.ones(2, 2, dtype=dtype), scale=scale), noise)
    x = torch.tensor([[-1.0, 1.0]], dtype=dtype, requires_grad=True)
    value = law.log_prob(x)
    assert value.tolist() == [-math.inf]
    value.sum().backward()
    for gradient in (leaf.grad, scale.grad, x.grad):
        assert gradient.isfinite().all()
    half = -0.5 * math.log(torch.finfo(dtype).tiny)  # log 0 is that of the smallest normal number
    torch.testing.assert_close(x.grad, torch.full((1, 2), half, dtype=dtype))


@pytest.mark.parametrize("noise", ["logistic", "gaussian", "laplace"])
def test_half_log_odds_of_unbounded_noise_are_not_cut_off_in_float32(noise):
    law = NoisySign(
        affine(torch.ones(1, dtype=torch.float32), torch.full((1, 1), -150.0).float()), noise
    )
    wanted = {"logistic": -75.0, "gaussian": -0.5 * 150.0**2 / 2, "laplace": -75.0}[noise]
    assert law.half_log_odds().item() == pytest.approx(wanted, rel=0.01)


@every_noise
def test_draws_have_the_frequencies_of_the_law(noise):
    law = NoisySign(pre_activation(), get_noise(noise, 1.5))
    draws = law.sample((20_000,))
    assert draws.shape == (20_000, 4, 3)
    chance.assert_count(
        (draws > 0).sum(0),
        20_000,
        oracle_noise.cdf(noise, law.affine.tensor, 1.5),
        detects=0.06,
    )


@pytest.mark.parametrize("batch", [(4,), (5, 4), (2, 5, 4)])
def test_expand_keeps_the_type_the_rule_and_the_structure(batch):
    law = NoisySign(pre_activation(), "laplace", validate_args=False)
    law._rule, law.has_rsample = (lambda fn, uniform=None: fn.mean), True
    wide = law.expand(batch)
    assert type(wide) is NoisySign
    assert (wide.batch_shape, wide.event_shape) == (batch, (3,))
    assert wide.noise == get_noise("laplace")
    assert wide.rule is law.rule
    assert wide.has_rsample
    assert wide._validate_args is False
    assert wide.affine.source is law.affine
    assert torch.equal(wide.probs, law.probs.expand(*batch, 3))
    assert wide.sample().shape == (*batch, 3)
    assert wide.support.event_dim == 1


def test_drawing_from_an_expanded_law_does_not_cut_its_gradient():
    # a draw is made under no_grad; what it evaluates must not be what is scored later
    w = torch.randn(3, 2, requires_grad=True)
    law = NoisySign(affine(torch.ones(4, 2), w)).expand((5, 4))
    value = law.sample()
    law.log_prob(value).sum().backward()
    assert w.grad.abs().min() > 0


def test_rule_is_on_a_copy():
    law = NoisySign(pre_activation())
    ruled = law.with_rule(lambda fn, uniform=None: fn.mean)
    assert ruled is not law
    assert law.rule is None
    assert torch.equal(ruled.sample(), law.mean)


def test_enumerate_support_is_capped():
    with pytest.raises(ValueError, match=r"NoisySign.enumerate_support\(\): .*17 variables"):
        NoisySign(affine(torch.ones(2), torch.ones(17, 2))).enumerate_support()


def test_law_without_an_affine_is_refused():
    with pytest.raises(TypeError, match=r"received a Tensor; .*Write NoisySign\(bayes_sbn.affine"):
        NoisySign(torch.zeros(3))
    with pytest.raises(ValueError, match="'probit' is not known"):
        NoisySign(pre_activation(), "probit")


def test_states_that_are_not_signs_are_refused():
    law = NoisySign(pre_activation())
    with pytest.raises(ValueError, match=r"NoisySign.log_prob.*Map them with 2 \* x - 1"):
        law.log_prob((signs_of(law) + 1) / 2)
    with pytest.raises(ValueError, match=r"must end in the event shape \(3,\)"):
        law.log_prob(torch.ones(4))
    with pytest.raises(ValueError, match=r"cannot be broadcast to the batch shape \(4,\)"):
        law.log_prob(torch.ones(6, 3))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda law: pickle.loads(pickle.dumps(law))])
def test_law_can_be_copied_and_pickled(duplicate):
    law = NoisySign(pre_activation(), get_noise("gaussian", 0.3))
    twin = duplicate(law)
    x = signs_of(law)
    assert torch.equal(twin.log_prob(x), law.log_prob(x))
    assert twin.noise == law.noise


# the Kullback-Leibler divergence ---------------------------------------------------------------


def test_kl_of_the_same_conditional_is_zero_in_the_batch_shape():
    law = NoisySign(pre_activation())
    for q, p in ((law, law), (law.expand((5, 4)), law), (law.expand((5, 4)), law.expand((5, 4)))):
        kl = kl_divergence(q, p)
        assert kl.shape == q.batch_shape
        assert not kl.any()


def test_kl_of_different_conditionals_is_left_to_monte_carlo():
    pre = pre_activation()
    law = NoisySign(pre)
    for other in (NoisySign(pre_activation()), NoisySign(pre, "gaussian")):
        with pytest.raises(NotImplementedError, match="estimated from draws"):
            kl_divergence(law, other)


@pytest.mark.parametrize("make", [Trace_ELBO, TraceMeanField_ELBO, TraceGraph_ELBO])
@pytest.mark.parametrize("same", [True, False])
def test_stock_elbos_estimate_the_kl_of_different_conditionals_from_draws(same, make):
    x, y = torch.randn(4, 2), torch.tensor([0, 1, 1, 0])
    start = {"w": torch.randn(3, 2), "v": torch.randn(3, 2)}
    head = torch.randn(2, 3)

    def hidden(name):
        law = NoisySign(affine(x, pyro.param(name, start[name].clone()), scale=0.5))
        with pyro.plate("data", 4, dim=-1):
            return law, pyro.sample("h", law)

    def model():
        _, h = hidden("w")
        with pyro.plate("rows", 4, dim=-1):
            pyro.sample("y", sbn.AffineCategorical(affine(h, head)), obs=y)

    guide_name = "w" if same else "v"
    q, p = (NoisySign(affine(x, start[name], scale=0.5)) for name in (guide_name, "w"))
    state = signs_of(q, seed=3)
    with sbn.force_draws({"h": state}):
        guide = sbn.EstimatorMessenger("st")(lambda: hidden(guide_name)[1])
        loss = make().loss_and_grads(model, guide)
    log_likelihood = sbn.AffineCategorical(affine(state, head)).log_prob(y)
    wanted = -(p.log_prob(state) - q.log_prob(state) + log_likelihood).sum()
    assert loss == pytest.approx(wanted.item(), rel=1e-12)
    if same:
        assert loss == pytest.approx(-log_likelihood.sum().item(), rel=1e-12)
    assert pyro.param(guide_name).unconstrained().grad.abs().min() > 0
