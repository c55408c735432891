"""The log of a fit as it is read back."""

import dataclasses
import json
import math

import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.training_log import read_log


def fitted(folder, epochs=3):
    torch.manual_seed(0)
    model = sbn.models.BinaryMLP(4, [5], 3, num_data=20)
    guide = sbn.guides.AutoSignBernoulli(model)
    x, y = torch.randn(20, 4), torch.randint(3, (20,))
    return sbn.fit(model, guide, (x, y), validation=(x, y), epochs=epochs, checkpoint=folder)


def test_log_has_the_records_of_the_fit(tmp_path):
    fit = fitted(tmp_path / "run")
    assert read_log(tmp_path / "run") == fit.history
    assert read_log(tmp_path / "run" / "log.jsonl") == fit.history


def test_log_of_a_run_that_diverged_is_read(tmp_path):
    line = fitted(tmp_path / "run", 1).history[0].to_dict()
    line |= {"loss": "inf", "gradient_norm": "nan", "validation_nll": None}
    (tmp_path / "log.jsonl").write_text(json.dumps(line) + "\n")
    (record,) = read_log(tmp_path)
    assert record.loss == math.inf
    assert math.isnan(record.gradient_norm)
    assert record.validation_nll is None


def test_broken_logs_are_refused(tmp_path):
    record = dataclasses.asdict(fitted(tmp_path / "run", 1).history[0])
    log = tmp_path / "log.jsonl"
    without = {k: v for k, v in record.items() if k != "loss"}
    for text, words in (
        ("", "no epoch"),
        ("{", "line 1: it is no JSON"),
        ("[1]", "line 1: it is a list"),
        (json.dumps(without), "line 1: it lacks 'loss'"),
        (json.dumps(record) + "\n" + json.dumps({**record, "x": 1}), "line 2: it has 'x'"),
        (json.dumps({**record, "loss": None}), "its loss is None"),
        (json.dumps({**record, "epoch": "one"}), "its epoch is 'one'"),
        (json.dumps({**record, "seconds": True}), "its seconds is True"),
    ):
        log.write_text(text)
        with pytest.raises(ValueError, match=words):
            read_log(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"has no log of a fit \(log.jsonl\)"):
        read_log(tmp_path / "nowhere")
