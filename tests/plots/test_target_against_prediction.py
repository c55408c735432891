"""Targets against predictions: where dots, crosses and bars are."""

import numpy as np
import pytest
from scipy import stats

from bayes_sbn import plots
from bayes_sbn.metrics import NormalMixture


def test_dots_crosses_and_bars_are_where_scipys_intervals_put_them():
    generator = np.random.default_rng(0)
    mean, scale = generator.normal(size=50), generator.uniform(0.5, 2, size=50)
    y = mean + 1.5 * scale * generator.normal(size=50)
    ax = plots.target_against_prediction(NormalMixture(mean, scale), y, level=0.8)
    low, high = stats.norm(mean, scale).interval(0.8)
    is_inside = (low <= y) & (y <= high)
    assert 0 < is_inside.sum() < 50
    inside, outside, diagonal = ax.lines
    for line, chosen in ((inside, is_inside), (outside, ~is_inside)):
        np.testing.assert_array_equal(line.get_xydata(), np.stack([mean, y], 1)[chosen])
    bars = np.array(ax.collections[0].get_segments())
    np.testing.assert_allclose(bars[:, 0], np.stack([mean, low], 1), rtol=1e-9)
    np.testing.assert_allclose(bars[:, 1], np.stack([mean, high], 1), rtol=1e-9)
    assert np.ptp(diagonal.get_xydata(), axis=1).tolist() == [0, 0]
    assert inside.get_marker() != outside.get_marker()


def test_bad_input_is_told():
    with pytest.raises(ValueError, match=r"^target_against_prediction\(\)"):
        plots.target_against_prediction(NormalMixture([0.0, 1.0], 1.0), [0.0])
    with pytest.raises(ValueError, match="level strictly between 0 and 1"):
        plots.target_against_prediction(NormalMixture([0.0], 1.0), [0.0], level=90)
