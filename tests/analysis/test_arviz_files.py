"""Exports in files: NetCDF and Zarr, read as they were written, and what cannot be read."""

import importlib.util

import numpy as np
import pytest
import xarray as xr

import bayes_sbn as sbn
from bayes_sbn.analysis import unpack
from bayes_sbn.analysis.arviz_versions import arviz, groups_of
from bayes_sbn.analysis.weight_certainty import weight_certainty
from tests.analysis.posteriors import labelled, restarts
from tests.plain_networks import random_posterior

X, Y = labelled(30)


@pytest.fixture(scope="module")
def idata():
    return sbn.to_arviz(
        restarts(2, temperature=0.1),
        X,
        Y,
        num_draws=40,
        num_prior_draws=20,
        x_test=X[:5],
        y_test=Y[:5],
        packed=True,
        class_names=["one", "two", "three"],
        feature_names=list("vwxyz"),
    )


def tree_of(idata):
    return idata if isinstance(idata, xr.DataTree) else idata.to_datatree()


def check_same(given, idata):
    """All groups are what they were, and so is what is made of them."""
    before, after = groups_of("test", idata), groups_of("test", given)
    assert set(before) == set(after)
    for name, group in before.items():
        xr.testing.assert_identical(after[name], group)
    assert sbn.diagnose(given).to_dict() == sbn.diagnose(idata).to_dict()
    assert unpack(given, "layer1").identical(unpack(idata, "layer1"))


def test_netcdf_round_trip(idata, tmp_path):
    path = tmp_path / "fit.nc"
    idata.to_netcdf(str(path))
    check_same(path, idata)
    loaded = arviz().from_netcdf(str(path))
    assert dict(loaded.attrs)["likelihood"] == "categorical"
    assert list(loaded.attrs["posterior"]) == list(idata.attrs["posterior"])


def test_zarr_round_trip(idata, tmp_path):
    tree = tree_of(idata)
    tree.to_zarr(tmp_path / "fit.zarr", zarr_format=2)
    check_same(tmp_path / "fit.zarr", idata)
    with xr.open_datatree(tmp_path / "fit.zarr", engine="zarr") as after:
        assert after.attrs == tree.attrs


def test_zarr_3_without_names_of_classes_and_features(tmp_path):
    # of words with a fixed length, which names are, zarr warns that its format 3 has no rule yet
    options = {"num_draws": 10, "num_prior_draws": 0, "packed": True}
    idata = sbn.to_arviz(restarts(2), X, Y, **options)
    tree_of(idata).to_zarr(tmp_path / "fit.zarr", zarr_format=3, consolidated=False)
    check_same(tmp_path / "fit.zarr", idata)


def test_layers_are_in_the_order_of_the_network_whatever_that_of_a_store(tmp_path):
    posterior = random_posterior((5, *[4] * 11, 3), ("logistic",) * 11)
    options = {"num_draws": 2, "num_prior_draws": 0, "num_defensive_draws": 0}
    idata = sbn.to_arviz(posterior, X, Y, **options)
    groups = groups_of("test", idata)
    wanted = weight_certainty(groups)
    assert [layer.layer for layer in wanted] == [f"layer{n}" for n in range(12)]
    law = groups["variational"]
    groups["variational"] = law[sorted(map(str, law))]
    assert weight_certainty(groups) == wanted


def test_what_cannot_be_read_is_said(tmp_path, monkeypatch):
    with pytest.raises(TypeError, match=r"received dict\. Write idata = bayes_sbn\.to_arviz"):
        groups_of("diagnose()", {})
    with pytest.raises(FileNotFoundError, match="there is no file"):
        groups_of("diagnose()", tmp_path / "no.nc")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"is a folder.*bayes-sbn\[zarr\]"):
        groups_of("diagnose()", tmp_path)


def test_one_restart_has_one_name_in_a_file(tmp_path):
    idata = sbn.to_arviz(restarts(1), X, Y, num_draws=2, num_prior_draws=0)
    idata.to_netcdf(str(tmp_path / "fit.nc"))
    loaded = arviz().from_netcdf(str(tmp_path / "fit.nc"))
    assert list(np.atleast_1d(loaded.attrs["posterior"])) == [restarts(1)[0].digest]
