"""Bootstrap intervals and comparisons: their definition by loops, their properties, bad input."""

import functools
import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from bayes_sbn.metrics import (
    UndefinedMetricWarning,
    accuracy,
    bootstrap_interval,
    brier,
    compare,
    ece,
    mce,
    nll,
    rmsce,
)
from bayes_sbn.metrics.properties import properties_of
from bayes_sbn.predictions import Predictions
from tests import chance


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(5)
    true = generator.dirichlet(np.ones(3), 60)
    labels = (true.cumsum(axis=1) < generator.random((60, 1))).sum(axis=1)
    return true**1.5 / (true**1.5).sum(axis=1, keepdims=True), labels


def by_loop(metric, pred: np.ndarray, y: np.ndarray, bootstrap: int, seed: int) -> list[float]:
    resamples = np.random.default_rng(seed).integers(len(y), size=(bootstrap, len(y)))
    return [metric(pred[rows], y[rows]) for rows in resamples]


@pytest.mark.parametrize("metric", [accuracy, nll, brier, lambda p, y: nll(p, y) ** 2])
def test_percentile_interval_is_two_order_statistics(case, metric):
    found = bootstrap_interval(metric, *case, bootstrap=99, level=0.9, seed=7)
    values = sorted(by_loop(metric, *case, 99, 7))
    np.testing.assert_allclose([found.low, found.high], [values[4], values[94]], rtol=1e-12)
    np.testing.assert_allclose(found.value, metric(*case), rtol=1e-14)
    assert (found.method, found.level, found.bootstrap, found.seed) == ("percentile", 0.9, 99, 7)


@pytest.mark.parametrize("metric", [ece, mce, rmsce, functools.partial(ece, num_bins=4)])
def test_named_methods_are_the_textbooks(case, metric):
    values = sorted(by_loop(metric, *case, 99, 7))
    value = metric(*case)
    low, high = 2 * value - values[94], 2 * value - values[4]
    named = bootstrap_interval(metric, *case, bootstrap=99, level=0.9, seed=7, method="basic")
    np.testing.assert_allclose([named.low, named.high], [low, high], rtol=1e-9, atol=1e-12)
    percentile = bootstrap_interval(
        metric, *case, bootstrap=99, level=0.9, seed=7, method="percentile"
    )
    assert (percentile.low, percentile.high) == (values[4], values[94])


def test_row_losses_and_reevaluation_agree(case, monkeypatch):
    for metric in (accuracy, nll, brier):
        fast = bootstrap_interval(metric, *case, bootstrap=200)
        slow = bootstrap_interval(lambda p, y, m=metric: m(p, y), *case, bootstrap=200)
        np.testing.assert_allclose([fast.low, fast.high], [slow.low, slow.high], rtol=1e-12)
        assert np.mean(properties_of(metric).row_losses(*case)) == metric(*case)
    monkeypatch.setattr("bayes_sbn.metrics.resampling._BLOCK", 60 * 7)
    in_blocks = bootstrap_interval(lambda p, y: nll(p, y), *case, bootstrap=200)
    whole = bootstrap_interval(nll, *case, bootstrap=200)
    np.testing.assert_allclose([in_blocks.low, in_blocks.high], [whole.low, whole.high], rtol=1e-12)


def test_interval_of_a_mean_covers_it():
    """Of 1500 percentile intervals of level 0.9 for a share of 0.7 on 150 rows."""
    generator = chance.numpy_generator("bootstrap coverage")
    covered = 0
    for repetition in range(1500):
        y = (generator.random(150) < 0.3).astype(np.int64)
        found = bootstrap_interval(
            accuracy, np.tile([0.7, 0.3], (150, 1)), y, bootstrap=199, level=0.9, seed=repetition
        )
        covered += found.low <= 0.7 <= found.high
    # 150 rows: the binomial's steps and the bootstrap's error leave a coverage of 0.89.
    chance.assert_count(covered, 1500, 0.89, detects=0.08)


def test_interval_reads_predictions_arrays_tensors_and_what_takes_rows(case):
    probs, labels = case
    expected = bootstrap_interval(ece, probs, labels, bootstrap=50, level=0.8)

    class Taker:
        def __init__(self, values: np.ndarray) -> None:
            self.values = values

        def take(self, rows: np.ndarray) -> "Taker":
            return Taker(self.values[rows])

    for pred in (Predictions(probs[None]), torch.tensor(probs), probs.tolist()):
        assert bootstrap_interval(ece, pred, labels, bootstrap=50, level=0.8) == expected
    own = bootstrap_interval(
        lambda p, y: ece(p.values, y), Taker(probs), labels, bootstrap=50, level=0.8, method="basic"
    )
    basic = bootstrap_interval(ece, probs, labels, bootstrap=50, level=0.8, method="basic")
    assert own.low == basic.low != expected.low
    draws = np.stack([probs, probs])
    by_axis = bootstrap_interval(
        lambda p, y: ece(p[0], y), draws, labels, bootstrap=50, level=0.8, method="basic", axis=1
    )
    assert by_axis.low == basic.low


def test_interval_of_draws_resamples_every_draw():
    generator = np.random.default_rng(0)
    draws = generator.dirichlet(np.ones(3), (4, 30))
    labels = generator.integers(3, size=30)

    def spread(pred, y):
        return float(pred.probs_per_draw.std(axis=0).mean())

    found = bootstrap_interval(spread, Predictions(draws), labels, bootstrap=99, level=0.9, seed=3)
    rows = np.random.default_rng(3).integers(30, size=(99, 30))
    values = np.sort([draws[:, r].std(axis=0).mean() for r in rows])
    np.testing.assert_allclose([found.low, found.high], values[[4, 94]], rtol=1e-12)
    assert len(Predictions(draws)) == 30


def test_infinite_losses_make_infinite_ends_not_nan(case):
    probs, labels = case[0].copy(), case[1].copy()
    probs[0], labels[0] = [1, 0, 0], 1
    found = bootstrap_interval(nll, probs, labels)
    assert (found.value, found.high) == (math.inf, math.inf)
    assert math.isfinite(found.low)
    slow = bootstrap_interval(lambda p, y: nll(p, y), probs, labels)
    assert (slow.high, slow.undefined) == (math.inf, 0)
    np.testing.assert_allclose(slow.low, found.low, rtol=1e-12)
    with pytest.warns(UndefinedMetricWarning, match=r"bootstrap_interval\(\): no interval of a"):
        assert math.isnan(bootstrap_interval(nll, probs, labels, method="basic").low)


def auroc(pred: np.ndarray, y: np.ndarray) -> float:
    if len(set(y.tolist())) < 2:
        warnings.warn("one class", UndefinedMetricWarning, stacklevel=2)
        return math.nan
    return float(roc_auc_score(y, pred[:, 1]))


def test_undefined_resamples_are_left_out_and_counted():
    probs = np.linspace(0.1, 0.9, 12)[:, None] * [-1, 1] + [1, 0]
    labels = np.array([0] * 11 + [1])
    found = bootstrap_interval(auroc, probs, labels)
    # A resample misses the one row of class 1 with probability (11/12)^12 = 0.352.
    chance.assert_count(found.undefined, 1000, (11 / 12) ** 12, detects=0.16)
    assert (found.value, found.high) == (1, 1)
    with pytest.warns(UndefinedMetricWarning, match="nan with 0 of 1000 resamples"):
        nothing = bootstrap_interval(lambda p, y: math.nan, probs, labels)
    assert math.isnan(nothing.low)
    assert nothing.undefined == 1000


def test_comparison_is_paired(case):
    probs, labels = case
    other = probs**0.5 / (probs**0.5).sum(axis=1, keepdims=True)
    found = compare(nll, probs, other, labels, bootstrap=99, level=0.9, seed=2)
    a, b = (np.array(by_loop(nll, p, labels, 99, 2)) for p in (probs, other))
    differences = np.sort(a - b)
    np.testing.assert_allclose([found.low, found.high], differences[[4, 94]], rtol=1e-9)
    np.testing.assert_allclose(found.difference, nll(probs, labels) - nll(other, labels))
    assert found.share_a_better == np.mean(a < b)
    assert 0 < found.share_a_better < 1
    width = found.high - found.low
    assert width < np.ptp(np.sort(a)[[4, 94]]) + np.ptp(np.sort(b)[[4, 94]])


def test_comparison_knows_which_way_is_better(case):
    probs, labels = case
    perfect = np.eye(3)[labels]
    for metric in (accuracy, nll, brier, ece):
        found = compare(metric, perfect, probs, labels, bootstrap=50)
        assert found.share_a_better > 0.99
        assert compare(metric, probs, perfect, labels, bootstrap=50).share_a_better < 0.01
    assert compare(accuracy, perfect, probs, labels).better == "greater"
    mine = compare(lambda p, y: -brier(p, y), perfect, probs, labels, better="greater")
    assert mine.share_a_better == 1
    with pytest.raises(ValueError, match=r"compare\(\) does not know .*Write better='less'"):
        compare(lambda p, y: 0.0, probs, probs, labels)
    with pytest.raises(ValueError, match=r"better='less' or better='greater': received 'more'"):
        compare(nll, probs, probs, labels, better="more")


def test_comparison_with_itself_is_a_tie(case):
    for metric in (nll, ece, lambda p, y: nll(p, y)):
        found = compare(metric, case[0], *case, better="less")
        assert (found.difference, found.low, found.high) == (0, 0, 0)
        assert found.share_a_better == 0.5
    assert "the first is better on 50.0 % of the resamples" in str(found)


def test_comparison_of_infinite_losses_counts_ties(case):
    probs = np.tile([1.0, 0, 0], (60, 1))
    with pytest.warns(UndefinedMetricWarning, match=r"compare\(\): no interval"):
        found = compare(nll, probs, probs, np.ones(60, dtype=int))
    assert found.share_a_better == 0.5
    assert math.isnan(found.difference)
    assert found.undefined == 1000


def test_intervals_are_functions_of_their_seed(case):
    assert bootstrap_interval(nll, *case) == bootstrap_interval(nll, *case)
    assert bootstrap_interval(nll, *case) != bootstrap_interval(nll, *case, seed=1)


def test_one_row_is_its_own_resample():
    found = bootstrap_interval(brier, [[0.75, 0.25]], [0])
    assert found.low == found.value == found.high == 0.125
    assert str(found) == "0.1250 [0.1250, 0.1250]"


def test_bootstrap_refuses_what_it_cannot_resample(case):
    probs, labels = case
    with pytest.raises(ValueError, match=r"nll\(\) needs at least one entry"):
        bootstrap_interval(nll, np.empty((0, 3)), [])
    with pytest.raises(ValueError, match=r"at least 39 resamples .*received bootstrap=38"):
        bootstrap_interval(nll, probs, labels, bootstrap=38)
    with pytest.raises(TypeError, match=r"compare\(\) needs an integer number of resamples"):
        compare(nll, probs, probs, labels, bootstrap=1e3)
    with pytest.raises(ValueError, match="level strictly between 0 and 1"):
        bootstrap_interval(nll, probs, labels, level=95)
    with pytest.raises(ValueError, match="method='percentile' or method='basic': received 'bca'"):
        bootstrap_interval(nll, probs, labels, method="bca")
    with pytest.raises(TypeError, match=r"needs a metric to call: received 'nll'"):
        bootstrap_interval("nll", probs, labels)
    with pytest.raises(TypeError, match=r"a metric that gives a number: <lambda> gave .*ndarray"):
        bootstrap_interval(lambda p, y: p, probs, labels)
    with pytest.raises(ValueError, match=r"rows along axis 0.*received shape \(2, 60, 3\).*axis=1"):
        bootstrap_interval(lambda p, y: 0.0, np.stack([probs, probs]), labels)
    with pytest.raises(TypeError, match=r"rows it can take: received a object.*take\(rows\)"):
        bootstrap_interval(lambda p, y: 0.0, object(), labels)
    with pytest.raises(AttributeError, match="resampled rows has no 'colour'"):
        bootstrap_interval(
            lambda p, y: len(p.colour) if isinstance(p, Rows) else p.colour, Rows(), labels
        )


class Rows:
    """Class probabilities without a method that takes rows."""

    probs_per_draw = np.full((1, 60, 2), 0.5)
    mean = probs_per_draw[0]
    colour = ""
