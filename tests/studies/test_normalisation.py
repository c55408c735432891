"""The study of normalisation runs at a tiny size and ends with its JSON."""

import json

import pytest
import torch

from studies.normalisation import main


@pytest.fixture(autouse=True)
def _single_precision():
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_default_dtype(torch.float64)


def test_study_scores_every_kind(capsys):
    main(["--quick"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "64-16-16-10, 2 epochs, 1 splits"
    kinds = ["none", "analytic", "frozen", "recalibrated"]
    assert [line.split()[0] for line in lines[2:6]] == kinds
    result = json.loads(lines[-1])
    assert list(result["value"]) == kinds
    assert all(1 < nll < 2.5 for nll in result["value"].values())


def test_speed_is_in_multiples_of_the_plain_step(capsys):
    main(["--quick", "--speed"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["value"]["None"] == 1.0
    assert set(result["value"]) == {"None", "analytic", "frozen", "recalibrated"}
