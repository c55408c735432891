"""``bayes-sbn fit``: its files, its parts, its scores; what it refuses."""

import json

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn import cli_run

SMALL = ("--hidden", "16", "--epochs", "3")


def test_a_csv_file_becomes_a_run_of_whole_files(program, csv_file, tmp_path):
    found = program.json("fit", csv_file, "--out", "run", "--hidden", "32", "--epochs", "60")
    assert sorted(each.name for each in (tmp_path / "run").iterdir()) == sorted(cli_run.FILES)
    assert found["rows"] == {"train": 48, "validation": 0, "test": 12}
    assert found["scores"]["metrics"]["accuracy"]["value"] == 1.0
    assert found["scores"] == json.loads((tmp_path / "run/scores.json").read_text())
    assert found["fit"]["epochs"] == 60
    assert found["network"]["sizes"] == [3, 32, 2]
    posterior = sbn.Posterior.load(tmp_path / "run/posterior.sbn")
    assert posterior.num_weights == 3 * 32 + 32 * 2
    assert posterior.temperature == pytest.approx(found["fit"]["temperature"])
    assert len((tmp_path / "run/log.jsonl").read_text().splitlines()) == 60


def test_the_scores_are_those_of_the_package(program, csv_file, tmp_path, two_classes):
    found = program.json("fit", csv_file, "--out", "run", *SMALL)
    x, y = two_classes
    with np.load(tmp_path / "run/split.npz") as split:
        train, test = split["train"], split["test"]
    centred = (x - x[train].mean(0)) / x[train].std(0)
    posterior = sbn.Posterior.load(tmp_path / "run/posterior.sbn")
    pred = posterior.draw(200, seed=0).predict(centred[test].astype(np.float32))
    wanted = sbn.metrics.report(pred, y[test]).to_dict()
    assert found["scores"]["metrics"] == json.loads(json.dumps(wanted["metrics"]))


def test_the_fit_is_that_of_the_package(program, csv_file, tmp_path, two_classes):
    program("fit", csv_file, "--out", "run", *SMALL, "--seed", 7)
    x, y = two_classes
    with np.load(tmp_path / "run/split.npz") as split:
        train = split["train"]
    centred = ((x - x[train].mean(0)) / x[train].std(0))[train].astype(np.float32)
    torch.manual_seed(7)
    model = sbn.models.BinaryMLP(3, [16], 2, num_data=48)
    guide = sbn.guides.AutoSignBernoulli(model)
    fit = sbn.fit(
        model, guide, (torch.tensor(centred), torch.tensor(y[train])), epochs=3, batch_size=32
    )
    mine = sbn.Posterior.from_guide(model, guide, temperature=fit.temperature)
    assert sbn.Posterior.load(tmp_path / "run/posterior.sbn").digest == mine.digest


def test_a_seed_gives_the_same_posterior_and_leaves_torch_alone(program, csv_file, tmp_path):
    state = torch.get_rng_state()
    program("fit", csv_file, "--out", "a", *SMALL)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    program("fit", csv_file, "--out", "b", *SMALL)
    program("fit", csv_file, "--out", "c", *SMALL, "--seed", 1)
    a, b, c = (sbn.Posterior.load(tmp_path / f"{each}/posterior.sbn").digest for each in "abc")
    assert a == b
    assert a != c


def test_a_real_target_is_scored_in_its_own_units(program, tmp_path):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(80, 2))
    y = 1000 + 50 * x[:, 0] + generator.normal(size=80)
    np.savez(tmp_path / "real.npz", x=x, y=y)
    found = program.json("fit", "real.npz", "--out", "run", "--hidden", "32", "--epochs", "40")
    metrics = {name: each["value"] for name, each in found["scores"]["metrics"].items()}
    assert {"rmse", "mae", "nlpd", "crps", "coverage"} <= set(metrics)
    assert 0.2 < metrics["rmse"] < 40  # the target has a standard deviation of 50
    preprocessing = json.loads((tmp_path / "run/preprocessing.json").read_text())
    assert preprocessing["task"] == "real"
    assert preprocessing["target_shift"] == pytest.approx(1000, abs=20)
    # against the metrics of the package
    with np.load(tmp_path / "run/split.npz") as split:
        train, test = split["train"], split["test"]
    centred = ((x - x[train].mean(0)) / x[train].std(0))[test].astype(np.float32)
    pred = sbn.Posterior.load(tmp_path / "run/posterior.sbn").draw(200, seed=0).predict(centred)
    pred = pred.rescaled(y[train].std(), y[train].mean())
    for name in ("rmse", "mae", "nlpd", "crps"):
        assert metrics[name] == pytest.approx(getattr(sbn.metrics, name)(pred, y[test]), rel=1e-9)
    assert metrics["coverage"] == sbn.metrics.interval_coverage(pred, y[test], level=0.9)


def test_validation_rows_end_a_fit_early(program, csv_file, tmp_path):
    found = program.json(
        *("fit", csv_file, "--out", "run", "--hidden", "16", "--epochs", "200"),
        *("--validation-fraction", "0.2", "--patience", "2"),
    )
    assert found["rows"] == {"train": 36, "validation": 12, "test": 12}
    assert found["fit"]["stopped"] == "patience"
    assert found["fit"]["epochs"] == found["fit"]["epoch"] + 2 < 200
    assert found["fit"]["record"]["validation_nll"] > 0


def test_resume_goes_on_as_if_nothing_had_happened(program, csv_file, tmp_path, monkeypatch):
    program("fit", csv_file, "--out", "whole", "--hidden", "16", "--epochs", "6")
    from bayes_sbn.training_epochs import Training

    real, count = Training._epoch, [0]

    def broken(self, bar):
        count[0] += 1
        if count[0] == 4:
            raise KeyboardInterrupt
        real(self, bar)

    command = ("fit", csv_file, "--out", "run", "--hidden", "16", "--epochs", "6")
    with monkeypatch.context() as patch:
        patch.setattr(Training, "_epoch", broken)
        out, err = program(*command, code=130)
    assert "interrupted after epoch 3 of 6" in err
    assert "--resume" in err
    assert out == ""
    assert not (tmp_path / "run/posterior.sbn").exists()
    assert "has not ended" in program.error("evaluate", "run")
    program(*command, "--resume")
    whole, resumed = (
        sbn.Posterior.load(tmp_path / f"{each}/posterior.sbn") for each in ("whole", "run")
    )
    assert whole.digest == resumed.digest


def test_resume_of_another_fit_names_what_differs(program, csv_file):
    program("fit", csv_file, "--out", "run", *SMALL)
    err = program.error("fit", csv_file, "--out", "run", *SMALL, "--lr", "0.2", "--resume")
    assert "lr was 0.05 and is 0.2" in err


def test_a_run_is_replaced_only_by_force(program, csv_file, tmp_path):
    program("fit", csv_file, "--out", "run", *SMALL)
    before = (tmp_path / "run/posterior.sbn").read_bytes()
    assert "--force" in program.error("fit", csv_file, "--out", "run", *SMALL, "--seed", "3")
    assert (tmp_path / "run/posterior.sbn").read_bytes() == before
    (tmp_path / "run/notes.txt").write_text("mine")
    program("fit", csv_file, "--out", "run", *SMALL, "--seed", "3", "--force")
    assert (tmp_path / "run/posterior.sbn").read_bytes() != before
    assert (tmp_path / "run/notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--patience", "3"), "--validation-fraction 0.1"),
        (("--test-fraction", "0.5", "--validation-fraction", "0.5"), "leave no rows"),
        (("--test-fraction", "1"), "share of the rows"),
        (("--resume", "--force"), "one of them"),
        (("--hidden", "8,x"), "not an integer"),
        (("--lr", "0"), "above 0"),
        (("--task", "both"), "invalid choice"),
        (("--estimator", "nothing"), "--estimator nothing: there is none of that name"),
        (("--noise", "pink"), "write one of logistic, "),
        (("--real", "middle"), "write one of first, last, hidden.0, hidden.1, output"),
    ],
)
def test_wrong_arguments_exit_with_2(options, words, program, csv_file):
    assert words in program.error("fit", csv_file, "--out", "run", *options, code=2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--target", "price"), "no column 'price'"),
        (("--drop", "kind"), "both the target and dropped"),
        (("--task", "real"), "is text"),
    ],
)
def test_what_cannot_be_fitted_leaves_no_posterior(options, words, program, csv_file, tmp_path):
    assert words in program.error("fit", csv_file, "--out", "run", *SMALL, *options)
    assert not (tmp_path / "run/posterior.sbn").exists()
    program("fit", csv_file, "--out", "run", *SMALL)  # the folder is as good as new


def test_a_single_class_is_an_error(program, tmp_path):
    np.savez(tmp_path / "one.npz", x=np.ones((5, 2)), y=np.zeros(5, int))
    assert "every row has the class '0'" in program.error("fit", "one.npz", "--out", "run")
    np.savez(tmp_path / "flat.npz", x=np.eye(5), y=np.full(5, 0.5))
    assert "nothing to learn" in program.error("fit", "flat.npz", "--out", "run")


def test_a_class_for_each_row_is_an_error(program, tmp_path):
    lines = [f"{k},{k % 3},id{k}" for k in range(9)]
    (tmp_path / "ids.csv").write_text("\n".join(["a,b,id", *lines]) + "\n")
    words = "each of the 9 rows has a class of its own, such as 'id0'"
    assert words in program.error("fit", "ids.csv", "--out", "run")


def test_rows_that_were_to_be_held_out_and_were_not_are_told(program, tmp_path):
    (tmp_path / "few.csv").write_text("a,y\n1,p\n2,q\n")
    out, _ = program("fit", "few.csv", "--out", "run", *SMALL)
    assert "no row was held out for scores" in out
    out, _ = program("fit", "few.csv", "--out", "all", *SMALL, "--test-fraction", 0)
    assert "held out" not in out


def test_a_folder_that_cannot_be_made_is_told(program, csv_file):
    words = f"--out {csv_file}/run: the folder cannot be made (Not a directory). Give another."
    assert words in program.error("fit", csv_file, "--out", f"{csv_file}/run", *SMALL)


def test_rows_of_the_test_file_that_lack_a_value_are_left_out_likewise(program, csv_file, tmp_path):
    (tmp_path / "test.csv").write_text("a,b,c,kind\n0,0,0,cat\n4,4,4,dog\n4,,4,dog\n")
    options = ("--test", "test.csv", "--out", "run", *SMALL)
    assert "has no value" in program.error("fit", csv_file, *options)
    assert program.json("fit", csv_file, *options, "--drop-missing")["rows"]["test"] == 2
    assert program.json("evaluate", "run")["num_rows"] == 2


def test_the_epoch_that_is_kept_is_kept_in_mind(program, csv_file):
    options = ("--validation-fraction", 0.2, "--patience", 2, "--hidden", "16", "--epochs", "60")
    found = program.json("fit", csv_file, "--out", "run", *options)["fit"]
    told = program.json("summary", "run")["fit"]
    assert told == {name: value for name, value in found.items() if name != "seconds"}
    assert f"parameters of epoch {told['epoch']} are kept" in program("summary", "run")[0]


def test_a_test_file_of_its_own_is_scored_and_evaluated(program, csv_file, tmp_path, two_classes):
    x, y = two_classes
    from tests.cli.conftest import write_csv

    write_csv(tmp_path / "test.csv", x[:20, ::-1] + 0.1, y[:20], names=("c", "b", "a", "kind"))
    found = program.json("fit", csv_file, "--test", "test.csv", "--out", "run", *SMALL)
    assert found["rows"] == {"train": 60, "validation": 0, "test": 20}
    again = program.json("evaluate", "run")
    assert again["metrics"] == found["scores"]["metrics"]
    assert again["part"] == "test"
    assert program.json("evaluate", "run", "test.csv")["metrics"] == again["metrics"]
    assert program.json("evaluate", "run", "--part", "train")["num_rows"] == 60
