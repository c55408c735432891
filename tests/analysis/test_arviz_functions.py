"""What ArviZ does with the export: its tables, LOO, comparison, figures and files."""

import os
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import bayes_sbn as sbn
from bayes_sbn.analysis import arviz_versions
from bayes_sbn.analysis.arviz_versions import arviz, groups_of, holds_trees, in_one_object
from tests.analysis.posteriors import labelled, measured, regression_posterior, restarts

X, Y = labelled(30)


@pytest.fixture(scope="module")
def az():
    return arviz()


@pytest.fixture(scope="module")
def idata():
    return sbn.to_arviz(
        restarts(2, temperature=0.1), X, Y, num_draws=120, num_prior_draws=20, x_test=X[:5]
    )


def test_summary_is_short_and_finite(az, idata):
    table = az.summary(idata)
    assert len(table) == 12
    assert np.isfinite(table.to_numpy()).all()


@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.sort_values")  # by ArviZ
def test_loo_and_compare_run(az):
    x, y = measured(25)
    one, two = (
        sbn.to_arviz(regression_posterior(sigma), x, y, num_draws=200, num_prior_draws=0)
        for sigma in (20.0, 30.0)
    )
    loo = az.loo(one, pointwise=True)
    assert np.isfinite(loo.elpd_loo if hasattr(loo, "elpd_loo") else loo.elpd)
    table = az.compare({"one": one, "two": two})
    assert set(table.index) == {"one", "two"}


@pytest.mark.skipif(holds_trees(), reason="the names of ArviZ 0.x")
@pytest.mark.filterwarnings("ignore:Passing a dict or None as alias_mapping")  # by ArviZ itself
def test_figures_are_drawn(az, idata):
    axes = az.plot_ppc(idata, num_pp_samples=10)
    assert axes.lines
    axes = az.plot_ppc(idata, group="prior", num_pp_samples=5)
    assert axes.lines
    plt.close("all")
    x, y = measured(25)
    real = sbn.to_arviz(regression_posterior(), x, y, num_draws=60)
    az.plot_ppc(real, num_pp_samples=10)
    plt.close("all")


def test_netcdf_round_trip(idata, tmp_path):
    path = tmp_path / "fit.nc"
    idata.to_netcdf(str(path))
    before, after = groups_of("test", idata), groups_of("test", path)
    assert set(before) == set(after)
    for name, group in before.items():
        xr.testing.assert_identical(after[name], group)
    loaded = arviz().from_netcdf(str(path))
    assert dict(loaded.attrs)["likelihood"] == "categorical"
    assert list(loaded.attrs["posterior"]) == list(idata.attrs["posterior"])


def test_zarr_round_trip(idata, tmp_path):
    pytest.importorskip("zarr")
    tree = idata if isinstance(idata, xr.DataTree) else idata.to_datatree()
    tree.to_zarr(tmp_path / "fit.zarr", consolidated=False)
    with xr.open_datatree(tmp_path / "fit.zarr", engine="zarr", consolidated=False) as after:
        for name, group in groups_of("test", idata).items():
            xr.testing.assert_equal(after[name].to_dataset().load(), group)


def test_tree_of_arviz_1_has_the_same_groups(idata):
    before = groups_of("test", idata)
    tree = in_one_object(before, {"a": 1}, as_tree=True)
    assert isinstance(tree, xr.DataTree)
    assert tree.attrs == {"a": 1}
    after = groups_of("test", tree)
    assert list(after) == list(before)
    for name, group in before.items():
        xr.testing.assert_identical(after[name], group)


def test_version_decides_what_groups_are_in(monkeypatch):
    class Newer:
        __version__ = "1.3.0"

    monkeypatch.setattr(arviz_versions, "arviz", Newer)
    assert holds_trees()
    posterior = restarts(1)[0]
    tree = sbn.to_arviz(posterior, X, Y, num_draws=5, num_prior_draws=0)
    assert isinstance(tree, xr.DataTree)
    assert tree["posterior"]["mean_log_lik"].sizes == {"chain": 1, "draw": 5}


def test_what_is_no_inference_data_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"received dict\. Write idata = bayes_sbn\.to_arviz"):
        groups_of("diagnose()", {})
    with pytest.raises(FileNotFoundError, match="there is no file"):
        groups_of("diagnose()", tmp_path / "no.nc")


def test_daily_announcement_is_muted_and_an_unwritable_cache_is_no_obstacle(tmp_path):
    # in a process of its own, where the day has no stamp: every other warning is an error
    blocked = tmp_path / "file"
    blocked.write_text("")
    program = (
        "import warnings, os; warnings.simplefilter('error')\n"
        "from bayes_sbn.analysis.arviz_versions import arviz\n"
        "assert arviz().__version__\n"
        "print(os.environ['XDG_CACHE_HOME'])\n"
    )
    for cache in (tmp_path / "fresh", blocked):
        run = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "XDG_CACHE_HOME": str(cache)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert run.stdout.strip() == str(cache)  # what the user has set is as it was
