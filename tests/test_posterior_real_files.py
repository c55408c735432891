"""Files of posteriors with layers of real weights: both versions, and hostile ones."""

from pathlib import Path

import numpy as np
import pytest

from bayes_sbn.container import POSTERIOR, read_container, write_container
from bayes_sbn.posterior import Posterior
from tests.hybrid_posteriors import CASES
from tests.plain_networks import random_posterior
from tests.test_ensemble import rows, same

VERSION_1 = Path(__file__).parent / "vectors" / "posterior_version_1.sbn"
NOISE_MODES = ("shared", "independent")


@pytest.fixture(params=CASES)
def posterior(request) -> Posterior:
    return CASES[request.param]


def test_files_round_trip_bit_for_bit(posterior, tmp_path):
    path = tmp_path / "fit.sbn"
    posterior.save(path)
    assert path.read_bytes()[8:12] == b"\x02\0\0\0"
    loaded = Posterior.load(path)
    assert loaded.digest == posterior.digest
    assert loaded.format_version == posterior.format_version == 2
    for noise in NOISE_MODES:
        found, wanted = (
            p.draw(4, seed=3).predict(rows(), noise=noise) for p in (loaded, posterior)
        )
        assert same(found.probs_per_draw, wanted.probs_per_draw)
    loaded.save(tmp_path / "again.sbn")
    assert (tmp_path / "again.sbn").read_bytes() == path.read_bytes()


def test_files_of_version_1_are_read_and_written_as_they_were(tmp_path):
    """The vector was written before there were real weights."""
    posterior = Posterior.load(VERSION_1)
    assert posterior.digest == "f041337146a82afc632474193bbd342e12a98856779db84f7d7081801fa98adf"
    assert posterior.attrs == {"data": "digits"}
    assert posterior.format_version == 1
    posterior.save(tmp_path / "again.sbn")
    assert (tmp_path / "again.sbn").read_bytes() == VERSION_1.read_bytes()
    made = random_posterior((3, 4, 2), ("logistic",), temperature=0.125)
    assert made.digest == posterior.digest


def set_layer(name, value):
    return lambda header, tensors: header["layers"][0].__setitem__(name, value)


def set_tensor(name, value):
    return lambda header, tensors: tensors.__setitem__(f"0.{name}", value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda h, t: None, None),
        (set_layer("kind", "complex"), "a layer is of kind 'complex', which is none of"),
        (set_layer("kind", ["real"]), "a layer is of kind"),
        (set_layer("kind", "sign"), "tensors are not those of its layers"),
        (set_layer("step", 0.3), "it is a power of two of at least"),
        (set_layer("step", 2.0**-40), "it is a power of two of at least"),
        (set_layer("step", -1.0), "it is a power of two of at least"),
        (set_layer("step", 1), "step is int and not float"),
        (set_layer("step", None), "step is NoneType and not float"),
        (lambda h, t: h["layers"][0].pop("step"), "does not describe a posterior"),
        (set_layer("step", 2.0**-3), "not those it was saved with"),
        (set_layer("noise", "cauchy"), "it is one of 'logistic'"),
        (set_tensor("loc", np.zeros(40)), r"weights of shape \(40,\)"),
        (set_tensor("loc", np.full((8, 5), np.nan)), "40 values in weights that are NaN"),
        (set_tensor("loc", np.full((8, 5), 1e200)), "weights or spreads beyond 1e"),
        (set_tensor("loc", np.zeros((8, 5), np.float32)), "loc is float32 and not float64"),
        (set_tensor("spread", np.full((8, 5), -1.0)), "a spread of -1"),
        (set_tensor("spread", np.full((8, 5), np.inf)), "40 values in spread that are NaN"),
        (set_tensor("spread", np.zeros((5, 8))), r"a spread of shape \(5, 8\)"),
        (set_tensor("spread", np.full((8, 5), 50.0)), "it is a power of two of at least"),
        (set_tensor("prior_scale", np.zeros(())), "a prior_scale of 0"),
        (set_tensor("bias", np.zeros(3)), r"bias of shape \(3,\)"),
        (set_tensor("bias", np.full(8, 1e301)), "so large that pre-activations"),
        (lambda h, t: t.pop("0.spread"), "tensors are not those of its layers"),
        (set_tensor("scale", np.ones(8)), "tensors are not those of its layers"),
    ],
)
def test_hostile_files_are_refused(change, reason, tmp_path):
    path = tmp_path / "fit.sbn"
    CASES["ends"].save(path)
    header, tensors = read_container(POSTERIOR, path)
    change(header, tensors)
    write_container(path, header, tensors, 2)
    if reason is None:
        Posterior.load(path)
        return
    with pytest.raises(ValueError, match=f"cannot read the file: .*{reason}"):
        Posterior.load(path)
