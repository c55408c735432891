"""The reliability diagram: accuracy against confidence in bins, with the events of each counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.reliability import reliability_curve
from bayes_sbn.plots.canvas import BLUE, GREY, INK, VERMILLION, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayes_sbn.metrics.arguments import Predicted
    from bayes_sbn.metrics.calibration_bins import Bins
    from bayes_sbn.metrics.events import Of

_NARROW = 0.04  # bins whose count would touch its neighbours'


def reliability_diagram(
    pred: Predicted,
    y: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    of: Of = "top",
    bins: Bins = "width",
    num_bins: int = 15,
) -> Axes:
    """Accuracy against confidence in bins, with the rows of each bin counted in a strip above.

    A bar is the share of correct rows in a bin of top-label confidence, its dot stands at the bin's
    mean confidence, and a vermillion line joins it to the diagonal of perfect calibration.  The
    expected calibration error, with its bins, stands in the corner.  Of a class it is the share of
    its rows against its probability.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        ax: axes to draw in; None draws in a new figure, ``ax.figure`` of the result.
        of: events of the "top" label, of a class against the rest, by its number, or of "all"
            classes in one heap.
        bins: of equal "width" or "mass".
        num_bins: bins.

    Returns:
        The axes of the diagram; the strip of counts is its first child axes.
    """
    curve = reliability_curve(pred, y, of=of, bins=bins, num_bins=num_bins)
    ax = new_axes(4.6, 5.2) if ax is None else ax
    left, width = curve.edges[:-1], np.diff(curve.edges)
    filled = curve.count > 0
    gap = np.abs(curve.confidence - curve.accuracy)[filled]
    error = float(curve.count[filled] @ gap / curve.count.sum())
    what = "rows" if of != "all" else "events"
    xlabel, ylabel, bar = {
        "top": ("confidence (probability of the predicted class)", "accuracy", "share correct"),
        "all": ("probability of a class", "share of rows of the class", "share that came true"),
    }.get(str(of), (f"probability of class {of}", f"share of rows of class {of}", "share"))

    ax.bar(
        left[filled],
        curve.accuracy[filled],
        width[filled],
        align="edge",
        color=BLUE,
        alpha=0.35,
        edgecolor="white",
        label=bar,
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
        xlabel=xlabel,
        ylabel=ylabel,
    )
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="upper left", fontsize="small", edgecolor="white")
    ax.text(
        0.97,
        0.04,
        f"ECE = {error:.4f}\n{num_bins} bins, {curve.count.sum()} {what}",
        transform=ax.transAxes,
        ha="right",
        va="bottom",
        bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": GREY, "alpha": 0.9},
    )

    strip = ax.inset_axes((0.0, 1.04, 1.0, 0.2), sharex=ax)
    strip.bar(left, curve.count, width, align="edge", color=GREY, edgecolor="white")
    is_legible = filled & (width >= min(_NARROW, 1 / num_bins - 1e-9))
    for start, across, count in zip(
        left[is_legible], width[is_legible], curve.count[is_legible], strict=True
    ):
        strip.annotate(
            f"{count}",
            (start + across / 2, count),
            xytext=(0, 1),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=7,
            rotation=0 if num_bins <= 20 else 90,
        )
    strip.set_ylabel(what)
    strip.set_yticks([])
    strip.tick_params(labelbottom=False, length=0)
    strip.spines[["top", "right", "left"]].set_visible(False)
    strip.set_ylim(0, (1.3 if num_bins <= 20 else 1.6) * curve.count.max())
    return ax
