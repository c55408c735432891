"""The demonstration and the command line around it."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn import cli
from bayes_sbn.demo import DemoSettings, load_split, run_demo, save_figure


@pytest.fixture(autouse=True)
def _as_a_user():
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def full():
    """The demonstration as it ships."""
    torch.set_num_threads(1)
    return run_demo(progress=False)


def test_the_demo_is_accurate_and_calibrated(full):
    assert full.predictions.probs_per_draw.shape == (200, 360, 10)
    assert sbn.metrics.accuracy(full.predictions, full.labels) >= 0.97
    assert sbn.metrics.nll(full.predictions, full.labels) <= 0.10
    assert sbn.metrics.ece(full.predictions, full.labels) <= 0.04
    # the ensemble is better than a draw, and the posterior is not degenerate
    assert full.single_draw_accuracy < sbn.metrics.accuracy(full.predictions, full.labels)
    assert 0.05 < full.posterior.bits_per_weight < 0.99


def test_uncertainty_is_higher_where_the_ensemble_errs(full):
    wrong = full.predictions.mode != full.labels
    assert wrong.sum() >= 3
    assert full.predictions.entropy[wrong].mean() > 5 * full.predictions.entropy[~wrong].mean()


def test_the_table_and_the_dict_state_the_scores(full):
    text = str(full)
    assert "64-256-256-10, 84480 ±1 weights" in text
    assert "accuracy" in text
    assert "ece" in text
    assert json.loads(json.dumps(full.to_dict()))["settings"]["draws"] == 200


def test_the_picture_is_written_whole_or_not_at_all(full, tmp_path, monkeypatch):
    path = tmp_path / "digits.png"
    save_figure(full, path)
    first = path.read_bytes()
    assert first.startswith(b"\x89PNG")
    assert len(first) > 20_000

    def broken(self, *args, **kwargs):
        args[0].write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", broken)
    with pytest.raises(OSError, match="disk full"):
        save_figure(full, path)
    assert path.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["digits.png"]


def test_the_split_is_stratified_and_seeded():
    x, _, x_test, y_test = load_split(0)
    assert (len(x), len(x_test)) == (1437, 360)
    assert float(x.min()) == -1.0
    assert float(x.max()) == 1.0
    assert np.bincount(y_test).min() >= 34
    assert torch.equal(load_split(0)[2], x_test)
    assert not torch.equal(load_split(1)[2], x_test)


def test_a_seed_gives_the_same_result_and_leaves_the_callers_generator_alone():
    settings = DemoSettings(epochs=1, draws=3, seed=5)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = run_demo(settings, progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    second = run_demo(settings, progress=False)
    assert np.array_equal(first.predictions.probs_per_draw, second.predictions.probs_per_draw)


@pytest.mark.parametrize("options", [{"epochs": 0}, {"draws": 0}, {"seed": -1}, {"epochs": 1.5}])
def test_wrong_settings_are_errors(options):
    with pytest.raises(ValueError, match="must be an integer of at least"):
        DemoSettings(**options)


def test_command_line_writes_picture_posterior_and_json(tmp_path, capsys):
    picture, saved = tmp_path / "p.png", tmp_path / "d.sbn"
    arguments = ["demo", "--epochs", "1", "--draws", "4", "--quiet", "--json"]
    code = cli.main([*arguments, "--picture", str(picture), "--save", str(saved)])
    assert code == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["settings"]["epochs"] == 1
    assert picture.stat().st_size > 10_000
    assert len(sbn.Posterior.load(saved).draw(4)) == 4


def test_command_line_prints_a_table(tmp_path, capsys):
    picture = tmp_path / "p.png"
    assert cli.main(["demo", "--epochs", "1", "--draws", "2", "--picture", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "accuracy" in out
    assert str(picture) in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo", "--estimator", "nothing"], 'estimator="nothing" is not registered; known are'),
        (["demo", "--picture", "/nonexistent/p.png"], "the folder /nonexistent does not exist"),
    ],
)
def test_errors_are_one_line_and_exit_code_1(arguments, words, capsys):
    assert cli.main(arguments) == 1
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["demo", "--draws", "0"]])
def test_wrong_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage: bayes-sbn" in capsys.readouterr().err


def test_interruption_exits_with_130(monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("bayes_sbn.demo.run_demo", interrupted)
    assert cli.main(["demo"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_import_is_light():
    """``import bayes_sbn`` alone loads none of the heavy packages."""
    heavy = ["torch", "pyro", "numpy", "arviz", "sklearn", "matplotlib"]
    code = f"import sys, bayes_sbn; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_every_public_name_resolves():
    for name in sbn.__all__:
        assert getattr(sbn, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'; it has"):
        _ = sbn.nothing
