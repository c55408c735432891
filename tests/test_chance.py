"""The statistical assertions: they catch what they say, and cry wolf as rarely as they say.

Calls that must fail are the positive controls; they use the public assertions at their real
false-alarm rate.
"""

import numpy as np
import pyro
import pytest
import torch
from scipy import stats

from tests import chance
from tests.chance import (
    BUDGET,
    FALSE_ALARM,
    FALSE_PASS,
    MAX_ASSERTIONS,
    Budget,
    assert_count,
    assert_mean,
    bernstein_radius,
    binomial_false_pass,
    binomial_p_value,
    numpy_generator,
    seed,
    torch_generator,
)


@pytest.fixture
def free_seeds(monkeypatch):
    """Set the environment variable as a fresh process would see it."""

    def choose(value):
        monkeypatch.setenv(chance.FREE_SEEDS, value)
        chance.base_seed.cache_clear()

    before = chance.base_seed()
    yield choose
    monkeypatch.undo()
    chance.base_seed.cache_clear()
    if chance.base_seed() != before:
        # A fresh base was in force: keep the one that the header of the run stated.
        monkeypatch.setenv(chance.FREE_SEEDS, str(before))
        chance.base_seed.cache_clear()
        chance.base_seed()


def test_budget_of_a_run_is_one_false_alarm_in_a_thousand():
    assert pytest.approx(1e-3) == FALSE_ALARM * MAX_ASSERTIONS


def test_budget_counts_each_assertion():
    before = BUDGET.num_assertions
    assert_count(520, 1000, 0.5, detects=0.2)
    assert_mean(np.tile([0.0, 1.0], 500), 0.5, bounds=(0.0, 1.0), detects=0.5)
    assert BUDGET.num_assertions == before + 2
    assert f"{before + 2} statistical assertions" in str(BUDGET)


def test_budget_refuses_the_assertion_too_many():
    budget = Budget(max_assertions=2)
    budget.spend()
    budget.spend()
    with pytest.raises(RuntimeError, match="more than 2 statistical assertions"):
        budget.spend()


@pytest.mark.parametrize("probability", [0.0, 1e-3, 0.3, 0.5, 1.0])
def test_binomial_p_value_equals_the_sum_of_the_tails(probability):
    trials = 12
    counts = np.arange(trials + 1)
    mass = stats.binom(trials, probability).pmf(counts)
    for k in counts:
        tails = min(mass[: k + 1].sum(), mass[k:].sum())
        expected = min(1.0, 2 * tails)
        assert binomial_p_value(k, trials, probability) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.2, 0.01, 1e-6])
@pytest.mark.parametrize("probability", [0.0, 0.02, 0.3, 0.5, 1.0])
def test_binomial_false_pass_equals_the_mass_of_the_accepted_counts(probability, alpha):
    trials, detects = 40, 0.25
    counts = np.arange(trials + 1)
    accepted = binomial_p_value(counts, trials, probability) > alpha
    # The test is exact: the law itself leaves the accepted counts with probability alpha at most.
    assert stats.binom(trials, probability).pmf(counts)[~accepted].sum() <= alpha
    missed = [
        stats.binom(trials, wrong).pmf(counts)[accepted].sum()
        for wrong in (probability - detects, probability + detects)
        if 0 <= wrong <= 1
    ]
    found = binomial_false_pass(trials, probability, detects, alpha)
    assert found == pytest.approx(max(missed), abs=1e-12)


def test_binomial_false_alarms_are_as_rare_as_promised():
    """At alpha = .05, 20000 runs of a correct coin: the rate itself is tested, at FALSE_ALARM."""
    runs, trials, alpha = 20_000, 60, 0.05
    generator = numpy_generator("binomial false alarms")
    for probability in (0.5, 0.07):
        counts = generator.binomial(trials, probability, runs)
        alarms = int((binomial_p_value(counts, trials, probability) <= alpha).sum())
        assert alarms > 0
        assert stats.binom(runs, alpha).sf(alarms - 1) > FALSE_ALARM


def test_bernstein_false_alarms_are_as_rare_as_promised():
    """Three means at a time, alpha = .5: the family's rate stays below it."""
    runs, num_samples, alpha = 1_000, 400, 0.5
    generator = numpy_generator("bernstein false alarms")
    probability = np.array([0.5, 0.3, 0.1])
    draws = generator.uniform(size=(runs, num_samples, 3)) < probability
    alarms, alarms_of_a_small_radius = 0, 0
    for samples in draws.astype(np.float64):
        radius = bernstein_radius(samples, 1.0, alpha)
        error = np.abs(samples.mean(0) - probability)
        alarms += bool((error > radius).any())
        alarms_of_a_small_radius += bool((error > radius / 4).any())
    assert stats.binom(runs, alpha).sf(alarms - 1) > FALSE_ALARM
    # The simulation can fail: a radius four times too small raises more alarms than promised.
    assert stats.binom(runs, alpha).sf(alarms_of_a_small_radius - 1) < FALSE_ALARM


def test_bernstein_radius_equals_the_formula_by_hand():
    samples = np.array([[0.0], [1.0], [1.0], [0.0]])
    variance = 1 / 3
    logarithm = np.log(4 * 1 / 0.01)
    expected = np.sqrt(2 * variance * logarithm / 4) + 7 * 2.0 * logarithm / (3 * 3)
    np.testing.assert_allclose(bernstein_radius(samples, 2.0, 0.01), [expected], rtol=1e-14)
    with pytest.raises(ValueError, match="two samples"):
        bernstein_radius(samples[:1], 2.0)


@pytest.mark.parametrize("wrong", [0.28, 0.32])
def test_assert_count_notices_a_wrong_probability(wrong):
    trials = 100_000
    count = numpy_generator(f"count {wrong}").binomial(trials, wrong)
    with pytest.raises(AssertionError, match="p-value"):
        assert_count(count, trials, 0.3, detects=0.02)


def test_assert_count_passes_the_right_probabilities():
    trials, probability = 100_000, np.array([[0.0, 1e-4, 0.3], [0.5, 0.999, 1.0]])
    counts = numpy_generator("right counts").binomial(trials, probability)
    assert_count(counts, trials, probability, detects=0.02)
    assert_count(torch.tensor(counts), trials, torch.tensor(probability), detects=0.02)


def test_assert_count_notices_one_wrong_coordinate_among_many():
    trials, probability = 100_000, np.full(500, 0.4)
    counts = numpy_generator("one wrong count").binomial(trials, probability)
    counts[321] = numpy_generator("wrong count").binomial(trials, 0.42)
    with pytest.raises(AssertionError, match="321"):
        assert_count(counts, trials, probability, detects=0.02)


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_assert_count_notices_one_miss_of_a_certain_event(certain):
    count = 1 if certain == 0.0 else 99_999
    with pytest.raises(AssertionError, match="p-value"):
        assert_count(count, 100_000, certain, detects=0.01)


def test_assert_count_refuses_too_few_trials():
    with pytest.raises(AssertionError, match="use more trials"):
        assert_count(50, 100, 0.5, detects=0.02)


def test_assert_count_refuses_what_is_no_count():
    with pytest.raises(ValueError, match="whole numbers"):
        assert_count(0.5, 100, 0.5, detects=0.4)
    with pytest.raises(ValueError, match="whole numbers"):
        assert_count(101, 100, 0.5, detects=0.4)
    with pytest.raises(ValueError, match="can be off"):
        assert_count(50, 100, 0.5, detects=0.6)


def test_assert_count_misses_as_rarely_as_promised():
    """An error of just ``detects`` is missed in FALSE_PASS of the runs at most: exact, no draw."""
    trials, probability = 4_000, 0.5
    detects = next(
        d for d in np.arange(0.01, 0.5, 1e-3) if binomial_false_pass(trials, 0.5, d) <= FALSE_PASS
    )
    counts = np.arange(trials + 1)
    accepted = binomial_p_value(counts, trials, probability) > FALSE_ALARM
    law = stats.binom(trials, probability + detects)
    assert law.pmf(counts)[accepted].sum() <= FALSE_PASS
    # A smaller error would be missed too often, so that the stated one is not idle.
    law = stats.binom(trials, probability + detects - 2e-3)
    assert law.pmf(counts)[accepted].sum() > FALSE_PASS


@pytest.mark.parametrize("shift", [-0.05, 0.05])
def test_assert_mean_notices_a_biased_mean(shift):
    samples = numpy_generator(f"biased {shift}").uniform(-1, 1, (50_000, 4))
    expected = np.zeros(4)
    expected[2] = shift
    with pytest.raises(AssertionError, match=r"at \(.*2.*\)"):
        assert_mean(samples, expected, bounds=(-1.0, 1.0), detects=0.05)


def test_assert_mean_passes_the_right_means():
    samples = numpy_generator("right means").uniform([0, -1, 2], [1, 1, 5], (50_000, 3))
    bounds = (np.array([0, -1, 2]), np.array([1, 1, 5]))
    assert_mean(samples, [0.5, 0.0, 3.5], bounds=bounds, detects=np.array([0.03, 0.06, 0.1]))
    assert_mean(torch.tensor(samples), torch.tensor([0.5, 0.0, 3.5]), bounds=bounds, detects=0.1)


def test_assert_mean_refuses_too_few_samples():
    samples = numpy_generator("few").uniform(-1, 1, 100)
    with pytest.raises(AssertionError, match="use more samples"):
        assert_mean(samples, 0.0, bounds=(-1.0, 1.0), detects=0.1)


def test_assert_mean_refuses_samples_outside_the_bounds():
    samples = numpy_generator("outside").uniform(-1, 1.1, 10_000)
    with pytest.raises(AssertionError, match="outside"):
        assert_mean(samples, 0.05, bounds=(-1.0, 1.0), detects=0.5)
    samples[3] = np.nan
    with pytest.raises(AssertionError, match="not finite"):
        assert_mean(samples, 0.05, bounds=(-1.0, 2.0), detects=0.5)


def test_seeds_are_fixed_by_default_and_differ_by_label(free_seeds):
    free_seeds("")
    assert chance.base_seed() == 0
    assert seed("a") == seed("a") != seed("b")
    assert torch.equal(
        torch.rand(3, generator=torch_generator("a")), torch.rand(3, generator=torch_generator("a"))
    )
    assert numpy_generator("a").uniform() == numpy_generator("a").uniform()
    assert numpy_generator("a").uniform() != numpy_generator("b").uniform()


def test_seeds_are_freed_and_replayed_by_the_environment(free_seeds):
    free_seeds("0")
    fixed = seed("a")
    free_seeds("1")
    fresh, base = seed("a"), chance.base_seed()
    assert base > 1
    assert seed("a") == fresh != fixed
    free_seeds("1")
    assert chance.base_seed() != base
    free_seeds(str(base))
    assert seed("a") == fresh
    free_seeds("yes")
    with pytest.raises(ValueError, match="base to replay"):
        chance.base_seed()


@pytest.mark.parametrize("turn", ["first", "second"])
def test_every_test_starts_from_the_same_state(turn, request):
    assert torch.get_default_dtype() == torch.float64
    assert torch.get_num_threads() == 1
    assert len(pyro.get_param_store()) == 0
    assert pyro.settings.get("validate_distributions_pyro")
    assert not pyro.settings.get("module_local_params")
    # A seed of its own, by its name.
    assert turn in request.node.nodeid
    assert torch.initial_seed() == seed(request.node.nodeid)
    replayed = np.random.RandomState(seed(request.node.nodeid))
    assert np.random.uniform() == replayed.uniform()  # noqa: NPY002
    # Leave a mess for the other turn.
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(2)
    pyro.param("mess", torch.ones(2))
    pyro.enable_validation(False)
    pyro.settings.set(module_local_params=True)
