"""A fit that was killed in the middle of an epoch and called again ends with the same numbers."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from bayes_sbn.training_checkpoint import read_checkpoint
from bayes_sbn.training_folder import CHECKPOINT, LOG
from tests.test_training import assert_equal
from tests.test_training_checkpoint import assert_same

ROOT = Path(__file__).parents[1]
KINDS = ("tensors", "loader", "learned")


RUN = """
    import json, os, random, shutil, signal, sys, traceback
    import numpy as np
    import torch
    import bayes_sbn as sbn
    from tests.test_training import network, rows

    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)

    class Killing(sbn.optim.MirrorDescent):
        # the process ends in the middle of an epoch, right after a step changed the parameters
        steps = 0

        def __call__(self, params, *args, **kwargs):
            super().__call__(params, *args, **kwargs)
            self.steps += 1
            if self.kind == killed_kind and self.steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def fits():
        for kind in ("tensors", "loader", "learned"):
            model, guide = network()
            data = rows()
            if kind == "loader":
                data = torch.utils.data.DataLoader(
                    torch.utils.data.TensorDataset(*rows()), batch_size=20, shuffle=True,
                    generator=torch.Generator().manual_seed(4),
                )
            learned = sbn.estimators.ScoreFunction(baseline="learned")
            random.seed(1), np.random.seed(1), torch.manual_seed(17)
            optim = Killing({"lr": 0.05})
            optim.kind = kind
            sbn.fit(
                model, guide, data, validation=rows(30, seed=6), epochs=5, batch_size=20,
                estimator=learned if kind == "learned" else "psa", optim=optim, keep="best",
                validation_draws=3, clip_norm=0.5, checkpoint=f"{folder}/{kind}",
            )
            torch.save({**model.state_dict(), **guide.state_dict()}, f"{folder}/{kind}/left.pt")

    ended = []
    for number, (folder, killed_kind, kill_at) in enumerate(json.loads(sys.argv[1])):
        child = os.fork()  # everything is imported, and nothing has run yet
        if child == 0:
            try:
                fits()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        shutil.copytree(folder, f"{folder}.{number}")  # what this process left behind
    print(json.dumps(ended))
"""


def run(*attempts):
    """Each (folder, kind, step to be killed at, or 0) by a process of its own, in turn."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RUN), json.dumps(attempts)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    wanted = [-signal.SIGKILL if kill_at else 0 for _, _, kill_at in attempts]
    assert json.loads(done.stdout) == wanted, done.stderr


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    kills = (("tensors", 11, 3), ("loader", 2, 0), ("learned", 8, 2))
    attempts = [(str(killed), kind, kill_at) for kind, kill_at, _ in kills]
    run((str(whole), "none", 0), *attempts, (str(killed), "none", 0))
    for number, (kind, _, epochs) in enumerate(kills, 1):
        path = tmp_path / f"killed.{number}" / kind / CHECKPOINT
        assert path.exists() == (epochs > 0)
        assert epochs == 0 or len(read_checkpoint(path)["kept"]["history"]) == epochs
    assert not list(killed.rglob(".*.tmp"))
    for kind in KINDS:
        wanted, found = (read_checkpoint(folder / kind / CHECKPOINT) for folder in (whole, killed))
        assert_same(found, wanted)
        assert len(found["kept"]["history"]) == 5
        assert_equal(torch.load(killed / kind / "left.pt"), torch.load(whole / kind / "left.pt"))
        lines = [json.loads(line) for line in (killed / kind / LOG).read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5]
        assert_same(lines, found["kept"]["history"])
