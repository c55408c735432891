"""Packed draws of the weights are those of the ensemble, whatever their number, and in files."""

import numpy as np
import pytest

import bayes_sbn as sbn
from bayes_sbn.analysis import unpack
from tests.analysis.posteriors import labelled, measured, regression_posterior, restarts
from tests.hybrid_posteriors import random_hybrid
from tests.plain_networks import random_posterior

X, Y = labelled(4)
OPTIONS = {"num_draws": 6, "num_prior_draws": 0, "num_defensive_draws": 0, "packed": True}


def test_bits_are_those_of_the_ensembles(tmp_path):
    posteriors = restarts(2)
    idata = sbn.to_arviz(posteriors, X, Y, feature_names=list("abcde"), **OPTIONS)
    idata.to_netcdf(str(tmp_path / "packed.nc"))
    for given in (idata, tmp_path / "packed.nc"):
        for index in range(3):
            found = unpack(given, f"layer{index}")
            assert found.dtype == np.int8
            for chain, posterior in enumerate(posteriors):
                weights = posterior.draw(6, 0, stream=chain).weights[index]
                own = sbn.kernels.unpack(weights).numpy()
                assert np.array_equal(found.values[chain], own)
    found = unpack(idata, "layer0", draws=slice(2, 4))
    assert found.dims == ("chain", "draw", "layer0.unit", "feature")
    assert list(found["feature"].values) == list("abcde")
    assert list(found["draw"].values) == [2, 3]
    assert unpack(idata, "layer0", draws=-1).shape == (2, 1, 8, 5)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 33])
def test_any_number_of_bits(width):
    posterior = random_posterior((5, width, 3), ("logistic",))
    idata = sbn.to_arviz(posterior, X, Y, **OPTIONS)
    packed = idata["posterior_packed"]["layer1.weight"]
    assert packed.dtype == np.uint8
    assert packed.shape[-1] == -(-width // 8)
    own = sbn.kernels.unpack(posterior.draw(6).weights[1]).numpy()
    assert np.array_equal(unpack(idata, "layer1").values[0], own)
    # understood by NumPy alone, from what the attributes say
    bits = np.unpackbits(packed.values, axis=-1, bitorder=packed.attrs["bitorder"])
    assert np.array_equal(2 * bits[..., : packed.attrs["packed_len"]].astype(int) - 1, own[None])


def test_real_weights_are_steps_of_their_grid():
    posterior = regression_posterior()
    idata = sbn.to_arviz(posterior, *measured(4), **OPTIONS)
    own = posterior.draw(6).weights[1] * posterior.layers[1].step
    assert np.array_equal(unpack(idata, "output").values[0], own)
    assert idata["posterior_packed"]["output.weight"].dtype == np.int16
    # restarts with grids of their own
    pair = [random_hybrid((2,)), random_hybrid((2,), points=True)]
    steps = [each.layers[2].step for each in pair]
    found = unpack(sbn.to_arviz(pair, X, Y, **OPTIONS), "layer2")
    for chain, (each, step) in enumerate(zip(pair, steps, strict=True)):
        own = each.draw(6, 0, stream=chain).weights[2] * step
        assert np.array_equal(found.values[chain], own)


def test_what_is_not_there_is_said():
    idata = sbn.to_arviz(random_posterior(), X, Y, **OPTIONS)
    with pytest.raises(ValueError, match="there are 'layer0', 'layer1', 'layer2'"):
        unpack(idata, "layer9")
    plain = sbn.to_arviz(random_posterior(), X, Y, **(OPTIONS | {"packed": False}))
    with pytest.raises(ValueError, match="packed=True"):
        unpack(plain, "layer0")
