"""The file of an ensemble: the same predictions next year, and no harm from any other file."""

import dataclasses
import errno

import numpy as np
import pytest

from bayes_sbn.container import ENSEMBLE, ENSEMBLE_VERSION, read_container, write_container
from bayes_sbn.ensemble import Ensemble
from bayes_sbn.posterior import Posterior
from tests.chance import numpy_generator
from tests.hybrid_posteriors import CASES
from tests.plain_networks import random_posterior
from tests.test_posterior_low_rank import network as low_rank_posterior

NOISE_MODES = ("shared", "independent")


def rows(number: int = 45) -> np.ndarray:
    return numpy_generator("ensemble file").uniform(-8, 8, size=(number, 5))


def recalibrated() -> Posterior:
    posterior = random_posterior()
    first = dataclasses.replace(posterior.layers[0], normalisation_eps=1e-5)
    return dataclasses.replace(posterior, components=(first, *posterior.layers[1:]))


def ensembles() -> dict[str, Ensemble]:
    mixture = Posterior.mixture([random_posterior(), random_posterior(label="other")], (1, 2))
    return {
        "plain": random_posterior().draw(7, seed=2**63 + 1, stream=2**64 - 1),
        "mixture": mixture.draw(7, seed=3),
        "low rank": low_rank_posterior().draw(7),
        "hybrid": CASES["ends"].draw(7),
        "points": CASES["points"].draw(7),
        "recalibrated": recalibrated().draw(7, calibrate=rows(30)),
        "mode": random_posterior().mode().draw(7),
        "slice": random_posterior().draw(20)[3:17:2],
    }


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "ensemble.sbn"
    random_posterior().draw(7, seed=9).save(target)
    return target


@pytest.mark.parametrize("kind", list(ensembles()))
def test_a_loaded_ensemble_predicts_the_same(kind, tmp_path):
    saved = ensembles()[kind]
    saved.save(tmp_path / "e.sbn")
    loaded = Ensemble.load(tmp_path / "e.sbn")
    assert repr(loaded) == repr(saved)
    assert loaded.memory == saved.memory
    for noise in NOISE_MODES:
        wanted = saved.predict(rows(), noise=noise, row_offset=5)
        for backend in ("auto", "reference"):
            found = loaded.predict(rows(), noise=noise, row_offset=5, backend=backend)
            assert found.probs_per_draw.tobytes() == wanted.probs_per_draw.tobytes()
            assert found.attrs == wanted.attrs
    for index in (slice(2, 5), slice(None, None, -2), 3):
        found = loaded[index].predict(rows()).probs_per_draw
        assert found.tobytes() == saved[index].predict(rows()).probs_per_draw.tobytes()
    loaded.save(tmp_path / "again.sbn")
    assert (tmp_path / "again.sbn").read_bytes() == (tmp_path / "e.sbn").read_bytes()


def test_a_file_takes_one_bit_a_weight(tmp_path):
    ensemble = random_posterior((128, 256, 256, 10)).draw(64)
    ensemble.save(tmp_path / "e.sbn")
    weights = 64 * (128 * 256 + 256 * 256 + 256 * 10)
    assert ensemble.memory == weights // 8
    size = (tmp_path / "e.sbn").stat().st_size
    assert weights / 8 < size < weights / 8 + 20_000
    assert 4 * weights / size > 31


def test_save_that_fails_leaves_the_old_file_whole(path, monkeypatch):
    before = path.read_bytes()

    def no_space(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        random_posterior(label="another").draw(3).save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_posteriors_and_ensembles_name_each_other(path, tmp_path):
    with pytest.raises(ValueError, match=r"it is one of ensemble.save\(path\); .*Ensemble.load"):
        Posterior.load(path)
    random_posterior().save(tmp_path / "p.sbn")
    with pytest.raises(ValueError, match=r"it is one of posterior.save\(path\); .*Posterior.load"):
        Ensemble.load(tmp_path / "p.sbn")
    (tmp_path / "x").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"Ensemble.load\(.*not a file of bayes_sbn"):
        Ensemble.load(tmp_path / "x")


def test_load_notices_a_flipped_bit_anywhere(path, tmp_path):
    content = path.read_bytes()
    for place in {*range(200), *range(200, len(content), 41), len(content) - 1}:
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        (tmp_path / "damaged").write_bytes(changed)
        with pytest.raises(ValueError, match="cannot read the file"):
            Ensemble.load(tmp_path / "damaged")
    for length in (0, 10, 59, 60, 500, len(content) - 1):
        (tmp_path / "short").write_bytes(content[:length])
        with pytest.raises(ValueError, match="cannot read the file"):
            Ensemble.load(tmp_path / "short")


def set_layer(name, value):
    return lambda header, tensors: header["components"][0][0].__setitem__(name, value)


def set_tensor(name, value):
    return lambda header, tensors: tensors.__setitem__(name, value)


def poison(header, tensors):
    words = tensors["0.weights"].copy()
    words[0, 0, -1] |= np.uint32(1 << 31)
    tensors["0.weights"] = words


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda h, t: None, None),
        (lambda h, t: h.pop("digest"), "not those it was saved with"),
        (lambda h, t: h.__setitem__("seed", "8"), "not those it was saved with"),
        (lambda h, t: h.__setitem__("seed", 9), "seed is int and not str"),
        (lambda h, t: h.__setitem__("seed", str(2**64)), "not an integer of 64 bits"),
        (lambda h, t: h.__setitem__("stream", "-1"), "not an integer of 64 bits"),
        (lambda h, t: h.__setitem__("input_scale", 0.0), "not positive"),
        (lambda h, t: h.__setitem__("components", []), "components that are not there"),
        (lambda h, t: h.__setitem__("components", [[]]), "not a list of at least one"),
        (lambda h, t: h["components"][0].pop(), "noise|tensors"),
        (lambda h, t: h["components"].append(h["components"][0]), "1.0.scale"),
        (lambda h, t: h.__setitem__("attrs", 3), "attrs is int"),
        (set_layer("site", 1), "share random bits"),
        (set_layer("site", 65_536), "site 65536"),
        (set_layer("inputs", 0), "0 inputs"),
        (set_layer("inputs", 70), "shape"),
        (set_layer("noise", None), "noise None of layer 0"),
        (set_layer("noise", "__import__('os')"), "of layer 0"),
        (set_layer("noise_scale", -1.0), "noise_scale -1"),
        (set_layer("is_real", 1), "is_real is int"),
        (set_layer("is_real", True), "0.weights is uint32 and not int16"),
        (set_tensor("draws", np.zeros(0, np.int64)), "shape|indices"),
        (set_tensor("draws", np.full(7, -1)), "not a list of indices"),
        (set_tensor("draws", np.full(7, 2**32)), "not a list of indices"),
        (set_tensor("components", np.ones(7, np.int64)), "components that are not there"),
        (set_tensor("0.weights", np.zeros((7, 8, 2), np.uint32)), "0.weights of shape"),
        (set_tensor("0.scale", np.zeros((7, 8))), "0.bias"),
        (set_tensor("0.0.scale", np.full(8, np.nan)), "not finite"),
        (set_tensor("0.0.bias", np.full(8, 1e300)), "overflow"),
        (set_tensor("0.0.bias", np.zeros(9)), "shape"),
        (set_tensor("9.weights", np.zeros(3)), "tensors that are not those"),
        (lambda h, t: t.pop("1.weights"), "1.weights"),
        (poison, "padding bits"),
    ],
)
def test_load_refuses_content_that_does_not_fit(path, change, reason):
    header, tensors = read_container(ENSEMBLE, path)
    change(header, tensors)
    write_container(path, header, tensors, ENSEMBLE_VERSION)
    if reason is None:
        Ensemble.load(path)
        return
    with pytest.raises(ValueError, match=f"Ensemble.load.* cannot read the file: .*({reason})"):
        Ensemble.load(path)
