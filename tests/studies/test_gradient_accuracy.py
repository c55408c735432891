"""The study of gradient accuracy: its network, its enumeration, and what was committed of it."""

import json
import math
import tomllib

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from studies.gradient_accuracy import run, sign_weights
from studies.gradient_accuracy.exact import enumerated_law, is_enumerable
from studies.gradient_accuracy.network import (
    Data,
    PaperNetwork,
    initial,
    make_data,
    reinforce_gradient,
    train,
)
from tests import chance

HERE = run.HERE
COMMITTED = json.loads((HERE / "results.json").read_text("utf-8"))
EXPECTED = tomllib.loads((HERE / "expected.toml").read_text("utf-8"))


def small(num_data=1):
    """2-3-2-1 with random parameters, and some points."""
    rng = np.random.default_rng(5)
    parameters = [(w, b + rng.uniform(-1, 1, b.shape)) for w, b in initial(rng, (2, 3, 2, 1))]
    data = make_data()
    rows = np.linspace(0, 199, num_data).astype(int)
    return parameters, Data(data.x[rows], data.y[rows])


def test_points_lie_where_they_should():
    data = make_data()
    assert data.x.shape == (200, 2)
    above, below = data.x[data.y > 0], data.x[data.y < 0]
    assert len(above) == len(below) == 100
    assert (np.abs(data.x[:, 0]) < math.pi / 2).all()
    assert ((above[:, 1] > 0) & (above[:, 1] < 1)).all()
    assert ((below[:, 1] > -1) & (below[:, 1] < np.cos(below[:, 0]))).all()


@pytest.mark.parametrize("estimator", ["psa", "st", "score"])
def test_enumeration_of_a_point_equals_the_audit(estimator):
    parameters, data = small()
    network = PaperNetwork(parameters)
    law = enumerated_law(network, estimator, data)
    batch = torch.tensor(data.x), torch.tensor(data.y[:, None] > 0).double()
    audit = sbn.audit(network.model, network.guide, batch, [estimator], parameters=network.blocks)
    found = audit[estimator]
    names = list(network.blocks)
    for k, (mean, variance) in enumerate(zip(law.mean, law.variance, strict=True)):
        pair = names[2 * k : 2 * k + 2]
        flat = np.concatenate([found.mean[name].ravel() for name in pair])
        assert mean == pytest.approx(flat, abs=1e-10)
        wanted = sum(found[name].variance.value for name in pair)
        assert variance == pytest.approx(wanted, abs=1e-10)


def test_law_of_a_batch_is_made_of_those_of_its_points():
    parameters, data = small(3)
    network = PaperNetwork(parameters)
    whole = enumerated_law(network, "psa", data)
    points = [Data(data.x[n : n + 1], data.y[n : n + 1]) for n in range(3)]
    parts = [enumerated_law(network, "psa", point) for point in points]
    for k in range(len(whole.mean)):
        assert whole.mean[k] == pytest.approx(np.mean([p.mean[k] for p in parts], 0), abs=1e-12)
        assert whole.variance[k] == pytest.approx(sum(p.variance[k] for p in parts) / 9)


def test_training_gradient_is_the_score_function_s():
    parameters, data = small(4)
    law = enumerated_law(PaperNetwork(parameters), "score", data)
    rng = chance.numpy_generator("reinforce")
    draws = [reinforce_gradient(parameters, data.x, data.y, rng) for _ in range(4000)]
    samples = np.stack([np.concatenate([p.ravel() for w in d for p in w]) for d in draws])
    # a loss below 8, a score below 1 in size, inputs below 2: the parameters are about 1
    bounds = (-16.0, 16.0)
    chance.assert_mean(samples, np.concatenate(law.mean), bounds=bounds, detects=1.0)


def test_what_needs_its_uniforms_is_not_enumerated():
    parameters, data = small(8)
    network = PaperNetwork(parameters)
    found = {name: is_enumerable(network, name, data) for name in ("psa", "score", "disarm", "loo")}
    assert found == {"psa": True, "score": True, "disarm": False, "loo": False}


def test_training_gives_the_committed_checkpoint():
    (layers,) = train(make_data(), 1, [1]).values()
    committed = json.loads((HERE / "checkpoints.json").read_text("utf-8"))
    assert [int(epoch) for epoch in committed] == EXPECTED["checkpoints"]
    for (weight, bias), (w, b) in zip(layers, committed["1"], strict=True):
        np.testing.assert_allclose(weight, w, rtol=1e-9)
        np.testing.assert_allclose(bias, b, rtol=1e-9, atol=1e-12)


def test_orderings_are_compared_and_named():
    rule = {"epochs": [1], "layers": ["head"], "averaged": 1, "order": ["psa", "st"]}

    def results(psa, st):
        return {"1": {"psa": {"head": {"rmse": {"1": psa}}}, "st": {"head": {"rmse": {"1": st}}}}}

    assert run.compare(results(1.0, 2.0), {"orderings": [rule]}) == []
    said = run.compare(results(2.0, 1.0), {"orderings": [rule]})
    assert said == ["epoch 1, head, 1 averaged: psa 2 st 1"]


def test_committed_results_are_those_of_the_orderings_and_of_expected_toml():
    epochs = COMMITTED["epochs"]
    assert [int(epoch) for epoch in epochs] == EXPECTED["checkpoints"]
    assert run.compare(epochs, EXPECTED) == COMMITTED["not_as_published"]
    for epoch, estimators in EXPECTED["ours"].items():
        for name, layers in estimators.items():
            for layer, errors in layers.items():
                assert list(epochs[epoch][name][layer]["rmse"].values()) == errors
    for found in epochs.values():
        for name, layers in found.items():
            for layer in run.LAYERS:
                values = layers[layer]
                for number, error in values["rmse"].items():
                    square = values["bias"] ** 2 + values["std"] ** 2 / int(number)
                    assert error == pytest.approx(math.sqrt(square), rel=2e-3)
                if name == "score":
                    assert values["bias"] < 1e-6
        assert found["psa"]["layer 3"]["bias"] < 1e-6
        assert found["psa"]["head"]["bias"] < 1e-6


def test_errors_and_cosines_of_exact_samples():
    exact = [np.array([3.0, 4.0])] * 4
    steady = np.tile(np.array([3.0, 4.0] * 4), (8, 1))
    found = run.measured(steady, None, exact)
    assert found["head"]["bias"] == found["head"]["std"] == 0
    assert found["head"]["cosine"]["1"] == pytest.approx(1)
    noisy = steady + np.where(np.arange(8) % 2, 1.0, -1.0)[:, None]
    found = run.measured(noisy, None, exact)
    assert found["layer 1"]["std"] == pytest.approx(math.sqrt(16 / 7) / 5)
    assert found["layer 1"]["rmse"]["100"] == pytest.approx(math.sqrt(16 / 7) / 50)


def test_study_ends_with_one_json_object(capsys):
    run.main(["--quick", "--points", "1", "--repeats", "4", "--epochs", "1"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["study"] == "gradient_accuracy"
    assert result["metric"] == ["orderings as published"]


def test_sign_weights_audit_every_estimator():
    audits = sign_weights.audited([1], [0, 1], 4, 1)
    assert list(audits) == ["0", "1"]
    for audit in audits.values():
        assert [each.label for each in audit] == run.estimators()
        assert audit.reference == "exact"
    assert audits["0"]["st"].total.norm != audits["1"]["st"].total.norm
