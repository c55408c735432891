"""Convolutional networks as Pyro models: estimators against enumeration, and a fit."""

import itertools

import pyro
import pytest
import torch
from pyro.infer import SVI, Predictive

import bayes_sbn as sbn
from bayes_sbn.estimators import PathSampleAnalytic
from tests.pyro_convolutional_networks import NETWORKS, Gradients, Network, tiny

NOISES = ("logistic", "gaussian", "laplace", "uniform", "triangular")
EXACT_PSA = PathSampleAnalytic(real_inputs="exact")


def assert_same(found: Gradients, wanted: Gradients, names=None) -> None:
    assert set(found) == set(wanted)
    for name in wanted if names is None else names:
        assert wanted[name].abs().max() > 1e-4, name
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-10, atol=1e-10, msg=name)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", NETWORKS)
def test_score_equals_the_exact_gradient(name, noise):
    network = tiny(name, noise)
    assert_same(network.expected_gradient("score"), network.exact_gradient())


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", ["one_layer_real_weights", "two_layers", "two_layers_1d"])
def test_psa_equals_the_exact_gradient_where_a_flip_reaches_one_unit(name, noise):
    network = tiny(name, noise)
    assert_same(network.expected_gradient(EXACT_PSA), network.exact_gradient())


@pytest.mark.parametrize("noise", NOISES)
def test_psa_of_a_shared_kernel_is_exact_in_all_but_its_weights(noise):
    network = tiny("one_layer", noise)
    found, wanted = network.expected_gradient(EXACT_PSA), network.exact_gradient()
    assert_same(found, wanted, ["scale0", "bias0", "head", "offset"])
    assert (found["w0"] - wanted["w0"]).abs().max() > 1e-4


def psa_of_weights(network: Network) -> torch.Tensor:
    """The definition: flips of each unit by each weight times flips of the loss by each unit."""
    values, probability = network.paths()
    w, z, head = values["w0"], values["z0"], network.parameters
    result = torch.zeros_like(network.means["w0"])

    def loss(states):
        logits = states.flatten(2) @ head["head"].mT + head["offset"]
        return -torch.log_softmax(logits, -1)[:, torch.arange(len(network.y)), network.y]

    of_units = torch.zeros_like(z)
    for place in itertools.product(range(2), range(2)):
        sides = []
        for sign in (1.0, -1.0):
            states = z.clone()
            states[(..., *place)] = sign
            sides.append(loss(states))
        of_units[(..., *place)] = ((sides[0] - sides[1]) / 2).unsqueeze(-1)
    for tap in itertools.product(range(2), range(2)):
        means = []
        for sign in (1.0, -1.0):
            kernels = w.clone()
            kernels[(..., *tap)] = sign
            a = [network.pre_activation(0, network.x, kernel) for kernel in kernels]
            means.append(network.noise.mean_sign(torch.stack(a)))
        effect = (means[0] - means[1]) / 2 * of_units
        result[(..., *tap)] = (probability[:, None] * effect.flatten(1)).sum()
    return result.detach()


@pytest.mark.parametrize("noise", NOISES)
def test_psa_of_a_shared_kernel_equals_its_definition_by_literal_flips(noise):
    network = tiny("one_layer", noise)
    found = network.expected_gradient(EXACT_PSA)["w0"]
    torch.testing.assert_close(found, psa_of_weights(network), rtol=1e-10, atol=1e-10)


def straight_through(network: Network) -> Gradients:
    """The definition: derivatives of the loss of ``z + E[z | a] - constant``, path by path."""
    values, probability = network.paths()
    leaves = {site: values[site].requires_grad_() for site in network.means}
    parameters = {name: p.detach().requires_grad_() for name, p in network.parameters.items()}
    total = torch.zeros(())
    for path, share in enumerate(probability):
        x = network.x
        for k, layer in enumerate(network.layers):
            w = leaves[f"w{k}"][path] if layer.is_sign else parameters[f"w{k}"]
            a = parameters[f"scale{k}"] * network.convolve(x, w, **layer.options)
            a = a + parameters[f"bias{k}"]
            mean = network.noise.mean_sign(a)
            x = values[f"z{k}"][path] + mean - mean.detach()
        logits = x.flatten(1) @ parameters["head"].mT + parameters["offset"]
        total = total + share * torch.nn.functional.cross_entropy(
            logits, network.y, reduction="sum"
        )
    wanted = {**parameters, **leaves}
    found = dict(zip(wanted, torch.autograd.grad(total, list(wanted.values())), strict=True))
    return {name: g.sum(0) if name in leaves else g for name, g in found.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_st_equals_its_definition(name):
    network = tiny(name, num_data=1)
    assert_same(network.expected_gradient("st"), straight_through(network))


# Relative bias |E[estimate] - exact| / |exact| of each block of "one_layer", logistic noise, two
# images. Blocks that are not listed are exact.
RECORDED_BIAS = {
    "psa": {"w0": 0.06978859861391436},
    "st": {
        "scale0": 0.33321449511468687,
        "bias0": 0.2804399078409809,
        "w0": 0.050134196068023947,
    },
}

# The median of the bias of the kernel over fifty random networks of that kind, one image.
RECORDED_MEDIAN = {"psa": 0.0445066186019822, "st": 0.1366246687188079}


def relative_bias(network: Network, estimator: str) -> dict[str, float]:
    chosen = EXACT_PSA if estimator == "psa" else estimator
    found, exact = network.expected_gradient(chosen), network.exact_gradient()
    return {k: float((found[k] - exact[k]).norm() / exact[k].norm()) for k in exact}


@pytest.mark.parametrize("estimator", RECORDED_BIAS)
def test_bias_of_a_shared_kernel_is_the_recorded_one(estimator):
    for block, value in relative_bias(tiny("one_layer"), estimator).items():
        recorded = RECORDED_BIAS[estimator].get(block, 0.0)
        assert value == pytest.approx(recorded, rel=1e-8, abs=1e-12), block


@pytest.mark.parametrize("estimator", RECORDED_MEDIAN)
def test_median_bias_over_random_networks_is_the_recorded_one(estimator):
    networks = [tiny("one_layer", num_data=1, seed=seed) for seed in range(50)]
    biases = torch.tensor([relative_bias(network, estimator)["w0"] for network in networks])
    assert biases.quantile(0.5).item() == pytest.approx(RECORDED_MEDIAN[estimator], rel=1e-8)


# a fit -----------------------------------------------------------------------------------------


def bars(number: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """6 x 6 images of noise with a bar, horizontal (0), vertical (1) or none (2), anywhere."""
    x = 0.7 * torch.randn(number, 1, 6, 6, generator=generator)
    y = torch.randint(3, (number,), generator=generator)
    for image, label in zip(x, y, strict=True):
        line = int(torch.randint(6, (), generator=generator))
        if label == 0:
            image[:, line] += 2
        elif label == 1:
            image[:, :, line] += 2
    return x - x.mean(), y


def convolutional_network(x, y=None):
    """Two ±1 convolutions and a real head."""
    w1 = pyro.sample("w1", sbn.SignBernoulli(logits=torch.zeros(16, 1, 3, 3)).to_event(4))
    w2 = pyro.sample("w2", sbn.SignBernoulli(logits=torch.zeros(16, 16, 3, 3)).to_event(4))
    s1 = pyro.param("s1", torch.full((16,), 1 / 3))
    b1 = pyro.param("b1", torch.zeros(16))
    s2 = pyro.param("s2", torch.full((16,), 1 / 12))
    b2 = pyro.param("b2", torch.zeros(16))
    head = pyro.param("head", torch.zeros(3, 144))
    offset = pyro.param("offset", torch.zeros(3))
    with pyro.plate("data", 400, subsample=x, dim=-1):
        h = pyro.sample("h1", sbn.NoisySign(sbn.affine_conv2d(x, w1, b1, scale=s1, padding=1)))
        h = sbn.affine_conv2d(h, w2, b2, scale=s2, stride=2, padding=1)
        h = pyro.sample("h2", sbn.NoisySign(h))
        logits = sbn.affine(sbn.flatten(h, 3), head, offset, scale=0.1)
        return pyro.sample("y", sbn.AffineCategorical(logits), obs=y)


@pytest.mark.parametrize("estimator", ["psa", "st"])
def test_convolutional_network_learns_to_tell_bars_apart(estimator):
    torch.manual_seed(0)
    pyro.clear_param_store()
    generator = torch.Generator().manual_seed(1)
    x, y = bars(400, generator)
    x_test, y_test = bars(200, generator)
    guide = sbn.guides.AutoSignBernoulli(convolutional_network, example=(x[:2],))
    optim = sbn.optim.MirrorDescent({"lr": 0.2, "real": ("Adam", {"lr": 0.02})})
    loss = sbn.TraceEstimator_ELBO(estimator, temperature="auto")
    svi = SVI(convolutional_network, guide, optim, loss=loss)
    for _ in range(40):
        for rows in torch.randperm(400).split(100):
            svi.step(x[rows], y[rows])
    draws = Predictive(convolutional_network, guide=guide, num_samples=30)(x_test)["y"]
    voted = torch.stack([(draws == c).sum(0) for c in range(3)]).argmax(0)
    assert (voted == y_test).double().mean() > 0.85
