"""The studies of speed run at a tiny size, compute what they say, and end with their JSON."""

import json

import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.affines import MeanSign
from bayes_sbn.estimators import PathSampleAnalytic
from bayes_sbn.noise import get_noise
from studies.speed import convolutions, packed_convolutions, predict, real_weight_flips, uniforms
from studies.speed import kernels as packed
from studies.speed.estimators import TARGETS, main
from studies.speed.measure import last_line, medians, peak_bytes
from studies.speed.rivals import HandWritten, literal_flips

SIZES = [6, 5, 4, 3]


def test_estimators_end_with_one_json_object(capsys):
    sizes = {"--inputs": 12, "--width": 16, "--svi-width": 8, "--batch": 32, "--rounds": 2}
    tiny = [str(part) for option in sizes.items() for part in option]
    main(["--quick", *tiny])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(result) == {"study", "metric", "value", "target", "machine"}
    assert result["study"] == "speed/estimators"
    assert len(result["metric"]) == len(result["value"]) == len(result["target"])
    assert all(value > 0 for value in result["value"])
    stated = dict(zip(result["metric"], result["target"], strict=True))
    assert {name: target for name, target in stated.items() if target is not None} == TARGETS
    assert result["machine"]["threads"] == 1


def given_network(x, y):
    """A network for these data and its guide."""
    torch.manual_seed(0)
    model = sbn.models.BinaryMLP(6, [5, 4], 3, num_data=len(x))
    guide = sbn.guides.AutoSignBernoulli(model)
    return model, guide


def test_hand_written_rival_has_the_loss_and_gradients_of_straight_through(monkeypatch):
    x, y = torch.randn(7, 6), torch.randint(0, 3, (7,))
    model, guide = given_network(x, y)
    names = ["hidden.0.weight", "hidden.1.weight", "output.weight"]
    rival = HandWritten(SIZES, num_data=len(x))
    for lam, name in zip(rival.lam, names, strict=True):
        lam.data.copy_(guide.leaf(name))
    sites = ["hidden.0.weight", "x1", "hidden.1.weight", "x2", "output.weight"]
    shapes = [(5, 6), (7, 5), (4, 5), (7, 4), (3, 4)]
    uniforms = {site: torch.rand(shape) for site, shape in zip(sites, shapes, strict=True)}
    with sbn.force_draws({}, uniforms=uniforms):
        loss = sbn.TraceEstimator_ELBO("st").loss_and_grads(model, guide, x, y)
    waiting = iter(uniforms.values())
    monkeypatch.setattr(torch, "rand_like", lambda _: next(waiting))
    assert rival.loss_and_gradients(x, y) == pytest.approx(loss, rel=1e-12)
    layers = [*model.hidden, model.output]
    for k, (name, layer) in enumerate(zip(names, layers, strict=True)):
        parameters = dict(layer.named_parameters())
        pairs = [
            (rival.lam[k], guide.leaf(name)),
            (rival.log_scale[k], parameters["scale_unconstrained"]),
            (rival.bias[k], parameters["bias_unconstrained"]),
        ]
        for mine, theirs in pairs:
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-10, atol=1e-10)


def test_literal_flips_are_the_gradients_of_psa(monkeypatch):
    x, y = torch.randn(7, 6), torch.randint(0, 3, (7,))
    model, guide = given_network(x, y)
    weights = [torch.rand(shape) for shape in [(5, 6), (4, 5), (3, 4)]]
    units = [torch.rand(7, size) for size in (5, 4)]
    names = ["hidden.0.weight", "hidden.1.weight", "output.weight"]
    for name in names:
        guide.leaf(name).data.zero_()  # fair coins, as the rival draws them
    uniforms = dict(zip([*names, "x1", "x2"], [*weights, *units], strict=True))
    elbo = sbn.TraceEstimator_ELBO(PathSampleAnalytic(real_inputs="exact"), weight_kl=False)
    with sbn.force_draws({}, uniforms=uniforms):
        elbo.loss_and_grads(model, guide, x, y)
    drawn, states = iter(weights), iter([*units, torch.rand(7, 3)])
    monkeypatch.setattr(torch, "rand", lambda *_: next(drawn))
    monkeypatch.setattr(torch, "rand_like", lambda _: next(states))
    found = literal_flips(SIZES, x, y)
    for gradient, name in zip(found, names, strict=True):
        # the rival differentiates the log-likelihood, the loss is its negative
        torch.testing.assert_close(-gradient, guide.leaf(name).grad, rtol=1e-10, atol=1e-12)


def test_peak_counts_what_is_alive_and_not_what_was_freed():
    def run():
        kept = torch.ones(1000, dtype=torch.float64)
        for _ in range(5):
            kept = kept + 1  # two alive at a time

    assert peak_bytes(run) == 2 * 8000


def test_medians_run_every_candidate_the_same_number_of_times():
    calls = []
    found = medians(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, seconds=60
    )
    assert calls == ["a", "b"] * 4  # the first round warms up
    assert set(found) == {"a", "b"}
    calls.clear()
    medians({"a": lambda: calls.append("a")}, rounds=100, seconds=0)
    assert len(calls) == 2


def test_last_line_has_null_where_there_is_no_target():
    result = json.loads(last_line("s", {"x": 1.23456, "y": 2.0}, {"x": 1.5}))
    assert result["value"] == [1.2346, 2.0]
    assert result["target"] == [1.5, None]


def test_convolutions_end_with_one_json_object(capsys):
    tiny = ["--channels", "2", "3", "2", "2", "--side", "8", "--batch", "2", "--rounds", "1"]
    convolutions.main(["--quick", *tiny])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["study"] == "speed/convolutions"
    assert all(value > 0 for value in result["value"])
    stated = dict(zip(result["metric"], result["target"], strict=True))
    stated = {name: target for name, target in stated.items() if target is not None}
    assert stated == convolutions.TARGETS


def test_convolutional_candidates_are_one_network():
    # at given uniforms both estimators have the same loss, and the first layer knows ±1 inputs
    torch.manual_seed(0)
    x, y = convolutions.inputs("±1", (2, 2, 8, 8)), torch.tensor([1, 3])
    network = convolutions.SignNetwork([2, 2, 3, 2, 2], 8, signs=True)
    losses = []
    for estimator in ("psa", "st"):
        torch.manual_seed(1)
        losses.append(network.gradient(estimator, x, y)())
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    assert network.side == 1


def test_real_weight_flips_end_with_one_json_object(capsys):
    sizes = {"--inputs": 24, "--outputs": 16, "--batch": 8, "--rounds": 2}
    real_weight_flips.main(["--quick", *(str(part) for size in sizes.items() for part in size)])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["study"] == "speed/real_weight_flips"
    assert len(set(result["metric"])) == len(result["value"]) == len(result["target"])
    assert all(value > 0 for value in result["value"])
    stated = dict(zip(result["metric"], result["target"], strict=True))
    assert {k: v for k, v in stated.items() if v is not None} == real_weight_flips.TARGETS


def test_real_weight_flips_compares_candidates_that_compute_the_same():
    torch.manual_seed(0)
    layer = real_weight_flips.Layer.random(4, 6, 5, torch.float64)
    logistic = get_noise("logistic")
    x, w, b = real_weight_flips.real_weights(layer, MeanSign(logistic))()
    torch.testing.assert_close(real_weight_flips.literal(layer)(), x, rtol=0, atol=1e-12)
    blocks = real_weight_flips.real_weights(layer, real_weight_flips.MeanInBlocks(logistic))()
    for found, wanted in zip(blocks, (x, w, b), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    of_x, of_w = real_weight_flips.products(layer)()
    back = real_weight_flips.float_layer(layer)()
    slope = 1 - torch.tanh(layer.signs @ layer.weight.mT + layer.bias).square()
    torch.testing.assert_close(back[0], (layer.g * slope) @ layer.weight)
    assert (of_x.shape, of_w.shape) == (back[0].shape, back[1].shape)
    for per_unit in (False, True):
        exact = real_weight_flips.sign_weights(layer, "exact", per_unit)()
        assert [t.shape for t in exact] == [(5, 6), (5,) if per_unit else (1,), (5,)]


def test_uniforms_end_with_one_json_object(capsys):
    uniforms.main(["--quick", "--number", "100", "--rounds", "2"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["study"] == "speed/uniforms"
    assert result["metric"] == ["torch.rand/kernel, float32", "torch.rand/kernel, float64"]
    assert all(value > 0 for value in result["value"])


def test_prediction_is_measured_against_rivals_that_predict_the_same(capsys):
    predict.main(["--quick", "--width", "32", "--batch", "8", "--draws", "60", "--rounds", "1"])
    output = capsys.readouterr().out
    result = json.loads(output.splitlines()[-1])
    assert result["study"] == "speed/predict"
    values = dict(zip(result["metric"], result["value"], strict=True))
    assert values["float32/packed memory"] == pytest.approx(32 * 32 / 32, rel=0.3)
    assert all(value > 0 for value in values.values())
    assert set(predict.TARGETS) <= set(values)
    errors = [float(line.split()[-1]) for line in output.splitlines() if "mean difference" in line]
    assert len(errors) == 2
    assert max(errors) < 0.1


def test_kernels_are_measured_against_torch(capsys):
    packed.main(["--quick", "--rounds", "1", "--shapes", "8", "64", "32", "--ghz", "3"])
    output = capsys.readouterr().out
    result = json.loads(output.splitlines()[-1])
    assert result["study"] == "speed/kernels"
    assert all(value > 0 for value in result["value"])
    assert "torch.bernoulli/draw" in result["metric"]
    assert "a cycle" in output


def test_packed_convolutions_are_measured_against_torch(capsys):
    shape = ("--shapes", "2", "40", "5")
    packed_convolutions.main(["--quick", "--rounds", "1", "--ghz", "3", *shape])
    output = capsys.readouterr().out
    result = json.loads(output.splitlines()[-1])
    assert result["study"] == "speed/packed_convolutions"
    assert all(value > 0 for value in result["value"])
    assert "best float32/xnor, 2 x 40 x 5 x 5" in result["metric"]
    assert "best torch max/max_pool2d" in result["metric"]
