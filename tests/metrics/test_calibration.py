"""The binned calibration errors: by hand, by loops, on the edges, and through scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from bayes_sbn.metrics import (
    accuracy,
    ece,
    mce,
    reliability_curve,
    rmsce,
)
from tests.metrics.golden_cases import two_classes


def errors_by_loop(probs: np.ndarray, labels: np.ndarray, num_bins: int) -> tuple[float, ...]:
    """ECE, MCE and RMSCE by the definition, a row at a time."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(num_bins)]
    for row, label in zip(probs.tolist(), labels.tolist(), strict=True):
        confidence = max(row)
        for b in range(num_bins):
            if b / num_bins < confidence <= (b + 1) / num_bins:
                bins[b].append((confidence, row.index(confidence) == label))
    assert sum(map(len, bins)) == len(labels)
    gaps, weights = [], []
    for members in bins:
        if members:
            mean_confidence = math.fsum(c for c, _ in members) / len(members)
            share_correct = sum(correct for _, correct in members) / len(members)
            gaps.append(abs(mean_confidence - share_correct))
            weights.append(len(members) / len(labels))
    expected = sum(w * g for w, g in zip(weights, gaps, strict=True))
    squared = sum(w * g**2 for w, g in zip(weights, gaps, strict=True))
    return expected, max(gaps), math.sqrt(squared)


def test_calibration_errors_hand_computed():
    # Two bins of four: (0.5, 0.75] has confidences 0.625 and 0.75, one of two correct; (0.75, 1]
    # has 0.875 and 1, both correct.  The gaps are 0.1875 and -0.0625.
    probs, labels = two_classes([0.625, 0.75, 0.875, 1.0]), [0, 1, 0, 0]
    assert ece(probs, labels, num_bins=4) == (0.1875 + 0.0625) / 2
    assert mce(probs, labels, num_bins=4) == 0.1875
    assert rmsce(probs, labels, num_bins=4) == math.sqrt((0.1875**2 + 0.0625**2) / 2)


def test_maximum_error_counts_modesty_as_much_as_confidence():
    # One bin is 0.25 too modest, another 0.125 too confident.
    probs, labels = two_classes([0.75, 0.75, 0.625, 0.625]), [0, 0, 0, 1]
    assert mce(probs, labels, num_bins=8) == 0.25
    assert rmsce(probs, labels, num_bins=8) == math.sqrt((0.25**2 + 0.125**2) / 2)


def test_reliability_curve_hand_computed():
    curve = reliability_curve(two_classes([0.625, 0.75, 0.875, 1.0]), [0, 1, 0, 0], num_bins=4)
    np.testing.assert_array_equal(curve.edges, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_array_equal(curve.count, [0, 0, 2, 2])
    np.testing.assert_array_equal(curve.confidence, [np.nan, np.nan, 0.6875, 0.9375])
    np.testing.assert_array_equal(curve.accuracy, [np.nan, np.nan, 0.5, 1])
    assert curve.count.dtype == np.int64


@pytest.mark.parametrize("num_bins", [1, 2, 7, 15, 100])
def test_calibration_errors_equal_loops(case, num_bins):
    values = [error(*case, num_bins=num_bins) for error in (ece, mce, rmsce)]
    np.testing.assert_allclose(values, errors_by_loop(*case, num_bins), rtol=1e-12)


def test_calibration_errors_have_fifteen_bins_by_default():
    # 0.93 and 0.94 are on two sides of 14/15, but both above 13/14.
    probs, labels = two_classes([0.93, 0.94]), [1, 0]
    for error in (ece, mce, rmsce):
        assert error(probs, labels) == error(probs, labels, num_bins=15)
        assert error(probs, labels) != error(probs, labels, num_bins=14)
    assert len(reliability_curve(probs, labels).count) == 15


@pytest.mark.parametrize("num_bins", [1, 3, 10, 15, 20, 49, 100])
def test_confidence_on_an_edge_is_in_the_bin_below(num_bins):
    for b in range(1, num_bins + 1):
        edge = b / num_bins
        if edge < 0.5:
            continue  # not the larger of two probabilities
        for confidence, expected in ((edge, b - 1), (np.nextafter(edge, 2), b)):
            if confidence <= 1:
                count = reliability_curve(two_classes([confidence]), [0], num_bins=num_bins).count
                assert np.flatnonzero(count) == [expected], (b, confidence)


def test_edges_are_quotients_not_multiples_of_the_width():
    assert 49 * (1 / 49) < 1  # the hazard: p = 1 beyond the last edge
    assert reliability_curve(two_classes([1.0]), [0], num_bins=49).edges[-1] == 1


def test_decimal_fractions_are_on_the_edges_of_fifteen_bins():
    for confidence, expected in ((0.6, 8), (0.8, 11), (2 / 3, 9), (1.0, 14)):
        count = reliability_curve(two_classes([confidence]), [0]).count
        assert np.flatnonzero(count) == [expected]


def test_confidence_of_one_is_in_the_last_bin():
    probs = two_classes([1.0, 0.99])
    np.testing.assert_array_equal(np.flatnonzero(reliability_curve(probs, [0, 0]).count), [14])
    # One bin, in which one of two is correct; a bin of its own for p = 1 would give 0.995.
    np.testing.assert_allclose(mce(probs, [0, 1]), 0.495, rtol=1e-14)


def test_lowest_possible_confidence_is_binned():
    probs = np.full((3, 50), 0.02)
    assert reliability_curve(probs, [0, 0, 7]).count[0] == 3
    np.testing.assert_allclose(ece(probs, [0, 0, 7]), 2 / 3 - 0.02, rtol=1e-13)


def test_ties_count_as_correct_for_the_lowest_class_only():
    probs = np.array([[0.5, 0.5]])
    assert ece(probs, [0]) == 0.5
    assert ece(probs, [1]) == 0.5
    np.testing.assert_array_equal(reliability_curve(probs, [0]).accuracy[7], 1)
    np.testing.assert_array_equal(reliability_curve(probs, [1]).accuracy[7], 0)


def test_certain_predictions_have_the_error_rate_as_error(case):
    labels = case[1]
    probs = np.eye(10)[np.random.default_rng(0).integers(10, size=500)]
    wrong = 1 - accuracy(probs, labels)
    np.testing.assert_allclose([e(probs, labels) for e in (ece, mce, rmsce)], wrong, rtol=1e-14)


def test_calibration_errors_are_ordered(case):
    # A mean is at most the root mean square, which is at most the largest.
    assert ece(*case) <= rmsce(*case) <= mce(*case)


def test_reliability_curve_gives_the_errors_back(case):
    curve = reliability_curve(*case)
    gap = np.nan_to_num(np.abs(curve.confidence - curve.accuracy))
    assert curve.count.sum() == 500
    np.testing.assert_allclose(ece(*case), gap @ curve.count / 500, rtol=1e-12)
    np.testing.assert_allclose(mce(*case), gap.max(), rtol=1e-12)
    np.testing.assert_allclose(rmsce(*case), np.sqrt(gap**2 @ curve.count / 500), rtol=1e-12)


def test_reliability_curve_equals_scikit_learn(case):
    # scikit-learn knows binary problems only: whether the predicted class is the label is one.
    # No confidence here is on an inner edge, where its bins [a, b) would differ.
    probs, labels = case
    confidence, correct = probs.max(axis=1), probs.argmax(axis=1) == labels
    accuracy_of_bins, mean_confidence = calibration_curve(correct, confidence, n_bins=15)
    curve = reliability_curve(probs, labels)
    filled = curve.count > 0
    np.testing.assert_allclose(curve.accuracy[filled], accuracy_of_bins, rtol=1e-12)
    np.testing.assert_allclose(curve.confidence[filled], mean_confidence, rtol=1e-12)


def test_calibration_errors_vanish_where_confidence_is_accuracy():
    # Of four rows of confidence 0.75 three are correct.
    assert ece(two_classes([0.75] * 4), [0, 0, 0, 1]) == 0
    assert mce(two_classes([0.75] * 4), [0, 0, 0, 1]) == 0
    assert rmsce(two_classes([0.75] * 4), [0, 0, 0, 1]) == 0
