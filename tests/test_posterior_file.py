"""The file of a posterior: the same numbers next year, and no harm from any other file."""

import errno
import hashlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save as save_tensors

from bayes_sbn.container import FIRST_VERSION, MAGIC, POSTERIOR, read_container, write_container
from bayes_sbn.posterior import Posterior
from tests.plain_networks import random_posterior


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "fit.sbn"
    random_posterior(temperature=0.125, attrs={"data": "digits"}).save(target)
    return target


def container(header: bytes, payload: bytes, version: int = FIRST_VERSION) -> bytes:
    """A file with a right checksum around any content."""
    preamble = struct.pack("<8sIQQ", MAGIC, version, len(header), len(payload))
    return preamble + hashlib.sha256(preamble + header + payload).digest() + header + payload


def test_load_gives_back_every_number(path):
    posterior, loaded = random_posterior(temperature=0.125), Posterior.load(path)
    assert loaded.digest == posterior.digest
    for found, saved in zip(loaded.layers, posterior.layers, strict=True):
        for name in ("probabilities", "scale", "bias", "prior"):
            assert getattr(found, name).tobytes() == getattr(saved, name).tobytes()
        for name in ("name", "site", "noise", "noise_scale"):
            assert getattr(found, name) == getattr(saved, name)
    assert loaded.layers[0].probabilities.min() == 0.0
    assert loaded.layers[0].probabilities.max() == 1.0
    assert loaded.attrs == {"data": "digits"}
    assert loaded.temperature == 0.125
    assert loaded.package_version == posterior.package_version
    assert loaded.input_scale == posterior.input_scale


def test_save_is_a_function_of_the_posterior(path, tmp_path):
    Posterior.load(path).save(tmp_path / "again.sbn")
    assert (tmp_path / "again.sbn").read_bytes() == path.read_bytes()


def test_save_takes_four_bytes_a_weight(tmp_path):
    posterior = random_posterior((64, 128, 10), ("logistic",))
    posterior.save(tmp_path / "fit.sbn")
    size = (tmp_path / "fit.sbn").stat().st_size
    prior_bytes = 8 * posterior.layers[0].num_weights  # not constant, so kept in full
    assert size < 4 * posterior.num_weights + prior_bytes + 8192


def test_save_follows_a_symbolic_link_and_honours_the_umask(path, tmp_path):
    link = tmp_path / "latest.sbn"
    link.symlink_to(path)
    path.write_bytes(b"old")
    random_posterior().save(link)
    assert link.is_symlink()
    Posterior.load(path)
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("stage", ["write", "fsync", "replace"])
def test_save_that_fails_leaves_the_old_file_whole(path, stage, monkeypatch):
    before = path.read_bytes()

    def no_space(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    if stage == "write":
        real_open = Path.open

        def open_full_disk(self, *args, **kwargs):
            file = real_open(self, *args, **kwargs)
            return FullDisk(file) if "x" in str(args) else file

        monkeypatch.setattr(Path, "open", open_full_disk)
    else:
        monkeypatch.setattr(f"os.{stage}", no_space)
    with pytest.raises(OSError, match="No space left"):
        random_posterior(label="another").save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["fit.sbn"]
    Posterior.load(path)


class FullDisk:
    """A file on a disk that is full after 200 bytes."""

    def __init__(self, file):
        self.file, self.left = file, 200

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data):
        self.file.write(data[: self.left])
        self.file.flush()
        self.left -= len(data)
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_save_into_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        random_posterior().save(tmp_path / "missing" / "fit.sbn")


def test_load_of_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Posterior.load(tmp_path / "fit.sbn")


def test_load_notices_a_flipped_bit_anywhere(path, tmp_path):
    content = path.read_bytes()
    places = {*range(300), *range(300, len(content), 37), len(content) - 1}
    damaged = tmp_path / "damaged.sbn"
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        damaged.write_bytes(changed)
        with pytest.raises(ValueError, match=r"Posterior\.load\(.* cannot read the file"):
            Posterior.load(damaged)


def test_load_notices_a_truncation_anywhere(path, tmp_path):
    content = path.read_bytes()
    damaged = tmp_path / "damaged.sbn"
    for length in {*range(70), *range(70, len(content), 101), len(content) - 1}:
        damaged.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"cannot read the file: it is (truncated|not a file)"):
            Posterior.load(damaged)
    damaged.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="truncated or damaged"):
        Posterior.load(damaged)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 a zip file", b"\x80\x04\x95 a pickle", b"{}", MAGIC[:3] + b"x" * 100],
)
def test_load_names_a_foreign_file(content, tmp_path):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=r"it is not a file of bayes_sbn\. Give a file"):
        Posterior.load(tmp_path / "x")


def test_load_names_another_format_version(tmp_path):
    (tmp_path / "x").write_bytes(container(b"{}", b"", version=8))
    with pytest.raises(ValueError, match="format version is 8 and this package reads 1, 2, 3"):
        Posterior.load(tmp_path / "x")


@pytest.mark.parametrize("lengths", [(2**63, 0), (0, 2**64 - 1), (2**64 - 1, 2**64 - 1)])
def test_load_of_a_monstrous_length_allocates_nothing(lengths, tmp_path):
    preamble = struct.pack("<8sIQQ", MAGIC, FIRST_VERSION, *lengths)
    (tmp_path / "x").write_bytes(preamble + bytes(32) + b"{}")
    with pytest.raises(ValueError, match="truncated or damaged: 62 bytes instead of"):
        Posterior.load(tmp_path / "x")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"not json", "its header is not JSON"),
        (b"\xff\xfe", "its header is not JSON"),
        (b"[1]", "its header is not a JSON object"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": 1, "a": 2}', "a name stands twice"),
        (b"[" * 100_000, "its header is not JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "its header is not JSON"),
        (b"{}", "does not describe a posterior"),
        (b'{"layers": 3}', "its layers are not a list"),
    ],
)
def test_load_refuses_a_hostile_header(header, reason, tmp_path):
    (tmp_path / "x").write_bytes(container(header, save_tensors({})))
    with pytest.raises(ValueError, match=reason):
        Posterior.load(tmp_path / "x")


def tensors_header(entry: dict) -> bytes:
    """A safetensors payload of one tensor with any header entry."""
    text = json.dumps({"0.scale": entry}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(16)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff" * 64,
        struct.pack("<Q", 2**63) + b"{}",
        tensors_header({"dtype": "F64", "shape": [2**40, 2**40], "data_offsets": [0, 16]}),
        tensors_header({"dtype": "F64", "shape": [3], "data_offsets": [0, 16]}),
        tensors_header({"dtype": "F64", "shape": [2], "data_offsets": [8, 24]}),
        tensors_header({"dtype": "NONE", "shape": [2], "data_offsets": [0, 16]}),
        tensors_header({"dtype": "BF16", "shape": [8], "data_offsets": [0, 16]}),
    ],
)
def test_load_refuses_a_hostile_payload(payload, tmp_path):
    (tmp_path / "x").write_bytes(container(b'{"layers": []}', payload))
    with pytest.raises(ValueError, match="cannot read the file"):
        Posterior.load(tmp_path / "x")


def hostile(path: Path, change) -> None:
    """Rewrite a good file with a change of its parts, and a right checksum."""
    header, tensors = read_container(POSTERIOR, path)
    change(header, tensors)
    write_container(path, header, tensors, FIRST_VERSION)


def set_layer(name, value):
    return lambda header, tensors: header["layers"][0].__setitem__(name, value)


def set_tensor(name, value):
    return lambda header, tensors: tensors.__setitem__(name, value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda h, t: None, None),
        (set_layer("site", 1), "not all different"),
        (set_layer("site", "0"), "site is str and not int"),
        (set_layer("site", True), "site is bool and not int"),
        (set_layer("site", -1), "site -1"),
        (set_layer("noise", "__import__('os')"), "it is one of 'logistic'"),
        (set_layer("noise", ["logistic"]), "noise is list and not str"),
        (set_layer("noise_scale", 1), "noise_scale is int and not float"),
        (set_layer("noise_scale", -1.0), "positive finite"),
        (set_layer("name", "other"), "not those it was saved with"),
        (lambda h, t: h["layers"].pop(), "tensors are not those of its layers"),
        (lambda h, t: h["layers"].__setitem__(0, 5), "does not describe a posterior"),
        (lambda h, t: h.pop("attrs"), "does not describe a posterior"),
        (lambda h, t: h.pop("digest"), "not those it was saved with"),
        (lambda h, t: h.__setitem__("attrs", [1]), "attrs is list and not dict"),
        (lambda h, t: h.__setitem__("input_scale", 0.0), "positive finite"),
        (lambda h, t: h.__setitem__("likelihood", "poisson"), "this version has .categorical. and"),
        (lambda h, t: h.__setitem__("temperature", "hot"), "temperature is str and not float"),
        (lambda h, t: t.pop("0.bias"), "tensors are not those of its layers"),
        (set_tensor("9.bias", np.zeros(2)), "tensors are not those of its layers"),
        (set_tensor("0.bias", np.zeros(3)), r"bias of shape \(3,\)"),
        (set_tensor("0.bias", np.full(8, np.nan)), "8 values in bias that are NaN"),
        (set_tensor("0.bias", np.zeros(8, np.float32)), "bias is float32 and not float64"),
        (set_tensor("0.thresholds", np.zeros((8, 4), np.uint32)), "probabilities of 1 stand"),
        (set_tensor("0.thresholds", np.zeros(40, np.uint32)), r"shape \(40,\)"),
        (set_tensor("0.ones", np.array([-1])), "probabilities of 1 stand where there are none"),
        (set_tensor("0.ones", np.array([2**62])), "probabilities of 1 stand where there are none"),
        (set_tensor("0.ones", np.array([5])), "probabilities of 1 stand where there are none"),
        (set_tensor("0.ones", np.zeros((1, 1), np.int64)), "probabilities of 1 stand"),
        (set_tensor("0.prior", np.full(3, 0.5)), r"prior of shape \(3,\)"),
        (set_tensor("0.prior", np.array(7.0)), "prior from 7 to 7"),
        (set_tensor("0.scale", np.full(8, 1e308)), "so large that pre-activations"),
        (set_tensor("0.scale", np.full(8, 0.25)), "not those it was saved with"),
    ],
)
def test_load_refuses_content_that_does_not_fit(path, change, reason):
    hostile(path, change)
    if reason is None:
        Posterior.load(path)
        return
    with pytest.raises(ValueError, match=f"cannot read the file: .*{reason}"):
        Posterior.load(path)


def test_load_and_predict_in_a_fresh_process_give_the_same_bits(path, tmp_path):
    program = """
import hashlib, sys
import numpy as np
from bayes_sbn.posterior import Posterior
posterior = Posterior.load(sys.argv[1])
x = np.load(sys.argv[2])
ensemble = posterior.draw(9, seed=2**40 + 3, stream=8)
for noise in ("shared", "independent"):
    pred = ensemble.predict(x, noise=noise, row_offset=5)
    logits = ensemble.integer_logits(x, noise=noise, row_offset=5)
    print(hashlib.sha256(pred.probs_per_draw.tobytes()).hexdigest())
    print(hashlib.sha256(logits.tobytes()).hexdigest())
"""
    rows = np.random.default_rng(0).uniform(-9, 9, (50, 5))
    np.save(tmp_path / "x.npy", rows)
    run = subprocess.run(
        [sys.executable, "-c", program, str(path), str(tmp_path / "x.npy")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    ensemble = random_posterior().draw(9, seed=2**40 + 3, stream=8)
    expected = []
    for noise in ("shared", "independent"):
        pred = ensemble.predict(rows, noise=noise, row_offset=5)
        logits = ensemble.integer_logits(rows, noise=noise, row_offset=5)
        expected.append(hashlib.sha256(pred.probs_per_draw.tobytes()).hexdigest())
        expected.append(hashlib.sha256(logits.tobytes()).hexdigest())
    assert run.stdout.split() == expected
    assert len(set(expected)) == 4
