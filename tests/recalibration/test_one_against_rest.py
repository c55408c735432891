"""Beta, isotonic and histogram curves: against scikit-learn, scipy, netcal and loops."""

import numpy as np
import pytest
from scipy import optimize
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from bayes_sbn.predictions import Predictions
from bayes_sbn.recalibration import (
    BetaCalibration,
    HistogramBinning,
    IsotonicCalibration,
    RecalibrationWarning,
)
from bayes_sbn.recalibration.beta import beta_curve
from bayes_sbn.recalibration.histogram import equal_mass_edges
from tests.recalibration.class_cases import ensemble
from tests.recalibration.test_temperature import scikit_learn


@pytest.fixture(params=[2, 3, 10])
def case(request) -> tuple[Predictions, np.ndarray]:
    return ensemble(1500, request.param, seed=request.param)


# Isotonic.


def test_isotonic_equals_scikit_learn(case):
    pred, y = case
    theirs = scikit_learn("isotonic", pred, y)
    calibration = IsotonicCalibration().fit(pred, y)
    np.testing.assert_allclose(
        calibration(pred).mean, theirs.predict_proba(pred.mean), rtol=0, atol=1e-12
    )
    other, _ = ensemble(500, pred.shape[-1], seed=99, sharpness=5.0)  # beyond the fitted ends too
    np.testing.assert_allclose(
        calibration(other).mean, theirs.predict_proba(other.mean), rtol=0, atol=1e-12
    )


def test_isotonic_of_ties_is_that_of_their_means():
    generator = np.random.default_rng(0)
    p = generator.integers(1, 12, size=400) / 12
    y = (generator.random(400) < p**2).astype(int)
    calibration = IsotonicCalibration().fit(np.stack([1 - p, p], -1), y)
    x, value = calibration.curve(1)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(p, y)
    np.testing.assert_allclose(np.interp(np.unique(p), x, value), theirs.predict(np.unique(p)))
    assert len(x) <= 11


def test_isotonic_curve_is_the_best_of_its_kind():
    # Min-max formula: the value is max over starts below of min over ends above of the mean.
    generator = np.random.default_rng(1)
    p = np.sort(generator.random(200))
    z = (generator.random(200) < 0.5 * p + 0.2).astype(float)
    x, value = IsotonicCalibration().fit(np.stack([1 - p, p], -1), z.astype(int)).curve(1)
    sums = np.concatenate([[0], np.cumsum(z)])
    expected = [
        max(
            min((sums[end] - sums[start]) / (end - start) for end in range(i + 1, 201))
            for start in range(i + 1)
        )
        for i in range(200)
    ]
    np.testing.assert_allclose(np.interp(p, x, value), expected, atol=1e-12)


def test_isotonic_curve_names_the_classes_that_have_one():
    pred, y = ensemble(300, 2)
    calibration = IsotonicCalibration().fit(pred, y)
    with pytest.raises(ValueError, match=r"curve\(0\): there is no curve .* Write curve\(1\)"):
        calibration.curve(0)


def test_floor_keeps_off_zero(case):
    pred, y = case
    classes = pred.shape[-1]
    plain = IsotonicCalibration().fit(pred, y)(pred).mean
    floored = IsotonicCalibration(floor=0.01).fit(pred, y)(pred).mean
    assert plain.min() == 0
    assert floored.min() == pytest.approx(0.01, rel=1e-12)
    np.testing.assert_allclose(floored, 0.01 + (1 - 0.01 * classes) * plain, atol=1e-12)


def test_rows_whose_curves_are_all_zero_are_uniform():
    # Each class's least probabilities never come true, and a row has the least of all.
    probs = np.tile([[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]], (100, 1))
    calibration = IsotonicCalibration().fit(probs, np.tile([0, 1, 2], 100))
    np.testing.assert_allclose(calibration([[0.2, 0.2, 0.6]]), [[0, 0, 1]], atol=1e-15)
    certain = IsotonicCalibration().fit(
        np.concatenate([probs, np.full((90, 3), 1 / 3)]),
        np.concatenate([np.tile([0, 1, 2], 100), np.tile([0, 1, 2], 30)]),
    )
    assert certain([[0.34, 0.33, 0.33]]).sum() == pytest.approx(1)
    _, value = certain.curve(0)
    assert value[0] == 0  # at 0.2
    zeros = HistogramBinning(num_bins=2).fit(probs, np.tile([0, 1, 2], 100))
    np.testing.assert_allclose(zeros([[0.4, 0.3, 0.3]]), [[1 / 3, 1 / 3, 1 / 3]], atol=1e-15)


# Histogram.


def test_histogram_equals_netcal():
    # netcal 1.4.0: HistogramBinning(bins=15).fit(pred.mean, y).transform(pred.mean[:2]), and of two
    # classes .fit(pred.mean[:, 1], y).transform(pred.mean[:5, 1]).
    pred, y = ensemble(1500, 3, seed=3)
    theirs = [
        [0.864007961948, 0.075171601807, 0.060820436245],
        [0.354571643612, 0.218629155745, 0.426799200644],
    ]
    np.testing.assert_allclose(HistogramBinning().fit(pred, y)(pred.mean[:2]), theirs, atol=1e-12)
    pred, y = ensemble(1500, 2, seed=2)
    theirs = [0.267605633803, 0.055350553506, 0.288461538462, 0.909090909091, 0.24358974359]
    ours = HistogramBinning().fit(pred, y)(pred.mean[:5])
    np.testing.assert_allclose(ours[:, 1], theirs, atol=1e-11)


@pytest.mark.parametrize("num_bins", [1, 2, 7, 40])
def test_histogram_equals_loops(num_bins):
    generator = np.random.default_rng(num_bins)
    p = np.round(generator.beta(2, 5, size=500), 2)  # ties, 0 and edges
    p[:5], p[5:8] = 0, 1
    y = (generator.random(500) < p).astype(int)
    calibration = HistogramBinning(num_bins).fit(np.stack([1 - p, p], -1), y)
    at = np.linspace(0, 1, 201)
    expected = []
    for value in at:
        for b in range(num_bins):
            low, high = b / num_bins, (b + 1) / num_bins
            if low < value <= high or (b == 0 and value == 0):
                inside = ((p > low) | (b == 0)) & (p <= high)
                expected.append(y[inside].mean() if inside.any() else (low + high) / 2)
    np.testing.assert_allclose(calibration(np.stack([1 - at, at], -1))[:, 1], expected, atol=1e-12)


def test_equal_mass_bins_hold_as_many_rows_each():
    p = np.random.default_rng(0).random(1000)
    edges = equal_mass_edges(p, 8)
    np.testing.assert_array_equal(np.histogram(p, edges)[0], 125)
    np.testing.assert_array_equal(equal_mass_edges(np.full(9, 0.5), 3), [0, 1])
    np.testing.assert_array_equal(equal_mass_edges(np.array([0.5]), 3), [0, 1])
    np.testing.assert_array_equal(equal_mass_edges(np.array([0.0, 0, 1, 1]), 4), [0, 0.5, 1])
    generator = np.random.default_rng(1)
    y = (generator.random(1000) < p).astype(int)
    calibration = HistogramBinning(8, "equal-mass").fit(np.stack([1 - p, p], -1), y)
    order = np.argsort(p)
    for part in order.reshape(8, 125):
        ours = calibration(np.stack([1 - p[part], p[part]], -1))[:, 1]
        np.testing.assert_allclose(ours, y[part].mean(), atol=1e-12)


# Beta.


def loss_of(p: np.ndarray, z: np.ndarray):
    u, v = np.log(p), -np.log1p(-p)

    def loss(numbers) -> float:
        score = numbers[0] * u + numbers[1] * v + numbers[2]
        return float(np.mean(np.logaddexp(0, score) - z * score))

    return loss


def test_beta_is_logistic_regression_where_no_bound_is_met():
    pred, y = ensemble(1500, 2, seed=2)
    p = pred.mean[:, 1]
    features = np.stack([np.log(p), -np.log1p(-p)], -1)
    theirs = LogisticRegression(C=1e12, tol=1e-12, solver="newton-cholesky").fit(features, y)
    a, b, c = beta_curve(p, y.astype(float))
    np.testing.assert_allclose([a, b, c], [*theirs.coef_[0], *theirs.intercept_], rtol=1e-6)


def test_beta_agrees_with_two_packages_within_their_tolerance():
    # betacal 1.1.0, BetaCalibration("abm").fit(p, y).predict(p[:5]): a logistic regression that
    # stops at a gradient of 1e-4.  netcal 1.4.0, scaling.BetaCalibration() of the same: another
    # optimiser.  They differ from each other by 1e-5, and from the optimum by 5e-5; the
    # likelihood here is no smaller than theirs.
    pred, y = ensemble(1500, 2, seed=2)
    betacal = [0.277344585759, 0.066766451739, 0.388236603293, 0.836815299246, 0.219259370558]
    netcal = [0.277299686059, 0.066749602805, 0.38818918111, 0.836817415129, 0.219219048497]
    ours = BetaCalibration().fit(pred, y)(pred.mean[:5])[:, 1]
    np.testing.assert_allclose(ours, betacal, atol=1e-4)
    np.testing.assert_allclose(ours, netcal, atol=1e-4)
    loss = loss_of(pred.mean[:, 1], y)
    best = beta_curve(pred.mean[:, 1], y.astype(float))
    assert loss(best) <= loss([0.7261271225787981, 0.5722694152554361, 0.032972537227]) + 1e-15


def test_beta_meets_its_bounds_where_that_is_best():
    # Probabilities that say the opposite: a and b would be negative.
    generator = np.random.default_rng(0)
    p = generator.beta(1, 1, size=800)
    z = (generator.random(800) < 1 - p).astype(float)
    assert beta_curve(p, z)[:2] == (0, 0)
    assert beta_curve(p, z)[2] == pytest.approx(np.log(z.mean() / (1 - z.mean())), abs=1e-6)
    # One of the two: against scipy's trust-constr.
    z = (generator.random(800) < np.where(p < 0.5, 0.5, p)).astype(float)
    found = optimize.minimize(
        loss_of(p, z),
        [1, 1, 0],
        method="trust-constr",
        bounds=[(0, 100), (0, 100), (-100, 100)],
        options={"gtol": 1e-10, "xtol": 1e-12, "maxiter": 3000},
    )
    ours = beta_curve(p, z)
    assert loss_of(p, z)(ours) <= found.fun + 1e-12
    np.testing.assert_allclose(ours, found.x, atol=1e-3)
    assert ours[0] == 0


def test_beta_of_several_classes_is_one_against_the_rest():
    pred, y = ensemble(1500, 3, seed=3)
    values = []
    for c in range(3):
        p = pred.mean[:, c]
        best = optimize.minimize(
            loss_of(p, y == c), [1, 1, 0], method="BFGS", options={"gtol": 1e-7}
        ).x
        values.append(1 / (1 + np.exp(-best[2]) * (1 - p) ** best[1] / p ** best[0]))
    expected = np.stack(values, -1) / np.sum(values, axis=0)[:, None]
    np.testing.assert_allclose(BetaCalibration().fit(pred, y)(pred).mean, expected, atol=1e-6)


@pytest.mark.parametrize("lowest", [0.05, 0.4])
def test_separated_rows_warn(lowest):
    p = np.linspace(lowest, 1 - lowest, 200)
    with pytest.warns(RecalibrationWarning, match=r"of class 1 ran away: .* without error"):
        calibration = BetaCalibration().fit(np.stack([1 - p, p], -1), (p > 0.5).astype(int))
    assert np.isfinite(calibration([[1.0, 0.0], [0.0, 1.0]])).all()


# All of them.


@pytest.mark.parametrize("method", [BetaCalibration, IsotonicCalibration, HistogramBinning])
def test_missing_classes_are_named(method):
    pred, y = ensemble(1500, 4)
    with pytest.warns(RecalibrationWarning, match="no validation row has the label 1, 3;"):
        calibration = method().fit(pred, np.where(y % 2, 0, y))
    after = calibration(pred).mean
    assert after[:, [1, 3]].max() < 1e-3
    np.testing.assert_allclose(after.sum(axis=-1), 1, atol=1e-12)


@pytest.mark.parametrize("floor", [-0.1, 0.5, float("nan"), "low", True])
def test_floors_out_of_range_are_refused(floor):
    with pytest.raises(ValueError, match=r"IsotonicCalibration\(\) needs a floor in \[0, 1 / 2\)"):
        IsotonicCalibration(floor=floor)


def test_floor_too_high_for_the_classes_is_refused_at_the_fit():
    pred, y = ensemble(1500, 10)
    with pytest.raises(ValueError, match=r"needs a floor in \[0, 1 / 10\)"):
        HistogramBinning(floor=0.2).fit(pred, y)


def test_options_of_histograms_are_checked():
    with pytest.raises(ValueError, match="received 'quantile'"):
        HistogramBinning(binning="quantile")
    with pytest.raises(ValueError, match="needs num_bins of at least 1"):
        HistogramBinning(0)
