"""The histogram of probability integral transforms, and the band of the binomial law."""

import numpy as np
import pytest
import torch
from scipy import stats

from bayes_sbn import plots
from bayes_sbn.plots.pit import binomial_quantiles


@pytest.mark.parametrize(("num", "bins"), [(1, 10), (7, 5), (400, 10), (60_000, 20), (50, 1)])
def test_binomial_quantiles_are_those_of_scipy(num, bins):
    levels = np.array([0.005, 0.05, 0.5, 0.95, 0.995])
    expected = stats.binom(num, 1 / bins).ppf(levels)
    np.testing.assert_array_equal(binomial_quantiles(num, 1 / bins, levels), expected)


def test_bars_are_densities_and_the_band_is_the_binomial_law():
    values = np.random.default_rng(0).beta(0.7, 0.7, 300)
    ax = plots.pit_histogram(torch.tensor(values), num_bins=12, level=0.8)
    expected = np.histogram(values, bins=12, range=(0, 1), density=True)[0]
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], expected, rtol=1e-12)
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    low, high = stats.binom(300, 1 / 12).ppf([0.1, 0.9]) * 12 / 300
    assert corners[:, 1].min() == pytest.approx(low)
    assert corners[:, 1].max() == pytest.approx(high)
    assert (corners[:, 0].min(), corners[:, 0].max()) == (0, 1)
    assert "80 %" in band.get_label()


def test_ends_of_the_unit_interval_count():
    ax = plots.pit_histogram([0.0, 1.0], num_bins=2)
    assert [bar.get_height() for bar in ax.patches] == [1.0, 1.0]
    ax.figure.canvas.draw()


def test_errors_say_what_to_pass():
    name = r"^pit_histogram\(\) needs "
    with pytest.raises(ValueError, match=name + r"values in \[0, 1\]: pit\[1\] is 1.5.*pred\.cdf"):
        plots.pit_histogram([0.5, 1.5])
    with pytest.raises(ValueError, match=name + r"finite numbers: pit\[0\] is nan"):
        plots.pit_histogram([np.nan])
    with pytest.raises(ValueError, match=name + r"one number a row, shape \(rows,\): pit has .*0"):
        plots.pit_histogram([])
    with pytest.raises(ValueError, match=name + r"one number a row: pit has shape \(3, 1\)"):
        plots.pit_histogram(np.zeros((3, 1)))
    with pytest.raises(TypeError, match=name + "real numbers: pit has values of type"):
        plots.pit_histogram(["a"])
    with pytest.raises(ValueError, match=name + "num_bins of at least 1"):
        plots.pit_histogram([0.5], num_bins=0)
