"""The reliability diagram shows what the reliability curve says."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from bayes_sbn import plots
from bayes_sbn.metrics import ece, reliability_curve


def test_reliability_diagram_draws_the_curve(pred, y):
    ax = plots.reliability_diagram(pred, y, num_bins=12)
    curve = reliability_curve(pred, y, num_bins=12)
    filled = curve.count > 0
    bars = ax.patches
    np.testing.assert_array_equal([bar.get_height() for bar in bars], curve.accuracy[filled])
    np.testing.assert_array_equal([bar.get_x() for bar in bars], curve.edges[:-1][filled])
    dots = ax.lines[-1]
    np.testing.assert_array_equal(dots.get_xdata(), curve.confidence[filled])
    np.testing.assert_array_equal(dots.get_ydata(), curve.accuracy[filled])


def test_reliability_diagram_counts_the_rows_of_each_bin(pred, y):
    ax = plots.reliability_diagram(pred, y)
    count = reliability_curve(pred, y).count
    (strip,) = ax.child_axes
    np.testing.assert_array_equal([bar.get_height() for bar in strip.patches], count)
    assert [text.get_text() for text in strip.texts] == [str(n) for n in count if n]


def test_reliability_diagram_states_error_and_bins(pred, y):
    (box,) = plots.reliability_diagram(pred, y).texts
    assert box.get_text() == f"ECE = {ece(pred, y):.4f}\n15 bins, {len(y)} rows"


def test_reliability_diagram_draws_in_given_axes(pred, y):
    figure = Figure()
    axes = figure.subplots(1, 2)
    assert plots.reliability_diagram(pred.mean, torch.tensor(y), axes[1]) is axes[1]
    assert not axes[0].has_data()
    assert axes[1].has_data()


def test_reliability_diagram_names_labels_it_cannot_use(pred):
    with pytest.raises(ValueError, match=r"reliability_curve\(\) needs one label a row"):
        plots.reliability_diagram(pred, [0])


@pytest.mark.parametrize("of", ["top", "all", 3])
@pytest.mark.parametrize("bins", ["width", "mass"])
def test_reliability_diagram_draws_other_events_and_bins(pred, y, of, bins):
    ax = plots.reliability_diagram(pred, y, of=of, bins=bins, num_bins=9)
    curve = reliability_curve(pred, y, of=of, bins=bins, num_bins=9)
    filled = curve.count > 0
    np.testing.assert_array_equal([bar.get_height() for bar in ax.patches], curve.accuracy[filled])
    np.testing.assert_allclose(
        [bar.get_x() + bar.get_width() for bar in ax.patches], curve.edges[1:][filled]
    )
    gaps = np.abs(curve.confidence - curve.accuracy)[filled]
    (box,) = ax.texts
    assert box.get_text().startswith(f"ECE = {curve.count[filled] @ gaps / curve.count.sum():.4f}")
    assert ("events" in box.get_text()) == (of == "all")
    assert ("class 3" in ax.get_xlabel()) == (of == 3)
    (strip,) = ax.child_axes
    shown = [text.get_text() for text in strip.texts]
    assert set(shown) <= {str(n) for n in curve.count}
