"""The study of gradient accuracy: its network, its enumeration, and what was committed of it."""

import itertools
import json
import math
import tomllib

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from studies.gradient_accuracy import figure, run, shares, sign_weights
from studies.gradient_accuracy.exact import enumerated_law, is_enumerable
from studies.gradient_accuracy.network import (
    Data,
    PaperNetwork,
    initial,
    make_data,
    reinforce_gradient,
    train,
)
from studies.gradient_accuracy.recursion import ESTIMATORS, recursive_law
from tests import chance

HERE = run.HERE
COMMITTED = json.loads((HERE / "results.json").read_text("utf-8"))
EXPECTED = tomllib.loads((HERE / "expected.toml").read_text("utf-8"))


def small(num_data=1):
    """2-3-2-1 with random parameters, and some points."""
    data = make_data()
    generator, rng = torch.Generator().manual_seed(5), np.random.default_rng(5)
    drawn = initial(generator, data, (2, 3, 2, 1))
    parameters = [(w, b + rng.uniform(-1, 1, b.shape)) for w, b in drawn]
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
    drawn = reinforce_gradient(parameters, data.x, data.y, rng.random((4000, 4, 5)))
    samples = np.concatenate([part.reshape(4000, -1) for layer in drawn for part in layer], 1)
    # a loss below 8, a score below 1 in size, inputs below 2: the parameters are about 1
    bounds = (-16.0, 16.0)
    chance.assert_mean(samples, np.concatenate(law.mean), bounds=bounds, detects=1.0)


def test_networks_start_with_pre_activations_of_mean_0_and_variance_1():
    data = make_data()
    (weight, bias), (above, shift), *_, head = initial(torch.Generator().manual_seed(1), data)
    pre = data.x @ weight.T + bias
    np.testing.assert_allclose(pre.mean(0), 0, atol=1e-12)
    # the moments of independent inputs: those of the data correlate a little
    np.testing.assert_allclose((weight**2) @ data.x.var(0, ddof=1), 1)
    np.testing.assert_allclose((above**2).sum(1) / 4, 1)
    np.testing.assert_allclose(above.sum(1) / 2 + shift, 0, atol=1e-12)
    assert max(abs(part).max() for part in head) < 1
    assert abs(head[1]).max() > 0


def test_seeds_side_by_side_are_each_trained_alone():
    data = make_data()
    together = train(data, [3, 1, 2], [1, 2])
    for seed, found in zip([3, 1, 2], together, strict=True):
        (alone,) = train(data, [seed], [2])
        assert list(found) == [1, 2]
        for layer, same in zip(found[2], alone[2], strict=True):
            for part, equal in zip(layer, same, strict=True):
                np.testing.assert_allclose(part, equal, rtol=1e-9, atol=1e-12)


def test_first_epoch_is_the_network_of_the_authors():
    data = make_data()
    (kept,) = train(data, [1], [1])
    known = EXPECTED["authors"]["1"]
    states = np.array(list(itertools.product((0.0, 1.0), repeat=5)))
    reached, below = np.eye(len(data.x)), data.x
    for weight, bias in kept[1][:-1]:
        p = 1 / (1 + np.exp(-(below @ weight.T + bias)))[:, None]
        reached = reached @ np.where(states > 0, p, 1 - p).prod(-1)
        below = states
    eta = (states @ kept[1][-1][0].T + kept[1][-1][1])[:, 0]
    losses = np.log1p(np.exp(-eta * data.y[:, None]))
    assert (reached * losses).sum() / len(data.x) == pytest.approx(known["loss"], abs=6e-7)
    truth = recursive_law(kept[1], "score", data).mean
    norms = np.array([np.linalg.norm(exact) for exact in truth])
    assert norms == pytest.approx(known["norm"], abs=6e-7)
    for name in ESTIMATORS:
        law = recursive_law(kept[1], name, data)
        bias = [np.linalg.norm(mean - exact) for mean, exact in zip(law.mean, truth, strict=True)]
        assert bias / norms == pytest.approx(known[name]["bias"], abs=6e-5)
        assert np.sqrt(law.variance) / norms == pytest.approx(known[name]["std"], rel=6e-4)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_recursion_is_the_enumeration_of_the_package(estimator):
    parameters, data = small(6)
    found = recursive_law(parameters, estimator, data)
    wanted = enumerated_law(PaperNetwork(parameters), estimator, data)
    for mean, exact in zip(found.mean, wanted.mean, strict=True):
        np.testing.assert_allclose(mean, exact, rtol=0, atol=1e-12)
    assert found.variance == pytest.approx(wanted.variance, rel=1e-10)


def test_copies_of_the_parameters_draw_for_themselves():
    parameters, data = small(3)
    law = enumerated_law(PaperNetwork(parameters), "psa", data)
    seed = int(chance.numpy_generator("copies").integers(2**31))
    samples = run.sampled(parameters, "psa", data, 4000, seed)
    # differences of a loss below 8, inputs below 2
    chance.assert_mean(samples, np.concatenate(law.mean), bounds=(-16.0, 16.0), detects=1.0)
    # were the draws shared, copies would agree
    assert len(np.unique(samples[:50, 0])) > 10


def test_tanh_is_the_gradient_of_the_network_of_means():
    parameters, data = small(3)
    leaves = [tuple(torch.tensor(p, requires_grad=True) for p in layer) for layer in parameters]
    x = torch.tensor(data.x)
    for weight, bias in leaves[:-1]:
        x = torch.sigmoid(x @ weight.T + bias)
    eta = (x @ leaves[-1][0].T + leaves[-1][1])[:, 0]
    loss = torch.nn.functional.softplus(-eta * torch.tensor(data.y)).mean()
    wanted = torch.autograd.grad(loss, [part for layer in leaves for part in layer])
    found = run.sampled(parameters, run.MeanUnits(), data, 2, 1)
    flat = torch.cat([part.flatten() for part in wanted]).numpy()
    np.testing.assert_allclose(found, np.stack([flat, flat]), rtol=0, atol=1e-12)


def test_what_needs_its_uniforms_is_not_enumerated():
    parameters, data = small(8)
    network = PaperNetwork(parameters)
    names = ("psa", "score", "disarm", "loo", "ap2", "concrete")
    found = {name: is_enumerable(network, name, data) for name in names}
    assert [name for name in names if found[name]] == ["psa", "score"]
    assert not is_enumerable(network, run.MeanUnits(), data)


def test_training_gives_the_committed_checkpoint():
    (kept,) = train(make_data(), [1], [1])
    layers = kept[1]
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
        assert [each.label for each in audit] == run.registered()
        assert audit.reference == "exact"
    assert audits["0"]["st"].total.norm != audits["1"]["st"].total.norm


def test_committed_shares_are_those_of_expected_toml():
    committed = json.loads((HERE / "shares.json").read_text("utf-8"))
    assert committed["networks"] == 100
    found = {
        (str(each["epoch"]), f"{each['averaged']} averaged", each["layer"]): each
        for each in committed["shares"]
        if each["order"] == ["psa", "st"]
    }
    for epoch, numbers in EXPECTED["shares"].items():
        for number, layers in numbers.items():
            for layer, values in layers.items():
                each = found[epoch, number, layer]
                assert values == [each["share"], *each["interval"]]


def test_shares_of_few_networks(capsys):
    shares.main(["--quick", "--seeds", "3", "--epochs", "1"])
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == len(shares.PAIRS) * 3 * len(run.AVERAGED)
    data = make_data()
    networks = train(data, [1, 2, 3], [1])
    assert shares.lengths(networks[0][1], data)["score"] == pytest.approx(np.ones(4))
    by_hand = 0
    for network in networks:
        found = shares.errors(network[1], data)
        by_hand += found["psa"][0, 0] < found["st"][0, 0]
    assert lines[0].startswith(
        f"epoch 1, layer 1, 1 averaged: psa below st in {by_hand / 3:.2f} of networks (0.29 to"
    )
    assert set(json.loads(last)["value"]) <= {0.0, 1 / 3, 2 / 3, 1.0, 0.3333, 0.6667}


def test_figures_hold_every_estimator():
    epochs = COMMITTED["epochs"]
    names = {*figure.PUBLISHED, *figure.later(epochs)}
    assert names == set(next(iter(epochs.values()))) <= set(run.estimators())
    drawn = figure.draw({"1": epochs["1"]}, figure.PUBLISHED, "cosine")
    assert len(drawn.axes) == len(run.LAYERS)
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == list(figure.PUBLISHED)


def test_committed_signs_are_drawn_row_by_row():
    audits = json.loads((HERE / "sign_weights.json").read_text("utf-8"))
    for audit in audits.values():
        assert set(audit["estimators"]) <= set(run.registered())
    drawn = figure.draw_signs(audits)
    assert len(drawn.axes) == len(sign_weights.CHECKPOINTS)
    for audit, ax in zip(audits.values(), drawn.axes, strict=True):
        deviation, bias, bound = (line.get_xydata() for line in ax.lines)
        assert len(deviation) == len(audit["estimators"])
        # the unbiased ones that are enumerated have neither
        assert len(bias) + len(bound) == len(deviation) - 1
