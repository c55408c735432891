"""Intervals of errors that chance moves upwards: their definition by loops, what they cover."""

import functools
import math

import numpy as np
import pytest
from scipy import stats

from bayes_sbn import metrics
from bayes_sbn.metrics import (
    NormalMixture,
    bootstrap_interval,
    compare,
    debiased_rmsce,
    ece,
    mce,
    report,
    rmsce,
    smooth_ece,
)
from bayes_sbn.metrics.bootstrap import usual_ends
from bayes_sbn.metrics.calibration import ece_of_sums, mce_of_sums, rmsce_of_sums
from bayes_sbn.metrics.properties import properties_of
from tests import chance

OF_CLASSES = [
    ece,
    functools.partial(ece, kind="classwise", bins="mass", num_bins=5),
    mce,
    rmsce,
    debiased_rmsce,
    functools.partial(debiased_rmsce, squared=True),
    smooth_ece,
    metrics.corp_miscalibration,
]


def rows(strength: float, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of three classes, labels from their law, and its power: calibrated for 1."""
    generator = np.random.default_rng(seed)
    true = generator.dirichlet(np.ones(3), count)
    labels = (true.cumsum(axis=1) < generator.random((count, 1))).sum(axis=1)
    return true**strength / (true**strength).sum(axis=1, keepdims=True), labels


def redraws(seed: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])


def by_definition(value: float, resampled: list[float], by_chance: list[float]) -> list[float]:
    """Both ends of level 0.9 of 39 resamples and 39 redraws."""
    resampled, by_chance = sorted(resampled), sorted(by_chance)
    most = max(resampled[37] - resampled[19], by_chance[37])
    return [min(max(value - most, 0), value), value + resampled[19] - resampled[1]]


@pytest.mark.parametrize("strength", [1.0, 3.0])
@pytest.mark.parametrize("metric", OF_CLASSES)
def test_interval_of_labels_equals_its_definition(metric, strength):
    probs, labels = rows(strength, 60)
    resamples = np.random.default_rng(7).integers(60, size=(39, 60))
    generator = redraws(7)
    redrawn = [
        [
            int(np.searchsorted(p.cumsum()[:-1], u, side="right"))
            for p, u in zip(probs, generator.random(60), strict=True)
        ]
        for _ in range(39)
    ]
    found = bootstrap_interval(metric, probs, labels, bootstrap=39, level=0.9, seed=7)
    expected = by_definition(
        metric(probs, labels),
        [metric(probs[r], labels[r]) for r in resamples],
        [metric(probs, fresh) for fresh in redrawn],
    )
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-9, atol=1e-12)
    assert found.method == "bounded bias"


def test_chance_adds_to_discrimination_what_it_adds_to_miscalibration():
    probs, labels = rows(1.0, 60)
    for options in ({}, {"score": "nll", "kind": "top"}):
        metric = functools.partial(metrics.corp_discrimination, **options)
        other = functools.partial(metrics.corp_miscalibration, **options)
        generator = redraws(0)
        redrawn = [
            (generator.random((60, 1)) >= probs.cumsum(axis=1)[:, :-1]).sum(axis=1)
            for _ in range(39)
        ]
        resamples = np.random.default_rng(0).integers(60, size=(39, 60))
        found = bootstrap_interval(metric, probs, labels, bootstrap=39, level=0.9)
        expected = by_definition(
            metric(probs, labels),
            [metric(probs[r], labels[r]) for r in resamples],
            [other(probs, fresh) for fresh in redrawn],
        )
        np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("metric", [metrics.ence, metrics.uce, metrics.regression_mace])
def test_interval_of_real_targets_equals_its_definition(metric):
    generator = np.random.default_rng(1)
    mean, scale = generator.normal(size=(3, 40)), generator.uniform(0.5, 2, (3, 40))
    y = generator.normal(size=40)
    generator, by_chance = redraws(5), []
    for _ in range(39):
        if metric is metrics.regression_mace:
            law = NormalMixture(np.zeros(40), 1.0)
            by_chance.append(metric(law, generator.standard_normal(40)))
        else:
            draw, normal = generator.integers(3, size=40), generator.standard_normal(40)
            fresh = [mean[d, n] + scale[d, n] * normal[n] for n, d in enumerate(draw)]
            by_chance.append(metric(NormalMixture(mean, scale), fresh))
    resamples = np.random.default_rng(5).integers(40, size=(39, 40))
    law = NormalMixture(mean, scale)
    found = bootstrap_interval(metric, law, y, bootstrap=39, level=0.9, seed=5)
    values = [metric(NormalMixture(mean[:, r], scale[:, r]), y[r]) for r in resamples]
    expected = by_definition(metric(law, y), values, by_chance)
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-9, atol=1e-12)


def test_report_has_the_intervals_of_the_metrics_by_themselves():
    for strength in (1.0, 3.0):
        probs, labels = rows(strength, 80, seed=3)
        for row in report(probs, labels, bootstrap=39, level=0.9, seed=4):
            metric = getattr(metrics, row.metric)
            found = bootstrap_interval(metric, probs, labels, bootstrap=39, level=0.9, seed=4)
            np.testing.assert_allclose(
                [row.value, row.low, row.high], [found.value, found.low, found.high], atol=1e-12
            )
    generator = np.random.default_rng(2)
    law = NormalMixture(generator.normal(size=(4, 50)), 0.3)
    y = generator.normal(size=50)
    row = report(law, y, bootstrap=39, level=0.9, seed=4)["miscalibration_area"]
    found = bootstrap_interval(metrics.miscalibration_area, law, y, bootstrap=39, level=0.9, seed=4)
    np.testing.assert_allclose([row.low, row.high], [found.low, found.high], atol=1e-12)
    assert row.low > 0


# Rows in 15 bins, of the same probability within a bin: every error of the population is known, and
# resampling is that of the counts of right and of wrong rows in each bin.
CONFIDENCE = np.linspace(0.1, 0.95, 15)


def errors(right: np.ndarray, wrong: np.ndarray) -> dict[object, np.ndarray]:
    """The errors of counts (..., bins)."""
    count = right + wrong
    gap = CONFIDENCE * count - right
    several = np.maximum(count, 2)
    by_chance = right * (several - right) / several**2 / (several - 1)
    squares = np.where(count > 1, count * ((gap / several) ** 2 - by_chance), 0)
    debiased = np.sqrt(np.maximum(squares.sum(axis=-1) / count.sum(axis=-1), 0))
    found = {ece: ece_of_sums, mce: mce_of_sums, rmsce: rmsce_of_sums}
    return {
        **{metric: of_sums(gap, count) for metric, of_sums in found.items()},
        debiased_rmsce: debiased,
    }


def test_errors_of_counts_are_those_of_rows():
    generator = np.random.default_rng(0)
    right, wrong = generator.integers(1, 6, size=(2, 15))
    confidence = np.repeat(CONFIDENCE, right + wrong)
    label = np.concatenate([[0] * r + [1] * w for r, w in zip(right, wrong, strict=True)])
    # Two more classes share the rest, so that the first is the most probable where it need not be.
    probs = np.stack([confidence, *[(1 - confidence) / 20] * 20], axis=1)
    for metric, value in errors(right, wrong).items():
        bins = {"num_bins": 200} | ({"bins": "width"} if metric is debiased_rmsce else {})
        np.testing.assert_allclose(metric(probs, label.astype(int), **bins), value, rtol=1e-12)


# How many of 200 intervals of level 0.95 hold the error of the population: the counts of these
# seeds, nominally 190.
COVERED = {
    0.0: {"ece": 197, "mce": 196, "rmsce": 195, "debiased_rmsce": 197},
    0.02: {"ece": 200, "mce": 195, "rmsce": 200, "debiased_rmsce": 200},
    0.1: {"ece": 197, "mce": 196, "rmsce": 200, "debiased_rmsce": 195},
}


@pytest.mark.parametrize("gap", [0.0, 0.02, 0.1])
def test_intervals_cover_the_population(gap):
    generator = chance.numpy_generator(f"bounded bias/{gap}")
    num_rows, resamples, rate = 600, 199, CONFIDENCE - gap
    covered = dict.fromkeys((ece, mce, rmsce, debiased_rmsce), 0)
    percentile = dict(covered)
    for _ in range(200):
        law = np.concatenate([rate, 1 - rate]) / 15
        right, wrong = np.split(generator.multinomial(num_rows, law), 2)
        again = generator.multinomial(
            num_rows, np.concatenate([right, wrong]) / num_rows, size=resamples
        )
        redrawn = generator.binomial(right + wrong, CONFIDENCE, size=(resamples, 15))
        values = errors(right, wrong)
        resampled = errors(again[:, :15], again[:, 15:])
        by_chance = errors(redrawn, right + wrong - redrawn)
        for metric, value in values.items():
            low, high, _ = usual_ends(
                "test",
                float(value),
                resampled[metric],
                0.95,
                properties=properties_of(metric),
                chance=by_chance[metric],
            )
            assert low <= value <= high
            covered[metric] += low <= gap + 1e-12 and gap <= high
            percentile[metric] += np.sort(resampled[metric])[4] <= gap
    assert {metric.__name__: count for metric, count in covered.items()} == COVERED[gap]
    # Percentile intervals lie above the truth nearly always where it is small.
    assert percentile[ece] <= 200 * (gap == 0.1)


def test_calibrated_predictions_may_have_an_error_of_zero():
    """0 is outside of an interval of level 0.8 with probability 0.1 or less."""
    outside = 0
    for seed in range(120):
        probs, labels = rows(1.0, 80, seed)
        found = bootstrap_interval(ece, probs, labels, bootstrap=19, level=0.8, seed=seed)
        outside += found.low > 0
    # The 18th of 19 redraws is exceeded with probability 2 / 20, if all 20 are exchangeable.
    chance.BUDGET.spend()
    assert stats.binomtest(outside, 120, 0.1, alternative="greater").pvalue > chance.FALSE_ALARM
    assert outside > 0


def test_value_below_the_least_stays_in_the_interval():
    """The debiased square is negative at times; the error of the population is not."""
    square = functools.partial(debiased_rmsce, squared=True)
    for seed in range(20):
        probs, labels = rows(1.0, 100, seed)
        found = bootstrap_interval(square, probs, labels, bootstrap=39, level=0.9)
        if found.value < 0:
            break
    assert found.low == found.value < 0 <= found.high


def test_a_metric_without_a_finite_value_has_no_interval():
    law = NormalMixture([[0.0, 0.0, 0.0]], [[0.0, 1.0, 1.0]])
    with pytest.warns(metrics.UndefinedMetricWarning, match="no interval of a value of inf"):
        found = bootstrap_interval(metrics.ence, law, [1.0, 0.5, 0.0], bootstrap=39)
    assert math.isnan(found.low)


def test_comparison_takes_the_bias_between_none_and_that_of_resamples():
    probs, labels = rows(1.0, 60)
    other, _ = rows(2.0, 60)
    found = compare(ece, probs, other, labels, bootstrap=39, level=0.9, seed=2)
    resamples = np.random.default_rng(2).integers(60, size=(39, 60))
    d = ece(probs, labels) - ece(other, labels)
    values = sorted(ece(probs[r], labels[r]) - ece(other[r], labels[r]) for r in resamples)
    m = values[19]
    expected = [d - (values[37] - min(m, d)), d + max(m, d) - values[1]]
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-9, atol=1e-12)
    assert found.low < found.difference < found.high
    assert found.method == "bounded bias"
    basic = compare(ece, probs, other, labels, bootstrap=39, level=0.9, seed=2, method="basic")
    np.testing.assert_allclose(
        [basic.low, basic.high], [2 * d - values[37], 2 * d - values[1]], atol=1e-12
    )
