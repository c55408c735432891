"""Confidence of right and of wrong predictions: are the wrong ones less sure?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_count, probabilities_and_labels
from bayes_sbn.metrics.calibration_bins import bin_edges, bin_of
from bayes_sbn.metrics.scores import correctness
from bayes_sbn.plots.canvas import FILLED, HATCHED, INK, legend_above, new_axes, open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayes_sbn.metrics.arguments import Predicted


def confidence_histogram(
    pred: Predicted,
    y: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    num_bins: int = 20,
    as_shares: bool = True,
) -> Axes:
    """Histograms of the confidence of right predictions and of wrong ones.

    Right predictions are filled bars, wrong ones hatched outlines in front of them.  Upright lines
    stand at the mean confidence and, dashed, at the accuracy: calibrated predictions have the two
    at one place.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        ax: axes to draw in; None draws in a new figure, ``ax.figure`` of the result.
        num_bins: bins (edge, next edge] of equal width.
        as_shares: whether each histogram sums to 1, so that the few wrong predictions are seen
            beside the many right ones; False for numbers of rows.

    Returns:
        The axes.

    Example:
        >>> ax = confidence_histogram([[0.9, 0.1], [0.6, 0.4]], [0, 1])
        >>> sorted(text.get_text() for text in ax.get_legend().get_texts())[2:]
        ['right (1 row)', 'wrong (1 row)']
    """
    call = "confidence_histogram()"
    probs, labels = probabilities_and_labels(call, pred, y)
    num_bins = check_count(call, "num_bins", num_bins, minimum=1, usual=20)
    confidence, is_right = probs.max(axis=-1), correctness(probs, labels)
    ax = new_axes(5.2, 3.6) if ax is None else ax
    left = bin_edges(num_bins)[:-1]
    looks = (
        ("right", is_right, FILLED),
        ("wrong", ~is_right, HATCHED),
    )
    for word, rows, look in looks:
        number = int(rows.sum())
        height = np.bincount(bin_of(confidence[rows], num_bins), minlength=num_bins).astype(float)
        if as_shares and number:
            height /= number
        there = height > 0  # an outline of height 0 would be a line on the axis
        ax.bar(
            left[there],
            height[there],
            1 / num_bins,
            align="edge",
            label=f"{word} ({number} row{'' if number == 1 else 's'})",
            **look,
        )
    mean, accuracy = float(confidence.mean()), float(is_right.mean())
    ax.axvline(mean, color=INK, linewidth=1.2, label=f"mean confidence {mean:.3f}")
    ax.axvline(accuracy, color=INK, linewidth=1.2, linestyle="--", label=f"accuracy {accuracy:.3f}")
    ax.set(
        xlim=(0, 1),
        xlabel="confidence (probability of the predicted class)",
        ylabel="share of the right, of the wrong" if as_shares else "rows",
    )
    open_frame(ax)
    legend_above(ax, 2)
    return ax
