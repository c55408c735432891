"""Selective prediction: by loops over orders and prefixes, torch-uncertainty, identities, ties."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from bayes_sbn.metrics import (
    NormalMixture,
    augrc,
    aurc,
    bootstrap_interval,
    coverage_at_risk,
    e_aurc,
    risk_at_coverage,
    risk_coverage_curve,
)
from bayes_sbn.metrics.selective import curve_of_losses
from bayes_sbn.predictions import Predictions
from tests.metrics.golden_cases import classification

SCALARS = (aurc, e_aurc, augrc, coverage_at_risk, risk_at_coverage)


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray]:
    return classification()


def risks_by_loop(scores, losses) -> list[float]:
    order = sorted(range(len(scores)), key=lambda n: scores[n])
    return [sum(losses[n] for n in order[:k]) / k for k in range(1, len(order) + 1)]


def by_trapezoids(values: np.ndarray) -> float:
    """Over coverages 1/N ... 1 alone, divided by 1 - 1/N."""
    return float(np.sum((values[1:] + values[:-1]) / 2) / (len(values) - 1))


def mean_risks_over_orders(scores, losses) -> np.ndarray:
    """Risks averaged over all orders in which the scores never fall."""
    rows = range(len(scores))
    curves = []
    for order in itertools.permutations(rows):
        ranked = [scores[n] for n in order]
        if ranked == sorted(ranked):
            accepted = np.cumsum([losses[n] for n in order])
            curves.append(accepted / np.arange(1, len(scores) + 1))
    return np.mean(curves, axis=0)


def test_curve_equals_loops(case):
    probs, y = case
    losses = [float(np.argmax(p) != label) for p, label in zip(probs, y, strict=True)]
    risks = risks_by_loop([1 - max(p) for p in probs], losses)
    curve = risk_coverage_curve(probs, y)
    np.testing.assert_allclose(curve.risk, risks, rtol=1e-13)
    np.testing.assert_allclose(curve.coverage, np.arange(1, 41) / 40, rtol=1e-15)
    np.testing.assert_allclose(curve.generalised_risk, curve.risk * curve.coverage, rtol=1e-13)


def test_scalars_equal_loops(case):
    probs, y = case
    losses = [float(np.argmax(p) != label) for p, label in zip(probs, y, strict=True)]
    risks = risks_by_loop([1 - max(p) for p in probs], losses)
    best = risks_by_loop(losses, losses)
    np.testing.assert_allclose(aurc(probs, y), np.mean(risks), rtol=1e-13)
    np.testing.assert_allclose(e_aurc(probs, y), np.mean(risks) - np.mean(best), rtol=1e-12)
    points = [0.0, *(k / 40 * r for k, r in enumerate(risks, start=1))]
    trapezoids = sum((a + b) / 2 / 40 for a, b in itertools.pairwise(points))
    np.testing.assert_allclose(augrc(probs, y), trapezoids, rtol=1e-13)
    for risk in (0.0, 0.01, 0.05, 0.1, 0.16, 0.3, 1.0):
        coverages = [k / 40 for k, r in enumerate(risks, start=1) if r <= risk]
        assert coverage_at_risk(probs, y, risk) == max(coverages, default=0), risk
    for coverage in (0.001, 0.025, 0.07, 0.33, 0.5, 0.8, 0.999, 1.0):
        rows = next(k for k in range(1, 41) if k / 40 >= coverage - 1e-12)
        np.testing.assert_allclose(
            risk_at_coverage(probs, y, coverage), risks[rows - 1], rtol=1e-13
        )


def test_scalars_equal_torch_uncertainty_up_to_stated_conventions(case):
    # torch-uncertainty 0.13.0, torch_uncertainty.metrics.classification, in float64: AURC, AUGRC,
    # CovAtxRisk(0.05 | 0.01 | 0.2), RiskAtxCov(0.8 | 0.33).
    probs, y = case
    rows = 40
    curve = risk_coverage_curve(probs, y)
    # Its areas are by trapezoids over coverages 1/N ... 1 alone, divided by 1 - 1/N.
    for theirs, ours, values in (
        (0.060854115574867286, aurc(probs, y), curve.risk),
        (0.03814102564102564, augrc(probs, y), curve.generalised_risk),
    ):
        trapezoids = by_trapezoids(values)
        np.testing.assert_allclose(trapezoids, theirs, rtol=1e-6)
        # What the conventions differ by is of the order 1/N.
        assert 0 < abs(ours - theirs) < 1 / rows
    assert coverage_at_risk(probs, y, 0.05) == 0.625
    assert coverage_at_risk(probs, y, 0.01) == 0.2
    assert coverage_at_risk(probs, y, 0.2) == 1
    assert risk_at_coverage(probs, y, 0.8) == 0.09375
    np.testing.assert_allclose(risk_at_coverage(probs, y, 0.33), 0.07142857142857142, rtol=1e-14)
    # Where no coverage has so little risk it gives NaN, and we 0: nothing can be accepted.
    assert coverage_at_risk(probs, probs.argmin(axis=1), 0.5) == 0


def test_conventions_agree_for_many_rows():
    probs, y = classification(20_000)
    curve = risk_coverage_curve(probs, y)
    np.testing.assert_allclose(aurc(probs, y), by_trapezoids(curve.risk), rtol=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_ties_are_the_mean_over_their_orders(seed):
    generator = np.random.default_rng(seed)
    scores = generator.integers(3, size=6).astype(float)
    losses = generator.integers(2, size=6).astype(float) if seed % 2 else generator.random(6)
    expected = mean_risks_over_orders(scores, losses)
    curve = curve_of_losses(scores, losses)
    np.testing.assert_allclose(curve.risk, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(curve.generalised_risk, expected * np.arange(1, 7) / 6, rtol=1e-12)


def test_order_of_rows_has_no_effect():
    generator = np.random.default_rng(0)
    probs = generator.multinomial(6, np.ones(3) / 3, 50) / 6  # many ties
    y = generator.integers(3, size=50)
    shuffled = generator.permutation(50)
    for metric in SCALARS:
        np.testing.assert_allclose(
            metric(probs, y), metric(probs[shuffled], y[shuffled]), rtol=1e-12, err_msg=str(metric)
        )


def test_augrc_of_errors_is_a_function_of_accuracy_and_auroc(case):
    probs, y = case
    wrong = probs.argmax(axis=1) != y
    a, area = 1 - wrong.mean(), roc_auc_score(wrong, 1 - probs.max(axis=1))
    expected = (1 - a) * a * (1 - area) + 0.5 * (1 - a) ** 2
    np.testing.assert_allclose(augrc(probs, y), expected, rtol=1e-12)


def test_augrc_is_the_mean_joint_loss_of_two_rows():
    # Half the mean, over pairs of rows drawn with replacement, of the loss of the one that is
    # accepted where the other is the last: ties count half.
    generator = np.random.default_rng(3)
    scores, losses = generator.integers(5, size=30).astype(float), generator.random(30)
    total = sum(
        losses[n] * ((scores[n] < scores[m]) + 0.5 * (scores[n] == scores[m]))
        for n in range(30)
        for m in range(30)
    )
    value = augrc(scores, losses, score=lambda p: p, loss=lambda _, y: y)
    np.testing.assert_allclose(value, total / 900, rtol=1e-12)


def test_e_aurc_is_zero_for_the_best_order_and_least_there():
    generator = np.random.default_rng(1)
    losses = generator.integers(4, size=60) / 3
    given = functools.partial(e_aurc, loss=lambda _, y: y)
    assert given(losses, losses, score=lambda p: p) == 0
    assert given(losses, losses, score=lambda p: p**3) == 0
    # A score that splits rows of the same loss is as good.
    assert given(losses, losses, score=lambda p: p + 1e-9 * np.arange(60)) == 0
    assert given(losses, losses, score=lambda p: -p) > 0.1
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(60)
        assert given(losses, losses, score=lambda p, order=order: order) >= 0


def test_random_scores_have_the_risk_of_all_rows():
    losses = np.random.default_rng(2).random(25)
    curve = curve_of_losses(np.zeros(25), losses)
    np.testing.assert_allclose(curve.risk, np.full(25, losses.mean()), rtol=1e-13)
    np.testing.assert_allclose(curve.generalised_risk[-1], losses.mean(), rtol=1e-13)


def test_no_errors_and_nothing_but_errors():
    probs = np.array([[0.9, 0.1], [0.7, 0.3], [0.8, 0.2]])
    right, wrong = np.zeros(3, int), np.ones(3, int)
    assert (aurc(probs, right), e_aurc(probs, right), augrc(probs, right)) == (0, 0, 0)
    assert (coverage_at_risk(probs, right, 0), risk_at_coverage(probs, right)) == (1, 0)
    assert (aurc(probs, wrong), e_aurc(probs, wrong), augrc(probs, wrong)) == (1, 0, 0.5)
    assert (coverage_at_risk(probs, wrong, 0.99), risk_at_coverage(probs, wrong)) == (0, 1)


def test_one_row():
    assert aurc([[0.9, 0.1]], [1]) == 1
    assert augrc([[0.9, 0.1]], [1]) == 0.5
    assert risk_at_coverage([[0.9, 0.1]], [1], 1e-3) == 1


def test_coverages_that_rounding_would_pass_by():
    # 0.07 * 100 is 7.000000000000001: still seven rows.
    losses = np.zeros(100)
    losses[7] = 1
    value = risk_at_coverage(np.arange(100.0), losses, 0.07, score=lambda p: p, loss=lambda _, y: y)
    assert value == 0
    assert math.ceil(0.07 * 100) == 8
    # Three errors among the first thirty are a risk of 0.1 exactly.
    losses = np.zeros(40)
    losses[[10, 20, 29]] = 1
    losses[30:] = 1
    reached = coverage_at_risk(np.arange(40.0), losses, 0.1, score=lambda p: p, loss=lambda _, y: y)
    assert reached == 0.75


def test_scores_of_draws(case):
    probs, y = case
    generator = np.random.default_rng(4)
    draws = np.stack([generator.permutation(probs, axis=1) for _ in range(3)] + [probs] * 6)
    pred = Predictions(draws)
    votes = draws.argmax(axis=-1)
    for score in ("max_prob", "entropy", "epistemic", "variation_ratio"):
        losses = (pred.mean.argmax(axis=1) != y).astype(float)
        by_function = {
            "max_prob": 1 - pred.mean.max(axis=1),
            "entropy": pred.entropy,
            "epistemic": pred.epistemic,
            "variation_ratio": [1 - np.bincount(v).max() / 9 for v in votes.T],
        }[score]
        expected = curve_of_losses(np.round(by_function, 12), losses).risk
        found = risk_coverage_curve(pred, y, score=score).risk
        np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg=score)


def test_losses_of_real_targets():
    pred = NormalMixture([0.0, 0.0, 0.0], [1.0, 2.0, 3.0])
    curve = risk_coverage_curve(
        pred,
        [0.5, -2.0, 9.0],
        score=lambda p: p.scale_per_draw[0],
        loss=lambda p, y: (y - p.mean_per_draw[0]) ** 2,
    )
    np.testing.assert_allclose(curve.risk, [0.25, (0.25 + 4) / 2, (0.25 + 4 + 81) / 3])


def test_tensors_and_lists(case):
    probs, y = case
    for metric in SCALARS:
        assert metric(torch.tensor(probs), torch.tensor(y)) == metric(probs, y)
        assert metric(probs.tolist(), y.tolist()) == metric(probs, y)


def test_intervals_by_resampling(case):
    for metric in SCALARS:
        found = bootstrap_interval(metric, *case, bootstrap=99)
        assert found.low <= found.value <= found.high


@pytest.mark.parametrize("metric", [*SCALARS, risk_coverage_curve])
def test_bad_input_is_named(metric, case):
    probs, y = case
    call = rf"^{metric.__name__}\(\)"
    with pytest.raises(ValueError, match=f"{call} needs one label a row"):
        metric(probs, y[:-1])
    with pytest.raises(ValueError, match=f"{call} needs finite probabilities"):
        metric(np.where(np.arange(3) == 1, np.nan, probs), y)
    with pytest.raises(ValueError, match=f"{call} needs a score among"):
        metric(probs, y, score="confidence")
    with pytest.raises(ValueError, match=rf"{call} needs loss\(pred, y\) of shape"):
        metric(probs, y, loss=lambda p, y: p)
    with pytest.raises(ValueError, match=f"{call} needs finite losses"):
        metric(probs, y, loss=lambda p, y: np.full(40, np.inf))
    with pytest.raises(ValueError, match="row 0 is NaN"):
        metric(probs, y, loss=lambda p, y: np.full(40, np.nan))
    with pytest.raises(ValueError, match=f"{call} needs a score and a loss for each row"):
        metric(probs, y, score=lambda p: np.zeros(39))
    with pytest.raises(ValueError, match="at least one entry along every axis"):
        metric(np.zeros((0, 3)), [])


@pytest.mark.parametrize("risk", [-0.1, float("nan")])
def test_risks_below_zero_are_refused(case, risk):
    with pytest.raises(ValueError, match=r"coverage_at_risk\(\) needs a risk of at least 0"):
        coverage_at_risk(*case, risk)


@pytest.mark.parametrize("coverage", [0, 1.01, float("nan")])
def test_coverages_outside_are_refused(case, coverage):
    with pytest.raises(ValueError, match=r"risk_at_coverage\(\) needs a coverage in \(0, 1\]"):
        risk_at_coverage(*case, coverage)
