"""Posterior predictive checks: p-values by hand, and what they flag."""

import numpy as np
import pytest
import xarray as xr

import bayes_sbn as sbn
from bayes_sbn.analysis.predictive_checks import LEVEL, draws_to_flag, predictive_checks
from tests.analysis.posteriors import labelled
from tests.plain_networks import random_posterior


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
    assert bad[0].p == pytest.approx(2 / 401)
    count, own = (replicated == 1).sum(axis=1), (replicated[0] == 1).sum()
    sides = [sum(c < own for c in count), sum(c > own for c in count)]
    ties = sum(c == own for c in count)
    assert good[1].p == pytest.approx(2 * (min(sides) + ties / 2 + 1) / 401)
    # a class that neither has: as observed as can be
    assert predictive_checks(replicated_groups([0, 2], [[0, 2]] * 9), "categorical")[1].p == 1.0


@pytest.mark.parametrize("draws", [1, 10, 39, 200])
def test_data_that_are_one_more_draw_are_flagged_as_seldom_as_the_level_says(draws):
    # the data take each rank among the draws once: p-values are those of all ranks
    ranks = np.arange(draws + 1.0)
    values = []
    for own in ranks:
        others = np.delete(ranks, int(own))
        groups = replicated_groups([0.0], np.zeros((draws, 1)), own, others)
        values.append(predictive_checks(groups, "normal")[-1])
    assert np.mean([check.flagged for check in values]) <= LEVEL
    assert any(check.flagged for check in values) == (draws >= draws_to_flag(1))
    for level in (0.01, 0.05, 0.3):
        assert np.mean([check.p <= level for check in values]) <= level


def test_few_draws_flag_nothing_and_say_so():
    posterior = random_posterior()
    x, y = labelled(30)
    found = sbn.diagnose(sbn.to_arviz(posterior, x, 0 * y, num_draws=30, num_prior_draws=0))
    assert not any(check.flagged for check in found.predictive)
    assert draws_to_flag(3) == 120
    assert "30 draws cannot flag one of 3 statistics: export 120 at least" in str(found)
    found = sbn.diagnose(sbn.to_arviz(posterior, x, 0 * y, num_draws=120, num_prior_draws=0))
    assert found.predictive[0].flagged
    assert "cannot flag" not in str(found)


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
