"""The Rao-Blackwellised head: the same expectations and lower layers, and less variance.

The definition is written out here by literal flips: with ``P_i`` the probability of the drawn state
of bit i of the last layer, ``1/n sum_i [P_i f(x) + (1 - P_i) f(x with x_i negated)]``.
"""

import functools

import numpy as np
import pyro
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators import PathSampleAnalytic
from tests import problems
from tests.distributions.test_flip_likelihood import UserHead
from tests.estimators.test_exact_expectation import NOISES, PSA_IS_UNBIASED, SIZES, network, wanted
from tests.oracle_estimators import expected_psa_gradient
from tests.oracle_noise import cdf
from tests.oracles import elbo as oracle_elbo
from tests.oracles import exact_gradient
from tests.pyro_networks import PyroNetwork, all_paths, assert_same_gradient, expected_gradient

PLAIN = PathSampleAnalytic(real_inputs="exact")
AVERAGED = PathSampleAnalytic(real_inputs="exact", rao_blackwell=True)
HEADS = {"built-in": PyroNetwork, "user": UserHead}


def make(kind, name, noise="logistic", num_data=None):
    scale = {"uniform": 2.5, "triangular": 3.0}.get(noise, 1.0)
    return HEADS[kind](getattr(problems, name)(noise, scale, num_data=num_data or SIZES[name]))


def lean(estimator, **options):
    return functools.partial(sbn.TraceEstimator_ELBO, estimator, **options)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("name", PSA_IS_UNBIASED)
def test_expectation_is_the_exact_gradient_and_the_exact_value(kind, name):
    net = make(kind, name)
    problem = net.problem
    loss, found = expected_gradient(net, lean(AVERAGED))
    assert_same_gradient(found, wanted(net, exact_gradient(problem.net, problem.x, problem.y)))
    assert loss == pytest.approx(-oracle_elbo(problem.net, problem.x, problem.y), abs=1e-10)


@pytest.mark.parametrize("noise", NOISES)
def test_expectation_is_exact_for_every_noise(noise):
    net = make("built-in", "one_hidden_layer_real_weights", noise)
    problem = net.problem
    _, found = expected_gradient(net, lean(AVERAGED))
    assert_same_gradient(found, wanted(net, exact_gradient(problem.net, problem.x, problem.y)))


@pytest.mark.parametrize("kind", HEADS)
def test_bias_of_lower_layers_in_depth_stays_that_of_psa(kind):
    net = make(kind, "two_hidden_layers")
    problem = net.problem
    loss, found = expected_gradient(net, lean(AVERAGED))
    definition = expected_psa_gradient(problem.net, problem.x, problem.y)
    assert_same_gradient(found, wanted(net, definition))
    assert loss == pytest.approx(-oracle_elbo(problem.net, problem.x, problem.y), abs=1e-10)


def test_lower_sites_may_be_scored():
    infer = {"layers.0": {"estimator": "score"}, "layers.0.weight": {"estimator": "score"}}
    net = network("two_hidden_layers", infer=infer)
    problem = net.problem
    _, found = expected_gradient(net, lean(AVERAGED))
    assert_same_gradient(found, wanted(net, exact_gradient(problem.net, problem.x, problem.y)))


def log_likelihood(net, logits, y, sigma):
    if net.likelihood == "categorical":
        return torch.log_softmax(logits, -1)[int(y)]
    y = torch.as_tensor(y)
    if net.likelihood == "bernoulli":
        return (y * logits - torch.nn.functional.softplus(logits)).sum()
    return torch.distributions.Normal(logits, sigma).log_prob(y).sum()


def definition(problem, path):
    """The negative averaged log-likelihood of one path, and its gradient in the head."""
    net = problem.net
    leaves = {
        key: torch.tensor(value, requires_grad=True)
        for key, value in net.parameters.items()
        if key.startswith(("head.", "sigma")) and not key.endswith("weight_mean")
    }
    weight = path["head.weight"] if net.head.is_random else leaves["head.weight"]
    name, layer = net.maps[-2]
    total = torch.zeros(())
    for n, x in enumerate(problem.x):
        before = torch.tensor(x) if len(net.layers) == 1 else path[net.maps[-3][0]][n]
        inner = path[f"{name}.weight"] if layer.is_random else torch.tensor(layer.weight)
        a = torch.tensor(layer.scale) * (inner @ before) + torch.tensor(layer.bias)
        z = path[name][n]
        chance = torch.tensor(cdf(net.noise, (z * a).numpy(), net.noise_scale))

        def f(state, y=problem.y[n]):
            logits = leaves["head.scale"] * (weight @ state) + leaves["head.bias"]
            return log_likelihood(net, logits, y, leaves.get("sigma"))

        for i in range(len(z)):
            flipped = z.clone()
            flipped[i] = -flipped[i]
            total = total - (chance[i] * f(z) + (1 - chance[i]) * f(flipped)) / len(z)
    total.backward()
    return float(total.detach()), {key: leaf.grad.numpy() for key, leaf in leaves.items()}


def one_path(net, estimator, path):
    elbo = sbn.TraceEstimator_ELBO(estimator, weight_kl=False)
    with sbn.force_draws(path):
        loss = elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    return loss, net.gradients()


def some_paths(net, number=7):
    values, probability = all_paths(net)
    for k in np.linspace(0, len(probability) - 1, number).astype(int):
        yield {name: value[k] for name, value in values.items()}


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("name", SIZES)
def test_value_and_head_gradient_of_a_path_are_those_of_the_definition(kind, name):
    net = make(kind, name)
    for path in some_paths(net):
        loss, found = one_path(net, AVERAGED, path)
        value, gradient = definition(net.problem, path)
        assert loss == pytest.approx(value, abs=1e-12)
        assert_same_gradient({key: found[key] for key in gradient}, gradient, 1e-12)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("name", SIZES)
def test_gradients_of_lower_layers_are_those_without_it(kind, name):
    net = make(kind, name)
    changed = 0
    for path in some_paths(net):
        _, plain = one_path(net, PLAIN, path)
        _, averaged = one_path(net, AVERAGED, path)
        head = {k for k in plain if k.startswith(("head.", "sigma"))}
        if kind == "built-in":  # a user's head averages the flips of its own ±1 weights too
            head.discard("head.weight_mean")
        changed += max(np.abs(plain[k] - averaged[k]).max() for k in head) > 1e-3
        lower = set(plain) - head
        assert_same_gradient({k: averaged[k] for k in lower}, {k: plain[k] for k in lower}, 1e-12)
    assert changed


# Over all paths of one datum: the variance of the head's gradient, summed over its entries, and of
# the value, without averaging and with it.
RECORDED_VARIANCE = {
    "one_hidden_layer_real_weights": (
        6.2272746394454455,
        2.4352346469716735,
        2.4765100719586433,
        1.042506942984838,
    ),
    "two_hidden_layers_real_weights": (
        8.324338222867226,
        2.3740373461010584,
        4.278623160331211,
        1.3687741172906533,
    ),
}


def variances(name, estimator):
    net = make("built-in", name, num_data=1)
    values, probability = all_paths(net)
    found = []
    for k in range(len(probability)):
        loss, gradient = one_path(net, estimator, {n: v[k] for n, v in values.items()})
        head = [gradient[key].ravel() for key in sorted(gradient) if key.startswith("head.")]
        found.append(np.concatenate([[loss], *head]))
    table, p = np.array(found), probability.numpy()[:, None]
    variance = (p * (table - (p * table).sum(0)) ** 2).sum(0)
    return float(variance[1:].sum()), float(variance[0])


@pytest.mark.parametrize(
    "name", ["one_hidden_layer_real_weights", "two_hidden_layers_real_weights"]
)
def test_variance_is_the_recorded_one_and_lower(name):
    plain, averaged = variances(name, PLAIN), variances(name, AVERAGED)
    assert averaged[0] < plain[0]
    assert averaged[1] < plain[1]
    assert (*plain, *averaged) == pytest.approx(RECORDED_VARIANCE[name], rel=1e-9)


@pytest.mark.parametrize("kind", HEADS)
def test_value_without_gradients_is_the_same(kind):
    net = make(kind, "bernoulli_head")
    path = next(some_paths(net))
    loss, _ = one_path(net, AVERAGED, path)
    with sbn.force_draws(path):
        elbo = sbn.TraceEstimator_ELBO(AVERAGED, weight_kl=False)
        assert elbo.loss(net.model, net.guide, net.x, net.y) == pytest.approx(loss, abs=1e-12)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("name", ["two_hidden_layers", "normal_head"])
def test_vectorised_particles_are_the_mean_of_single_ones(kind, name):
    net = make(kind, name)
    values, probability = all_paths(net)
    chosen = torch.linspace(0, len(probability) - 1, 5).long()
    elbo = lean(AVERAGED, num_particles=5, vectorize_particles=True, max_plate_nesting=1)()
    with sbn.force_draws({n: v[chosen] for n, v in values.items()}):
        elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    together = net.gradients()
    for k in chosen:
        with sbn.force_draws({n: v[k] for n, v in values.items()}):
            lean(AVERAGED)().loss_and_grads(net.model, net.guide, net.x, net.y)
    assert_same_gradient(together, {k: g / 5 for k, g in net.gradients().items()}, 1e-12)


def test_network_of_the_package_trains_with_it():
    torch.manual_seed(0)
    x = torch.randn(64, 6)
    y = (x[:, 0] > 0).long()
    model = sbn.models.BinaryMLP(6, [16], 2, num_data=64)
    guide = sbn.guides.AutoSignBernoulli(model)
    elbo = sbn.TraceEstimator_ELBO(PathSampleAnalytic(rao_blackwell=True), temperature="auto")
    optim = sbn.optim.MirrorDescent({"lr": 0.05, "real": ("Adam", {"lr": 0.02})})
    svi = pyro.infer.SVI(model, guide, optim, loss=elbo)
    losses = [svi.step(x, y) for _ in range(200)]
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:20])


def test_option_is_true_or_false():
    with pytest.raises(TypeError, match="rao_blackwell='yes'"):
        PathSampleAnalytic(rao_blackwell="yes")
    assert "rao_blackwell=True" in repr(AVERAGED)
