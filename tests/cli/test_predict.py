"""``bayes-sbn predict``: the columns of its files, against the package's own predictions."""

import csv
import json

import numpy as np
import pytest

import bayes_sbn as sbn

SMALL = ("--hidden", "16", "--epochs", "3")


@pytest.fixture
def run(program, csv_file):
    program("fit", csv_file, "--out", "run", *SMALL)
    return "run"


@pytest.fixture
def real_run(program, tmp_path):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(60, 2))
    np.savez(tmp_path / "real.npz", x=x, y=100 + 5 * x[:, 0] + generator.normal(size=60))
    program("fit", "real.npz", "--out", "real", *SMALL)
    return "real"


def own_predictions(folder, x, draws=200, seed=0):
    """By the public calls of the package, from the files of a run."""
    made = json.loads((folder / "preprocessing.json").read_text())
    centred = (x - np.array(made["shift"])) / np.array(made["scale"])
    posterior = sbn.Posterior.load(folder / "posterior.sbn")
    pred = posterior.draw(draws, seed=seed).predict(centred.astype(np.float32))
    if made["task"] == "real":
        pred = pred.rescaled(made["target_scale"], made["target_shift"])
    return pred


def read_csv(path):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_a_csv_of_classes_is_that_of_the_package(program, run, csv_file, tmp_path, two_classes):
    found = program.json("predict", run, csv_file, "--out", "p.csv", "--draws", "40")
    columns = read_csv(tmp_path / "p.csv")
    names = ["predicted", "p_cat", "p_dog", "entropy", "aleatoric", "epistemic"]
    assert list(columns) == names == found["columns"]
    pred = own_predictions(tmp_path / "run", two_classes[0], draws=40)
    assert columns["predicted"] == [("cat", "dog")[k] for k in pred.mode]
    assert np.array_equal(np.array(columns["p_dog"], float), pred.mean[:, 1])
    for name in ("entropy", "aleatoric", "epistemic"):
        assert np.array_equal(np.array(columns[name], float), getattr(pred, name))
    assert found["num_rows"] == 60
    assert found["predicted"] == {"cat": int((pred.mode == 0).sum()), "dog": int(pred.mode.sum())}


def test_an_npz_has_the_same_numbers(program, run, csv_file, tmp_path):
    program("predict", run, csv_file, "--out", "p.csv")
    program("predict", run, csv_file, "--out", "p.npz")
    columns = read_csv(tmp_path / "p.csv")
    with np.load(tmp_path / "p.npz", allow_pickle=False) as arrays:
        assert arrays["classes"].tolist() == ["cat", "dog"]
        assert arrays["predicted"].tolist() == columns["predicted"]
        assert arrays["probabilities"][:, 0].tolist() == [float(each) for each in columns["p_cat"]]
        assert arrays["epistemic"].tolist() == [float(each) for each in columns["epistemic"]]


def test_a_real_target_has_mean_spread_and_interval(program, real_run, tmp_path):
    found = program.json("predict", real_run, "real.npz", "--out", "p.csv", "--level", "0.8")
    columns = {name: np.array(each, float) for name, each in read_csv(tmp_path / "p.csv").items()}
    pred = own_predictions(tmp_path / "real", np.load(tmp_path / "real.npz")["x"])
    low, high = pred.interval(0.8)
    wanted = {
        "mean": pred.mean,
        "std": pred.std,
        "aleatoric_std": np.sqrt(pred.aleatoric),
        "epistemic_std": np.sqrt(pred.epistemic),
        "low": low,
        "high": high,
    }
    assert list(columns) == list(wanted) == found["columns"]
    for name, each in wanted.items():
        np.testing.assert_allclose(columns[name], each, rtol=1e-12)
    program("predict", real_run, "real.npz", "--out", "p.npz")
    with np.load(tmp_path / "p.npz", allow_pickle=False) as arrays:
        np.testing.assert_allclose(arrays["mean"], pred.mean, rtol=1e-12)


def test_the_draws_are_kept_on_request(program, run, real_run, csv_file, tmp_path, two_classes):
    program("predict", run, csv_file, "--out", "p.csv", "--save-draws", "d.npz", "--seed", "9")
    kept = sbn.Predictions.load(tmp_path / "d.npz")
    pred = own_predictions(tmp_path / "run", two_classes[0], seed=9)
    assert np.array_equal(kept.probs_per_draw, pred.probs_per_draw)
    program("predict", real_run, "real.npz", "--out", "r.csv", "--save-draws", "e.npz")
    kept = sbn.RegressionPredictions.load(tmp_path / "e.npz")
    assert kept.mean.mean() == pytest.approx(100, abs=5)


def test_blocks_of_rows_do_not_change_a_number(program, run, csv_file, tmp_path, monkeypatch):
    program("predict", run, csv_file, "--out", "whole.csv")
    monkeypatch.setattr("bayes_sbn.cli_predictions.LARGEST_BLOCK", 7 * 200 * 2)
    program("predict", run, csv_file, "--out", "parts.csv")
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "parts.csv").read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "a,b,c\n1.5,2,3\n4,4,4\n",
        "c,note,a,b\n3,x,1.5,2\n4,y,4,4\n",  # by names, others are not looked at
        "1.5,2,3\n4,4,4\n",
        "1.5\t2\t3\n4\t4\t4\n",
        "1.5 2  3\n\n 4 4 4\n",
        "a;b;c;kind\r\n1.5;2;3;\r\n4;4;4;\r\n",  # targets that are not there
        "\ufeffa,b,c,kind\n1.5,2,3,cow\n4,4,4,?\n",
    ],
)
def test_rows_are_found_in_many_layouts(text, program, run, tmp_path):
    (tmp_path / "new.csv").write_text(text, encoding="utf-8")
    program("predict", run, "new.csv", "--out", "p.csv")
    x = np.array([[1.5, 2, 3], [4, 4, 4]])
    pred = own_predictions(tmp_path / "run", x)
    found = np.array(read_csv(tmp_path / "p.csv")["p_dog"], float)
    assert np.array_equal(found, pred.mean[:, 1])


def test_files_are_replaced_only_by_force(program, run, csv_file, tmp_path):
    (tmp_path / "p.csv").write_text("mine")
    assert "--force" in program.error("predict", run, csv_file, "--out", "p.csv")
    assert (tmp_path / "p.csv").read_text() == "mine"
    program("predict", run, csv_file, "--out", "p.csv", "--force")
    assert (tmp_path / "p.csv").read_text().startswith("predicted,")


def test_a_file_is_whole_or_absent(program, run, csv_file, tmp_path, monkeypatch):
    def broken(*args):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", broken)
    assert "disk full" in program.error("predict", run, csv_file, "--out", "p.csv")
    assert not list(tmp_path.glob("*p.csv*"))


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (("--out", "p.txt"), "a .csv or an .npz", 2),
        (("--out", "p.npz", "--save-draws", "p.npz"), "give two", 2),
        (("--out", "p.csv", "--save-draws", "d.csv"), "is an .npz", 2),
        (("--out", "p.csv", "--level", "1"), "between 0 and 1", 2),
        (("--out", "p.csv", "--draws", "0"), "less than 1", 2),
        (("--out", "nowhere/p.csv"), "does not exist", 1),
        (("--out", "p.csv", "--backend", "cuda"), "cuda", 1),
    ],
)
def test_what_cannot_be_written_is_told_first(options, words, code, program, run, csv_file):
    assert words in program.error("predict", run, csv_file, *options, code=code)


def test_a_missing_input_is_told_by_line_and_column(program, run, tmp_path):
    (tmp_path / "new.csv").write_text("a,b,c\n1,2,3\n1,NA,3\n")
    err = program.error("predict", run, "new.csv", "--out", "p.csv")
    assert "line 3, column 'b' has no value ('NA'). Fill it in, or take such lines out" in err
    assert not (tmp_path / "p.csv").exists()


def test_clipping_is_counted(program, run, tmp_path):
    (tmp_path / "new.csv").write_text("a,b,c\n1,2,1e9\n")
    assert "--clip" in program.error("predict", run, "new.csv", "--out", "p.csv")
    out, err = program("predict", run, "new.csv", "--out", "p.csv", "--clip", "--draws", 1)
    assert "inputs clipped: 1" in err
    assert out.startswith("1 row of new.csv by 1 network: p.csv")
