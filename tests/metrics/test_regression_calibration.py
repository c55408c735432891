"""Calibration of laws of real targets: uncertainty-toolbox, loops, areas piece by piece, edges."""

import itertools

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from bayes_sbn.metrics import (
    NormalMixture,
    RegressionCalibrationCurve,
    bootstrap_interval,
    interval_coverage,
    miscalibration_area,
    pit,
    regression_calibration_curve,
    regression_mace,
    regression_rmsce,
)
from bayes_sbn.metrics.regression_calibration import area_of_curve
from tests.metrics.golden_cases import fractions, regression

MEAN, SCALE, Y = regression()
ONE, SEVERAL = NormalMixture(MEAN[0], SCALE[0]), NormalMixture(MEAN, SCALE)
SCALARS = (miscalibration_area, regression_mace, regression_rmsce)


def test_scalars_equal_uncertainty_toolbox():
    # uncertainty-toolbox 0.1.1, num_bins=100 (its default) and prop_type="interval":
    # root_mean_squared_calibration_error, mean_absolute_calibration_error, miscalibration_area.
    for metric, value in (
        (regression_rmsce, 0.2918690495539774),
        (regression_mace, 0.2604545454545455),
        (miscalibration_area, 0.2630639730639731),
    ):
        np.testing.assert_allclose(metric(ONE, Y), value, rtol=1e-10)
    coarse = regression_rmsce(ONE, Y, num_levels=17)
    np.testing.assert_allclose(coarse, 0.28106066611892827, rtol=1e-10)


def test_quantiles_equal_those_of_uncertainty_toolbox_for_the_negative_residual():
    # The same with prop_type="quantile", which counts y_pred - y_true: of the mirrored case it is
    # ours, and of the case itself the mirrored curve.
    mirrored = NormalMixture(-MEAN[0], SCALE[0])
    for metric, value in (
        (regression_rmsce, 0.14779866184930243),
        (regression_mace, 0.13028282828282833),
        (miscalibration_area, 0.13158249158249163),
    ):
        np.testing.assert_allclose(metric(mirrored, -Y, kind="quantile"), value, rtol=1e-10)
        # Without ties at the levels the mirrored curve is as far from the diagonal.
        np.testing.assert_allclose(metric(ONE, Y, kind="quantile"), value, rtol=1e-10)


def test_curves_equal_uncertainty_toolbox():
    # get_proportion_lists_vectorized(..., num_bins=11), in thirtieths.
    interval = regression_calibration_curve(ONE, Y, num_levels=11)
    np.testing.assert_allclose(interval.expected, np.arange(11) / 10, rtol=1e-15)
    thirtieths = [0, 1, 1, 4, 4, 5, 7, 8, 12, 15, 30]
    np.testing.assert_allclose(30 * interval.observed, thirtieths, rtol=1e-12)
    mirrored = NormalMixture(-MEAN[0], SCALE[0])
    quantile = regression_calibration_curve(mirrored, -Y, kind="quantile", num_levels=11)
    thirtieths = [0, 8, 11, 14, 14, 15, 15, 18, 18, 20, 30]
    np.testing.assert_allclose(30 * quantile.observed, thirtieths, rtol=1e-12)
    assert (interval.kind, interval.num_rows, quantile.kind) == ("interval", 30, "quantile")


@pytest.mark.parametrize("pred", [ONE, SEVERAL])
def test_interval_curve_is_the_coverage_of_each_level(pred):
    curve = regression_calibration_curve(pred, Y, num_levels=21)
    for expected, observed in zip(curve.expected[1:-1], curve.observed[1:-1], strict=True):
        assert observed == interval_coverage(pred, Y, expected)


def test_quantile_curve_counts_targets_below_quantiles():
    curve = regression_calibration_curve(SEVERAL, Y, kind="quantile", num_levels=21)
    below = stats.norm(MEAN, SCALE).cdf(Y).mean(axis=0)
    for expected, observed in zip(curve.expected, curve.observed, strict=True):
        assert observed == np.mean(below <= expected)


def test_scalars_equal_loops_over_the_levels():
    for kind in ("interval", "quantile"):
        curve = regression_calibration_curve(SEVERAL, Y, kind=kind, num_levels=13)
        gaps = [abs(o - e) for e, o in zip(curve.expected, curve.observed, strict=True)]
        mace = regression_mace(SEVERAL, Y, kind=kind, num_levels=13)
        np.testing.assert_allclose(mace, sum(gaps) / 13, rtol=1e-12)
        rmsce = regression_rmsce(SEVERAL, Y, kind=kind, num_levels=13)
        np.testing.assert_allclose(rmsce, (sum(g * g for g in gaps) / 13) ** 0.5, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_area_is_the_integral_of_the_gap(seed):
    generator = np.random.default_rng(seed)
    expected = np.linspace(0, 1, 8)
    observed = np.concatenate([[0], np.sort(generator.random(6)), [1]])
    if seed == 0:
        observed[3] = expected[3]  # touches the diagonal
    found = area_of_curve(RegressionCalibrationCurve(expected, observed, "interval", 9))
    # Exact by quadrature on each piece between levels and crossings.
    gap = observed - expected
    crossings = [
        a + (b - a) * g / (g - h)
        for a, b, g, h in zip(expected[:-1], expected[1:], gap[:-1], gap[1:], strict=True)
        if g * h < 0
    ]
    points = np.sort(np.concatenate([expected, crossings]))
    total = sum(
        integrate.quad(lambda p: abs(np.interp(p, expected, observed) - p), a, b)[0]
        for a, b in itertools.pairwise(points)
    )
    np.testing.assert_allclose(found, total, rtol=1e-10)


def test_area_of_known_curves():
    levels = np.linspace(0, 1, 101)

    def area(observed):
        return area_of_curve(RegressionCalibrationCurve(levels, observed, "interval", 1))

    assert area(levels) == 0
    np.testing.assert_allclose(area(levels**2), 1 / 6, rtol=1e-3)
    np.testing.assert_allclose(area(np.full(101, 0.5)), 1 / 4, rtol=1e-12)
    # Crossing the diagonal between two levels: two triangles, and a third beyond.
    observed = np.array([0.25, 0.25, 1])
    curve = RegressionCalibrationCurve(np.array([0, 0.5, 1]), observed, "interval", 4)
    np.testing.assert_allclose(area_of_curve(curve), 0.25 * 0.25 + 0.25 * 0.5 / 2, rtol=1e-14)


def test_calibrated_laws_have_no_error_but_the_steps():
    y = MEAN[0] + SCALE[0] * stats.norm.ppf(fractions(30))
    for kind in ("interval", "quantile"):
        for metric in SCALARS:
            assert metric(ONE, y, kind=kind) < 0.04
            assert metric(NormalMixture(MEAN[0], SCALE[0] / 4), y, kind=kind) > 0.1


def test_intervals_do_not_see_a_bias_that_quantiles_see():
    # The laws lie to the left and are so wide that intervals are covered as often as they claim.
    u = 0.5 + fractions(2000) / 2
    y = stats.norm.ppf(u)
    pred = NormalMixture(np.zeros(2000), 1.0)
    assert miscalibration_area(pred, y) < 0.01
    np.testing.assert_allclose(miscalibration_area(pred, y, kind="quantile"), 0.25, atol=0.01)


def test_draws_count_by_their_randomised_ranks():
    places = pit(MEAN, Y, seed=4)
    curve = regression_calibration_curve(MEAN, Y, kind="quantile", num_levels=9, seed=4)
    expected = [np.mean(places <= p) for p in np.linspace(0, 1, 9)]
    np.testing.assert_array_equal(curve.observed, expected)
    other = regression_calibration_curve(MEAN, Y, kind="quantile", num_levels=9, seed=5)
    assert np.any(other.observed != curve.observed)


def test_one_row_and_two_levels():
    curve = regression_calibration_curve(NormalMixture([0.0], 1.0), [0.0], num_levels=2)
    np.testing.assert_array_equal(curve.observed, [1, 1])
    assert miscalibration_area(NormalMixture([0.0], 1.0), [0.0], num_levels=2) == 0.5


def test_targets_far_out_are_outside_all_intervals_but_the_whole():
    curve = regression_calibration_curve(NormalMixture([0.0, 0.0], 1.0), [50.0, -50.0])
    np.testing.assert_array_equal(curve.observed[:-1], np.zeros(99))
    assert curve.observed[-1] == 1


def test_tensors_and_float32():
    for metric in SCALARS:
        of_tensors = metric(NormalMixture(torch.tensor(MEAN), torch.tensor(SCALE)), torch.tensor(Y))
        assert of_tensors == metric(SEVERAL, Y)


def test_intervals_bound_the_bias_since_chance_moves_the_errors_upwards():
    for metric in SCALARS:
        found = bootstrap_interval(metric, SEVERAL, Y, bootstrap=39, level=0.9)
        assert found.method == "bounded bias"
        assert 0 <= found.low <= found.value <= found.high


@pytest.mark.parametrize("metric", [*SCALARS, regression_calibration_curve])
def test_options_are_checked(metric):
    call = rf"^{metric.__name__}\(\) needs "
    with pytest.raises(ValueError, match=call + "kind='interval' or kind='quantile': received 'x'"):
        metric(ONE, Y, kind="x")
    with pytest.raises(ValueError, match=call + "num_levels of at least 2: received 1"):
        metric(ONE, Y, num_levels=1)
    with pytest.raises(TypeError, match=call + "an integer num_levels"):
        metric(ONE, Y, num_levels=10.0)
