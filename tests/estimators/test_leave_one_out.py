"""Leave-one-out baselines: exact over all pairs of paths, and refused where there is one path."""

import functools
import itertools

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from tests.estimators.test_exact_expectation import NOISES, lean, wanted
from tests.oracle_estimators import relative_bias
from tests.oracles import Layer, Net, exact_gradient
from tests.problems import Problem, one_hidden_layer
from tests.pyro_networks import PyroNetwork, all_paths, assert_same_gradient

PAIR = {"num_particles": 2, "vectorize_particles": True, "max_plate_nesting": 1}


def tiny(kind: str, noise: str = "logistic") -> PyroNetwork:
    """At most four bits a path: 256 pairs of paths."""
    generator = np.random.default_rng(7)

    def layer(outputs: int, inputs: int, is_random: bool) -> Layer:
        scale, bias = generator.uniform(0.6, 1.4, outputs), generator.uniform(-0.4, 0.4, outputs)
        if is_random:
            mean = generator.uniform(-0.8, 0.8, (outputs, inputs))
            return Layer(scale, bias, weight_mean=mean)
        return Layer(scale, bias, weight=generator.normal(0, 1.2, (outputs, inputs)))

    sizes = {"wide": ((2, 1, False),), "signs": ((2, 1, True),), "deep": ((1, 1, True),) * 2}[kind]
    layers = tuple(layer(*size) for size in sizes)
    noise_scale = {"uniform": 3.0, "triangular": 3.5}.get(noise, 1.0)
    net = Net(layers, layer(2, layers[-1].shape[0], False), noise, noise_scale)
    rows = 2 if kind == "wide" else 1
    x = generator.normal(0, 1, (rows, 1))
    return PyroNetwork(Problem(kind, net, x, np.array([0, 1])[:rows]))


def expectation_over_pairs(net: PyroNetwork, estimator: sbn.Estimator | str):
    """The expected gradient over two independent paths, and that of every pair."""
    values, probability = all_paths(net)
    total = {name: np.zeros(leaf.shape) for name, leaf in net.parameters.items()}
    elbo = sbn.TraceEstimator_ELBO(estimator, **PAIR)
    for i, j in itertools.product(range(len(probability)), repeat=2):
        pair = {name: value[[i, j]] for name, value in values.items()}
        with sbn.force_draws(pair):
            elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
        share = float(probability[i] * probability[j])
        total = {name: total[name] + share * g for name, g in net.gradients().items()}
    return total


@pytest.mark.parametrize(
    ("kind", "noise"),
    [*((k, "logistic") for k in ("signs", "deep")), *(("wide", n) for n in NOISES)],
)
def test_loo_equals_the_exact_gradient_over_all_pairs(kind, noise):
    net = tiny(kind, noise)
    exact = wanted(net, exact_gradient(net.net, net.problem.x, net.problem.y))
    assert_same_gradient(expectation_over_pairs(net, "loo"), exact)


def test_a_baseline_that_knows_its_own_draw_would_be_noticed():
    class MeanOfAll(sbn.estimators.LeaveOneOut):
        def surrogate(self, site, cost, rerun):
            return (cost - cost.mean(site.particle_dim, keepdim=True)) * site.log_prob()

    net = tiny("signs")
    exact = wanted(net, exact_gradient(net.net, net.problem.x, net.problem.y))
    found = expectation_over_pairs(net, MeanOfAll())
    assert relative_bias(found, exact)["layers.0.bias"] == pytest.approx(0.5, abs=1e-10)


def test_loo_is_the_score_less_the_mean_of_the_others():
    net = PyroNetwork(one_hidden_layer(num_data=2))
    torch.manual_seed(3)
    sites = {"layers.0.weight": torch.rand(3, 3, 2), "layers.0": torch.rand(3, 2, 3)}
    make = functools.partial(
        sbn.TraceEstimator_ELBO, vectorize_particles=True, max_plate_nesting=1, weight_kl=False
    )
    with sbn.force_draws({}, sites):
        make("loo", num_particles=3).loss_and_grads(net.model, net.guide, net.x, net.y)
    found = net.gradients()["layers.0.weight_mean"]
    mean = torch.tensor(net.net.layers[0].weight_mean)
    with sbn.force_draws({}, sites):
        (run,) = make("score", num_particles=3)._get_traces(
            net.model, net.guide, (net.x, net.y), {}
        )
    w = run.guide_trace.nodes["layers.0.weight"]["value"].squeeze(1)
    cost = -run.model_trace.nodes["y"]["log_prob"].detach().sum(1)
    others = (cost.sum() - cost) / 2
    score = w / (1 + w * mean)
    by_hand = ((cost - others)[:, None, None] * score).sum(0) / 3
    assert torch.allclose(torch.tensor(found), by_hand, atol=1e-12)


def test_sites_mix_and_equal_particles_have_no_score():
    net = PyroNetwork(one_hidden_layer(num_data=2), infer={"layers.0.weight": {"estimator": "loo"}})
    same = {"layers.0.weight": torch.ones(3, 2), "layers.0": torch.ones(2, 3)}
    with sbn.force_draws(same):
        elbo = lean("psa", weight_kl=False)(**PAIR)
        elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    gradients = net.gradients()
    assert np.abs(gradients["layers.0.weight_mean"]).max() < 1e-14
    assert np.abs(gradients["layers.0.bias"]).max() > 1e-3


@pytest.mark.parametrize(
    "options", [{}, {"num_particles": 3}, {"num_particles": 1, "vectorize_particles": True}]
)
def test_one_particle_a_run_is_an_error_that_says_what_to_type(options):
    net = tiny("wide")
    elbo = sbn.TraceEstimator_ELBO("loo", **options)
    with pytest.raises(ValueError, match=r'"loo", num_particles=2, vectorize_particles=True'):
        elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
