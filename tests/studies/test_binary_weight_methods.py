"""The study of binary-weight methods: splits, rules by their formulas, scores, and a tiny run."""

import json
import math
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch

from studies.binary_weight_methods import (
    data,
    networks,
    ours,
    restarts,
    rivals,
    run,
    scores,
    tables,
)
from studies.binary_weight_methods.figure import draw
from studies.binary_weight_methods.methods import DEEP, METHODS, OURS, RESTARTS, STE
from studies.binary_weight_methods.predictions import pooled, predicted


@pytest.fixture(autouse=True)
def single_precision():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("name", run.DATA)
def test_no_row_that_chooses_is_scored_by_those_it_chooses_for(name):
    if name == "moons":
        problem = data.load(name)
        everything = torch.cat([getattr(s, part).x for s in problem.splits for part in data.MOONS])
        assert len(torch.unique(everything, dim=0)) == len(everything)
        return
    labels = np.repeat(np.arange(3), [40, 50, 60])
    whole = {seed: data.indices(labels, seed) for seed in data.SEEDS}
    for together in run.choosing_together(name, data.SEEDS):
        scored = set(np.concatenate([whole[seed]["test"] for seed in together]))
        for seed in together:
            assert not scored & set(whole[seed]["validation"])
            assert not scored & set(whole[seed]["train"])
    for rows in whole.values():
        assert sorted(np.concatenate(list(rows.values()))) == list(range(150))
        assert [len(rows[part]) for part in ("train", "validation", "test")] == [90, 30, 30]
    counts = np.bincount(np.concatenate([rows["test"] for rows in whole.values()]))
    assert set(counts) == {2}


def test_inputs_are_standardised_by_training_rows_alone():
    split = data.load("cancer", (3,)).splits[0]
    torch.testing.assert_close(split.train.x.mean(0), torch.zeros(30), atol=1e-5, rtol=0)
    torch.testing.assert_close(split.train.x.std(0, correction=0), torch.ones(30))
    assert float(split.test.x.mean(0).abs().max()) > 1e-3


def test_networks_side_by_side_see_each_row_of_their_own_split_once():
    problem = data.load("moons", (0, 1))
    batches = data.Batches(problem, 2, torch.Generator().manual_seed(0))
    x = torch.cat([x for x, _ in batches])
    assert x.shape == (200, 4, 2)
    for network in range(4):
        own = problem.splits[network // 2].train.x
        assert torch.equal(torch.unique(x[:, network], dim=0), torch.unique(own, dim=0))
    assert not torch.equal(x[:, 0], x[:, 1])


def test_forward_is_torchs_batch_norm_and_recalibration_gives_its_statistics():
    generator = torch.Generator().manual_seed(1)
    layers = networks.shapes(5, 3, (7, 6))
    weights = [networks.signs(torch.rand(2, *shape, generator=generator) < 0.5) for shape in layers]
    x = torch.randn(2, 20, 5, generator=generator)
    head = networks.Head.start(2, layers, "relu")
    norm = torch.nn.functional.batch_norm
    for m in range(2):
        h = x[m]
        for weight in weights[:-1]:
            h = torch.relu(norm(h @ weight[m].T, None, None, training=True))
        wanted = h @ weights[-1][m].T / math.sqrt(6)
        torch.testing.assert_close(networks.forward(x, weights, head)[m], wanted)
    statistics = networks.recalibrated(x, weights, head)
    again = networks.forward(x, weights, head, statistics=statistics)
    torch.testing.assert_close(again, networks.forward(x, weights, head))
    some = networks.forward(x[:, :3], weights, head, statistics=statistics)
    torch.testing.assert_close(some, again[:, :3])


def test_a_step_of_each_rule_is_its_formula():
    start = [torch.tensor([[[0.5, -0.5, 0.0]]])]
    gradient = [torch.tensor([[[0.3, 0.2, -0.4]]])]
    ste = rivals.STEAdam([start[0].clone()], 10, lr=0.6)
    assert ste.final()[0].tolist() == [[[1.0, -1.0, 1.0]]]
    ste.step(gradient, 1.0)  # Adam's first step is the rate, then the clip
    torch.testing.assert_close(ste.state[0], torch.tensor([[[-0.1, -1.0, 0.6]]]))
    bop = rivals.Bop(start, 10, gamma=0.5, threshold=0.12)
    bop.step(gradient, 1.0)  # averages 0.15, 0.1, -0.2
    assert bop.final()[0].tolist() == [[[-1.0, -1.0, 1.0]]]
    bop = rivals.Bop(start, 10, gamma=0.5, threshold=0.16)
    bop.step(gradient, 1.0)
    assert bop.final()[0].tolist() == [[[1.0, -1.0, 1.0]]]
    rule = rivals.BayesBiNN(start, 10, lr=0.1, tau=2.0)
    assert rule.state[0].tolist() == [[[10.0, -10.0, 10.0]]]
    rule.state[0] = lam = torch.tensor([[[0.5, -0.5, 0.1]]], dtype=torch.float64)
    lam = lam.clone()
    (w,) = rule.weights(torch.Generator().manual_seed(0))
    s = 10 * (1 - w**2) / (2.0 * (1 - lam.tanh() ** 2))
    rule.step(gradient, 1.0)
    torch.testing.assert_close(rule.state[0], 0.9 * lam - 0.1 * s * gradient[0], rtol=1e-6, atol=0)
    real = rivals.FullPrecision([torch.ones(1, 1, 1)], 10, lr=0.1, decay=0.5)
    real.step([torch.ones(1, 1, 1)], 0.5)
    torch.testing.assert_close(real.state[0], torch.tensor([[[1 - 0.05 * 0.5 - 0.05]]]))


def test_a_rule_steps_alike_whatever_the_strides_of_the_gradient():
    # the fused Adam of torch 2.13 reads a transposed gradient in the order of its memory
    gradient = torch.arange(12.0).reshape(1, 4, 3) - 5.5
    plain = rivals.STEAdam([torch.zeros(1, 3, 4)], 10, lr=0.1)
    plain.step([gradient.mT.contiguous()], 1.0)
    strided = rivals.STEAdam([torch.zeros(1, 3, 4)], 10, lr=0.1)
    strided.step([gradient.mT], 1.0)
    assert torch.equal(plain.state[0], strided.state[0])


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        ("ste-adam", {"lr": 0.01}),
        ("bop", {"gamma": 0.01, "threshold": 1e-5}),
        ("bayesbinn", {"lr": 0.01, "tau": 1e-10}),
        ("full precision", {"lr": 0.01}),
    ],
)
@pytest.mark.parametrize("activation", run.ACTIVATIONS)
def test_every_rule_learns(rule, options, activation):
    problem = run.Study(None, epochs=0.1).problem("moons", (0,), 0.5)
    kept, head = rivals.train(problem, activation, rule, options, 2, 0)
    for pair in predicted(problem, kept.final(), head):
        own = scores.scores(*pair, (problem.splits[0].validation.y, problem.splits[0].test.y))
        assert own["accuracy"] > 0.8
        assert own["validation nll scaled"] <= own["validation nll raw"] + 1e-6
    if rule != "full precision":
        assert all(set(w.unique().tolist()) == {-1.0, 1.0} for w in kept.final())


@pytest.mark.parametrize("activation", run.ACTIVATIONS)
def test_ours_learns_and_is_a_posterior(activation):
    problem = run.Study(None, epochs=0.2).problem("moons", (0,), 0.5)
    options = {"spread": 1.5, "lr": 0.05, "cold": 10.0}
    found, (bits,) = {"relu": ours.relu, "sign": ours.sign}[activation](problem, options, 0)
    assert set(found) == {"draw", "mode", "ensemble of 32"}
    assert 0.05 < bits < 0.99
    labels = (problem.splits[0].validation.y, problem.splits[0].test.y)
    own = {name: scores.scores(*pair, labels) for name, (pair,) in found.items()}
    assert own["ensemble of 32"]["accuracy"] > 0.8
    assert own["ensemble of 32"]["nll raw"] < own["draw"]["nll raw"]


@pytest.mark.parametrize("activation", run.ACTIVATIONS)
def test_mixtures_are_the_mean_of_separate_fits_by_32_draws(activation, monkeypatch):
    problem = run.Study(None, epochs=0.02).problem("moons", (0, 5), 0.5)
    options = {"spread": 1.5, "lr": 0.1, "cold": 10.0}
    fits = {}

    def watched(problem, options, seed, sizes):
        fits["problem"], fits["sizes"] = problem, sizes
        fits["found"], fits["bits"] = getattr(ours, activation)(problem, options, seed, sizes)
        return fits["found"], fits["bits"]

    monkeypatch.setattr(restarts, activation, watched)
    monkeypatch.setitem(restarts.COMPONENTS, activation, (2, 4))
    found, bits = restarts.mixtures(problem, activation, options, 1000)
    assert len(set(fits["problem"].seeds)) == 8  # of their own, and of the fits that chose
    assert not {1000 + own for own in problem.seeds} & {1100 + own for own in fits["problem"].seeds}
    assert fits["sizes"] == (16, 8)
    for k in range(2):
        mine = range(4 * k, 4 * k + 4)
        assert all(fits["problem"].splits[m] is problem.splits[k] for m in mine)
        for number, size in ((2, 16), (4, 8)):
            each = [fits["found"][f"ensemble of {size}"][m] for m in mine[:number]]
            for part in range(2):
                wanted = sum(pair[part].exp() for pair in each) / number
                torch.testing.assert_close(found[f"mixture of {number}"][k][part].exp(), wanted)
            assert not torch.equal(each[0][1], each[1][1])
        assert bits[k] == pytest.approx(np.mean([fits["bits"][m] for m in mine]))


def test_as_many_networks_as_rows_of_a_batch_are_fitted():
    problem = run.Study(None, epochs=0.005).problem("moons", (0, 1), 0.5)
    few = replace(problem, batch_size=2)
    found, bits = ours.relu(few, {"spread": 1.5, "lr": 0.1, "cold": 10.0}, 0, (1,))
    assert len(bits) == len(found["draw"]) == few.batch_size


def test_components_share_the_draws_of_one_ensemble():
    for numbers in restarts.COMPONENTS.values():
        assert all(ours.DRAWS % number == 0 for number in numbers)
        assert list(numbers) == sorted(numbers)


@pytest.mark.parametrize("activation", run.ACTIVATIONS)
def test_an_ensemble_of_a_size_is_the_mean_of_that_many_draws(activation):
    problem = run.Study(None, epochs=0.02).problem("moons", (0,), 0.5)
    options = {"spread": 1.5, "lr": 0.1, "cold": 10.0}
    found, _ = getattr(ours, activation)(problem, options, 0, (1, 4))
    assert set(found) == {"draw", "mode", "ensemble of 1", "ensemble of 4"}
    for one, other in zip(found["draw"][0], found["ensemble of 1"][0], strict=True):
        torch.testing.assert_close(one, other)
    assert not torch.equal(found["draw"][0][1], found["ensemble of 4"][0][1])


def test_pooled_and_scaled_predictions():
    p = torch.tensor([[0.5, 0.5], [0.9, 0.1]], dtype=torch.float64)
    q = torch.tensor([[0.7, 0.3], [0.5, 0.5]], dtype=torch.float64)
    validation, test = pooled([(p.log(), q.log()), (q.log(), p.log())])
    torch.testing.assert_close(validation.exp(), (p + q) / 2)
    torch.testing.assert_close(test, validation)
    generator = torch.Generator().manual_seed(2)
    log_probs = torch.randn(4000, 3, generator=generator).double().log_softmax(-1)
    labels = torch.multinomial(log_probs.exp(), 1, generator=generator)[:, 0]
    # three times too sure: the scale finds its way back
    assert math.exp(scores.fitted_log_scale(3 * log_probs, labels)) == pytest.approx(
        1 / 3, abs=0.04
    )


def test_a_scale_is_bounded_where_every_validation_row_is_right():
    log_probs = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64).log()
    found = scores.fitted_log_scale(log_probs, torch.tensor([0, 1]))
    assert found == pytest.approx(math.log(4), abs=1e-4)


def test_intervals_are_students():
    mean, half = scores.interval([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5
    assert half == pytest.approx(3.182446 * math.sqrt(5 / 3) / 2, rel=1e-6)


def test_a_setting_is_chosen_by_validation_rows_of_its_fold():
    study = run.Study(None, (0, 1, 5))
    grid = METHODS["ste-adam"].grid["relu"]
    by_seed = {name: [1.0, 1.0, 1.0] for name in map(run.named, grid)}
    first, second = list(by_seed)[:2]
    by_seed[first] = [0.1, 0.5, 0.9]  # seeds 0 and 5 have one fold: 0.5 there
    by_seed[second] = [0.3, 0.6, 0.4]  # 0.35
    kept = {
        name: {"seeds": [0, 1, 5], "network": {"validation nll raw": values}}
        for name, values in by_seed.items()
    }
    study.results = {"relu": {"digits": {"ste-adam": kept}}}
    assert study.chosen("relu", "digits", "ste-adam", "raw") == {0: second, 5: second, 1: first}


def test_several_trainings_have_the_settings_chosen_for_one_by_either_kind(monkeypatch):
    assert {m: METHODS[m].settings_of for m in METHODS if METHODS[m].settings_of} == {
        RESTARTS: OURS,
        DEEP: STE,
    }
    study = run.Study(None, (0, 1, 5))
    grid = METHODS[OURS].grid["relu"]
    raw, scaled, other = grid[2], grid[5], grid[7]
    wanted = {"raw": {0: raw, 5: raw, 1: other}, "scaled": {0: scaled, 5: scaled, 1: other}}
    kept = {}
    for options in grid:
        nll = {
            f"validation nll {kind}": [0.1 if best[s] == options else 0.2 for s in study.seeds]
            for kind, best in wanted.items()
        }
        kept[run.named(options)] = {"seeds": [0, 1, 5], METHODS[OURS].chosen_by: nll}
    study.results = {"relu": {"digits": {OURS: kept}}}
    fitted = []
    monkeypatch.setattr(study, "fit", lambda *own: fitted.append(own))
    study.tune("relu", "digits", RESTARTS)
    assert fitted == [
        ("relu", "digits", RESTARTS, raw, (0, 5)),
        ("relu", "digits", RESTARTS, scaled, (0, 5)),
        ("relu", "digits", RESTARTS, other, (1,)),
    ]
    for kind in run.KINDS:
        assert study.chosen("relu", "digits", RESTARTS, kind) == {
            seed: run.named(options) for seed, options in wanted[kind].items()
        }


def test_what_is_asked_is_compared():
    def own(nll, **more):
        return {"nll scaled": [nll], **more}

    found = {name: own(0.2) for name in (*run.SINGLE, run.DEEP_4)}
    found[run.OUR_ENSEMBLE] = own(0.2, **{"bits per weight": [0.4]})
    found[run.OUR_4] = own(0.1, **{"bits per weight": [0.3]})
    better = {**found, "full precision": own(0.1)}
    verdict = run.judged({"digits": found, "moons": better}, "scaled")
    asked = tomllib.loads((run.HERE / "expected.toml").read_text("utf-8"))["asked"]
    assert set(verdict) == set(asked)
    assert verdict["data sets no higher than each ±1-weight network"] == 2
    assert verdict["data sets no higher than each network"] == 1
    assert verdict["data sets no higher than the deep ensemble of 4"] == 2
    assert verdict["least bits per weight"] == 0.4
    assert verdict["mixture of 4: data sets no higher than each ±1-weight network"] == 2
    assert verdict["mixture of 4: data sets no higher than each network"] == 2
    assert verdict["mixture of 4: data sets no higher than the deep ensemble of 4"] == 2
    assert verdict["mixture of 4: most bits per weight"] == 0.3
    worse = {**found, run.OUR_4: own(0.3, **{"bits per weight": [0.3]})}
    verdict = run.judged({"digits": found, "moons": worse}, "scaled")
    assert verdict["mixture of 4: data sets no higher than the deep ensemble of 4"] == 1
    assert verdict["data sets no higher than the deep ensemble of 4"] == 2


def test_a_study_goes_on_from_its_file_and_makes_tables_and_a_figure(tmp_path, capsys, monkeypatch):
    path = tmp_path / "results.json"
    monkeypatch.setattr(tables, "DATA", ("cancer",))
    study = run.Study(path, (0, 5), 0.02, settings=1)
    for method in METHODS:
        study.tune("relu", "cancer", method)
    made = capsys.readouterr().out.splitlines()
    assert len(made) == len(METHODS)
    again = run.Study(path, (0, 5), 0.02, settings=1)
    assert again.results == study.results
    for method in METHODS:
        again.tune("relu", "cancer", method)
    assert capsys.readouterr().out == ""
    text = tables.tables(again)
    for name in run.everything(again, "relu", "cancer", "raw"):
        assert f"| {name} | " in text
    assert all(text.count(f"| {ours}, less | cancer |") == 2 for ours in run.JUDGED.values())
    assert "| mixture of 4: least bits per weight | at least 0.05 | " in text
    figure = draw(again)
    assert [ax.get_title() for ax in figure.axes] == ["cancer, Real activations"]
    del again.results["relu"]["cancer"][OURS]
    assert tables.complete(again, "relu") == []


def test_a_look_ends_with_one_json_object(capsys, monkeypatch):
    monkeypatch.setitem(restarts.COMPONENTS, "relu", (4,))  # half the time
    run.main(["--quick", "--activations", "relu"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["study"] == "binary_weight_methods, relu, scaled"
    assert len(result["metric"]) == len(result["value"]) == 10
