"""Concrete: its definition, its limit, the loss it differentiates, and what refuses it."""

import itertools

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

import bayes_sbn as sbn
from bayes_sbn.estimators import Concrete
from bayes_sbn.signs import relaxed_tag
from tests.chance import numpy_generator, torch_generator
from tests.estimators.conformance import step, uniforms_of
from tests.estimators.test_exact_expectation import NOISES, lean, network
from tests.oracle_relaxed import quantile, relaxed, relaxed_slope
from tests.oracles import Layer, Net, log_likelihood
from tests.problems import Problem
from tests.pyro_networks import PyroNetwork, assert_same_gradient
from tests.uniform_cells import all_uniforms, expected_gradient_over_uniforms

TEMPERATURES = (0.2, 0.5, 1.0, 3.0)


def drawn(estimator, law, uniform):
    return estimator.draw(sbn.Site("h", law), uniform)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("noise", NOISES)
def test_units_are_relaxed_as_defined(noise, temperature):
    generator = numpy_generator(f"units/{noise}")
    a, u = generator.normal(0, 2, (5, 4)), generator.uniform(size=(5, 4))
    leaf = torch.tensor(a, requires_grad=True)
    law = sbn.NoisySign(
        sbn.affine(torch.zeros(5, 1), torch.zeros(4, 1), leaf), sbn.noise.get_noise(noise, 1.7)
    )
    value = drawn(Concrete(temperature=temperature), law, torch.tensor(u))
    z, width = quantile(noise, u, 1.7), 1.7 * temperature
    np.testing.assert_allclose(value.detach(), relaxed(a, z, width), rtol=0, atol=1e-13)
    value.sum().backward()
    np.testing.assert_allclose(leaf.grad, relaxed_slope(a, z, width), rtol=0, atol=1e-13)


@pytest.mark.parametrize("gradient", ["natural", "euclidean"])
def test_weights_are_relaxed_as_defined_and_differentiated_in_their_coordinate(gradient):
    generator = numpy_generator("weights")
    mean, u = generator.uniform(-0.95, 0.95, (6, 3)), generator.uniform(size=(6, 3))
    leaf = torch.tensor(np.arctanh(mean), requires_grad=True)
    law = sbn.SignBernoulli.from_natural(leaf, gradient=gradient)
    value = drawn(Concrete(temperature=0.7), law, torch.tensor(u))

    def definition(mean):
        return relaxed(np.log((1 + mean) / (1 - mean)), quantile("logistic", u), 0.7)

    np.testing.assert_allclose(value.detach(), definition(mean), rtol=0, atol=1e-13)
    value.sum().backward()
    h = 1e-5
    in_mean = (definition(mean + h) - definition(mean - h)) / (2 * h)
    wanted = in_mean if gradient == "natural" else in_mean * (1 - mean**2)
    np.testing.assert_allclose(leaf.grad, wanted, rtol=1e-6)


def test_logistic_noise_gives_the_binary_concrete_variable_of_torch():
    a = torch.linspace(-4, 4, 50)
    torch.manual_seed(1)
    wanted = torch.distributions.RelaxedBernoulli(torch.tensor(0.6), logits=a).rsample()
    torch.manual_seed(1)
    u = 1 - torch.rand(50)
    law = sbn.SignBernoulli(logits=a)
    torch.testing.assert_close((1 + drawn(Concrete(temperature=0.6), law, u)) / 2, wanted)


@pytest.mark.parametrize("noise", NOISES)
def test_it_tends_to_the_hard_draw_of_the_same_uniforms(noise):
    a = torch.linspace(-3, 3, 41)
    law = sbn.NoisySign(sbn.affine(torch.zeros(500, 1), torch.zeros(41, 1), a), noise)
    u = torch.rand(500, 41, generator=torch_generator(noise))
    hard, distances = law.draw(u), []
    for temperature in (1.0, 0.1, 0.01, 0.001):
        value = drawn(Concrete(temperature=temperature), law, u)
        assert bool((value * hard >= 0).all())
        distances.append(float((value - hard).abs().mean()))
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0.2
    assert distances[3] < 2e-3


def test_it_tends_to_half_the_argument_over_the_temperature_where_that_is_high():
    a = torch.linspace(-3, 3, 7)
    law = sbn.NoisySign(sbn.affine(torch.zeros(1), torch.zeros(7, 1), a), "gaussian")
    u = torch.full((7,), 0.3)
    z = torch.tensor(quantile("gaussian", 0.3))
    for temperature in (1e3, 1e4):
        value = drawn(Concrete(temperature=temperature), law, u)
        torch.testing.assert_close(2 * temperature * value, a - z, rtol=0, atol=20 / temperature**2)


def expected_loss_of_the_relaxed_network(net, temperature, nodes, parameters):
    """The mean over all uniforms of -log p(y | relaxed states), by the definition."""
    uniforms, volume = all_uniforms(net, nodes=nodes)
    problem, maps = net.problem, dict(net.net.maps)
    total = 0.0
    for n, y in enumerate(problem.y):
        x = problem.x[n]
        for name in maps:
            mean = parameters.get(f"{name}.weight_mean")
            if mean is None:
                w = parameters[f"{name}.weight"]
            else:
                z = quantile("logistic", uniforms[f"{name}.weight"].numpy())
                w = relaxed(np.log((1 + mean) / (1 - mean)), z, temperature)
            dot = (w * x[..., None, :]).sum(-1)
            a = parameters[f"{name}.scale"] * dot + parameters[f"{name}.bias"]
            if name == "head":
                total = total - (volume.numpy() * log_likelihood(net.net, a, y)).sum()
            else:
                z = quantile(net.net.noise, uniforms[name][:, n].numpy(), net.net.noise_scale)
                x = relaxed(a, z, temperature * net.net.noise_scale)
    return total


@pytest.mark.parametrize(
    ("name", "nodes", "noise"),
    [
        ("one_hidden_layer_real_weights", 8, "logistic"),
        ("one_hidden_layer_real_weights", 8, "gaussian"),
        ("chain_of_one", 6, "logistic"),
    ],
)
def test_its_expectation_is_the_gradient_of_the_expected_relaxed_loss(name, nodes, noise):
    net = chain_of_one() if name == "chain_of_one" else network(name, noise, num_data=1)
    chosen = lean(Concrete(temperature=0.8), weight_kl=False)
    loss, found = expected_gradient_over_uniforms(net, chosen, nodes=nodes)
    parameters = {k: np.array(v) for k, v in net.net.parameters.items()}

    def objective(changed):
        return expected_loss_of_the_relaxed_network(net, 0.8, nodes, changed)

    assert loss == pytest.approx(objective(parameters), abs=1e-10)
    h = 1e-5
    for key, value in parameters.items():
        slope = np.zeros_like(value)
        for index in np.ndindex(value.shape):
            sides = []
            for sign in (1, -1):
                moved = value.copy()
                moved[index] += sign * h
                sides.append(objective({**parameters, key: moved}))
            slope[index] = (sides[0] - sides[1]) / (2 * h)
        np.testing.assert_allclose(found[key], slope, rtol=1e-6, atol=1e-8)
        assert np.abs(slope).max() > 1e-4


def chain_of_one():
    """1-1-2 with one ±1 weight: two bits a datum."""
    layer = Layer(np.array([0.8]), np.array([0.3]), weight_mean=np.array([[0.4]]))
    head = Layer(np.array([0.9, 1.1]), np.array([-0.2, 0.1]), weight=np.array([[1.3], [-0.7]]))
    problem = Problem(
        "chain_of_one", Net((layer,), head, "logistic", 1.0), np.array([[0.6]]), np.array([0])
    )
    return PyroNetwork(problem)


def test_psa_child_of_a_relaxed_parent_is_exact_given_the_parent():
    # the last hidden layer under psa: the theorem's parameter may be the relaxed state
    infer = {"layers.0": {"estimator": Concrete(temperature=0.6)}}
    net = network("two_hidden_layers_real_weights", num_data=1, infer=infer)
    u = uniforms_of(net, "given parent")["layers.0"]
    p = net.leaves

    def affine(name, x):
        return p[f"{name}.scale"] * (x @ p[f"{name}.weight"].mT) + p[f"{name}.bias"]

    z = torch.tensor(quantile("logistic", u.numpy()))
    parent = torch.tanh((affine("layers.0", net.x) - z) / 1.2)
    up = torch.sigmoid(affine("layers.1", parent))
    loss, found, straight = torch.zeros(()), [], []
    for states in itertools.product((-1.0, 1.0), repeat=3):
        state = torch.tensor([states])
        probability = torch.where(state > 0, up, 1 - up).prod(-1)
        log_p = torch.log_softmax(affine("head", state), -1)[torch.arange(1), net.y]
        loss = loss - (probability * log_p).sum()
        given = {"layers.1": torch.where(state > 0, -1.0, 2.0), "layers.0": u}
        for name, into in (("psa", found), ("st", straight)):
            one = step(sbn.TraceEstimator_ELBO(name), net, given)
            into.append((float(probability.detach()), one.gradients))
    keys = [k for k in found[0][1] if k.startswith("layers")]
    exact = dict(zip(keys, torch.autograd.grad(loss, [p[k] for k in keys]), strict=True))
    mean, other = ({k: sum(q * g[k] for q, g in gs) for k in keys} for gs in (found, straight))
    assert_same_gradient(mean, {k: g.numpy() for k, g in exact.items()}, 1e-12)
    assert np.abs(other["layers.0.bias"] - mean["layers.0.bias"]).max() > 1e-4


@pytest.mark.parametrize("child", ["score", "local", "disarm", "st", "zgr", "gumbel_st"])
@pytest.mark.parametrize("name", ["two_hidden_layers", "two_hidden_layers_real_weights"])
def test_it_mixes_with_every_kind_of_child_and_parent(name, child):
    for first, second in (("concrete", child), (child, "concrete")):
        infer = {"layers.0": {"estimator": first}}
        net = network(name, num_data=2, infer=infer)
        found = step(sbn.TraceEstimator_ELBO(second), net, uniforms_of(net, f"{name}/{child}"))
        values = found.sites["layers.0"]["value"].detach().abs()
        assert bool((values == 1).all()) == (first != "concrete")
        assert bool((found.sites["layers.1"]["value"].detach().abs() == 1).all()) == (
            second != "concrete"
        )
        for gradient in found.gradients.values():
            assert np.isfinite(gradient).all()
        assert np.abs(found.gradients["layers.1.bias"]).max() > 1e-8


def test_relaxed_draw_keeps_its_tag_where_it_is_rearranged():
    net = network("one_hidden_layer_real_weights")
    found = step(sbn.TraceEstimator_ELBO("concrete"), net, uniforms_of(net, "tag"))
    h = found.sites["layers.0"]["value"]
    assert (relaxed_tag(h).site, relaxed_tag(h).estimator) == ("layers.0", "concrete")
    assert relaxed_tag(sbn.flatten(h, 2)).site == "layers.0"
    assert relaxed_tag(sbn.reshape(h, 1, (3, 1))).site == "layers.0"
    assert relaxed_tag(2 * h) is None
    assert sbn.flatten(h, 2).requires_grad


@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
@pytest.mark.parametrize("validate", [True, False])
def test_stock_elbo_refuses_to_score_a_relaxed_draw(elbo, validate):
    net = network("one_hidden_layer")
    guide = sbn.EstimatorMessenger("concrete")(net.guide)
    with (
        pyro.validation_enabled(validate),
        pytest.raises(ValueError, match=r'relaxed draw of site "[\w.]+" by estimator "concrete"'),
    ):
        elbo().differentiable_loss(net.model, guide, net.x, net.y)


def test_a_site_that_does_not_follow_the_model_refuses_to_be_scored():
    x, y = torch.randn(3, 2), torch.tensor([0, 1, 1])
    w = torch.randn(4, 2)

    def model(x, y):
        with pyro.plate("data", 3):
            h = pyro.sample("h", sbn.NoisySign(sbn.affine(x, w)))
            pyro.sample("y", sbn.AffineCategorical(sbn.affine(h, torch.ones(2, 4))), obs=y)

    def guide(x, y):
        with pyro.plate("data", 3):
            pyro.sample("h", sbn.NoisySign(sbn.affine(x, 0.5 * w)))

    with pytest.raises(ValueError, match=r'site "h" by estimator "concrete".*"gumbel_st"'):
        sbn.TraceEstimator_ELBO("concrete").loss_and_grads(model, guide, x, y)
    sbn.TraceEstimator_ELBO("gumbel_st").loss_and_grads(model, guide, x, y)


@pytest.mark.parametrize(("name", "what"), [("concrete", "relaxed draw"), ("ap2", "mean")])
def test_heads_that_flip_states_refuse_what_is_none(name, what):
    net = network("one_hidden_layer_real_weights")
    h = step(sbn.TraceEstimator_ELBO(name), net, uniforms_of(net, "heads")).sites["layers.0"]
    message = rf'h is the {what} of site "layers.0" by estimator "{name}".*"psa"'
    with pytest.raises(ValueError, match=message):
        sbn.exact_flips(lambda states: states.sum(-1), h["value"])


def test_relaxed_draws_are_not_packed():
    h = drawn(Concrete(), sbn.SignBernoulli(logits=torch.zeros(64)), torch.full((64,), 0.3))
    with pytest.raises(ValueError, match=r"-1"):
        sbn.kernels.pack(h)


@pytest.mark.parametrize("name", ["concrete", "gumbel_st", "gumbel_rao", "importance_st"])
def test_given_values_are_refused_as_the_noise_is_not_known(name):
    net = network("one_hidden_layer_real_weights", num_data=2)
    message = rf'estimator "{name}", site "layers.0": .* uniforms={{\'layers.0\''
    with (
        sbn.force_draws({"layers.0": torch.ones(2, 3)}),
        pytest.raises(ValueError, match=message),
    ):
        sbn.TraceEstimator_ELBO(name).loss(net.model, net.guide, net.x, net.y)


@pytest.mark.parametrize("temperature", [0, -1.0, float("inf"), float("nan"), True, "auto"])
@pytest.mark.parametrize(
    ("kind", "argument"),
    [
        ("Concrete", "temperature"),
        ("GumbelStraightThrough", "temperature"),
        ("GumbelRao", "temperature"),
        ("DecoupledStraightThrough", "forward"),
        ("DecoupledStraightThrough", "backward"),
    ],
)
def test_temperatures_are_positive_numbers(kind, argument, temperature):
    with pytest.raises(ValueError, match=rf"{kind}\({argument}=.*positive finite number"):
        getattr(sbn.estimators, kind)(**{argument: temperature})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("noise", NOISES)
def test_extreme_arguments_and_uniforms_leave_values_and_gradients_finite(noise, dtype):
    edges = torch.tensor([0.0, 1e-30, 0.5, 1 - torch.finfo(dtype).eps / 2, 1.0], dtype=dtype)
    leaf = torch.tensor([[80.0], [-80.0], [0.0], [3.0]], dtype=dtype, requires_grad=True)
    one = torch.ones(5, 1, dtype=dtype)
    laws = [sbn.NoisySign(sbn.affine(one, leaf), noise)]
    laws += [sbn.SignBernoulli.from_natural(leaf / 4).expand((4, 5))]
    for law, uniform in zip(laws, (edges[:, None].expand(5, 4), edges.expand(4, 5)), strict=True):
        for name in ("concrete", "gumbel_st", "gumbel_rao", "importance_st"):
            value = drawn(sbn.estimators.get_estimator(name), law, uniform)
            (g,) = torch.autograd.grad(value.sum(), leaf, retain_graph=True)
            assert bool(torch.isfinite(value).all())
            assert bool(torch.isfinite(g).all())
