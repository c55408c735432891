"""What an audit finds: its draws, its choices, and its words."""

import html
import json

import numpy as np
import pyro
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn import gradient_audit
from bayes_sbn.estimators import (
    LeaveOneOut,
    ScoreFunction,
    StraightThrough,
)
from tests import chance, problems
from tests.oracle_estimators import score_gradient_of_path
from tests.oracles import exact_gradient, joint_paths, negative_elbo_gradient
from tests.pyro_networks import PyroNetwork


def mlp(hidden=(2,), num_data=1, **options):
    """A network with 4 + 2 + 4 = 10 latent bits by default, its guide and a batch."""
    generator = torch.Generator().manual_seed(3)
    model = sbn.models.BinaryMLP(2, list(hidden), 2, num_data=num_data)
    guide = sbn.guides.AutoSignBernoulli(model, generator=generator, **options)
    x = torch.randn(num_data, 2, generator=generator)
    return model, guide, (x, torch.randint(2, (num_data,), generator=generator))


def test_sampled_gradients_are_those_of_the_estimator(monkeypatch):
    net = PyroNetwork(problems.chain(num_data=1))
    taken = []
    add = gradient_audit.Accumulator.add

    def spy(self, gradient):
        taken.append([block.clone() for block in gradient])
        add(self, gradient)

    monkeypatch.setattr(gradient_audit.Accumulator, "add", spy)
    found = sbn.audit(
        net.model,
        net.guide,
        (net.x, net.y),
        ["score"],
        parameters=net.parameters,
        exact_bits=0,
        repeats=1000,
        seed=chance.seed("audit of the score function"),
    )
    problem = net.problem
    wanted = negative_elbo_gradient(problem.net, exact_gradient(problem.net, problem.x, problem.y))
    paths = joint_paths(problem.net, problem.x, problem.y)
    low, high = {}, {}
    for p in range(len(paths.probability)):
        states = [w[p] for w in paths.weights], [z[p] for z in paths.activations]
        g = score_gradient_of_path(problem.net, *states, problem.x, problem.y)
        for name, value in negative_elbo_gradient(problem.net, g).items():
            low[name] = np.minimum(low.get(name, value), value)
            high[name] = np.maximum(high.get(name, value), value)

    def flat(blocks):
        return np.concatenate([np.ravel(blocks[name]) for name in net.parameters])

    samples = np.stack([np.concatenate([b.ravel().numpy() for b in g]) for g in taken])
    slack = 1e-9
    chance.assert_mean(
        samples, flat(wanted), bounds=(flat(low) - slack, flat(high) + slack), detects=4.0
    )
    assert len(samples) == 1000
    start = 0
    for name in net.parameters:
        columns = samples[:, start : start + wanted[name].size]
        start += wanted[name].size
        block = found["score"][name]
        assert found["score"].mean[name].ravel() == pytest.approx(columns.mean(0), abs=1e-10)
        assert block.variance.value == pytest.approx(columns.var(0, ddof=1).sum(), rel=1e-10)
        assert block.variance.error > 0


def test_what_a_uniform_decides_is_sampled_and_the_rest_is_exact():
    model, guide, batch = mlp(hidden=(2, 1))
    chosen = {
        "psa": "psa",
        "zgr": "zgr",
        "disarm": "disarm",
        "running": ScoreFunction(baseline="running"),
        "most probable": StraightThrough(deterministic=True),
        "loo": "loo",
    }
    found = sbn.audit(model, guide, batch, chosen, repeats=8)
    assert {label: found[label].is_exact for label in chosen} == {
        "psa": True,
        "zgr": True,
        "disarm": False,
        "running": False,
        "most probable": False,
        "loo": False,
    }
    assert found["most probable"].total.variance.value == 0
    assert found["most probable"].total.squared_bias.error == 0
    assert found["loo"].particles == LeaveOneOut.particles == 2
    assert "8 repeats, 2 particles" in str(found)


def test_particles_divide_the_variance():
    model, guide, batch = mlp()
    one = sbn.audit(model, guide, batch, ["st"])
    four = sbn.audit(model, guide, batch, ["st"], num_particles=4, repeats=200)
    assert one["st"].is_exact
    assert not four["st"].is_exact
    variance = four["st"].total.variance
    # ten standard errors: the seed is fixed, and the variance of one draw is four times that
    assert abs(variance.value - one["st"].total.variance.value / 4) < 10 * variance.error
    assert 10 * variance.error < one["st"].total.variance.value / 2


def test_bias_is_against_the_unbiased_estimator_of_least_variance():
    model, guide, batch = mlp()
    found = sbn.audit(
        model, guide, batch, ["st", "score", "local", "disarm"], exact_bits=0, repeats=40
    )
    unbiased = {label: found[label].total.variance.value for label in ("score", "local", "disarm")}
    assert found.reference == min(unbiased, key=unbiased.get) == "local"
    assert found["local"].total.squared_bias is None
    assert found["st"].total.squared_bias.error > 0
    assert 'bias against "local", which is unbiased' in str(found)
    assert "reference" in str(found)


def test_no_bias_where_nothing_is_unbiased():
    model, guide, batch = mlp()
    found = sbn.audit(model, guide, batch, ["psa", "st"], exact_bits=0, repeats=8)
    assert found.reference is None
    assert found["psa"].total.bias is None
    assert found["psa"].total.bias_interval is None
    assert "no bias, for want of an unbiased estimator" in str(found)
    assert found.to_dict()["estimators"]["psa"]["all"]["squared_bias"] is None


def test_the_end_of_an_interval_is_no_less_than_that_of_no_bias():
    block = gradient_audit_block(squared_bias=-1.0, error=0.08)
    assert block.bias == 0
    assert block.bias_interval == (0, pytest.approx(0.4))
    block = gradient_audit_block(squared_bias=1.0, error=0.18)
    assert block.bias_interval == (pytest.approx(0.8), pytest.approx(np.sqrt(1.36)))


def gradient_audit_block(squared_bias, error):
    from bayes_sbn.gradient_audit_result import BlockAudit, Estimate

    one = Estimate(1.0)
    return BlockAudit(3, one, one, Estimate(squared_bias, error))


def test_a_site_keeps_its_own_estimator_and_the_truth_does_not():
    # st is biased here; with the score function at every site nothing of it is left
    own = {name: {"estimator": "score"} for name in ("layers.0", "layers.0.weight")}
    net = PyroNetwork(problems.two_hidden_layers_real_weights(num_data=1), infer=own)
    options = {"parameters": net.parameters, "exact_bits": 6}
    mixed = sbn.audit(net.model, net.guide, (net.x, net.y), ["st", "psa"], **options)
    plain = PyroNetwork(net.problem)
    options["parameters"] = plain.parameters
    alone = sbn.audit(plain.model, plain.guide, (plain.x, plain.y), ["st", "psa"], **options)
    assert mixed["psa"].total.bias < 1e-6 < alone["psa"].total.bias
    assert mixed["st"]["layers.0.weight"].bias < 1e-6 < alone["st"]["layers.0.weight"].bias
    wrong = {"layers.1": {"estimator": "st"}}
    net = PyroNetwork(net.problem, infer=wrong)
    options["parameters"] = net.parameters
    found = sbn.audit(net.model, net.guide, (net.x, net.y), ["score"], **options)
    assert found["score"].total.bias > 1e-6


def test_draws_depend_on_the_seed_and_the_label_alone():
    model, guide, batch = mlp()
    options = {"exact_bits": 0, "repeats": 6}

    def mean(names, seed):
        found = sbn.audit(model, guide, batch, names, seed=seed, **options)
        return np.concatenate([v.ravel() for v in found["disarm"].mean.values()])

    alone = mean(["disarm"], 1)
    assert (mean(["st", "disarm"], 1) == alone).all()
    assert (mean(["disarm"], 2) != alone).any()


def test_rows_that_a_plate_draws_are_sampled():
    x, y = torch.randn(5, 2), torch.tensor([0, 1, 0, 1, 1])

    def model():
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(2, 2)).to_event(2))
        with pyro.plate("data", 5, 1, dim=-1) as rows:
            pyro.sample("y", sbn.AffineCategorical(sbn.affine(x[rows], w)), obs=y[rows])

    guide = sbn.guides.AutoSignBernoulli(model, example=())
    found = sbn.audit(model, guide, (), ["st", "score"], repeats=6)
    assert found.why_sampled == 'no enumeration: plate "data" draws its rows'
    assert found.reference == "score"


def test_tables_name_everything_and_json_has_the_numbers():
    model, guide, batch = mlp()
    found = sbn.audit(model, guide, batch, ["psa", "st", "disarm"], repeats=8)
    text = str(found)
    assert repr(found) == text
    assert text.startswith("10 latent bits, 16 parameters; bias against the exact gradient")
    for word in ("psa", "st", "disarm", "exact", "8 repeats", "hidden.0.scale", "output.bias"):
        assert word in text
    assert found._repr_html_() == f"<pre>{html.escape(text)}</pre>"
    contents = json.loads(found.to_json())
    assert contents == found.to_dict()
    st = contents["estimators"]["st"]
    assert st["all"]["variance"]["value"] == found["st"].total.variance.value
    assert list(st["blocks"]) == list(found["st"].blocks)
    pairs = {(c["first"], c["second"]): c for c in contents["cosines"]}
    assert pairs["psa", "st"]["all"]["value"] == found.cosine("st", "psa").value
    assert len(found) == 3
    assert [each.label for each in found] == ["psa", "st", "disarm"]


def test_what_noise_hides_is_said_and_none_in_json():
    model, guide, batch = mlp()
    found = sbn.audit(
        model, guide, batch, ["score", "disarm"], exact_bits=0, repeats=4, weight_kl=False, seed=1
    )
    text, contents = str(found), found.to_json()
    assert "hidden by noise" in text
    assert "NaN" not in contents
    assert "Infinity" not in contents
    json.loads(contents)


def test_temperature_and_kl_are_those_of_the_loss():
    model, guide, batch = mlp()
    cold = sbn.audit(model, guide, batch, ["st"], temperature=0.5)["st"]
    none = sbn.audit(model, guide, batch, ["st"], weight_kl=False)["st"]
    warm = sbn.audit(model, guide, batch, ["st"])["st"]
    for block in warm.mean:
        middle = (none.mean[block] + warm.mean[block]) / 2
        assert cold.mean[block] == pytest.approx(middle, abs=1e-10)
    assert any((warm.mean[b] != none.mean[b]).any() for b in warm.mean)
