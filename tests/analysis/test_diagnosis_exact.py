"""diagnose on networks of ten weights: the exact posterior passes, what is not it is flagged.

Seeds are fixed, so the tolerances are those of these draws and not of chance.
"""

import numpy as np
import pytest

import bayes_sbn as sbn
from bayes_sbn.analysis.arviz_versions import groups_of
from bayes_sbn.analysis.importance_checks import importance_checks, missed_mass
from tests.analysis.enumerated import STATES, TRUE, Tiny

SPREAD, CERTAIN = Tiny(8, 0.5), Tiny(150, 3.0)
"""Little data, of which the posterior is nearly the prior; much, of which it is one network."""

WRONG = int(SPREAD.law().argmin())


def signs_of(state, certainty):
    return np.where(STATES[state] > 0, certainty, 1 - certainty)


def sharper(p, factor):
    log_odds = factor * np.log(p / (1 - p))
    return 1 / (1 + np.exp(-log_odds))


def diagnosed(tiny, p, **options):
    options = {"num_draws": 400, "num_activations": 32, "num_prior_draws": 0} | options
    idata = sbn.to_arviz(tiny.posterior(p), tiny.x, tiny.y, **options)
    return sbn.diagnose(idata)


def check_of(diagnosis, target):
    (found,) = [check for check in diagnosis.importance if check.target == target]
    return found


def test_the_networks_are_what_they_are_meant_to_be():
    assert SPREAD.law().max() < 0.005
    assert CERTAIN.law()[TRUE] > 0.9999


GOOD = {
    "marginals": (SPREAD, SPREAD.marginals()),
    "prior, as the data say nearly nothing": (SPREAD, np.full(10, 0.5)),
    "one network": (CERTAIN, CERTAIN.marginals()),
    "one network, not quite certain": (CERTAIN, signs_of(TRUE, 0.999)),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_guide_passes_and_its_numbers_are_exact(name):
    tiny, p = GOOD[name]
    found = diagnosed(tiny, p)
    check = check_of(found, "bayes")
    assert check.reliable
    assert not any("'bayes'" in flag for flag in found.flags)
    assert check.missed < 0.01
    assert check.log_evidence == pytest.approx(tiny.log_evidence, abs=0.1)
    assert found.loo[0].elpd == pytest.approx(tiny.exact_loo, abs=0.2)
    assert found.elpd == found.loo[0].elpd


BAD = {
    "too sharp": (SPREAD, sharper(SPREAD.marginals(), 12)),
    "sure of a wrong network": (SPREAD, signs_of(WRONG, 0.999)),
    "certain of a wrong network": (SPREAD, signs_of(WRONG, 1.0)),
    "sure of a wrong network, much data": (CERTAIN, signs_of(WRONG, 0.999)),
    "certain of a wrong network, much data": (CERTAIN, signs_of(WRONG, 1.0)),
    "one wrong sign": (CERTAIN, signs_of(TRUE ^ 1, 1.0)),
    "prior, much data": (CERTAIN, np.full(10, 0.5)),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_guide_is_flagged_and_has_no_number(name):
    tiny, p = BAD[name]
    found = diagnosed(tiny, p)
    check = check_of(found, "bayes")
    assert not check.reliable
    assert any("'bayes'" in flag for flag in found.flags)
    assert np.isnan(check.log_evidence)
    assert found.loo[0].elpd is None
    assert found.elpd is None
    assert tiny.missed(p) > 0.05
    assert check.missed > 0.05


def test_khat_alone_is_blind_to_what_is_never_drawn():
    found = diagnosed(SPREAD, signs_of(WRONG, 1.0))
    check = check_of(found, "bayes")
    assert check.khat < check.limit
    assert check.ess > check.num_draws / 2
    assert check.missed == pytest.approx(1.0, abs=1e-3)
    blind = diagnosed(SPREAD, signs_of(WRONG, 1.0), num_defensive_draws=0)
    assert np.isnan(check_of(blind, "bayes").missed)


def test_draws_that_are_all_alike_prove_nothing():
    # of one activation and real data the ratios vary, so they are made alike
    groups = {
        name: group.copy(deep=True)
        for name, group in groups_without_defensive(SPREAD, signs_of(WRONG, 1.0)).items()
    }
    groups["sample_stats"]["lp"][:] = -7.0
    (check, _) = importance_checks(groups)
    assert np.isnan(check.khat)
    assert not check.reliable
    assert "num_defensive_draws" in check.reason


def groups_without_defensive(tiny, p):
    idata = sbn.to_arviz(
        tiny.posterior(p), tiny.x, tiny.y, num_draws=50, num_activations=2, num_prior_draws=0
    )
    return {name: g for name, g in groups_of("test", idata).items() if name != "defensive"}


@pytest.mark.parametrize("factor", [1, 6, 12])
def test_missed_mass_is_that_of_the_list(factor):
    tiny = Tiny(20, 1.0)
    p = sharper(tiny.marginals(), factor)
    g = np.random.default_rng(3)
    wide = 0.5 * p + 0.25
    own, wider = (
        {
            "lp": tiny.log_target["bayes"][draws],
            "log_q": tiny.log_q(p)[draws],
            "log_defensive": tiny.log_q(wide)[draws],
        }
        for draws in (
            (g.uniform(size=(4000, 10)) < law) @ (1 << np.arange(9, -1, -1)) for law in (p, wide)
        )
    )
    assert missed_mass("lp", own, wider) == pytest.approx(tiny.missed(p), abs=0.02)
    if factor == 12:
        assert tiny.missed(p) > 0.5


def test_trained_target_has_its_own_answer():
    tiny = Tiny(8, 0.5, temperature=0.5)
    found = diagnosed(tiny, tiny.marginals("trained"))
    check = check_of(found, "trained")
    assert check.reliable
    log, log_q = tiny.log_target["trained"], tiny.log_q(tiny.marginals("trained"))
    assert check.log_evidence == pytest.approx(np.logaddexp.reduce(log), abs=0.1)
    assert check.bound == pytest.approx(np.exp(log_q) @ (log - log_q), abs=0.1)
