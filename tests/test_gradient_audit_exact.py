"""The enumerated numbers of an audit against brute force over all paths of tiny networks."""

import numpy as np
import pytest

import bayes_sbn as sbn
from bayes_sbn.estimators import PathSampleAnalytic
from bayes_sbn.gradient_audit_result import Audit
from tests import problems
from tests.hybrid_networks import data, hybrid
from tests.oracle_estimators import (
    psa_gradient_of_path,
    score_gradient_of_path,
    st_gradient_of_path,
)
from tests.oracles import exact_gradient, joint_paths, negative_elbo_gradient
from tests.pyro_networks import PyroNetwork

ORACLES = {
    "psa": psa_gradient_of_path,
    "st": st_gradient_of_path,
    "score": score_gradient_of_path,
}
ESTIMATORS = {"psa": PathSampleAnalytic(real_inputs="exact"), "st": "st", "score": "score"}

# (name, number of data): bits; brute force over 2^12 paths is left to the quicker oracles
NETWORKS = {
    ("one_hidden_layer", 1): 9,
    ("two_hidden_layers", 1): 12,
    ("two_hidden_layers_real_weights", 1): 6,
    ("chain", 2): 9,
}


def network(name: str, num_data: int, noise: str = "logistic", **options) -> PyroNetwork:
    scale = {"uniform": 0.8}.get(noise, 1.0)
    return PyroNetwork(getattr(problems, name)(noise, scale, num_data=num_data), **options)


def audited(net: PyroNetwork, estimators, **options) -> Audit:
    batch = (net.x, net.y)
    return sbn.audit(net.model, net.guide, batch, estimators, parameters=net.parameters, **options)


def brute_force(net: PyroNetwork, label: str):
    """Mean and variance of an estimator by block, over every path of positive probability."""
    problem = net.problem
    paths = joint_paths(problem.net, problem.x, problem.y)
    names = list(problem.net.parameters)
    mean, square = {n: 0.0 for n in names}, {n: 0.0 for n in names}
    for p in np.flatnonzero(paths.probability):
        weights = [w[p] for w in paths.weights]
        activations = [z[p] for z in paths.activations]
        g = ORACLES[label](problem.net, weights, activations, problem.x, problem.y)
        g = negative_elbo_gradient(problem.net, g)
        for name in names:
            mean[name] = mean[name] + paths.probability[p] * g[name]
            square[name] += paths.probability[p] * (g[name] ** 2).sum()
    return mean, {n: square[n] - (mean[n] ** 2).sum() for n in names}


@pytest.mark.parametrize(("name", "num_data"), NETWORKS)
def test_audit_equals_brute_force(name, num_data):
    net = network(name, num_data)
    compared = {k: e for k, e in ESTIMATORS.items() if name != "two_hidden_layers" or k != "psa"}
    found = audited(net, compared)
    problem = net.problem
    assert found.num_bits == NETWORKS[name, num_data]
    assert found.reference == "exact"
    truth = negative_elbo_gradient(problem.net, exact_gradient(problem.net, problem.x, problem.y))
    truth_square = sum((truth[n] ** 2).sum() for n in truth)
    means = {}
    for label in compared:
        mean, variance = brute_force(net, label)
        means[label] = mean
        here = found[label]
        assert here.is_exact
        for block in mean:
            assert here.mean[block] == pytest.approx(mean[block], abs=1e-10)
            close = {"rel": 1e-10, "abs": 1e-10}
            assert here[block].variance.value == pytest.approx(variance[block], **close)
            square = (mean[block] ** 2).sum()
            assert here[block].squared_norm.value == pytest.approx(square, **close)
            bias = ((mean[block] - truth[block]) ** 2).sum()
            assert here[block].squared_bias.value == pytest.approx(bias, **close)
            assert here[block].variance.error == here[block].squared_bias.error == 0
        bias = sum(((mean[n] - truth[n]) ** 2).sum() for n in truth)
        assert here.total.squared_bias.value == pytest.approx(bias, abs=1e-10)
        assert here.total.variance.value == pytest.approx(sum(variance.values()), rel=1e-10)
        dot = sum((mean[n] * truth[n]).sum() for n in truth)
        own = sum((mean[n] ** 2).sum() for n in truth)
        cosine = dot / np.sqrt(own * truth_square)
        assert found.cosine(label, "exact").value == pytest.approx(cosine, abs=1e-10)
    dot, first, second = (
        sum((means[a][n] * means[b][n]).sum() for n in truth)
        for a, b in (("score", "st"), ("score", "score"), ("st", "st"))
    )
    assert found.cosine("st", "score").value == pytest.approx(dot / np.sqrt(first * second))


def test_states_of_probability_zero_do_not_count():
    net = network("two_hidden_layers_real_weights", 1, "uniform")
    probability = joint_paths(net.net, net.problem.x, net.problem.y).probability
    assert 0 < (probability == 0).sum() < len(probability)
    found = audited(net, ESTIMATORS)
    for label in ESTIMATORS:
        mean, variance = brute_force(net, label)
        for block in mean:
            assert found[label].mean[block] == pytest.approx(mean[block], abs=1e-10)
            assert found[label][block].variance.value == pytest.approx(variance[block], abs=1e-10)


def test_a_model_that_vectorised_particles_break_is_enumerated_state_by_state():
    net = network("one_hidden_layer", 1)

    whole = audited(net, ["psa"])

    def model(x, y=None):
        result = net.model(x, y)
        if result.dim() != 1:
            raise ValueError("one draw at a time")
        return result

    guide = sbn.guides.AutoSignBernoulli(model, example=(net.x, net.y))
    guide.leaf("layers.0.weight").data.copy_(net.guide.leaf("layers.0.weight"))
    parameters = {**net.leaves, "layers.0.weight_mean": guide.leaf("layers.0.weight")}
    single = sbn.audit(model, guide, (net.x, net.y), ["psa"], parameters=parameters)
    assert single["psa"].is_exact
    for block in parameters:
        ours, theirs = single["psa"][block], whole["psa"][block]
        assert ours.variance.value == pytest.approx(theirs.variance.value, rel=1e-10)
        assert ours.bias == pytest.approx(theirs.bias, abs=1e-10)


def test_points_beside_signs_are_enumerated_and_normal_weights_are_not():
    x, y = data(2, 1)
    model, guide = hybrid(kind="point", num_data=1)
    found = sbn.audit(model, guide, (x, y), ["st"])
    text = str(found)
    assert "8 latent bits" in text
    assert "bias against the exact gradient, over 2^8 states" in text
    model, guide = hybrid(kind="normal", num_data=1)
    text = str(sbn.audit(model, guide, (x, y), ["st"], repeats=4))
    assert 'no enumeration: site "hidden.0.weight" is a Normal, site "output.weight" is a N' in text
