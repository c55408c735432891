"""The study of MNIST: its files, its moves, and a whole run on a few small images."""

import gzip
import json
import struct

import numpy as np
import pytest
import torch

from studies.mnist import data
from studies.mnist.run import Problem, Settings, judged, main, small_problem, study


def write_idx(path, values):
    content = b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(gzip.compress(content + values.tobytes()))


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for images, labels in data.FILES.values():
        write_idx(tmp_path / f"{images}.gz", generator.integers(0, 256, (40, 28, 28), np.uint8))
        write_idx(tmp_path / f"{labels}.gz", np.arange(40, dtype=np.uint8) % 10)
    return tmp_path


def test_files_are_read_packed_or_not_and_broken_ones_refused(folder):
    packed = data.load(folder, "train")
    assert packed.images.shape == (40, 28, 28)
    assert packed.images.max() <= 1.0
    assert packed.labels.tolist()[:11] == [*range(10), 0]
    images = folder / "train-images-idx3-ubyte.gz"
    content = gzip.decompress(images.read_bytes())
    images.unlink()
    plain = folder / "train-images-idx3-ubyte"
    plain.write_bytes(content)
    assert torch.equal(data.load(folder, "train").images, packed.images)
    for broken in (content[:-1], b"\0\0\x09" + content[3:], b""):
        plain.write_bytes(broken)
        with pytest.raises(ValueError, match="not an IDX file"):
            data.load(folder, "train")
    plain.unlink()
    with pytest.raises(FileNotFoundError, match="--data PATH"):
        data.load(folder, "train")


def test_moves_of_size_zero_move_nothing_and_others_keep_the_ink():
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(30, 28, 28)
    images[:, 10:18, 10:18] = 1.0
    torch.testing.assert_close(data.moved(images, generator, 0.0), images, atol=1e-5, rtol=0)
    moved = data.moved(images, generator, 1.0)
    ink = moved.sum((1, 2)) / 64
    assert 0.75 < float(ink.min()) < float(ink.max()) < 1.35
    rows = torch.arange(28.0)
    centre = (moved.sum(2) @ rows) / moved.sum((1, 2))
    assert 1.0 < float((centre - 13.5).abs().max()) < 4.5


def test_an_epoch_has_every_image_once_in_an_order_of_its_own():
    digits = data.Digits(torch.rand(50, 28, 28), torch.arange(50))
    batches = data.MovedBatches(digits, data.Centring.of(digits.images), 16, 0.5, seed=3)
    first, second = (torch.cat([y for _, y in batches]) for _ in range(2))
    assert torch.equal(first.sort().values, torch.arange(50))
    assert not torch.equal(first, second)
    again = data.MovedBatches(digits, data.Centring.of(digits.images), 16, 0.5, seed=3)
    assert torch.equal(torch.cat([y for _, y in again]), first)
    assert len(batches) == 4


def test_a_run_scores_both_networks_and_goes_on_from_its_checkpoint(tmp_path, capsys):
    torch.set_default_dtype(torch.float32)
    whole = small_problem()
    rows = slice(0, 200)
    problem = Problem.of(
        data.Digits(whole.train.images[rows], whole.train.labels[rows]),
        data.Digits(whole.train.images[200:260], whole.train.labels[200:260]),
    )
    settings = Settings(hidden=(16,), epochs=3, batch_size=50, temperature=0.01, draws=8)
    kinds = ["posterior", "deterministic"]
    results = study(problem, settings, kinds, tmp_path, every=1)
    assert [look["epoch"] for look in results["posterior"]["curve"]] == [1, 2, 3]
    assert results["posterior"]["ensemble"]["nll"] < results["posterior"]["ensemble"]["draw nll"]
    assert [number for number, *_ in results["posterior"]["by draws"]] == [1, 2, 4, 8, 16, 32]
    assert 0.1 < results["posterior"]["bits per weight"] < 1
    assert results["deterministic"]["bits per weight"] == 0
    again = study(problem, settings, kinds, tmp_path, every=1)
    for kind in kinds:  # nothing is trained again, and nothing is lost
        assert again[kind]["curve"] == results[kind]["curve"]
        assert again[kind]["ensemble"] == results[kind]["ensemble"]
    expected = {"asked": [["accuracy", ">=", 1.01], ["ece", "<=", 1.0]]}
    failures = judged(results, expected)
    assert failures[0].startswith("accuracy is 0.")
    assert not any("ece" in failure for failure in failures)
    capsys.readouterr()


def test_the_command_needs_data_and_ends_with_one_object(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "--data PATH" in capsys.readouterr().err
    main(["--quick", "--epochs", "1", "--hidden", "8", "--kinds", "posterior", "--draws", "4"])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["study"] == "mnist"
    assert last["target"] == [0.978, 0.01]
