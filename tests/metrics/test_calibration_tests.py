"""Tests of calibration: MAPIE's numbers, exact moments by enumeration, ties and certain rows."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from mapie.metrics.calibration import (
    kolmogorov_smirnov_cdf,
    kolmogorov_smirnov_p_value,
    kolmogorov_smirnov_statistic,
    kuiper_cdf,
    kuiper_p_value,
    kuiper_statistic,
    spiegelhalter_p_value,
    spiegelhalter_statistic,
)
from scipy.stats import norm

from bayes_sbn.metrics import (
    UndefinedMetricWarning,
    brier,
    kolmogorov_smirnov,
    kuiper,
    spiegelhalter,
)
from bayes_sbn.metrics.calibration_tests import largest_tail, range_tail
from bayes_sbn.predictions import Predictions

EVERY = pytest.mark.parametrize("test", [spiegelhalter, kolmogorov_smirnov, kuiper])
CUMULATIVE = pytest.mark.parametrize("test", [kolmogorov_smirnov, kuiper])


def two_classes(p) -> np.ndarray:
    p = np.asarray(p, dtype=np.float64)
    return np.stack([1 - p, p], axis=-1)


@pytest.fixture(params=[0.5, 1.0, 2.0], ids="power={}".format)
def case(request) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of class 1 without ties, and whether it came."""
    generator = np.random.default_rng(7)
    p = generator.random(200)
    return p, (generator.random(200) < p**request.param).astype(np.int64)


def test_spiegelhalter_equals_mapie(case):
    p, z = case
    for of in (1, "all"):
        found = spiegelhalter(two_classes(p), z, of=of, alternative="greater")
        np.testing.assert_allclose(found.statistic, spiegelhalter_statistic(z, p), rtol=1e-10)
        # MAPIE's p-value is one-sided: of scores that are worse than claimed.
        np.testing.assert_allclose(found.p_value, spiegelhalter_p_value(z, p), atol=1e-12)
    sides = [spiegelhalter(two_classes(p), z, alternative=a).p_value for a in ("less", "greater")]
    np.testing.assert_allclose(sum(sides), 1, rtol=1e-12)
    both = spiegelhalter(two_classes(p), z)
    np.testing.assert_allclose(both.p_value, 2 * min(sides), rtol=1e-12)
    assert both.num_rows == 200


def test_kolmogorov_smirnov_equals_mapie(case):
    # MAPIE moves the probabilities by 1e-8 of themselves at random, to part ties.
    p, z = case
    found = kolmogorov_smirnov(two_classes(p), z, of=1)
    np.testing.assert_allclose(found.statistic, kolmogorov_smirnov_statistic(z, p), rtol=1e-6)
    np.testing.assert_allclose(found.p_value, kolmogorov_smirnov_p_value(z, p), atol=1e-6)


def test_kuiper_equals_mapie_where_the_sums_are_on_both_sides_of_zero(case):
    p, z = case
    order = np.argsort(p)
    sums = np.cumsum((z - p)[order]) / math.sqrt(np.sum(p * (1 - p)))
    found = kuiper(two_classes(p), z, of=1)
    np.testing.assert_allclose(found.statistic, max(sums.max(), 0) - min(sums.min(), 0), rtol=1e-10)
    if sums.min() <= 0 <= sums.max():
        np.testing.assert_allclose(found.statistic, kuiper_statistic(z, p), rtol=1e-6)
        np.testing.assert_allclose(found.p_value, kuiper_p_value(z, p), atol=1e-6)


def test_range_contains_zero_where_the_sums_start():
    # All sums are positive: MAPIE's range begins with the first of them.
    p, z = np.array([0.1, 0.2, 0.3]), np.ones(3, dtype=int)
    sums = np.cumsum(1 - p) / math.sqrt(np.sum(p * (1 - p)))
    np.testing.assert_allclose(kuiper(two_classes(p), z, of=1).statistic, sums[-1], rtol=1e-12)
    np.testing.assert_allclose(kuiper_statistic(z, p), sums[-1] - sums[0], rtol=1e-6)


def test_spiegelhalter_of_classes_has_the_exact_moments_of_the_brier_score():
    """Mean and variance of the score over all 27 labels of three rows, each with its chance."""
    generator = np.random.default_rng(0)
    probs = generator.dirichlet(np.ones(3), 3)
    every = list(itertools.product(range(3), repeat=3))
    chance_of = np.array([math.prod(probs[np.arange(3), list(y)]) for y in every])
    score = np.array([brier(probs, list(y)) for y in every])
    mean = chance_of @ score
    deviation = math.sqrt(chance_of @ (score - mean) ** 2)
    for y, value in zip(every, score, strict=True):
        found = spiegelhalter(probs, list(y)).statistic
        np.testing.assert_allclose(found, (value - mean) / deviation, rtol=1e-10)


def test_sums_have_the_exact_variance():
    """The last sum over all outcomes of three events has mean 0 and variance 1."""
    p = np.array([0.2, 0.7, 0.9])
    moments = np.zeros(2)
    for z in itertools.product([0, 1], repeat=3):
        chance_of = math.prod(q if hit else 1 - q for q, hit in zip(p, z, strict=True))
        last = np.sum(np.array(z) - p) / math.sqrt(np.sum(p * (1 - p)))
        moments += chance_of * np.array([last, last**2])
        # A single event more has the last sum as its only one, with one probability for all.
    np.testing.assert_allclose(moments, [0, 1], atol=1e-14)
    tied = two_classes([0.3] * 5)
    statistic = kolmogorov_smirnov(tied, [1, 1, 0, 0, 0], of=1).statistic
    np.testing.assert_allclose(statistic, 0.5 / math.sqrt(5 * 0.21), rtol=1e-12)


@pytest.mark.parametrize("x", [0.1, 0.3, 0.7, 1.0, 1.5, 2.5, 4.0])
def test_tails_equal_mapie(x):
    # Another series, of the probability of the complement.
    np.testing.assert_allclose(largest_tail(x), 1 - kolmogorov_smirnov_cdf(x), atol=1e-10)
    np.testing.assert_allclose(range_tail(x), 1 - kuiper_cdf(x), atol=1e-10)


def test_tails_are_precise_where_they_are_small():
    # Leading terms; one minus the complement has nothing left of them.
    np.testing.assert_allclose(largest_tail(9.0), 4 * norm.sf(9), rtol=1e-12)
    np.testing.assert_allclose(range_tail(9.0), 8 * norm.sf(9), rtol=1e-12)
    assert largest_tail(9.0) > 0
    assert largest_tail(math.inf) == range_tail(math.inf) == 0
    assert largest_tail(0.0) == range_tail(0.0) == 1


def test_tails_fall_from_one_to_zero():
    grid = np.linspace(0.05, 6, 300)
    for tail in (largest_tail, range_tail):
        values = np.array([tail(x) for x in grid])
        assert np.all(np.diff(values) <= 1e-14)
        assert values[0] == 1
        assert values[-1] < 1e-7


@EVERY
def test_overconfidence_is_noticed_and_calibration_is_not(test):
    generator = np.random.default_rng(1)
    logits = 2 * generator.normal(size=(2000, 4))
    honest = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    bold = np.exp(2 * logits) / np.exp(2 * logits).sum(-1, keepdims=True)
    labels = (honest.cumsum(-1) < generator.random((2000, 1))).sum(-1)
    for of in ("top", 0, 3):
        assert test(honest, labels, of=of).p_value > 1e-4
        assert test(bold, labels, of=of).p_value < 1e-6
    assert spiegelhalter(bold, labels, alternative="greater").p_value < 1e-12
    assert spiegelhalter(bold, labels, alternative="less").p_value > 1 - 1e-12


@EVERY
def test_order_of_rows_and_ties_do_not_matter(test):
    generator = np.random.default_rng(2)
    p, z = generator.random(300).round(1), generator.integers(2, size=300)
    order = generator.permutation(300)
    for of in ("top", 1):
        a = test(two_classes(p), z, of=of)
        b = test(two_classes(p[order]), z[order], of=of)
        np.testing.assert_allclose([a.statistic, a.p_value], [b.statistic, b.p_value], rtol=1e-10)


@EVERY
def test_top_label_is_the_event_that_it_is_right(test):
    generator = np.random.default_rng(3)
    probs = generator.dirichlet(np.ones(5), 100)
    labels = generator.integers(5, size=100)
    right = (probs.argmax(-1) == labels).astype(int)
    expected = test(two_classes(probs.max(-1)), right, of=1)
    assert test(probs, labels, of="top") == expected


@EVERY
def test_certain_rows_leave_nothing_to_test(test):
    with pytest.warns(UndefinedMetricWarning, match=rf"{test.__name__}\(\): no row of the 2 leav"):
        found = test(np.eye(2), [0, 1])
    assert math.isnan(found.statistic)
    assert math.isnan(found.p_value)
    assert found.num_rows == 2
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        test(np.eye(2), [0, 1])
    assert [warning.filename for warning in caught] == [__file__]


@EVERY
def test_certain_and_wrong_rows_are_refuted(test):
    found = test(np.eye(2), [0, 0], of="top")
    assert found.statistic == math.inf
    assert found.p_value == 0


@CUMULATIVE
def test_certain_rows_beside_uncertain_ones(test):
    found = test([[1.0, 0.0], [0.0, 1.0], [0.75, 0.25]], [0, 1, 1])
    np.testing.assert_allclose(found.statistic, 0.75 / math.sqrt(0.1875), rtol=1e-12)


def test_uniform_rows_have_a_score_without_chance():
    for classes in (2, 3, 7):
        with pytest.warns(UndefinedMetricWarning, match=r"spiegelhalter\(\): no row"):
            found = spiegelhalter(np.full((4, classes), 1 / classes), [0, 1, 0, 1])
        assert math.isnan(found.p_value)


@EVERY
def test_single_row(test):
    found = test([[0.25, 0.75]], [0])
    np.testing.assert_allclose(abs(found.statistic), 0.75 / math.sqrt(0.1875), rtol=1e-12)


@EVERY
def test_predictions_and_tensors(test):
    probs, labels = two_classes([0.2, 0.7, 0.9]), [0, 1, 0]
    expected = test(probs, labels)
    assert test(torch.tensor(probs), torch.tensor(labels)) == expected
    assert test(Predictions(probs[None]), labels) == expected


@EVERY
def test_unknown_events_are_refused(test):
    name = test.__name__
    with pytest.raises(ValueError, match=rf"{name}\(\) needs .*of='top', or the number of a class"):
        test([[0.5, 0.5]], [0], of="bottom")
    with pytest.raises(ValueError, match=rf"{name}\(\) needs of in 0 ... 1 for 2 classes: receiv"):
        test([[0.5, 0.5]], [0], of=2)
    with pytest.raises(TypeError, match=rf"{name}\(\) needs an integer of: received 0.5"):
        test([[0.5, 0.5]], [0], of=0.5)


def test_unknown_alternatives_are_refused():
    with pytest.raises(ValueError, match=r"spiegelhalter\(\) needs alternative='two-sided'"):
        spiegelhalter([[0.5, 0.5]], [0], alternative="both")
