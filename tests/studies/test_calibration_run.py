"""The study of calibration: a tiny run, what is kept of it, its tables and its README."""

import json
import math
import shutil
import tomllib

import pytest

from studies.calibration import data, methods, outside, records, run, scores, tables
from studies.calibration.tasks import Effort

pytestmark = pytest.mark.usefixtures("single_precision")


def test_mean_and_standard_error():
    assert scores.mean_and_error([1.0, 2.0, 3.0]) == (2.0, pytest.approx(1 / math.sqrt(3)))
    assert math.isnan(scores.mean_and_error([1.0])[1])


def test_differences_are_of_common_splits_of_each_binary_network():
    def own(values):
        return {str(n): {"nll": value} for n, value in enumerate(values)}

    records = {
        "data": {
            methods.BINARY: own([1.0, 2.0, 4.0]),
            methods.REAL_FIRST: own([0.5, 0.5]),
            methods.DROPOUT: own([0.0, 0.0]),
        }
    }
    lines = tables.differences(records, "nll")
    assert lines[0] == "| data set | nll of | less MC dropout |"
    assert lines[2:] == [
        f"| data | {methods.BINARY} | +1.500 ± 0.500 |",
        f"| data | {methods.REAL_FIRST} | +0.500 ± 0.000 |",
    ]


def test_a_run_is_kept_goes_on_and_makes_the_tables(tmp_path, monkeypatch, capsys):
    short = {"": Effort(steps=4, batch_size=32, draws=4, members=2)}
    monkeypatch.setattr(run, "EFFORTS", {part: short for part in run.PARTS})
    monkeypatch.setattr(outside, "Size", lambda: run.QUICK_SIZE)
    monkeypatch.setattr(data, "images", lambda folder: data.small_images())
    monkeypatch.setattr(
        run, "tables_of", lambda part, _: [data.made_up(0 if part == run.REGRESSION else 3)]
    )
    given = ["--data", str(tmp_path), "--splits", "2", "--results", str(tmp_path / "kept")]
    run.main(given)
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["study"] == "calibration"
    assert all(math.isfinite(value) for value in last["value"])
    names = {f"{part}.json" for part in run.PARTS}
    assert {path.name for path in (tmp_path / "kept").iterdir()} == names
    before = {path: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    run.main(given)  # nothing is made again
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert {path: path.read_bytes() for path in before} == before
    text = tables.tables(tmp_path / "kept")
    for words in (methods.BINARY, "± ", "AUROC flip rate", "chosen settings", "log-likelihood"):
        assert words in text
    shutil.rmtree(tmp_path / "kept")
    assert tables.tables(tmp_path / "kept") == ""


def test_what_another_run_has_added_is_kept(tmp_path):
    first, second = (records.Kept(tmp_path / "part.json") for _ in range(2))
    for kept, split in ((first, "0"), (second, "1")):
        record = {"rmse": 1.23456789, "setting": "", "seconds": 1.0}
        kept.records.setdefault("data", {}).setdefault("method", {})[split] = record
        kept.save()
    found = records.Kept(tmp_path / "part.json").records
    assert set(found["data"]["method"]) == {"0", "1"}
    assert found["data"]["method"]["0"]["rmse"] == 1.2346


def test_the_command_needs_data(capsys):
    with pytest.raises(SystemExit):
        run.main([])
    assert "--data PATH" in capsys.readouterr().err


def test_published_numbers_have_sources_and_are_of_our_data():
    expected = tomllib.loads((records.HERE / "expected.toml").read_text("utf-8"))
    assert set(expected["published"]) == set(data.REGRESSION)
    for both in expected["published"].values():
        assert set(both) == {"rmse", "log-likelihood"}
        for numbers in both.values():
            assert set(numbers) == set(expected["source"])


def test_the_readme_has_the_tables_of_the_results():
    text = (records.HERE / "README.md").read_text("utf-8")
    assert tables.tables(records.RESULTS) in text
