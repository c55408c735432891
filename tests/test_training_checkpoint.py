"""Checkpoints of a fit: a killed run goes on as if nothing had happened, and no file does harm."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pyro
import pytest
import safetensors.torch
import torch
from torch.utils.data import RandomSampler

import bayes_sbn as sbn
from bayes_sbn.training_checkpoint import MAGIC, read_checkpoint, write_checkpoint
from bayes_sbn.training_folder import CHECKPOINT, LOG
from tests.test_training import assert_equal, fitted, network, numbers, order, rows

ROOT = Path(__file__).parents[1]


def assert_same(found, wanted, path="state"):
    """Equal to the last bit, all the way down; how long things took aside."""
    assert type(found) is type(wanted), path
    if isinstance(wanted, torch.Tensor):
        assert found.dtype == wanted.dtype, path
        assert torch.equal(found, wanted), path
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted), path
        for key in wanted:
            if key != "seconds":
                assert_same(found[key], wanted[key], f"{path}/{key}")
    elif isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted), path
        for k, (one, other) in enumerate(zip(found, wanted, strict=True)):
            assert_same(one, other, f"{path}/{k}")
    else:
        assert found == wanted, path


KINDS = ("tensors", "loader", "learned")

RUN = """
    import os, random, signal, sys
    import numpy as np
    import torch
    import bayes_sbn as sbn
    from tests.test_training import network, rows

    folder, killed_kind, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
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
"""


def run(folder, killed_kind="none", kill_at=0):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RUN), str(folder), killed_kind, str(kill_at)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (-signal.SIGKILL if kill_at else 0), done.stderr


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole)
    for kind, kill_at, epochs in (("tensors", 11, 3), ("loader", 2, 0), ("learned", 8, 2)):
        run(killed, kind, kill_at)
        path = killed / kind / CHECKPOINT
        assert path.exists() == (epochs > 0)
        assert epochs == 0 or len(read_checkpoint(path)["kept"]["history"]) == epochs
    run(killed)
    assert not list(killed.rglob(".*.tmp"))
    for kind in KINDS:
        wanted, found = (read_checkpoint(folder / kind / CHECKPOINT) for folder in (whole, killed))
        assert_same(found, wanted)
        assert len(found["kept"]["history"]) == 5
        assert_equal(torch.load(killed / kind / "left.pt"), torch.load(whole / kind / "left.pt"))
        lines = [json.loads(line) for line in (killed / kind / LOG).read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5]
        assert_same(lines, found["kept"]["history"])


def test_same_call_goes_on_from_an_interrupted_one(tmp_path):
    _, wanted = fitted(epochs=5, checkpoint=tmp_path / "whole")
    fit, _ = fitted(epochs=5, checkpoint=tmp_path / "run", optim=interrupting(7))
    assert fit.stopped == "interrupted"
    assert len(fit.history) == 2
    fit, found = fitted(epochs=5, checkpoint=tmp_path / "run", optim=interrupting(0))
    assert_equal(found, wanted)
    assert [r.epoch for r in fit.history] == [1, 2, 3, 4, 5]
    # a fit that is done is given back at once, also with other generators
    again, found = fitted(epochs=5, checkpoint=tmp_path / "run", generator=order(99))
    assert_equal(found, wanted)
    assert again.history == fit.history
    # and begun anew on request
    other, found = fitted(epochs=5, checkpoint=tmp_path / "run", generator=order(99), resume=False)
    assert not torch.equal(found["posterior.output.weight"], wanted["posterior.output.weight"])
    assert other.history[0].seconds != fit.history[0].seconds


def interrupting(at):
    """The default optimiser, with Ctrl-C in the middle of that step; 0 for never."""

    class Interrupting(sbn.optim.MirrorDescent):
        steps = 0

        def __call__(self, params, *args, **kwargs):
            super().__call__(params, *args, **kwargs)
            self.steps += 1
            if self.steps == at:
                raise KeyboardInterrupt

    Interrupting.__name__ = "MirrorDescent"
    return Interrupting({"lr": 0.05, "real": ("Adam", {"lr": 0.01})})


def test_a_model_as_a_function_goes_on(tmp_path):
    x, y = rows()

    def model(x, y=None):
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(4, 6)).to_event(2))
        v = pyro.param("v", lambda: torch.randn(3, 4))
        with pyro.plate("data", 50, subsample=x, dim=-1):
            h = pyro.sample("h", sbn.NoisySign(sbn.affine(x, w)))
            return pyro.sample("y", sbn.AffineCategorical(sbn.affine(h, v)), obs=y)

    def left(folder, at):
        """What a process of its own would leave: no parameter is there before."""
        pyro.clear_param_store()
        guide = sbn.guides.AutoSignBernoulli(model)
        torch.manual_seed(2)
        optim = interrupting(at)
        sbn.fit(model, guide, (x, y), epochs=4, batch_size=20, optim=optim, checkpoint=folder)
        return {"v": pyro.param("v").detach().clone(), "w": guide.leaf("w").detach().clone()}

    wanted = left(tmp_path / "whole", 0)
    interrupted = left(tmp_path / "run", 8)
    assert not torch.equal(interrupted["v"], wanted["v"])
    assert_equal(left(tmp_path / "run", 0), wanted)


def test_more_epochs_go_on_where_step_sizes_do_not_fall(tmp_path):
    options = {"schedule": "constant", "checkpoint": tmp_path / "run"}
    fitted(epochs=2, **options)
    fit, found = fitted(epochs=5, **options)
    assert len(fit.history) == 5
    assert_equal(found, fitted(epochs=5, schedule="constant")[1])


def test_another_fit_in_the_folder_is_an_error(tmp_path):
    options = {"checkpoint": tmp_path / "run"}
    fitted(**options)
    for changed, words in (
        ({"batch_size": 25}, "batch_size was 20 and is 25"),
        ({"epochs": 4}, "epochs was 3 and is 4"),
        ({"estimator": "st"}, "estimator was .PathSampleAnalytic.* and is .StraightThrough"),
        ({"temperature": 0.5}, "temperature was 'auto' and is 0.5"),
        ({"optim": sbn.optim.MirrorDescent({"lr": 0.3})}, "optim was .*0.05.* and is .*0.3"),
        ({"validation": rows(30)}, "validation was None and is"),
    ):
        with pytest.raises(ValueError, match=rf"another fit: {words}.*resume=False"):
            fitted(**options, **changed)
    x, y = rows()
    model, guide = network()
    x[7, 2] += 1e-9
    with pytest.raises(ValueError, match="another fit: data was"):
        sbn.fit(model, guide, (x, y), epochs=3, batch_size=20, checkpoint=tmp_path / "run")


def test_log_has_each_epoch_of_the_checkpoint_once(tmp_path):
    fitted(epochs=2, checkpoint=tmp_path, schedule="constant")
    log = tmp_path / LOG
    lines = log.read_text().splitlines()
    # killed between the checkpoint and the log, or while the log was written
    for broken in ("", lines[0] + "\n" + lines[1][:20]):
        log.write_text(broken)
        fitted(epochs=2, checkpoint=tmp_path, schedule="constant")
        assert log.read_text().splitlines() == lines
    fitted(epochs=3, checkpoint=tmp_path, schedule="constant")
    assert log.read_text().splitlines()[:2] == lines
    assert json.loads(log.read_text().splitlines()[2])["epoch"] == 3


STATE = {
    "tensors": {
        "a": torch.arange(6.0).reshape(2, 3).T,
        "bytes": torch.tensor([1], dtype=torch.uint8),
    },
    3: (1, 2.5, float("inf"), None, True, "x"),
    "list": [{}, [], ()],
    "third": 1 / 3,
}


def test_checkpoint_gives_back_every_value(tmp_path):
    path = tmp_path / CHECKPOINT
    write_checkpoint(path, STATE)
    assert_same(read_checkpoint(path), STATE)
    assert b"pickle" not in path.read_bytes()
    with pytest.raises(TypeError, match="state/what is a set, which a checkpoint cannot hold"):
        write_checkpoint(path, {"what": {1}})
    assert_same(read_checkpoint(path), STATE)


def test_damaged_checkpoint_is_an_error(tmp_path):
    path = tmp_path / CHECKPOINT
    fitted(checkpoint=tmp_path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for data, words in (
        (whole[:-1], "checksum does not match"),
        (bytes(flipped), "checksum does not match"),
        (whole[:20], "checksum does not match"),
        (b"", "not a file that fit"),
        (b"\x80\x04" + whole, "not a file that fit"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=rf"cannot go on from.*{words}.*Delete it"):
            fitted(checkpoint=tmp_path)
    path.write_bytes(whole)
    fitted(checkpoint=tmp_path)


def test_hostile_content_is_an_error(tmp_path):
    path = tmp_path / CHECKPOINT
    tensors = {"t": torch.zeros(1)}
    for metadata, words in (
        ({"version": "2", "state": "{}"}, "format version is 2"),
        ({"state": "{}"}, "content cannot be read"),
        ({"version": "1", "state": '{"eval": "1"}'}, "unknown kind 'eval'"),
        ({"version": "1", "state": '{"tensor": "absent"}'}, "content cannot be read"),
        ({"version": "1", "state": "[" * 100_000}, "content cannot be read"),
        ({"version": "1", "state": "[]"}, "holds no state"),
        ({"version": "1", "state": "{"}, "content cannot be read"),
    ):
        content = safetensors.torch.save(tensors, metadata)
        path.write_bytes(MAGIC + hashlib.sha256(content).digest() + content)
        with pytest.raises(ValueError, match=words):
            read_checkpoint(path)


def test_write_that_fails_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / CHECKPOINT
    write_checkpoint(path, STATE)

    def no_space(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_checkpoint(path, {"other": 1})
    assert_same(read_checkpoint(path), STATE)
    assert [p.name for p in tmp_path.iterdir()] == [CHECKPOINT]


def test_a_file_as_folder_is_an_error(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(ValueError, match="is a file; it is the folder"):
        fitted(checkpoint=tmp_path / "run")


def test_optimiser_that_does_not_know_local_parameters_is_refused(tmp_path):
    adam = pyro.optim.Adam({"lr": 0.01})
    fitted(optim=adam, schedule="constant")
    adam = pyro.optim.Adam({"lr": 0.01})
    with pytest.raises(TypeError, match=r"a PyroOptim|Use sbn.optim.MirrorDescent"):
        fitted(optim=adam, schedule="constant", checkpoint=tmp_path)


def test_loader_without_a_generator_says_that_its_order_is_not_reproduced(tmp_path):
    data = torch.utils.data.TensorDataset(*rows())
    for options, warns in (
        ({"shuffle": True}, True),
        ({"shuffle": True, "generator": order()}, False),
        ({"shuffle": False}, False),
        ({"generator": order(), "sampler": RandomSampler(data, generator=order())}, True),
    ):
        model, guide = network()
        loader = torch.utils.data.DataLoader(data, batch_size=20, **options)
        arguments = {"epochs": 2, "checkpoint": tmp_path, "resume": False}
        if warns:
            with pytest.warns(UserWarning, match="has no generator of its own") as caught:
                sbn.fit(model, guide, loader, **arguments)
            assert len(caught) == 1
        else:
            sbn.fit(model, guide, loader, **arguments)
        assert numbers(model, guide)
