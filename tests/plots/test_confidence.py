"""The histogram of confidence has the rows that are right and those that are wrong."""

import numpy as np
import pytest

from bayes_sbn import plots
from bayes_sbn.plots.canvas import HATCHED


def heights(bars, num_bins: int) -> np.ndarray:
    found = np.zeros(num_bins)
    for bar in bars:
        found[round(bar.get_x() * num_bins)] = bar.get_height()
    return found


def counted(confidence: np.ndarray, num_bins: int) -> np.ndarray:
    return np.array(
        [
            sum(b < value * num_bins <= b + 1 for value in confidence)  # (edge, next edge]
            for b in range(num_bins)
        ]
    )


@pytest.mark.parametrize("as_shares", [True, False])
def test_bars_are_the_rows_right_and_wrong(pred, y, as_shares):
    ax = plots.confidence_histogram(pred, y, num_bins=8, as_shares=as_shares)
    right, wrong = ax.containers
    is_right = pred.mode == y
    confidence = pred.mean.max(axis=1)
    for bars, rows in ((right, is_right), (wrong, ~is_right)):
        expected = counted(confidence[rows], 8) / (rows.sum() if as_shares else 1)
        np.testing.assert_allclose(heights(bars, 8), expected, atol=1e-12)
    assert {bar.get_hatch() for bar in wrong} == {HATCHED["hatch"]}
    assert {bar.get_hatch() for bar in right} == {None}
    words = {text.get_text() for text in ax.get_legend().get_texts()}
    assert words == {
        f"right ({is_right.sum()} rows)",
        f"wrong ({(~is_right).sum()} rows)",
        f"mean confidence {confidence.mean():.3f}",
        f"accuracy {is_right.mean():.3f}",
    }
    places = {line.get_label().split()[0]: line.get_xdata()[0] for line in ax.lines}
    assert places == {"mean": confidence.mean(), "accuracy": is_right.mean()}


def test_all_right_and_all_wrong_are_drawn():
    for labels, missing in (([0, 0], "wrong (0 rows)"), ([1, 1], "right (0 rows)")):
        ax = plots.confidence_histogram([[0.9, 0.1], [1.0, 0.0]], labels)
        ax.figure.canvas.draw()
        assert missing in {text.get_text() for text in ax.get_legend().get_texts()}
        assert len(ax.patches) == 2


def test_a_confidence_of_one_is_in_the_last_bin():
    ax = plots.confidence_histogram([[1.0, 0.0]], [0], num_bins=4)
    (bar,) = ax.patches
    assert (bar.get_x(), bar.get_width(), bar.get_height()) == (0.75, 0.25, 1.0)


def test_errors_name_the_call(pred, y):
    with pytest.raises(ValueError, match=r"^confidence_histogram\(\) needs num_bins of at least 1"):
        plots.confidence_histogram(pred, y, num_bins=0)
    with pytest.raises(ValueError, match=r"^confidence_histogram\(\) needs one label a row"):
        plots.confidence_histogram(pred, y[1:])
