"""k-hat and smoothed weights: ArviZ's own where ratios are continuous, and what it cannot say."""

import numpy as np
import pytest

from bayes_sbn.analysis.arviz_versions import arviz, holds_trees
from bayes_sbn.analysis.pareto_smoothing import khat_limit, pareto_smoothed

# arviz 0.23.4: az.psislw(np.random.default_rng(1).standard_t(3, size=200))[1]
GOLDEN_KHAT = 1.7513228027893057


def log_ratios(size=200, df=3.0, scale=1.0):
    return scale * np.random.default_rng(1).standard_t(df, size=size)


def test_khat_is_that_of_arviz_0_23_4():
    assert pareto_smoothed(log_ratios()).khat == pytest.approx(GOLDEN_KHAT, abs=1e-12)


def psis_of_arviz(ratios):
    """Log weights and k-hat; of ArviZ 1.x the argument is minus the ratios."""
    if holds_trees():
        from arviz_stats.base import array_stats

        return array_stats.psislw(-ratios)
    return arviz().psislw(ratios)


@pytest.mark.parametrize("size", [25, 60, 200, 900, 1000])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_weights_are_those_of_arviz(size, scale):
    if holds_trees() and size in (25, 1000):
        pytest.skip("ArviZ 1.x rounds the length of the tail down, 0.x and the paper up")
    given = log_ratios(size, 4.0, scale)
    log_weights, khat = psis_of_arviz(given)
    found = pareto_smoothed(given)
    assert found.khat == pytest.approx(float(khat), abs=1e-10)
    assert found.log_weights == pytest.approx(log_weights, abs=1e-10)
    assert np.exp(found.log_weights).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [0.2, 0.6, 1.2])
def test_khat_finds_the_shape_of_a_pareto_law(shape):
    # of so many draws the estimate has a standard error of about (1 + shape) / sqrt(tail) = 0.05
    uniform = np.random.default_rng(2).uniform(size=100_000)
    ratios = -shape * np.log(uniform)
    assert pareto_smoothed(ratios).khat == pytest.approx(shape, abs=0.2)


@pytest.mark.parametrize(
    "ratios", [np.zeros(100), np.r_[np.zeros(97), 1.0, 1.0, 1.0], np.arange(4.0), np.zeros(1)]
)
def test_without_a_tail_there_is_no_khat(ratios):
    found = pareto_smoothed(ratios)
    assert np.isnan(found.khat)
    weights = np.exp(ratios) / np.exp(ratios).sum()
    assert np.exp(found.log_weights) == pytest.approx(weights)


def test_ratios_of_zero_have_no_weight_and_what_is_given_is_kept():
    given = log_ratios()
    given[:50] = -np.inf
    before = given.copy()
    found = pareto_smoothed(given)
    assert np.array_equal(given, before)
    assert (found.log_weights[:50] == -np.inf).all()
    assert np.isfinite(found.khat)


def test_ties_have_a_tail_where_enough_of_them_stand_out():
    given = np.repeat(log_ratios(40), 5)
    assert np.isfinite(pareto_smoothed(given).khat)


def test_limit():
    assert khat_limit(500) == pytest.approx(1 - 1 / np.log10(500))
    assert khat_limit(100_000) == 0.7
    assert khat_limit(1) == -np.inf
