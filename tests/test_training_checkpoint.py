"""Checkpoints of a fit: an interrupted fit goes on as if nothing had been, no file does harm."""

import hashlib
import json
import os

import pyro
import pytest
import safetensors.torch
import torch
from torch.utils.data import RandomSampler

import bayes_sbn as sbn
from bayes_sbn.training_checkpoint import MAGIC, read_checkpoint, write_checkpoint
from bayes_sbn.training_folder import CHECKPOINT, LOG
from tests.test_training import assert_equal, fitted, network, numbers, order, rows


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
