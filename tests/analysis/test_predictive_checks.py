"""Posterior predictive checks: p-values by hand, and what they flag."""

import numpy as np
import pytest
import xarray as xr

from bayes_sbn.analysis.predictive_checks import predictive_checks


def replicated_groups(observed, replicated, log_lik=0.0, own=0.0):
    draws = ("chain", "draw")
    return {
        "observed_data": xr.Dataset({"y": (("row",), np.asarray(observed))}),
        "posterior_predictive": xr.Dataset({"y": ((*draws, "row"), np.asarray(replicated)[None])}),
        "sample_stats": xr.Dataset(
            {
                "log_lik": (draws, np.full((1, len(replicated)), log_lik)),
                "log_lik_replicated": (draws, np.broadcast_to(own, (1, len(replicated)))),
            }
        ),
    }


def test_predictive_checks_of_labels():
    g = np.random.default_rng(0)
    replicated = g.integers(0, 3, size=(400, 30))
    good = predictive_checks(replicated_groups(replicated[0], replicated), "categorical")
    assert [check.statistic for check in good[:-1]] == [f"count of {n}" for n in range(3)]
    assert not any(check.flagged for check in good)
    bad = predictive_checks(replicated_groups(np.zeros(30, int), replicated), "categorical")
    assert bad[0].flagged
    assert bad[0].side == "above"
    assert bad[0].p == 0.0
    count, own = (replicated == 1).sum(axis=1), (replicated[0] == 1).sum()
    low = (count < own).mean() + (count == own).mean() / 2
    assert good[1].p == pytest.approx(2 * min(low, 1 - low))
    # a class that neither has: as observed as can be
    assert predictive_checks(replicated_groups([0, 2], [[0, 2]] * 9), "categorical")[1].p == 1.0


def test_predictive_checks_of_real_targets_and_of_log_lik():
    g = np.random.default_rng(0)
    replicated = g.normal(size=(400, 25))
    own = g.normal(size=400)
    good = predictive_checks(replicated_groups(replicated[0], replicated, 0.0, own), "normal")
    assert [check.statistic for check in good] == ["mean", "std", "min", "max", "log_lik"]
    assert not any(check.flagged for check in good)
    wide = predictive_checks(replicated_groups(4 * replicated[0], replicated, 0.0, own), "normal")
    assert {check.statistic for check in wide if check.flagged} == {"std", "min", "max"}
    for level, side in ((-9.0, "below"), (9.0, "above")):
        shifted = predictive_checks(
            replicated_groups(replicated[0], replicated, level, own), "normal"
        )
        assert shifted[-1].flagged
        assert shifted[-1].side == side
