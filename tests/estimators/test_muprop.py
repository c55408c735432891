"""MuProp: exact over all paths whatever it expands; the expansion is of the mean network."""

import numpy as np
import pyro
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators import MuProp
from tests.estimators.test_disarm import exact_of
from tests.estimators.test_exact_expectation import NOISES, SIZES, lean, network
from tests.oracle_estimators import relative_bias
from tests.problems import one_hidden_layer_real_weights
from tests.pyro_networks import PyroNetwork, all_paths, assert_same_gradient, expected_gradient


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", SIZES)
def test_equals_the_exact_gradient(name, noise):
    net = network(name, noise)
    _, found = expected_gradient(net, lean("muprop"))
    assert_same_gradient(found, exact_of(net))


class WithoutTheMean(MuProp):
    """MuProp that forgets the expectation of what it subtracts."""

    def surrogate(self, site, cost, rerun):
        term = super().surrogate(site, cost, rerun)
        return None if term is None else term - site.weigh_mean(torch.ones(site.shape))


def test_a_forgotten_expectation_would_be_noticed():
    net = network("two_hidden_layers")
    _, found = expected_gradient(net, lean(WithoutTheMean()))
    bias = relative_bias(found, exact_of(net))
    assert bias["layers.0.weight_mean"] > 0.01
    assert bias["layers.1.bias"] > 0.01


def softmax_cost(head, h, y):
    logits = head.scale * (head.weight * h).sum(-1) + head.bias
    return float(np.log(np.exp(logits).sum()) - logits[y])


def test_one_path_is_the_definition():
    net = PyroNetwork(one_hidden_layer_real_weights(num_data=1))
    layer, head = net.net.layers[0], net.net.head
    x, y = net.problem.x[0], int(net.problem.y[0])
    a = layer.scale * (layer.weight * x).sum(-1) + layer.bias
    p = 1 / (1 + np.exp(-a))
    mean, step = 2 * p - 1, 1e-6
    eye = np.eye(len(a))
    slope = np.array(
        [
            (softmax_cost(head, mean + step * e, y) - softmax_cost(head, mean - step * e, y))
            / (2 * step)
            for e in eye
        ]
    )
    for h in (np.array([1.0, -1.0, 1.0]), np.array([-1.0, -1.0, -1.0])):
        with sbn.force_draws({"layers.0": torch.tensor(h)[None]}):
            elbo = sbn.TraceEstimator_ELBO("muprop")
            elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
        left = softmax_cost(head, h, y) - softmax_cost(head, mean, y) - slope @ (h - mean)
        # d log q / da = x P(-x), dmu / da = 2 p (1 - p)
        wanted = left * h * np.where(h > 0, 1 - p, p) + slope * 2 * p * (1 - p)
        assert net.gradients()["layers.0.bias"] == pytest.approx(wanted, rel=1e-7)


def linear_model(bias):
    with pyro.plate("data", 2, dim=-1):
        law = sbn.NoisySign(sbn.affine(torch.ones(2, 3), torch.zeros(3, 3), bias))
        h = pyro.sample("h", law, infer={"follows_model": True})
        pyro.factor("cost", (h * torch.tensor([1.0, -2.0, 0.5])).sum(-1))


def linear_guide(bias):
    with pyro.plate("data", 2, dim=-1):
        law = sbn.NoisySign(sbn.affine(torch.ones(2, 3), torch.zeros(3, 3), bias))
        pyro.sample("h", law, infer={"follows_model": True})


def test_linear_cost_leaves_no_variance():
    found = {}
    for estimator in ("muprop", "score"):
        steps = []
        for seed in range(3):
            bias = torch.tensor([0.3, -1.0, 2.0], requires_grad=True)
            torch.manual_seed(seed)
            elbo = sbn.TraceEstimator_ELBO(estimator)
            elbo.loss_and_grads(linear_model, linear_guide, bias)
            steps.append(bias.grad)
        found[estimator] = torch.stack(steps)
    p = torch.sigmoid(torch.tensor([0.3, -1.0, 2.0]))
    exact = -2 * torch.tensor([1.0, -2.0, 0.5]) * 2 * p * (1 - p)
    assert torch.allclose(found["muprop"], exact.expand(3, 3), atol=1e-12)
    assert float((found["score"] - exact).abs().max()) > 0.5


def second_moment(net, estimator, block):
    values, probability = all_paths(net)
    total = 0.0
    for k, share in enumerate(probability):
        with sbn.force_draws({site: v[k] for site, v in values.items()}):
            elbo = sbn.TraceEstimator_ELBO(estimator)
            elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
        total += float(share) * float((net.gradients()[block] ** 2).sum())
    return total


def test_varies_less_than_the_score_function():
    net = PyroNetwork(one_hidden_layer_real_weights(num_data=1))
    moments = {e: second_moment(net, e, "layers.0.weight") for e in ("muprop", "score")}
    assert moments["muprop"] < 0.5 * moments["score"]


class Watched(sbn.Estimator):
    """Runs downstream again, smoothly, and keeps what it saw."""

    def __init__(self, soften):
        self.soften, self.seen = soften, {}

    def draw(self, site, uniform):
        return site.fn.draw(uniform)

    def surrogate(self, site, cost, rerun):
        value = site.value.detach().clone().requires_grad_()
        self.seen[site.name] = (cost, rerun.relaxed({site.name: value}, self.soften), value)


def test_relaxed_rerun_of_the_draw_itself_costs_the_same():
    # hard values downstream too: nothing is smooth but the site's own effect on its children
    watched = Watched(lambda law, uniform: law.draw(uniform))
    net = network("two_hidden_layers", num_data=3)
    torch.manual_seed(0)
    sbn.TraceEstimator_ELBO(watched).loss_and_grads(net.model, net.guide, net.x, net.y)
    assert len(watched.seen) == 4
    for cost, again, _ in watched.seen.values():
        assert torch.allclose(cost, again, atol=1e-12)
    _, again, value = watched.seen["layers.1"]
    (slope,) = torch.autograd.grad(again.sum(), value)
    assert float(slope.abs().max()) > 1e-3


def test_only_what_depends_on_the_site_is_smooth():
    softened = []

    def soften(law, uniform):
        softened.append(law)
        return law.mean_path()

    watched = Watched(soften)
    net = network("two_hidden_layers", num_data=3)
    torch.manual_seed(0)
    sbn.TraceEstimator_ELBO(watched).loss_and_grads(net.model, net.guide, net.x, net.y)
    # at their draws the last layer's units leave nothing downstream to be smoothed
    last_cost, last_again, _ = watched.seen["layers.1"]
    assert torch.allclose(last_cost, last_again, atol=1e-12)
    first_cost, first_again, _ = watched.seen["layers.0"]
    assert not torch.allclose(first_cost, first_again, atol=1e-3)
    assert len(softened) == 4 * 3


def test_a_site_with_its_own_conditional_below_is_an_error():
    x, y = torch.randn(2, 2), torch.tensor([0, 1])
    w1, w2, head = torch.randn(3, 2), torch.randn(2, 3), torch.randn(2, 2)
    bias = torch.zeros(3, requires_grad=True)

    def model(own):
        with pyro.plate("data", 2, dim=-1):
            law = sbn.NoisySign(sbn.affine(x, w1, bias))
            h1 = pyro.sample("h1", law, infer={"follows_model": True})
            h2 = pyro.sample("h2", sbn.NoisySign(sbn.affine(h1, w2)))
            pyro.sample("y", sbn.AffineCategorical(sbn.affine(h2, head)), obs=y)

    def guide(own):
        with pyro.plate("data", 2, dim=-1):
            law = sbn.NoisySign(sbn.affine(x, w1, bias))
            h1 = pyro.sample("h1", law, infer={"follows_model": True})
            pyro.sample("h2", sbn.NoisySign(sbn.affine(h1, own)))

    own = torch.randn(2, 3, requires_grad=True)
    with pytest.raises(ValueError, match=r'site "h2" does not follow.*"disarm"'):
        sbn.TraceEstimator_ELBO("muprop").loss_and_grads(model, guide, own)
    loss = sbn.TraceEstimator_ELBO("disarm").loss_and_grads(model, guide, own)
    assert np.isfinite(loss)
    assert float(own.grad.abs().max()) > 0
