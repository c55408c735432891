"""The study of learning in turn: its tasks, and a run of it on few digits."""

import json

import torch

from studies.continual_learning import run


def test_tasks_are_the_same_digits_under_permutations_of_their_own():
    given = run.tasks(3, seed=5)
    x, y, x_test, y_test = given[0]
    assert len(x) == 1437
    assert len(x_test) == 360
    for other in given[1:]:
        assert torch.equal(other[1], y)
        assert torch.equal(other[3], y_test)
        assert not torch.equal(other[0], x)
        assert torch.equal(other[0].sort(1).values, x.sort(1).values)
    assert not torch.equal(given[1][0], given[2][0])
    assert torch.equal(run.tasks(2, seed=5)[1][0], given[1][0])


def test_what_is_carried_is_forgotten_less(monkeypatch):
    torch.set_default_dtype(torch.float32)
    monkeypatch.setattr(run, "HIDDEN", [64])
    given = run.tasks(2, seed=1)
    tables = {way: run.learn(way, given, 1, 0.3, 10) for way in ("carried", "fresh")}
    for table in tables.values():
        assert [len(row) for row in table] == [1, 2]
        assert table[0][0] > 0.6
    assert tables["carried"][0] == tables["fresh"][0]  # nothing has been carried yet
    assert tables["carried"][1][0] > tables["fresh"][1][0] + 0.02


def test_the_command_ends_with_one_object(monkeypatch, capsys):
    monkeypatch.setattr(run, "HIDDEN", [8])
    run.main(["--quick", "--seeds", "1", "--tasks", "2", "--epochs", "1", "--ways", "carried"])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["study"] == "continual_learning"
    assert last["metric"] == ["carried"]
