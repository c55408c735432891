r"""The bound of several samples against its sum over all weights and all copies of the activations.

For each weight state the oracle sums ``prod_m q(h_m) log 1/M sum_m p(y | h_m)`` over all M-tuples
of activation states.  It shares no code with the package.
"""

import itertools
from collections import defaultdict

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI

import bayes_sbn as sbn
from bayes_sbn.estimators import PathSampleAnalytic
from tests import problems
from tests.estimators.conformance import Spy
from tests.oracle_estimators import relative_bias
from tests.oracles import (
    differentiable_cdf,
    expected_log_likelihood,
    log_marginal_given_weights,
    sign_states,
)
from tests.problems import Problem
from tests.pyro_networks import PyroNetwork, all_paths, assert_same_gradient

EXACT_PSA = PathSampleAnalytic(real_inputs="exact")


def network(name: str) -> PyroNetwork:
    return PyroNetwork(getattr(problems, name)(num_data=1))


def states_of(number: int) -> torch.Tensor:
    return torch.tensor(np.asarray(sign_states(number), dtype=np.float64))


def paths_given_weights(problem: Problem, parameters, weights):
    """q(h | w) and log p(y | h, w) of every state h of all activations, for the one datum."""
    maps = problem.net.maps
    left = states_of(sum(layer.shape[0] for _, layer in maps[:-1]))
    x, q = torch.tensor(problem.x[0]).expand(len(left), -1), torch.ones(len(left))
    for name, _ in maps:
        w = weights[name] if name in weights else parameters[f"{name}.weight"]
        a = parameters[f"{name}.scale"] * (x @ w.mT) + parameters[f"{name}.bias"]
        if name == "head":
            return q, log_likelihood(problem, a, parameters)
        x, left = left[:, : a.shape[-1]], left[:, a.shape[-1] :]
        q = q * differentiable_cdf(x * a, problem.net.noise, problem.net.noise_scale).prod(-1)
    raise AssertionError("a network ends in its head")


def log_likelihood(problem: Problem, a: torch.Tensor, parameters) -> torch.Tensor:
    y = torch.tensor(problem.y[0])
    if problem.net.likelihood == "categorical":
        return torch.log_softmax(a, -1)[:, int(y)]
    if problem.net.likelihood == "bernoulli":
        return (y * a - torch.nn.functional.softplus(a)).sum(-1)
    return torch.distributions.Normal(a, parameters["sigma"]).log_prob(y).sum(-1)


def bound_and_gradient(problem: Problem, copies: int):
    """The bound and its gradient in every parameter."""
    parameters = {
        name: torch.tensor(value, requires_grad=True)
        for name, value in problem.net.parameters.items()
    }
    shapes = {n: layer.shape for n, layer in problem.net.maps if layer.is_random}
    total = torch.zeros(())
    for bits in states_of(sum(int(np.prod(shape)) for shape in shapes.values())):
        left, q_w, weights = bits, torch.ones(()), {}
        for name, shape in shapes.items():
            own, left = left[: int(np.prod(shape))], left[int(np.prod(shape)) :]
            weights[name] = own.reshape(shape)
            q_w = q_w * ((1 + weights[name] * parameters[f"{name}.weight_mean"]) / 2).prod()
        q, log_p = paths_given_weights(problem, parameters, weights)
        tuples = torch.tensor(list(itertools.product(range(len(q)), repeat=copies)))
        average = torch.logsumexp(log_p[tuples], -1) - np.log(copies)
        total = total + q_w * (q[tuples].prod(-1) * average).sum()
    gradients = torch.autograd.grad(total, list(parameters.values()))
    found = {k: g.numpy() for k, g in zip(parameters, gradients, strict=True)}
    return float(total.detach()), found


def expected(net: PyroNetwork, estimator, copies: int):
    """The expected loss and gradient over all groups of paths that share their weights."""
    values, probability = all_paths(net)
    weights = [values[k].flatten(1) for k in values if k.endswith("weight")]
    rows = torch.cat(weights, 1).tolist() if weights else [[]] * len(probability)
    of_weights = defaultdict(list)
    for place, row in enumerate(rows):
        of_weights[tuple(row)].append(place)
    groups, shares = [], []
    for places in of_weights.values():
        q_w = probability[places].sum()
        for group in itertools.product(places, repeat=copies):
            groups.append(group)
            shares.append(q_w * (probability[list(group)] / q_w).prod())
    share = torch.stack(shares) * len(groups)
    elbo = sbn.TraceEstimator_ELBO(
        estimator,
        num_particles=len(groups),
        num_importance=copies,
        max_plate_nesting=1,
        weight_kl=False,
    )
    order = torch.tensor(groups).flatten()
    scale = poutine.scale(scale=share.repeat_interleave(copies).unsqueeze(-1))
    with scale, sbn.force_draws({name: value[order] for name, value in values.items()}):
        loss = elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    return float(loss), net.gradients()


@pytest.mark.parametrize("copies", [2, 3])
def test_psa_equals_the_exact_gradient_of_one_hidden_layer(copies):
    net = network("one_hidden_layer_real_weights")
    value, exact = bound_and_gradient(net.problem, copies)
    loss, found = expected(net, EXACT_PSA, copies)
    assert loss == pytest.approx(-value, abs=1e-10)
    assert_same_gradient(found, {k: -g for k, g in exact.items()})


# Relative bias of the blocks that are not exact. Flips of weights, which the copies share, are
# added up; straight-through takes derivatives of the average as well.
RECORDED_BIAS = {
    ("bernoulli_head", "psa"): {"layers.0.weight_mean": 0.06802109474220525},
    ("normal_head", "psa"): {
        "layers.0.weight_mean": 0.11141188329393328,
        "head.weight_mean": 1.2042232713726042,
    },
    ("one_hidden_layer_real_weights", "st"): {
        "layers.0.scale": 0.2610693776644271,
        "layers.0.bias": 0.26785944972406095,
        "layers.0.weight": 0.28921308358715825,
    },
}


@pytest.mark.parametrize(("name", "estimator"), RECORDED_BIAS)
def test_bias_is_the_recorded_one(name, estimator):
    net = network(name)
    value, exact = bound_and_gradient(net.problem, 2)
    loss, found = expected(net, EXACT_PSA if estimator == "psa" else estimator, 2)
    assert loss == pytest.approx(-value, abs=1e-10)
    bias = relative_bias(found, {k: -g for k, g in exact.items()})
    recorded = RECORDED_BIAS[name, estimator]
    for block, found_bias in bias.items():
        assert found_bias == pytest.approx(recorded.get(block, 0.0), rel=1e-8, abs=1e-12), block


def test_bound_grows_tighter_with_more_copies():
    problem = network("bernoulli_head").problem
    lowest = expected_log_likelihood(problem.net, problem.x, problem.y)
    highest = log_marginal_given_weights(problem.net, problem.x, problem.y)
    one, two, three = (bound_and_gradient(problem, copies)[0] for copies in (1, 2, 3))
    assert one == pytest.approx(lowest, abs=1e-10)
    assert lowest < two < three < highest


def test_copies_share_their_weights_and_not_their_activations():
    net = PyroNetwork(problems.one_hidden_layer(num_data=3))
    elbo = sbn.TraceEstimator_ELBO("psa", num_particles=5, num_importance=4, max_plate_nesting=1)
    torch.manual_seed(1)
    with Spy() as spy:
        elbo.loss(net.model, net.guide, net.x, net.y)
    weight = spy.sites["layers.0.weight"]["value"].reshape(5, 4, -1)
    assert torch.equal(weight, weight[:, :1].expand_as(weight))
    assert len(weight[:, 0].unique(dim=0)) > 1
    h = spy.sites["layers.0"]["value"].reshape(5, 4, -1)
    assert not torch.equal(h, h[:, :1].expand_as(h))


def test_groups_are_averaged_over():
    # two groups at given uniforms: the mean of the losses and gradients of each alone
    net = PyroNetwork(problems.one_hidden_layer(num_data=3))
    torch.manual_seed(2)
    uniforms = {
        "layers.0.weight": torch.rand(2, 3, 2).repeat_interleave(3, 0),
        "layers.0": torch.rand(6, 3, 3),
    }

    def step(groups: int, given):
        elbo = sbn.TraceEstimator_ELBO(
            "psa", num_particles=groups, num_importance=3, max_plate_nesting=1
        )
        with sbn.force_draws({}, uniforms=given):
            loss = elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
        return loss, net.gradients()

    both = step(2, uniforms)
    single = [
        step(1, {k: u[part] for k, u in uniforms.items()}) for part in (slice(3), slice(3, 6))
    ]
    assert both[0] == pytest.approx((single[0][0] + single[1][0]) / 2, rel=1e-12)
    mean = {k: (single[0][1][k] + single[1][1][k]) / 2 for k in both[1]}
    assert_same_gradient(both[1], mean, 1e-12)


def test_large_steps_keep_the_flips_finite():
    # one copy explains the label and the others do not, by hundreds of nats
    weight = torch.tensor([[300.0], [-300.0]])

    def model(y):
        bias = pyro.param("bias", torch.zeros(1))
        with pyro.plate("data", 1):
            unit = sbn.affine(torch.ones(1, 1), torch.zeros(1, 1), bias)
            x = pyro.sample("x", sbn.NoisySign(unit), infer={"follows_model": True})
            pyro.sample("y", sbn.AffineCategorical(sbn.affine(x, weight)), obs=y)

    def guide(y):
        with poutine.block(hide=["y"]):
            model(y)

    elbo = sbn.TraceEstimator_ELBO("psa", num_importance=2, max_plate_nesting=1)
    gradients = {}
    for states in itertools.product((-1.0, 1.0), repeat=2):
        pyro.clear_param_store()
        with sbn.force_draws({"x": torch.tensor(states).reshape(2, 1, 1)}):
            elbo.loss_and_grads(model, guide, torch.zeros(1, dtype=torch.long))
        gradients[states] = float(pyro.param("bias").grad)
    # f = log mean: 0 if both are +1, -log 2 if one is, -600 if none; dp / dbias = 1/4
    log2 = float(np.log(2))
    assert gradients[1.0, 1.0] == pytest.approx(-0.25 * 2 * log2, rel=1e-12)
    assert gradients[1.0, -1.0] == pytest.approx(-0.25 * (log2 + 600 - log2), rel=1e-12)
    assert gradients[-1.0, -1.0] == pytest.approx(-0.25 * 2 * (600 - log2), rel=1e-12)


def test_a_network_learns_by_the_bound():
    torch.manual_seed(0)
    x = torch.randn(64, 5, dtype=torch.float32)
    y = (x[:, 0] > 0).long()
    torch.set_default_dtype(torch.float32)
    model = sbn.models.BinaryMLP(5, [16], 2, num_data=64)
    guide = sbn.guides.AutoSignBernoulli(model)
    elbo = sbn.TraceEstimator_ELBO("psa", num_importance=4, temperature=0.1)
    svi = SVI(model, guide, sbn.optim.MirrorDescent({"lr": 0.1}), loss=elbo)
    losses = [svi.step(x, y) for _ in range(150)]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


def run(infer=None, estimator="psa", **options):
    net = PyroNetwork(problems.one_hidden_layer(num_data=2), infer=infer)
    elbo = sbn.TraceEstimator_ELBO(estimator, num_importance=2, max_plate_nesting=1, **options)
    elbo.loss(net.model, net.guide, net.x, net.y)


def test_wrong_use_is_an_error():
    with pytest.raises(ValueError, match=r"num_importance=0\): at least 1 copy"):
        sbn.TraceEstimator_ELBO("psa", num_importance=0)
    with pytest.raises(ValueError, match=r"\(\"exact\", num_particles=1, num_importance=3\)"):
        sbn.TraceEstimator_ELBO("exact", num_importance=3)
    with pytest.raises(ValueError, match=r'site "layers\.0" is drawn by estimator "score"'):
        run({"layers.0": {"estimator": "score"}})
    with pytest.raises(ValueError, match="averages the log-likelihood and not the likelihood"):
        run(estimator=PathSampleAnalytic(rao_blackwell=True))


def test_heads_of_ones_own_are_refused_where_they_are_flipped():
    def model(y):
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(3, 2)).to_event(2))
        with pyro.plate("data", 2):
            h = pyro.sample("h", sbn.NoisySign(sbn.affine(torch.ones(2, 2), w)))
            law = sbn.FlipLikelihood(lambda t: pyro.distributions.Poisson(t.sum(-1).exp()), h)
            pyro.sample("y", law, obs=y)

    guide = sbn.guides.AutoSignBernoulli(model, example=(torch.ones(2),))
    elbo = sbn.TraceEstimator_ELBO("psa", num_importance=2, max_plate_nesting=1)
    with pytest.raises(ValueError, match='site "y" is a FlipLikelihood, whose flips are those of'):
        elbo.differentiable_loss(model, guide, torch.ones(2))
    elbo = sbn.TraceEstimator_ELBO("st", num_importance=2, max_plate_nesting=1)
    assert elbo.differentiable_loss(model, guide, torch.ones(2)).isfinite()


def test_factors_are_refused_where_draws_are_flipped():
    def model():
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(3, 2)).to_event(2))
        with pyro.plate("data", 2):
            h = pyro.sample("h", sbn.NoisySign(sbn.affine(torch.ones(2, 2), w)))
            pyro.factor("y", sbn.exact_flips(lambda t: t.sum(-1), h))

    guide = sbn.guides.AutoSignBernoulli(model, example=())
    elbo = sbn.TraceEstimator_ELBO("psa", num_importance=2, max_plate_nesting=1)
    with pytest.raises(ValueError, match=r'site "y" is a pyro\.factor'):
        elbo.differentiable_loss(model, guide)
    elbo = sbn.TraceEstimator_ELBO("st", num_importance=2, max_plate_nesting=1)
    assert elbo.differentiable_loss(model, guide).isfinite()


def test_observations_of_different_rows_have_no_average():
    def model(y, z):
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(1, 2)).to_event(2))
        with pyro.plate("data", 2):
            pyro.sample("y", sbn.AffineBernoulli(sbn.affine(torch.ones(2, 2), w)), obs=y)
        with pyro.plate("others", 3):
            pyro.sample("z", sbn.AffineBernoulli(sbn.affine(torch.ones(3, 2), w)), obs=z)

    y, z = torch.ones(2, 1), torch.ones(3, 1)
    guide = sbn.guides.AutoSignBernoulli(model, example=(y, z))
    elbo = sbn.TraceEstimator_ELBO("psa", num_importance=2, max_plate_nesting=1)
    with pytest.raises(ValueError, match='"y" and "z" are in different plates'):
        elbo.loss(model, guide, y, z)
