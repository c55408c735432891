"""Networks by moments: bounds of the heads, certain weights, and recorded biases."""

import itertools

import numpy as np
import pyro
import pytest
import torch
from scipy import stats

import bayes_sbn as sbn
from bayes_sbn.affines.moments import variance
from bayes_sbn.signs import moments_tag, tag_moments, tag_sign
from tests.chance import numpy_generator
from tests.estimators.conformance import step, uniforms_of
from tests.estimators.test_exact_expectation import network
from tests.oracle_estimators import relative_bias
from tests.oracle_noise import cdf
from tests.oracles import exact_gradient
from tests.pyro_networks import assert_same_gradient

AP2 = {"estimator": "ap2"}


def regression():
    """±1 weights on real inputs under a normal likelihood: the bound has a closed form."""
    generator = numpy_generator("regression")
    x, y = torch.tensor(generator.normal(size=(5, 4))), torch.tensor(generator.normal(size=(5, 2)))
    scale = torch.tensor([0.7, 1.1], requires_grad=True)
    sigma = torch.tensor([0.5, 0.9], requires_grad=True)

    def model(x, y):
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(2, 4)).to_event(2))
        with pyro.plate("data", 5):
            pyro.sample("y", sbn.AffineNormal(sbn.affine(x, w, scale=scale), sigma), obs=y)

    guide = sbn.guides.AutoSignBernoulli(model, example=(x, y))
    guide.leaf("w").data.copy_(torch.tensor(generator.normal(size=(2, 4))))
    return model, guide, x, y, scale, sigma


def test_normal_likelihood_of_a_linear_model_is_exact():
    model, guide, x, y, scale, sigma = regression()
    loss = sbn.TraceEstimator_ELBO("ap2").loss_and_grads(model, guide, x, y)
    leaf = guide.leaf("w")
    found = [t.grad.clone() for t in (leaf, scale, sigma)]
    mean = torch.tanh(leaf.detach()).requires_grad_()
    total = torch.zeros(())
    for j in range(2):
        states = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)))
        p = ((1 + states * mean[j]) / 2).prod(-1)
        a = scale[j] * states @ x.mT
        normal = torch.distributions.Normal(a, sigma[j]).log_prob(y[:, j]).sum(-1)
        total = total - (p * normal).sum()
    up, down = (1 + mean) / 2, (1 - mean) / 2
    total = total + (up * torch.log(2 * up) + down * torch.log(2 * down)).sum()
    assert loss == pytest.approx(float(total.detach()), abs=1e-10)
    for value, wanted in zip(found, torch.autograd.grad(total, (mean, scale, sigma)), strict=True):
        torch.testing.assert_close(value, wanted, rtol=0, atol=1e-10)


NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@pytest.mark.parametrize("label", [0, 1, 2])
def test_categorical_is_scored_by_a_bound_between_jensens_and_the_value(label):
    generator = numpy_generator("categorical")
    means = generator.uniform(-0.8, 0.8, (3, 6))
    x = generator.normal(size=(1, 6))
    pre = sbn.affine(torch.tensor(x), tag_moments(torch.tensor(means), "w", "ap2"))
    m, v = pre.tensor[0].numpy(), variance(pre)[0].numpy()
    found = float(sbn.AffineCategorical(pre).log_prob(torch.tensor([label])))
    grid = np.stack(np.meshgrid(*(m[c] + np.sqrt(v[c]) * NODES for c in range(3)), indexing="ij"))
    weight = np.einsum("i,j,k->ijk", WEIGHTS, WEIGHTS, WEIGHTS)
    exact = m[label] - (weight * np.log(np.exp(grid).sum(0))).sum()
    jensen = m[label] - np.log(np.exp(m + v / 2).sum())
    assert jensen + 0.3 < found < exact
    assert exact - found < 0.25


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_bernoulli_is_scored_by_a_bound_between_jensens_and_the_value(label):
    means = torch.tensor([[0.5, -0.3, 0.2, 0.1]])
    pre = sbn.affine(torch.full((1, 4), 1.2), tag_moments(means, "w", "ap2"))
    m, v = float(pre.tensor), float(variance(pre))
    found = float(sbn.AffineBernoulli(pre).log_prob(torch.tensor([[label]])))
    exact = label * m - (WEIGHTS * np.log1p(np.exp(m + np.sqrt(v) * NODES))).sum()
    jensen = label * m - np.log1p(np.exp(m + v / 2))
    assert jensen + 0.3 < found < exact
    assert exact - found < 0.2


@pytest.mark.parametrize("activations", ["st", "psa", "score", "gumbel_st", "concrete", "ap2"])
def test_certain_weights_give_the_network_with_those_weights(activations):
    infer = {name: {"estimator": "st"} for name in ("layers.0.weight", "layers.1.weight")}
    moments = {name: AP2 for name in infer}
    losses, gradients = [], []
    for chosen in (infer, moments):
        net = network("two_hidden_layers", num_data=2, infer=chosen)
        for site in infer:
            leaf = net.guide.leaf(site)
            leaf.data.copy_(torch.where(leaf.data > 0, 19.0, -19.0))
        elbo = sbn.TraceEstimator_ELBO(activations, weight_kl=False)
        found = step(elbo, net, uniforms_of(net, "certain"))
        losses.append(found.loss)
        gradients.append({k: g for k, g in found.gradients.items() if "weight_mean" not in k})
    assert losses[0] == pytest.approx(losses[1], abs=1e-12)
    assert_same_gradient(gradients[1], gradients[0], 1e-10)


def test_flips_of_drawn_inputs_are_exact_where_weights_are_moments():
    # PSA's theorem for the units whose weights are marginalised: exact in one hidden layer, under
    # a head whose expectation is
    infer = {"layers.0.weight": AP2, "head.weight": AP2}
    net = network("normal_head", num_data=1, infer=infer)
    elbo = sbn.TraceEstimator_ELBO("psa", weight_kl=False)
    maps, p = dict(net.net.maps), net.leaves

    def law(name, x):
        w = tag_moments(torch.tanh(net.guide.leaf(f"{name}.weight")), name, "ap2")
        return sbn.affine(x, w, p[f"{name}.bias"], scale=p[f"{name}.scale"])

    loss, found = torch.zeros(()), []
    up = sbn.NoisySign(law("layers.0", net.x)).probs
    for states in itertools.product((-1.0, 1.0), repeat=maps["layers.0"].shape[0]):
        state = torch.tensor([states])
        probability = torch.where(state > 0, up, 1 - up).prod(-1)
        head = sbn.AffineNormal(law("head", tag_sign(state, "h", None)), p["sigma"])
        loss = loss - (probability * head.log_prob(net.y)).sum()
        given = {"layers.0": torch.where(state > 0, -1.0, 2.0)}
        given |= {k: torch.full(maps[k[:-7]].shape, 0.5) for k in infer}
        one = step(elbo, net, given)
        found.append((float(probability.detach()), one.gradients))
    keys = ["layers.0.scale", "layers.0.bias", "head.scale", "head.bias", "sigma"]
    leaves = [p[k] for k in keys]
    lam = net.guide.leaf("layers.0.weight")
    *exact, in_lam = torch.autograd.grad(loss, [*leaves, lam])
    in_mean = in_lam / (1 - torch.tanh(lam.detach()) ** 2)
    mean = {k: sum(q * g[k] for q, g in found) for k in found[0][1]}
    for key, wanted in zip([*keys, "layers.0.weight_mean"], [*exact, in_mean], strict=True):
        np.testing.assert_allclose(mean[key], wanted, rtol=0, atol=1e-11)


def test_local_reparametrisation_leaves_activations_to_their_estimator():
    sites = ("layers.0.weight", "layers.1.weight")
    by_site = network("two_hidden_layers", num_data=2, infer=dict.fromkeys(sites, AP2))
    net = network("two_hidden_layers", num_data=2)
    uniforms = uniforms_of(net, "local")
    for activations in ("psa", "st", "local", "disarm"):
        chosen = sbn.estimators.LocalReparametrisation(activations)
        found = step(sbn.TraceEstimator_ELBO(chosen), net, uniforms)
        wanted = step(sbn.TraceEstimator_ELBO(activations), by_site, uniforms)
        assert found.loss == wanted.loss
        assert_same_gradient(found.gradients, wanted.gradients, 1e-14)
        assert moments_tag(found.sites["layers.0.weight"]["value"]).site == "layers.0.weight"
        assert bool((found.sites["layers.0"]["value"].abs() == 1).all())
    assert "PathSampleAnalytic" in repr(sbn.estimators.get_estimator("local_reparametrisation"))


def test_local_reparametrisation_is_the_normal_pre_activation_then_the_noisy_sign():
    # P(+1) by drawing a ~ N(m, v) and sign(a - Z), over a grid of both quantiles
    generator = numpy_generator("two draws")
    mean, x = generator.uniform(-0.8, 0.8, (1, 5)), np.array([1.0, -1.0, 1.0, 1.0, -1.0])
    weight = tag_moments(torch.tensor(mean), "w", "ap2")
    inputs = tag_sign(torch.tensor(x), "h", None)
    law = sbn.NoisySign(sbn.affine(inputs, weight, scale=0.6), "gaussian")
    z = stats.norm.ppf((np.arange(1500) + 0.5) / 1500)
    a = 0.6 * (mean[0] @ x) + 0.6 * np.sqrt((1 - mean**2).sum()) * z
    assert float(law.probs) == pytest.approx((a[:, None] > z).mean(), abs=2e-3)
    assert abs(float(law.probs) - float(cdf("gaussian", 0.6 * (mean[0] @ x)))) > 0.01


# Relative bias of each block, logistic noise; those of psa and st on the same networks are in
# test_exact_expectation.
RECORDED_BIAS: dict[str, dict[str, float]] = {
    "two_hidden_layers": {
        "layers.0.scale": 1.50033842,
        "layers.0.bias": 0.492321017,
        "layers.0.weight_mean": 0.203310237,
        "layers.1.scale": 0.320197966,
        "layers.1.bias": 0.221352541,
        "layers.1.weight_mean": 0.247880168,
        "head.scale": 0.240494882,
        "head.bias": 0.0720873128,
        "head.weight": 0.340667068,
    },
    "two_hidden_layers_real_weights": {
        "layers.0.scale": 0.15398514,
        "layers.0.bias": 0.0696469934,
        "layers.0.weight": 0.0389527436,
        "layers.1.scale": 0.472681542,
        "layers.1.bias": 0.11984241,
        "layers.1.weight": 0.525336477,
        "head.scale": 0.966687497,
        "head.bias": 0.106416811,
        "head.weight": 0.868863646,
    },
    "normal_head": {
        "layers.0.scale": 0.0251349502,
        "layers.0.bias": 0.0190363536,
        "layers.0.weight_mean": 0.0133022225,
        "head.scale": 0.00214959291,
        "head.bias": 0.00301335291,
        "head.weight_mean": 0.00990552126,
        "sigma": 0.000516768815,
    },
}


@pytest.mark.parametrize("name", RECORDED_BIAS)
def test_bias_is_the_recorded_one(name):
    net = network(name)
    found = step(sbn.TraceEstimator_ELBO("ap2", weight_kl=False), net, uniforms_of(net, "bias"))
    problem = net.problem
    exact = {k: -g for k, g in exact_gradient(problem.net, problem.x, problem.y).items()}
    for block, value in relative_bias(found.gradients, exact).items():
        assert value == pytest.approx(RECORDED_BIAS[name][block], rel=1e-6), block


def test_gradient_is_that_of_its_own_loss():
    net = network("two_hidden_layers", num_data=2)
    elbo = sbn.TraceEstimator_ELBO("ap2")
    uniforms = uniforms_of(net, "own")
    found = step(elbo, net, uniforms).gradients
    h = 1e-5
    for key, leaf in net.parameters.items():
        for index in np.ndindex(leaf.shape):
            start, sides = float(leaf.data[index]), []
            for sign in (1, -1):
                if key.endswith("weight_mean"):  # the gradient of lam is that in the mean
                    leaf.data[index] = np.arctanh(np.tanh(start) + sign * h)
                else:
                    leaf.data[index] = start + sign * h
                sides.append(elbo.loss(net.model, net.guide, net.x, net.y))
            leaf.data[index] = start
            assert found[key][index] == pytest.approx((sides[0] - sides[1]) / (2 * h), abs=1e-7)


@pytest.mark.parametrize("name", ["running", "learned"])
def test_state_of_the_estimator_of_activations_is_saved_and_continued(name):
    def elbo_of():
        inner = sbn.estimators.ScoreFunction(baseline=name)
        return sbn.TraceEstimator_ELBO(sbn.estimators.LocalReparametrisation(inner))

    net = network("one_hidden_layer")
    first, second = elbo_of(), elbo_of()
    for _ in range(3):
        first.loss_and_grads(net.model, net.guide, net.x, net.y)
    state = first.state_dict()
    key = "default.activations.means.layers%2E0"
    assert state["estimators"][key] != 0
    second.load_state_dict(state)
    assert second.state_dict()["estimators"].keys() == state["estimators"].keys()
    assert second.estimator.activations.means["layers.0"] == state["estimators"][key]
    trained = [path for path, _ in second.estimators.named_parameters()]
    assert trained == (["default.activations.levels.layers%2E0"] if name == "learned" else [])
