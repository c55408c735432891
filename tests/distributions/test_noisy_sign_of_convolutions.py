"""NoisySign of a convolution: two or three event dims, against the noise's definition."""

import numpy as np
import pyro
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.affines import SignLogProb
from bayes_sbn.noise import get_noise
from bayes_sbn.signs import FlipRule, sign_tag, tag_sign
from tests import oracle_noise

SPACES = {1: ((4,), (2,), (2, 3)), 2: ((3, 3), (2, 2), (2, 2, 2))}

every_dims = pytest.mark.parametrize("dims", SPACES)
every_noise = pytest.mark.parametrize("noise", oracle_noise.NOISES)


def convolution(dims: int, rows: int = 2):
    generator = torch.Generator().manual_seed(dims)
    space, kernel, _ = SPACES[dims]
    x = torch.randn(rows, 1, *space, generator=generator)
    w = torch.randn(2, 1, *kernel, generator=generator)
    return (sbn.affine_conv1d if dims == 1 else sbn.affine_conv2d)(x, w, scale=0.4)


@every_dims
@every_noise
def test_log_prob_sums_the_units_of_the_maps(noise, dims):
    pre = convolution(dims)
    law = sbn.NoisySign(pre, get_noise(noise, 3.0))
    units = SPACES[dims][2]
    assert (law.batch_shape, law.event_shape) == ((2,), units)
    assert law.support.event_dim == dims + 1
    x = torch.where(torch.rand(law.shape()) < 0.5, -1.0, 1.0)
    with np.errstate(divide="ignore"):
        wanted = np.log(oracle_noise.cdf(noise, x * pre.tensor, 3.0)).reshape(2, -1).sum(1)
    assert law.log_prob(x).shape == (2,)
    np.testing.assert_allclose(law.log_prob(x), wanted, rtol=1e-12)
    assert law.log_prob(x.expand(5, *x.shape)).shape == (5, 2)


@every_dims
def test_probabilities_of_all_states_sum_to_one(dims):
    law = sbn.NoisySign(convolution(dims))
    support = law.enumerate_support()
    number = 2 ** torch.Size(SPACES[dims][2]).numel()
    assert support.shape == (number, 2, *SPACES[dims][2])
    assert law.enumerate_support(expand=False).shape == (number, 1, *SPACES[dims][2])
    torch.testing.assert_close(law.log_prob(support).exp().sum(0), torch.ones(2))


@every_dims
@every_noise
def test_log_prob_has_the_derivative_of_its_multilinear_extension(noise, dims):
    law = sbn.NoisySign(convolution(dims), get_noise(noise, 5.0))
    x = torch.where(torch.rand(law.shape()) < 0.5, -1.0, 1.0).requires_grad_()
    law.log_prob(x).sum().backward()
    up, down = (law.state_log_prob(torch.full(law.shape(), s)) for s in (1.0, -1.0))
    torch.testing.assert_close(x.grad, (up - down) / 2)


@every_dims
@pytest.mark.parametrize("batch", [(2,), (5, 2)])
def test_expand_keeps_the_structure(batch, dims):
    law = sbn.NoisySign(convolution(dims), "laplace")
    wide = law.expand(batch)
    assert (wide.batch_shape, wide.event_shape) == (batch, law.event_shape)
    assert wide.affine.source is law.affine
    assert torch.equal(wide.probs, law.probs.expand(*batch, *law.event_shape))
    assert wide.sample().shape == (*batch, *law.event_shape)
    kl = torch.distributions.kl_divergence(wide, law)
    assert kl.shape == batch
    assert not kl.any()


@every_dims
def test_scoring_more_rows_than_the_law_has_flips_each(dims):
    space, kernel, _ = SPACES[dims]
    make = sbn.affine_conv1d if dims == 1 else sbn.affine_conv2d
    leaf = torch.where(torch.rand(1, 1, *space) < 0.5, -1.0, 1.0).requires_grad_()
    pre = make(tag_sign(leaf, "h", FlipRule()), torch.randn(2, 1, *kernel))
    law = sbn.NoisySign(pre, "gaussian")
    states = torch.where(torch.rand(5, 3, *law.event_shape) < 0.5, -1.0, 1.0)
    law.log_prob(states).sum().backward()
    found = leaf.grad.clone()
    leaf.grad = None
    for state in states.flatten(0, 1):
        pre.through(SignLogProb(law.noise, state.unsqueeze(0))).sum().backward()
    torch.testing.assert_close(found, leaf.grad, rtol=0, atol=1e-12)


@every_dims
@pytest.mark.parametrize("estimator", ["psa", "st", "score"])
def test_draws_of_a_site_have_its_shape_and_are_tagged(estimator, dims):
    pre = convolution(dims)

    def guide():
        with pyro.plate("data", 2, dim=-1):
            return pyro.sample("h", sbn.NoisySign(pre))

    value = sbn.EstimatorMessenger(estimator)(guide)()
    assert value.shape == (2, *SPACES[dims][2])
    assert sign_tag(value).site == "h"
    assert sign_tag(sbn.flatten(value, dims + 1)).site == "h"


def test_states_of_another_shape_are_refused():
    law = sbn.NoisySign(convolution(2))
    with pytest.raises(ValueError, match=r"must end in the event shape \(2, 2, 2\)"):
        law.log_prob(torch.ones(2, 8))


def test_too_many_units_are_not_enumerated():
    pre = sbn.affine_conv2d(torch.ones(1, 5, 5), torch.ones(1, 1, 1, 1))
    with pytest.raises(ValueError, match=r"the event \(1, 5, 5\) has 25 variables"):
        sbn.NoisySign(pre).enumerate_support()
