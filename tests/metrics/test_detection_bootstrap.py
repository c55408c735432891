"""Intervals and comparisons of detection: their definition by loops, coverage, bad input."""

import functools

import numpy as np
import pytest
import torch
from scipy import stats

from bayes_sbn.metrics import (
    UndefinedMetricWarning,
    bootstrap_interval,
    compare,
    compare_detection,
    detection_aupr,
    detection_auroc,
    detection_interval,
    fpr95,
)
from bayes_sbn.metrics.properties import properties_of
from tests import chance

METRICS = [detection_auroc, fpr95, functools.partial(detection_aupr, positive="in")]


@pytest.fixture(scope="module")
def scores() -> tuple[np.ndarray, np.ndarray]:
    """Scores in tenths, so that some are tied; more rows inside."""
    generator = np.random.default_rng(0)
    return np.round(generator.normal(size=50), 1), np.round(generator.normal(1, 1, size=30), 1)


def resamples(bootstrap: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(seed)
    return [
        (generator.integers(50, size=50), generator.integers(30, size=30)) for _ in range(bootstrap)
    ]


@pytest.mark.parametrize("metric", METRICS)
def test_interval_is_two_order_statistics_of_both_sides_resampled(scores, metric):
    inside, outside = scores
    found = detection_interval(metric, inside, outside, bootstrap=99, level=0.9, seed=5)
    values = sorted(metric(inside[i], outside[o]) for i, o in resamples(99, 5))
    assert (found.low, found.high) == (values[4], values[94])
    assert found.value == metric(inside, outside)
    assert (found.method, found.bootstrap, found.undefined, found.seed) == ("percentile", 99, 0, 5)
    assert found == detection_interval(
        metric, torch.tensor(inside), torch.tensor(outside), bootstrap=99, level=0.9, seed=5
    )


@pytest.mark.parametrize("metric", METRICS)
def test_comparison_is_of_the_same_resamples(scores, metric):
    inside, outside = scores
    generator = np.random.default_rng(1)
    other = inside + generator.normal(size=50), outside + generator.normal(size=30)
    found = compare_detection(metric, scores, other, bootstrap=99, level=0.9, seed=5)
    a = np.array([metric(inside[i], outside[o]) for i, o in resamples(99, 5)])
    b = np.array([metric(other[0][i], other[1][o]) for i, o in resamples(99, 5)])
    differences = np.sort(a - b)
    assert (found.low, found.high) == (differences[4], differences[94])
    assert found.value_a == metric(*scores)
    assert found.value_b == metric(*other)
    assert found.difference == found.value_a - found.value_b
    wins = a < b if found.better == "less" else a > b
    assert found.share_a_better == np.mean(wins + 0.5 * (a == b))
    assert found.better == properties_of(metric).better


def test_a_score_beside_itself_differs_by_nothing(scores):
    found = compare_detection(detection_auroc, scores, scores, bootstrap=99)
    assert (found.difference, found.low, found.high, found.share_a_better) == (0, 0, 0, 0.5)


def test_which_way_is_better():
    assert properties_of(detection_auroc).better == "greater"
    assert properties_of(detection_aupr).better == "greater"
    assert properties_of(fpr95).better == "less"


def test_interval_covers_the_areas_of_the_population():
    # Scores N(0, 1) inside and N(1, 1) outside: the area is Phi(1 / sqrt 2).  A percentile
    # interval of 40 + 40 rows covers a little less often than its level says.
    area = stats.norm.cdf(1 / np.sqrt(2))
    generator = chance.numpy_generator("coverage of detection_interval")
    covered = 0
    for _ in range(600):
        inside, outside = generator.normal(size=40), generator.normal(1, 1, size=40)
        found = detection_interval(detection_auroc, inside, outside, bootstrap=99, level=0.9)
        covered += found.low <= area <= found.high
    chance.assert_count(covered, 600, 0.88, detects=0.15)


def test_resamples_on_which_a_metric_is_undefined_are_counted(scores):
    def mean_of_high_scores(inside, outside):
        return float(np.mean(outside[outside > 3])) if np.any(outside > 3) else float("nan")

    inside, outside = scores
    outside = np.append(outside[outside < 3][:29], 4.0)
    found = detection_interval(mean_of_high_scores, inside[:50], outside, bootstrap=199, level=0.9)
    assert 30 < found.undefined < 120
    assert (found.low, found.high) == (4, 4)
    with pytest.warns(UndefinedMetricWarning, match="no interval of a value of nan"):
        none = detection_interval(lambda a, b: float("nan"), inside, outside, bootstrap=99)
    assert np.isnan(none.low)


@pytest.mark.parametrize("metric", METRICS)
def test_rows_of_two_sides_are_not_resampled_as_pairs(metric):
    # With as many rows on both sides nothing else would notice.
    sides = np.arange(4.0), np.arange(4.0)
    with pytest.raises(TypeError, match=r"two sets of rows. Write detection_interval\(metric"):
        bootstrap_interval(metric, *sides)
    with pytest.raises(TypeError, match=r"compare_detection\(\.\.\.\) for two scores"):
        compare(metric, sides[0], *sides)


def test_bad_input_is_named(scores):
    inside, outside = scores
    with pytest.raises(
        ValueError, match=r"detection_interval\(\) needs scores of rows from inside"
    ):
        detection_interval(fpr95, [], outside)
    with pytest.raises(ValueError, match="row 0 is NaN"):
        detection_interval(fpr95, inside, outside * np.nan)
    with pytest.raises(ValueError, match="at least 39 resamples"):
        detection_interval(fpr95, inside, outside, bootstrap=9)
    with pytest.raises(ValueError, match="received 50 and 49 scores of rows from inside"):
        compare_detection(fpr95, scores, (inside[:-1], outside))
    with pytest.raises(TypeError, match=r"compare_detection\(\) needs scores of both sides"):
        compare_detection(fpr95, inside, scores)
    with pytest.raises(ValueError, match="does not know which way <lambda> is better"):
        compare_detection(lambda a, b: 0.0, scores, scores)
    with pytest.raises(ValueError, match="better='less' or better='greater': received 'more'"):
        compare_detection(fpr95, scores, scores, better="more")
