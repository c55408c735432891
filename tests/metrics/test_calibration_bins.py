"""Bins of equal width and of equal mass: who is in which, ties, and the sums in them."""

import numpy as np
import pytest

from bayes_sbn.metrics.calibration_bins import (
    bin_edges,
    bin_of,
    check_bins,
    mass_edges,
    sums_in_bins,
)


def test_bins_of_width_have_their_upper_edge():
    np.testing.assert_array_equal(bin_of(np.array([0, 0.25, 0.26, 0.5, 1]), 4), [0, 0, 1, 1, 3])
    np.testing.assert_array_equal(bin_edges(4), [0, 0.25, 0.5, 0.75, 1])


def test_bins_of_mass_are_equal_where_the_number_divides():
    p = np.random.default_rng(0).random(60)
    for num_bins in (1, 2, 3, 5, 15, 60):
        at = bin_of(p, mass_edges(p, num_bins))
        np.testing.assert_array_equal(np.bincount(at, minlength=num_bins), 60 // num_bins)
        assert np.all(np.diff(at[np.argsort(p)]) >= 0)


def test_bins_of_mass_differ_by_at_most_one_without_ties():
    p = np.random.default_rng(0).random(47)
    for num_bins in range(1, 60):
        count = np.bincount(bin_of(p, mass_edges(p, num_bins)), minlength=num_bins)
        assert count.sum() == 47
        assert count.max() - count.min() <= 1


def test_equal_probabilities_are_in_one_bin():
    p = np.array([0.2, 0.5, 0.5, 0.5, 0.5, 0.5, 0.9, 1.0])
    at = bin_of(p, mass_edges(p, 4))
    assert len(set(at[1:6])) == 1
    assert np.bincount(at, minlength=4).min() == 0  # the hazard: an empty bin
    np.testing.assert_array_equal(bin_of(p[::-1], mass_edges(p[::-1], 4)), at[::-1])


def test_more_bins_of_mass_than_events():
    p = np.array([0.0, 1.0])
    at = bin_of(p, mass_edges(p, 10))
    np.testing.assert_array_equal(at, [0, 5])


def test_sums_in_bins_by_hand():
    p = np.array([[0.125, 0.25, 0.75], [0.5, 1.0, 0.0]])
    z = np.array([[False, True, True], [True, True, False]])
    gap, count, hits = sums_in_bins(p, z, "width", 2)
    np.testing.assert_array_equal(gap, [[-0.625, -0.25], [-0.5, 0.0]])
    np.testing.assert_array_equal(count, [[2, 1], [2, 1]])
    np.testing.assert_array_equal(hits, [[1, 1], [1, 1]])


def test_check_bins():
    assert check_bins("f()", "mass") == "mass"
    with pytest.raises(ValueError, match=r"f\(\) needs bins='width' or bins='mass': received 15"):
        check_bins("f()", 15)
