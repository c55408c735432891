"""``bayes-sbn report``: the page of a run, with the rows, names and units of the file."""

import numpy as np
import pytest

from tests.html_report.parsed import Page

# Of 12 rows in 15 bins of equal mass there is no debiased error.
pytestmark = pytest.mark.filterwarnings("ignore::bayes_sbn.metrics.UndefinedMetricWarning")

SMALL = ("--hidden", "16", "--epochs", "3")
FEW = ("--draws", "20")


@pytest.fixture
def run(program, csv_file):
    return program.json("fit", csv_file, "--out", "run", *SMALL)


def page(path):
    return Page(path.read_text("utf-8"))


def test_report_has_the_scores_of_evaluate(program, run, tmp_path):
    found = program.json("report", "run", *FEW)
    wanted = program.json("evaluate", "run", *FEW)
    metrics = found["sections"]["scores"]["metrics"]
    assert {name: metrics[name] for name in wanted["metrics"]} == wanted["metrics"]
    assert len(metrics) > len(wanted["metrics"])
    assert metrics["debiased_rmsce"]["value"] == "NaN"
    assert found["sections"]["diagnostics"]["num_rows"] == 48
    assert (found["part"], found["out"]) == ("test", "report.html")
    assert found["sections"]["training"]["epochs"] == 3
    made = page(tmp_path / "report.html")
    assert not made.errors
    assert "bayes-sbn report run --out report.html --draws 20 --seed 0" in made.text
    assert "hidden [16]" in made.text


def test_report_speaks_in_the_names_and_units_of_the_file(program, run, tmp_path, csv_file):
    found = program.json("report", "run", *FEW)["sections"]
    assert found["classes"]["class_names"] == ["cat", "dog"]
    lines = csv_file.read_text().splitlines()
    values = np.array([[float(cell) for cell in line.split(",")[:3]] for line in lines[1:]])
    train, test = found["data"]["training"], found["data"]["test"]
    assert (train["rows"], test["rows"]) == (48, 12)
    assert max(train["maximum"], test["maximum"]) == pytest.approx(values.max(), rel=1e-6)
    case = found["cases"]["least_sure"][0]
    number = int(case["name"].removeprefix("line "))
    label = lines[number - 1].split(",")[-1]
    assert found["classes"]["class_names"][case["true"]] == label
    text = page(tmp_path / "report.html").text
    assert case["name"] in text
    assert f"a {values[number - 2, 0]:.4g} (" in text


def test_report_of_a_real_target_is_in_its_unit(program, tmp_path):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 2))
    y = 1000 + 50 * x[:, 0] + generator.normal(size=60)
    np.savez(tmp_path / "real.npz", x=x, y=y)
    program("fit", "real.npz", "--task", "real", "--out", "run", *SMALL, "--quiet")
    found = program.json("report", "run", *FEW)["sections"]
    wanted = program.json("evaluate", "run", *FEW)["metrics"]
    shared = wanted.keys() & found["scores"]["metrics"].keys()
    assert {"rmse", "nlpd", "crps"} <= shared
    for name in shared:
        value = found["scores"]["metrics"][name]["value"]
        assert value == pytest.approx(wanted[name]["value"], rel=1e-9)
    assert all(900 < case["mean"] < 1100 for case in found["cases"]["least_sure"])


def test_what_speaks_against_a_report_is_printed(program, run, tmp_path):
    out, _ = program("report", "run", *FEW, "--no-detail", "--no-diagnosis")
    first, *told = out.splitlines()
    assert first.startswith("test rows of ")
    assert told[0] == "12 test rows: look at the intervals more than at the values."
    text = page(tmp_path / "report.html").text
    assert all(each in text for each in told)
    assert "of epoch 3 of the fit" in text
    assert program.json("report", "run", *FEW, "--force")["cautions"][: len(told)] == told


def test_clipped_inputs_are_stated(program, run, tmp_path):
    (tmp_path / "far.csv").write_text("a,b,c,kind\n1e9,0,0,cat\n0,0,0,dog\n")
    program("report", "run", "far.csv", "--clip", *FEW, "--no-detail", "--no-diagnosis")
    assert "all of far.csv; 1 of their inputs" in page(tmp_path / "report.html").text


def test_images_and_rows_from_elsewhere(program, tmp_path):
    generator = np.random.default_rng(0)
    images = generator.integers(256, size=(40, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", x=images, y=np.arange(40) % 2)
    np.savez(tmp_path / "other.npz", x=255 - images // 2)
    program("fit", "images.npz", "--out", "run", *SMALL, "--quiet")
    found = program.json("report", "run", *FEW, "--ood", "other.npz", "--title", "<Images>")
    assert set(found["sections"]["elsewhere"]) >= {"entropy", "epistemic"}
    made = page(tmp_path / "report.html")
    assert "4 × 4 image" in made.text
    assert [i["alt"] for i in made.of("img") if i["alt"].startswith("input of row ")]
    assert "<Images>" in made.text
    quick = ("--no-detail", "--no-diagnosis")
    program("report", "run", *FEW, "--image-shape", "2,8", "--force", "--quiet", *quick)
    assert "--no-detail --no-diagnosis" in page(tmp_path / "report.html").text
    assert "2 × 8 image" in page(tmp_path / "report.html").text


def test_data_of_the_fit_that_are_gone_are_left_out(program, run, tmp_path, csv_file):
    (tmp_path / "new.csv").write_text(csv_file.read_text())
    csv_file.unlink()
    out, err = program("report", "run", "new.csv", "--out", "new.html", *FEW)
    assert "is not there as it was when it was fitted" in err
    assert "new.html (" in out
    assert "training rows" not in page(tmp_path / "new.html").text


def test_wrong_arguments_are_errors(program, run, tmp_path):
    assert "does not exist" in program.error("report", "run", "--out", "no/report.html")
    assert "Write --out report.html" in program.error("report", "run", "--out", ".")
    (tmp_path / "there.html").write_text("mine")
    assert "--force replaces it" in program.error("report", "run", "--out", "there.html")
    assert (tmp_path / "there.html").read_text() == "mine"
    assert "HEIGHT,WIDTH" in program.error("report", "run", "--image-shape", "3x1", code=2)
    assert "of 4 values, and a row" in program.error("report", "run", "--image-shape", "2,2")
    assert "no such file" in program.error("report", "run", "--ood", "nowhere.csv")
    assert "no such folder" in program.error("report", "nothing")
