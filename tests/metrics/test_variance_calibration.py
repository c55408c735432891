"""Calibration of predicted variances: netcal, loops over bins, ties, and what cannot be divided."""

import itertools
import math

import numpy as np
import pytest
import torch

from bayes_sbn.metrics import (
    NormalMixture,
    bootstrap_interval,
    ence,
    uce,
    variance_calibration_curve,
)
from bayes_sbn.predictions_regression import RegressionPredictions
from tests.metrics.golden_cases import regression

MEAN, SCALE, Y = regression(num_draws=1, num_rows=200)
PRED = NormalMixture(MEAN, SCALE)


def by_loops(num_bins: int) -> tuple[float, float]:
    """Both errors with bins of equal mass, rows sorted by their variance, all different."""
    order = sorted(range(200), key=lambda n: SCALE[0, n])
    ends = [math.ceil(200 * b / num_bins) for b in range(num_bins + 1)]
    relative, absolute = [], 0.0
    for start, end in itertools.pairwise(ends):
        rows = order[start:end]
        variance = sum(SCALE[0, n] ** 2 for n in rows) / len(rows)
        error = sum((Y[n] - MEAN[0, n]) ** 2 for n in rows) / len(rows)
        relative.append(abs(math.sqrt(variance) - math.sqrt(error)) / math.sqrt(variance))
        absolute += len(rows) / 200 * abs(variance - error)
    return sum(relative) / num_bins, absolute


@pytest.mark.parametrize("num_bins", [1, 3, 7, 10, 200])
def test_bins_of_equal_mass_equal_loops(num_bins):
    expected = by_loops(num_bins)
    found = ence(PRED, Y, num_bins=num_bins), uce(PRED, Y, num_bins=num_bins)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    if num_bins == 10:
        assert (ence(PRED, Y), uce(PRED, Y)) == found


def test_bins_of_equal_width_equal_netcal():
    # netcal 1.4.0: netcal.metrics.regression.ENCE(bins).measure((mean, std), y), and UCE.
    for num_bins, normalised, absolute in (
        (5, 1.3458436036828603, 1.5246429420941774),
        (10, 1.3291424188485048, 1.5813957883383378),
    ):
        options = {"bins": "width", "num_bins": num_bins}
        np.testing.assert_allclose(ence(PRED, Y, **options), normalised, rtol=1e-10)
        np.testing.assert_allclose(uce(PRED, Y, **options), absolute, rtol=1e-10)


def test_variance_is_that_of_the_mixture():
    mean, scale, y = regression()
    variance = (scale**2 + mean**2).mean(axis=0) - mean.mean(axis=0) ** 2
    one = NormalMixture(mean.mean(axis=0), np.sqrt(variance))
    several = NormalMixture(mean, scale)
    for metric in (ence, uce):
        np.testing.assert_allclose(metric(several, y), metric(one, y), rtol=1e-10)


def test_curve_holds_the_bins():
    curve = variance_calibration_curve(PRED, Y, num_bins=8)
    np.testing.assert_array_equal(curve.count, np.full(8, 25))
    assert np.all(np.diff(curve.mean_variance) > 0)
    np.testing.assert_allclose(curve.mean_variance.mean(), np.mean(SCALE**2), rtol=1e-12)
    expected = np.mean((Y - MEAN[0]) ** 2)
    np.testing.assert_allclose(curve.mean_squared_error.mean(), expected, rtol=1e-12)
    wide = variance_calibration_curve(PRED, Y, bins="width", num_bins=8)
    edges = np.linspace(np.min(SCALE**2), np.max(SCALE**2), 9)
    counts = np.histogram(SCALE**2, edges)[0]
    np.testing.assert_array_equal(wide.count, counts)


def test_errors_as_large_as_said_have_no_error():
    # Each row errs by its standard deviation exactly.
    y = MEAN[0] + SCALE[0] * np.where(np.arange(200) % 2, 1, -1)
    for bins in ("mass", "width"):
        assert ence(PRED, y, bins=bins) == pytest.approx(0, abs=1e-12)
        assert uce(PRED, y, bins=bins) == pytest.approx(0, abs=1e-12)
        # Said to be twice as large: half of what was said, and 3 quarters of the variance.
        doubled = NormalMixture(MEAN, 2 * SCALE)
        np.testing.assert_allclose(ence(doubled, y, bins=bins), 0.5, rtol=1e-12)
        np.testing.assert_allclose(uce(doubled, y, bins=bins), 3 * np.mean(SCALE**2), rtol=1e-12)


def test_units_cancel_or_are_squared():
    scaled = NormalMixture(1000 * MEAN, 1000 * SCALE)
    np.testing.assert_allclose(ence(scaled, 1000 * Y), ence(PRED, Y), rtol=1e-12)
    np.testing.assert_allclose(uce(scaled, 1000 * Y), 1e6 * uce(PRED, Y), rtol=1e-12)


def test_order_of_rows_has_no_effect_where_variances_are_tied():
    scale = np.round(SCALE, 1)
    shuffled = np.random.default_rng(0).permutation(200)
    for metric in (ence, uce):
        for bins in ("mass", "width"):
            np.testing.assert_allclose(
                metric(NormalMixture(MEAN, scale), Y, bins=bins),
                metric(
                    NormalMixture(MEAN[:, shuffled], scale[:, shuffled]), Y[shuffled], bins=bins
                ),
                rtol=1e-12,
            )


@pytest.mark.parametrize("bins", ["mass", "width"])
def test_rows_of_one_variance_are_one_bin(bins):
    pred = NormalMixture(MEAN, 2.0)
    error = math.sqrt(np.mean((Y - MEAN[0]) ** 2))
    np.testing.assert_allclose(ence(pred, Y, bins=bins), abs(2 - error) / 2, rtol=1e-12)
    np.testing.assert_allclose(uce(pred, Y, bins=bins), abs(4 - error**2), rtol=1e-12)
    assert len(variance_calibration_curve(pred, Y, bins=bins).count) == 1


def test_no_variance_is_right_without_errors_and_infinitely_wrong_with_them():
    assert ence(NormalMixture([1.0, 2.0], 0.0), [1.0, 2.0]) == 0
    assert ence(NormalMixture([1.0, 2.0], 0.0), [1.0, 3.0]) == math.inf
    assert uce(NormalMixture([1.0, 2.0], 0.0), [1.0, 3.0]) == 0.5
    # A single draw of the targets has no variance either.
    assert ence([[1.0, 2.0]], [1.0, 2.0]) == 0


def test_one_row_and_more_bins_than_rows():
    pred = NormalMixture([0.0], 2.0)
    assert (ence(pred, [1.0]), uce(pred, [1.0])) == (0.5, 3.0)
    few = NormalMixture([0.0, 0.0], [1.0, 2.0])
    np.testing.assert_allclose(ence(few, [1.0, 1.0], num_bins=10), 0.25)


def test_predictions_tensors_and_draws():
    for metric in (ence, uce):
        value = metric(PRED, Y)
        assert metric(RegressionPredictions(MEAN, SCALE), Y) == value
        assert (
            metric(NormalMixture(torch.tensor(MEAN), torch.tensor(SCALE)), torch.tensor(Y)) == value
        )
        draws = regression()[0]
        assert metric(torch.tensor(draws), Y[:30]) == metric(draws, Y[:30])
        found = bootstrap_interval(metric, PRED, Y, bootstrap=39, level=0.9)
        assert found.method == "bounded bias"
        assert found.low <= found.value <= found.high


@pytest.mark.parametrize("metric", [ence, uce, variance_calibration_curve])
def test_options_and_input_are_checked(metric):
    call = rf"^{metric.__name__}\(\) needs "
    with pytest.raises(ValueError, match=call + "bins='width' or bins='mass': received 'equal'"):
        metric(PRED, Y, bins="equal")
    with pytest.raises(ValueError, match=call + "num_bins of at least 1: received 0"):
        metric(PRED, Y, num_bins=0)
    with pytest.raises(ValueError, match=call + "one target a row"):
        metric(PRED, Y[:-1])
    with pytest.raises(ValueError, match=call + "finite numbers: y"):
        metric(PRED, Y * np.nan)
