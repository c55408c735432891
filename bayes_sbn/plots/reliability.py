"""The reliability diagram: accuracy against confidence in bins, with the rows of each counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy.typing as npt

from bayes_sbn.metrics.calibration import ece, reliability_curve
from bayes_sbn.plots.canvas import BLUE, GREY, INK, VERMILLION, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayes_sbn.metrics.arguments import Predicted


def reliability_diagram(
    pred: Predicted, y: npt.ArrayLike, ax: Axes | None = None, *, num_bins: int = 15
) -> Axes:
    """Accuracy against confidence in bins, with the rows of each bin counted in a strip above.

    A bar is the share of correct rows in a bin of top-label confidence, its dot stands at the bin's
    mean confidence, and a vermillion line joins it to the diagonal of perfect calibration.  The
    expected calibration error, with its bins, stands in the corner.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        ax: axes to draw in; None draws in a new figure, ``ax.figure`` of the result.
        num_bins: bins of equal width.

    Returns:
        The axes of the diagram; the strip of counts is its first child axes.
    """
    curve = reliability_curve(pred, y, num_bins=num_bins)
    error = ece(pred, y, num_bins=num_bins)
    ax = new_axes(4.6, 5.2) if ax is None else ax
    left, width = curve.edges[:-1], 1 / num_bins
    filled = curve.count > 0

    ax.bar(
        left[filled],
        curve.accuracy[filled],
        width,
        align="edge",
        color=BLUE,
        alpha=0.35,
        edgecolor="white",
        label="share correct",
    )
    ax.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--", label="perfect calibration")
    ax.vlines(
        curve.confidence[filled],
        curve.confidence[filled],
        curve.accuracy[filled],
        color=VERMILLION,
        linewidth=2,
        label="gap",
    )
    ax.plot(
        curve.confidence[filled],
        curve.accuracy[filled],
        "o",
        color=BLUE,
        markersize=4,
        zorder=3,
        clip_on=False,  # whole also at an accuracy of 0
    )
    ax.set(
        xlim=(0, 1),
        ylim=(0, 1.02),
        xlabel="confidence (probability of the predicted class)",
        ylabel="accuracy",
    )
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="upper left", fontsize="small", edgecolor="white")
    ax.text(
        0.97,
        0.04,
        f"ECE = {error:.4f}\n{num_bins} bins, {curve.count.sum()} rows",
        transform=ax.transAxes,
        ha="right",
        va="bottom",
        bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": GREY, "alpha": 0.9},
    )

    strip = ax.inset_axes((0.0, 1.04, 1.0, 0.2), sharex=ax)
    strip.bar(left, curve.count, width, align="edge", color=GREY, edgecolor="white")
    for start, count in zip(left[filled], curve.count[filled], strict=True):
        strip.annotate(
            f"{count}",
            (start + width / 2, count),
            xytext=(0, 1),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=7,
            rotation=0 if num_bins <= 20 else 90,
        )
    strip.set_ylabel("rows")
    strip.set_yticks([])
    strip.tick_params(labelbottom=False, length=0)
    strip.spines[["top", "right", "left"]].set_visible(False)
    strip.set_ylim(0, (1.3 if num_bins <= 20 else 1.6) * curve.count.max())
    return ax
