"""Moments go where they are understood, and everything else refuses them by the site's name."""

import pytest
import torch
from pyro.infer import Trace_ELBO

import bayes_sbn as sbn
from bayes_sbn.affines import MeanSign
from bayes_sbn.signs import moments_tag, tag_moments
from tests.estimators.conformance import step, uniforms_of
from tests.estimators.test_exact_expectation import network

AP2 = {"estimator": "ap2"}


def test_moments_keep_their_tag_where_they_are_rearranged_and_refuse_other_operations():
    net = network("one_hidden_layer_real_weights")
    h = step(sbn.TraceEstimator_ELBO("ap2"), net, uniforms_of(net, "tag")).sites["layers.0"][
        "value"
    ]
    assert (moments_tag(h).site, moments_tag(h).estimator) == ("layers.0", "ap2")
    assert moments_tag(sbn.flatten(h, 2)).site == "layers.0"
    assert sbn.affine(sbn.reshape(h, 1, (3,)), torch.ones(1, 3)).holds_moments
    for result in (2 * h, h.reshape(-1), h @ torch.ones(3, 1)):
        with pytest.raises(
            RuntimeError, match=r'estimator "ap2" passes the moments of site "layers.0"'
        ):
            result.sum().backward()


def test_functions_that_do_not_know_moments_refuse_them():
    pre = sbn.affine(torch.ones(3), tag_moments(torch.zeros(2, 3), "w", "ap2"))
    with pytest.raises(TypeError, match=r'MeanSign of .* moments of "w": only NoisySign'):
        pre.through(MeanSign(sbn.noise.Logistic()))
    law = sbn.SignBernoulli(logits=torch.zeros(3))
    with pytest.raises(ValueError, match=r'the mean of site "w" by estimator "ap2"'):
        law.log_prob(tag_moments(torch.zeros(3), "w", "ap2"))


def test_stock_elbo_refuses_to_score_moments():
    net = network("one_hidden_layer")
    guide = sbn.EstimatorMessenger("ap2")(net.guide)
    with pytest.raises(ValueError, match=r'the mean of site "layers.0.weight" by estimator "ap2"'):
        Trace_ELBO().differentiable_loss(net.model, guide, net.x, net.y)


def test_weights_to_be_flipped_refuse_moments_and_name_both_sites():
    infer = {"layers.0": AP2}
    net = network("two_hidden_layers", infer=infer)
    with pytest.raises(
        ValueError, match=r'"layers.0" passes .* site "layers.1.weight" are .* flips'
    ):
        sbn.TraceEstimator_ELBO("psa").loss(net.model, net.guide, net.x, net.y)
    sbn.TraceEstimator_ELBO("st").loss(net.model, net.guide, net.x, net.y)


def test_convolutions_refuse_moments():
    kernel = tag_moments(torch.zeros(1, 1, 2, 2), "kernel", "ap2")
    with pytest.raises(TypeError, match=r'Convolution holds the moments of "kernel".*dense layers'):
        sbn.NoisySign(sbn.affine_conv2d(torch.ones(1, 1, 3, 3), kernel))


def test_given_values_are_refused_as_nothing_is_drawn():
    net = network("one_hidden_layer_real_weights", num_data=2)
    with (
        sbn.force_draws({"layers.0": torch.ones(2, 3)}),
        pytest.raises(ValueError, match=r'estimator "ap2", site "layers.0": .*nothing is drawn'),
    ):
        sbn.TraceEstimator_ELBO("ap2").loss(net.model, net.guide, net.x, net.y)


@pytest.mark.parametrize("pool", [sbn.average_pool1d, sbn.max_pool1d])
def test_pooling_refuses_moments_and_names_the_site(pool):
    means = tag_moments(torch.zeros(3, 2, 4), "h", "ap2")
    with pytest.raises(ValueError, match=r'pool1d\(x, .* the mean of site "h" by estimator "ap2"'):
        pool(means, 2)
    with pytest.raises(ValueError, match=r'the mean of site "h"'):
        pool(sbn.permute(means, (1, 0)), 2)
