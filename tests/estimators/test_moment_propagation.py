"""Moments: those of enumeration, what noise absorbs of them, bounds of the heads, and misfits.

In one file, though long, as all of it runs on the same few layers with the same enumeration.
"""

import itertools

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO
from scipy import integrate, stats

import bayes_sbn as sbn
from bayes_sbn.affines import MeanSign
from bayes_sbn.affines.moments import variance
from bayes_sbn.signs import moments_tag, tag_moments, tag_sign
from tests.chance import numpy_generator
from tests.estimators.conformance import step, uniforms_of
from tests.estimators.test_exact_expectation import NOISES, network
from tests.oracle_estimators import relative_bias
from tests.oracle_noise import cdf
from tests.oracles import exact_gradient
from tests.pyro_networks import assert_same_gradient

AP2 = {"estimator": "ap2"}


def states_of(mean):
    """All states of independent ±1 variables and their probabilities."""
    states = np.array(list(itertools.product((-1.0, 1.0), repeat=mean.size)))
    p = np.where(states > 0, (1 + mean.reshape(-1)) / 2, (1 - mean.reshape(-1)) / 2).prod(-1)
    return states.reshape(-1, *mean.shape), p


def operand(kind, shape, generator, site):
    """A tensor of one kind, and its states with their probabilities."""
    if kind == "mean":
        mean = generator.uniform(-0.9, 0.9, shape)
        return tag_moments(torch.tensor(mean), site, "ap2"), *states_of(mean)
    value = generator.normal(size=shape)
    if kind == "sign":
        value = np.where(value < 0, -1.0, 1.0)
        return tag_sign(torch.tensor(value), site, None), value[None], np.ones(1)
    return torch.tensor(value), value[None], np.ones(1)


@pytest.mark.parametrize("rows", [None, 2])
@pytest.mark.parametrize(
    ("x_kind", "w_kind"),
    [k for k in itertools.product(("real", "sign", "mean"), repeat=2) if "mean" in k],
)
def test_moments_are_those_of_enumeration(x_kind, w_kind, rows):
    generator = numpy_generator(f"{x_kind}/{w_kind}/{rows}")
    x_shape = (3,) if rows is None else (rows, 3)
    x, x_states, p = operand(x_kind, x_shape, generator, "x")
    w, w_states, q = operand(w_kind, (2, 3), generator, "w")
    scale, bias = generator.uniform(0.4, 1.2, 2), generator.normal(size=2)
    pre = sbn.affine(x, w, torch.tensor(bias), scale=torch.tensor(scale))
    assert pre.holds_moments
    a = scale * np.einsum("s...i,tji->st...j", x_states, w_states) + bias
    weight = np.multiply.outer(p, q).reshape(len(p), len(q), *(1,) * len(x_shape))
    mean = (weight * a).sum((0, 1))
    np.testing.assert_allclose(pre.tensor, mean, rtol=0, atol=1e-12)
    wanted = (weight * (a - mean) ** 2).sum((0, 1))
    found = variance(pre).expand(pre.shape)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
    assert wanted.min() > 1e-2


def test_moments_of_particles_are_those_of_each():
    generator = numpy_generator("particles")
    means = torch.tensor(generator.uniform(-0.9, 0.9, (4, 1, 2, 3)))
    x = torch.tensor(np.where(generator.normal(size=(4, 5, 3)) < 0, -1.0, 1.0))
    for tagged in (
        lambda t: tag_sign(t, "x", None),
        lambda t: t,
        lambda t: tag_moments(t, "x", "ap2"),
    ):
        whole = sbn.affine(tagged(x), tag_moments(means, "w", "ap2"))
        for k in range(4):
            one = sbn.affine(tagged(x[k]), tag_moments(means[k, 0], "w", "ap2"))
            torch.testing.assert_close(whole.tensor[k], one.tensor)
            spread = variance(whole).expand(whole.shape)[k]
            torch.testing.assert_close(spread, variance(one).expand(one.shape))


@pytest.mark.parametrize("noise", NOISES)
def test_variance_of_the_noise_is_that_of_its_law(noise):
    law = sbn.noise.get_noise(noise, 1.3)
    density = lambda z: z * z * float(law.density(torch.tensor(z)))  # noqa: E731
    end = 1.3 if law.is_bounded else 80.0
    halves = [integrate.quad(density, *ends)[0] for ends in ((-end, 0), (0, end))]
    assert law.variance == pytest.approx(sum(halves), rel=1e-8)


def probability_of_normal(noise, m, v):
    """``E[F(a)]`` for normal a, scale 1."""

    def integrand(z):
        return stats.norm.pdf(z) * float(cdf(noise, m + np.sqrt(v) * z))

    kinks = sorted((k - m) / np.sqrt(v) for k in (-1.0, 0.0, 1.0))
    ends = [-12.0, *(k for k in kinks if -12 < k < 12), 12.0]
    return sum(
        integrate.quad(integrand, low, high, epsabs=1e-12)[0]
        for low, high in itertools.pairwise(ends)
    )


# the largest |P - F(stretched)| over means and variances up to 3; normal pre-activations
ERROR_OF_STRETCHING = {
    "logistic": 0.0159,
    "gaussian": 0.0,
    "laplace": 0.0548,
    "uniform": 0.0548,
    "triangular": 0.0159,
}


@pytest.mark.parametrize("noise", NOISES)
def test_noise_absorbs_a_normal_pre_activation(noise):
    worst = 0.0
    for m, v in itertools.product((-2.0, -0.5, 0.0, 1.0, 3.0), (0.1, 0.5, 1.0, 3.0)):
        # one weight of mean mu on the input x: E[a] = mu x, Var[a] = (1 - mu^2) x^2
        x = np.sqrt(m * m + v)
        w = tag_moments(torch.tensor([[m / x]]), "w", "ap2")
        law = sbn.NoisySign(sbn.affine(torch.tensor([x]), w), noise)
        assert not law.affine.holds_moments
        worst = max(worst, abs(float(law.probs) - probability_of_normal(noise, m, v)))
    assert worst == pytest.approx(ERROR_OF_STRETCHING[noise], abs=1e-4)


def test_sums_of_many_weights_are_normal_enough():
    # P(x = +1) of a Gaussian unit against the sum over all weights
    generator, errors = numpy_generator("clt"), {}
    for number in (2, 6, 12):
        worst = 0.0
        for _ in range(5):
            mean = generator.uniform(-0.5, 0.5, (1, number))
            x = generator.uniform(0.5, 1.0, number) / np.sqrt(number)
            w = tag_moments(torch.tensor(mean), "w", "ap2")
            law = sbn.NoisySign(sbn.affine(torch.tensor(x), w), "gaussian")
            states, p = states_of(mean)
            exact = (p * cdf("gaussian", (states[:, 0] * x).sum(-1))).sum()
            worst = max(worst, abs(float(law.probs) - exact))
        errors[number] = worst
    assert errors[2] > errors[6] > errors[12]
    assert errors[12] < 1.5e-3


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
