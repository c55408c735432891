"""Local expectation: exact in every layer over all uniforms, and counted."""

import itertools

import pyro
import pytest
import torch

import bayes_sbn as sbn
from tests.estimators.test_exact_expectation import NOISES, lean, network, wanted
from tests.oracle_estimators import expected_st_gradient, relative_bias
from tests.oracles import elbo as oracle_elbo
from tests.oracles import exact_gradient
from tests.problems import chain, one_hidden_layer, two_hidden_layers_real_weights
from tests.pyro_networks import PyroNetwork, assert_same_gradient, expected_gradient
from tests.uniform_cells import all_uniforms, expected_gradient_over_uniforms

SIZES = {
    "one_hidden_layer": 1,
    "one_hidden_layer_real_weights": 2,
    "one_hidden_layer_sign_head": 1,
    "two_hidden_layers": 1,
    "two_hidden_layers_real_weights": 1,
    "chain": 1,
    "bernoulli_head": 1,
    "normal_head": 1,
}


def small(name: str, noise: str = "logistic") -> PyroNetwork:
    return network(name, noise, num_data=SIZES[name])


def exact_of(net: PyroNetwork):
    return wanted(net, exact_gradient(net.net, net.problem.x, net.problem.y))


@pytest.mark.parametrize("name", ["one_hidden_layer", "chain", "two_hidden_layers_real_weights"])
def test_cells_of_the_uniforms_give_the_expectations_of_the_draws(name):
    net = small(name)
    x, y = net.problem.x, net.problem.y
    assert float(all_uniforms(net)[1].sum()) == pytest.approx(1, abs=1e-12)
    loss, found = expected_gradient_over_uniforms(net, lean("st"))
    assert loss == pytest.approx(-oracle_elbo(net.net, x, y), abs=1e-10)
    assert_same_gradient(found, wanted(net, expected_st_gradient(net.net, x, y)))


@pytest.mark.parametrize("name", SIZES)
def test_local_equals_the_exact_gradient_in_every_layer(name):
    net = small(name)
    _, found = expected_gradient_over_uniforms(net, lean("local"))
    assert_same_gradient(found, exact_of(net))


@pytest.mark.parametrize("noise", NOISES[1:])
@pytest.mark.parametrize("name", ["one_hidden_layer", "two_hidden_layers_real_weights", "chain"])
def test_local_is_exact_under_every_noise(name, noise):
    net = small(name, noise)
    _, found = expected_gradient_over_uniforms(net, lean("local"))
    assert_same_gradient(found, exact_of(net))


def test_reruns_that_do_not_reach_the_next_layer_would_be_noticed():
    # draws given by value do not answer to flips above them, so their sum is not the expectation
    net = small("two_hidden_layers_real_weights")
    _, found = expected_gradient(net, lean("local"))
    bias = relative_bias(found, exact_of(net))
    assert bias["layers.0.weight"] > 0.5
    assert bias["layers.1.weight"] < 1e-10


def test_a_bit_costs_one_rerun_and_fixed_weights_none():
    net = PyroNetwork(two_hidden_layers_real_weights(num_data=2))
    elbo = sbn.TraceEstimator_ELBO("local")
    elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    assert elbo.passes == 1 + 3 + 3
    net = PyroNetwork(one_hidden_layer(num_data=2))
    elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    assert elbo.passes == 1 + 6 + 3
    elbo.loss(net.model, net.guide, net.x, net.y)
    assert elbo.passes == 1


def test_sites_without_a_learned_parent_are_not_flipped():
    net = PyroNetwork(chain(num_data=2))
    for name, leaf in net.parameters.items():
        leaf.requires_grad_(name.startswith("head"))
    elbo = sbn.TraceEstimator_ELBO("local")
    elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    assert elbo.passes == 1


def test_mixes_with_psa_above_it():
    # psa is exact in the last layer, local in those below
    infer = {"layers.0": {"estimator": "local"}, "layers.0.weight": {"estimator": "local"}}
    net = PyroNetwork(two_hidden_layers_real_weights(num_data=1), infer=infer)
    _, found = expected_gradient_over_uniforms(net, lean("psa"))
    assert_same_gradient(found, exact_of(net))


def test_a_guide_with_its_own_conditional_pays_its_divergence_in_every_rerun():
    x, y = torch.tensor([[0.4, -1.0]]), torch.tensor([1])
    prior, head = torch.tensor([[0.5, 0.2], [-0.3, 0.8]]), torch.tensor([[1.0, -0.4], [0.3, 0.9]])
    leaf = torch.tensor([[0.1, -0.6], [0.7, 0.2]], requires_grad=True)

    def conditional(weight):
        return sbn.NoisySign(sbn.affine(x, weight))

    def model(x, y):
        with pyro.plate("data", 1, dim=-1):
            h = pyro.sample("h", conditional(prior))
            pyro.sample("y", sbn.AffineCategorical(sbn.affine(h, head)), obs=y)

    def guide(x, y):
        with pyro.plate("data", 1, dim=-1):
            pyro.sample("h", conditional(leaf))

    bound, found = torch.zeros(()), torch.zeros(2, 2)
    for state in itertools.product((-1.0, 1.0), repeat=2):
        h = torch.tensor([state])
        log_q, log_p = conditional(leaf).log_prob(h), conditional(prior).log_prob(h)
        log_likelihood = torch.log_softmax(h @ head.T, -1)[0, 1]
        bound = bound - (log_q.exp() * (log_likelihood + log_p - log_q)).sum()
        leaf.grad = None
        with sbn.force_draws({"h": h}):
            sbn.TraceEstimator_ELBO("local").loss_and_grads(model, guide, x, y)
        found += float(log_q.detach().exp()) * leaf.grad
    (exact,) = torch.autograd.grad(bound, leaf)
    assert torch.allclose(found, exact, atol=1e-12)


def test_float32_follows_float64():
    x = torch.linspace(-2, 2, 15).reshape(5, 3)
    y = torch.tensor([0, 1, 1, 0, 1])
    uniforms = {
        "hidden.0.weight": torch.linspace(0.05, 0.95, 12).reshape(4, 3),
        "x1": torch.linspace(0.9, 0.1, 20).reshape(5, 4),
    }
    uniforms["output.weight"] = torch.linspace(0.1, 0.8, 8).reshape(2, 4)
    wide = sbn.models.BinaryMLP(3, [4], 2, num_data=5)
    gradients = []
    for dtype in (torch.float64, torch.float32):
        torch.set_default_dtype(dtype)
        model = sbn.models.BinaryMLP(3, [4], 2, num_data=5)
        model.load_state_dict(wide.state_dict())
        guide = sbn.guides.AutoSignBernoulli(model)
        leaf = guide.leaf("hidden.0.weight")
        leaf.data.copy_(torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3))
        guide.leaf("output.weight").data.fill_(0.1)
        elbo = sbn.TraceEstimator_ELBO("local", weight_kl=False)
        with sbn.force_draws({}, uniforms):
            elbo.loss_and_grads(model, guide, x.to(dtype), y)
        assert leaf.grad.dtype == dtype
        gradients.append(leaf.grad.double())
    assert float(gradients[0].abs().max()) > 0.01
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-5)
