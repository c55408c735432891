"""``bayes-sbn evaluate``: which rows are scored, and by what."""

import numpy as np
import pytest

SMALL = ("--hidden", "16", "--epochs", "3")


@pytest.fixture
def run(program, csv_file):
    return program.json("fit", csv_file, "--out", "run", *SMALL)


def test_without_data_the_held_out_rows_are_scored(program, run):
    found = program.json("evaluate", "run")
    assert found["metrics"] == run["scores"]["metrics"]
    assert (found["part"], found["num_rows"]) == ("test", 12)


def test_rows_of_the_fit_are_not_scored_by_mistake(program, run, csv_file):
    assert program.json("evaluate", "run", csv_file)["num_rows"] == 12
    assert program.json("evaluate", "run", csv_file, "--part", "train")["num_rows"] == 48
    assert program.json("evaluate", "run", csv_file, "--part", "all")["num_rows"] == 60
    assert "no row of it was held out" in program.error("evaluate", "run", "--part", "validation")


def test_other_data_are_scored_whole(program, run, tmp_path, two_classes):
    x, y = two_classes
    np.savez(tmp_path / "new.npz", x=x[:10] + 0.01, y=np.array(["cat", "dog"])[y[:10]])
    found = program.json("evaluate", "run", "new.npz", "--draws", "20", "--seed", "4")
    assert (found["part"], found["num_rows"], found["num_draws"]) == ("all", 10, 20)
    assert "in no part" in program.error("evaluate", "run", "new.npz", "--part", "train")


def test_backends_give_the_same_scores(program, run):
    found = [
        program.json("evaluate", "run", "--backend", each)["metrics"]
        for each in ("reference", "auto")
    ]
    for name, each in found[0].items():
        assert each["value"] == pytest.approx(found[1][name]["value"], abs=1e-12)


def test_of_many_rows_the_mean_is_scored(program, run, monkeypatch):
    whole = program.json("evaluate", "run", "--draws", "30")
    monkeypatch.setattr("bayes_sbn.cli_ensemble.LARGEST_KEPT", 30 * 12 * 2 - 1)
    by_moments = program.json("evaluate", "run", "--draws", "30")
    for name, each in whole.pop("metrics").items():
        found = by_moments["metrics"][name]
        for key in ("value", "low", "high"):
            assert found[key] == pytest.approx(each[key], abs=1e-9)
    del by_moments["metrics"]
    assert by_moments == whole


# Of 12 rows in 15 bins of equal mass there is no debiased error.
@pytest.mark.filterwarnings("ignore::bayes_sbn.metrics.UndefinedMetricWarning")
def test_detail_adds_scores_and_tests_of_calibration(program, run):
    plain, detailed = (
        program.json("evaluate", "run", "--draws", "20", *option) for option in ((), ("--detail",))
    )
    assert set(plain["metrics"]) < set(detailed["metrics"])
    for name, each in plain["metrics"].items():
        assert detailed["metrics"][name]["value"] == each["value"]
    assert "tests" in detailed
    assert detailed["metrics"]["debiased_rmsce"]["value"] == "NaN"


def test_detail_of_a_real_target_is_an_error(program):
    program.json("fit", "diabetes", "--out", "real", *SMALL)
    assert "Leave --detail out" in program.error("evaluate", "real", "--detail")


def test_data_that_changed_since_the_fit_are_an_error(program, run, csv_file):
    csv_file.write_text(csv_file.read_text().replace("cat", "dog", 1))
    assert "is not what it was" in program.error("evaluate", "run")
    assert program.json("evaluate", "run", csv_file)["num_rows"] == 60


def test_inputs_far_beyond_the_fit_are_told_and_clipped_on_request(program, run, tmp_path):
    (tmp_path / "far.csv").write_text("a,b,c,kind\n1,1,1,cat\n1,1e6,1,dog\n")
    err = program.error("evaluate", "run", "far.csv")
    assert "line 3, column 'b' is 1e+06" in err
    assert "--clip" in err
    assert program.json("evaluate", "run", "far.csv", "--clip")["clipped"] == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b,c,kind\n1,2,3,cow\n", "line 2 has the class 'cow'; the model knows cat, dog"),
        ("a,b,c\n1,2,3\n", "no targets"),
        ("a,b,kind\n1,2,cat\n", "lacks the column 'c'"),
        ("1,2,3,4,5\n", "has 5 columns"),
        ("", "is empty"),
    ],
)
def test_rows_that_do_not_fit_are_errors(text, words, program, run, tmp_path):
    (tmp_path / "new.csv").write_text(text)
    assert words in program.error("evaluate", "run", "new.csv")


@pytest.mark.parametrize("name", ["posterior.sbn", "preprocessing.json", "settings.json"])
def test_a_damaged_run_is_an_error(name, program, run, tmp_path):
    path = tmp_path / "run" / name
    path.write_bytes(path.read_bytes()[:-20])
    assert "run/" in program.error("evaluate", "run")
    path.unlink()
    assert "run" in program.error("evaluate", "run")


def test_no_run_is_an_error(program, tmp_path):
    assert "no such folder" in program.error("evaluate", "nothing")
    (tmp_path / "empty").mkdir()
    assert "is not the folder of a run" in program.error("evaluate", "empty")
