"""What ArviZ does with the export: its tables, LOO, comparison and figures."""

import os
import subprocess
import sys
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import bayes_sbn as sbn
from bayes_sbn.analysis import arviz_versions
from bayes_sbn.analysis.arviz_versions import arviz, groups_of, holds_trees, in_one_object
from tests.analysis.enumerated import Tiny
from tests.analysis.posteriors import labelled, measured, regression_posterior, restarts
from tests.plain_networks import random_posterior

X, Y = labelled(30)


@pytest.fixture(scope="module")
def az():
    return arviz()


@pytest.fixture(scope="module")
def idata():
    return sbn.to_arviz(
        restarts(2, temperature=0.1), X, Y, num_draws=120, num_prior_draws=20, x_test=X[:5]
    )


@pytest.fixture(scope="module")
def real():
    return sbn.to_arviz(regression_posterior(), *measured(25), num_draws=60)


def test_summary_is_short_and_finite(az, idata):
    table = az.summary(idata)
    assert len(table) == 12
    assert np.isfinite(table.to_numpy()).all()


def test_summary_of_one_chain_is_quiet_though_a_statistic_is_constant(az, caplog):
    *layers, last = random_posterior().layers
    sure = sbn.Posterior([*layers, replace(last, bias=np.array([99.0, 0.0, 0.0]))], 2.0**-10)
    one = sbn.to_arviz(sure, X, 0 * Y, num_draws=20, num_prior_draws=0)
    assert (one["posterior"]["accuracy"] == 1).all()
    table = az.summary(one, kind="stats")
    assert len(table) == 12
    assert caplog.records == []


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


@pytest.mark.skipif(holds_trees(), reason="ArviZ 1.x has plot_ppc_dist")
@pytest.mark.filterwarnings("ignore:Passing a dict or None as alias_mapping")  # by ArviZ itself
def test_figures_of_arviz_0_are_drawn(az, idata, real):
    axes = az.plot_ppc(idata, num_pp_samples=10)
    assert axes.lines
    axes = az.plot_ppc(idata, group="prior", num_pp_samples=5)
    assert axes.lines
    plt.close("all")
    assert az.plot_ppc(real, num_pp_samples=10).lines
    plt.close("all")


@pytest.mark.skipif(not holds_trees(), reason="ArviZ 0.x has plot_ppc")
def test_figures_of_arviz_1_are_drawn(az, idata, real):
    for group in ("posterior_predictive", "prior_predictive"):
        drawn = az.plot_ppc_dist(real, group=group, num_samples=10)
        assert len(drawn.viz["figure"].item().axes[0].lines) >= 10
    drawn = az.plot_ppc_pava(idata, data_type="categorical")
    assert sum(bool(axes.lines) for axes in drawn.viz["figure"].item().axes) == 3  # one a class
    plt.close("all")


@pytest.mark.skipif(not holds_trees(), reason="ArviZ 0.x has no LOO of approximate posteriors")
def test_loo_is_that_of_arviz_1_where_it_is_a_number(az):
    tiny = Tiny(8, 0.5)
    options = {"num_draws": 400, "num_activations": 32, "num_prior_draws": 0}
    given = sbn.to_arviz(tiny.posterior(tiny.marginals()), tiny.x, tiny.y, **options)
    stats = given["sample_stats"]
    theirs = az.loo_approximate_posterior(given, log_p=stats["lp"], log_q=stats["log_q"])
    (found,) = sbn.diagnose(given).loo
    assert found.elpd == pytest.approx(float(theirs.elpd), abs=1e-8)


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
