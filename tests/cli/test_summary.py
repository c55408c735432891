"""``bayes-sbn summary``: of a run and of the file of a posterior."""

import json

import pytest

import bayes_sbn as sbn

SMALL = ("--hidden", "16,8", "--epochs", "3")


@pytest.fixture
def run(program, csv_file):
    return program.json("fit", csv_file, "--out", "run", *SMALL)


def test_a_run_is_told_whole(program, run, tmp_path):
    found = program.json("summary", "run")
    posterior = sbn.Posterior.load(tmp_path / "run/posterior.sbn")
    assert found["posterior"]["num_weights"] == 3 * 16 + 16 * 8 + 8 * 2 == posterior.num_weights
    assert found["posterior"]["bits_per_weight"] == posterior.bits_per_weight
    assert found["posterior"]["digest"] == posterior.digest
    assert found["posterior"]["bytes"] == (tmp_path / "run/posterior.sbn").stat().st_size
    assert [each["num_units"] for each in found["posterior"]["layers"]] == [16, 8, 2]
    assert found["network"]["bits"] == posterior.num_weights
    assert found["network"]["entropy"] == pytest.approx(posterior.bits_per_weight, abs=1e-6)
    assert found["scores"] == run["scores"]
    assert found["settings"]["options"]["hidden"] == [16, 8]
    assert (found["epochs"], found["classes"]) == (3, ["cat", "dog"])


def test_a_run_is_told_in_words(program, run):
    out, _ = program("summary", "run")
    assert "2 classes (cat, dog); rows: 48 train, 12 test" in out
    assert "192 ±1 weights" in out
    assert "3 epochs, 6 steps" in out
    assert "test rows: accuracy" in out


def test_a_file_is_enough(program, run, tmp_path):
    found = program.json("summary", "run/posterior.sbn")
    assert found["file"] == "run/posterior.sbn"
    assert found["posterior"] == program.json("summary", "run")["posterior"]
    out, _ = program("summary", "run/posterior.sbn")
    assert str(sbn.Posterior.load(tmp_path / "run/posterior.sbn")) in out


def test_what_is_no_posterior_is_an_error(program, run, tmp_path):
    assert "no such file or folder" in program.error("summary", "nothing.sbn")
    (tmp_path / "text.sbn").write_text("hello")
    assert "Posterior.load('text.sbn') cannot read the file" in program.error("summary", "text.sbn")
    (tmp_path / "run/network.json").write_text("[1, 2")
    assert "network.json is damaged" in program.error("summary", "run")
    (tmp_path / "run/network.json").write_text(json.dumps([1]))
    assert "network.json is damaged" in program.error("summary", "run")


def test_an_unfinished_fit_is_told(program, run, tmp_path):
    (tmp_path / "run/posterior.sbn").unlink()
    assert "--resume" in program.error("summary", "run")
