"""Figures of a prediction: is it calibrated, and what is it unsure of?

Everything is drawn on ``matplotlib.figure.Figure`` objects with an Agg canvas: no global pyplot
state, no display.  A figure is written by ``figure.savefig("name.png")``.  Colours are those of
Okabe and Ito, which remain distinct to colour-blind readers, and none carries a meaning alone.
matplotlib is imported when something is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_count, check_labels, to_numpy
from bayes_sbn.metrics.calibration import ece, reliability_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from bayes_sbn.metrics.arguments import Predicted
    from bayes_sbn.predictions import Predictions

BLUE = "#0072B2"
ORANGE = "#E69F00"
VERMILLION = "#D55E00"
GREY = "#999999"
INK = "#333333"


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
    if ax is None:
        ax = new_figure(4.6, 5.2).add_subplot()
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


def most_uncertain(
    pred: Predictions,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    image_shape: tuple[int, ...],
    k: int = 12,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """The k inputs of largest predictive entropy, each with the probabilities of its classes.

    Over each image stand the true label, the predicted one with its probability, and the share of
    the entropy that is epistemic; a wrong prediction is marked by a cross and by colour.  Under it
    a bar for each class, all to one scale: the mean over the draws, with a line from their 5 % to
    their 95 % quantile.  The bar of the true class is outlined.

    Args:
        pred: a Predictions.
        x: inputs, (rows, ...), of which each row has the values of one image.
        y: labels (rows,), integers in 0 ... classes - 1.
        image_shape: (height, width) for grey images, (height, width, 3) for colour in [0, 1].
        k: how many inputs; no more than there are rows are shown.
        figure: figure or subfigure to draw in; None makes a new one.

    Returns:
        The figure.
    """
    call = "most_uncertain()"
    images, labels = _images_and_labels(call, pred, x, y, image_shape)
    k = min(check_count(call, "k", k, minimum=1, usual=12), len(pred))
    # Stable, so that rows of equal entropy come in their own order.
    shown = np.argsort(-pred.entropy, kind="stable")[:k]
    low, high = np.quantile(pred.probs_per_draw[:, shown], [0.05, 0.95], axis=0)
    columns = min(k, 4)
    rows = -(-k // columns)
    if figure is None:
        figure = new_figure(1.75 * columns, 0.4 + 2.15 * rows)
    figure.suptitle(f"The {k} most uncertain inputs, by predictive entropy", fontsize="medium")
    top = min(1.0, 1.05 * float(high.max()))
    darkest, brightest = float(images.min()), float(images.max())
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[3, 1] * rows)
    for i, row in enumerate(shown):
        line, column = divmod(i, columns)
        picture = figure.add_subplot(grid[2 * line, column])
        _draw_image(picture, images[row], darkest, brightest)
        _title(picture, pred, row, labels[row])
        bars = figure.add_subplot(grid[2 * line + 1, column])
        _draw_bars(bars, pred.mean[row], low[i], high[i], pred.mode[row], labels[row])
        bars.set_ylim(0, top)
    _explain_bars(figure, top)
    return figure


def summary_figure(
    pred: Predictions, x: npt.ArrayLike, y: npt.ArrayLike, *, image_shape: tuple[int, ...]
) -> Figure:
    """One picture of a prediction: reliability diagram left, 12 most uncertain inputs right.

    Args:
        pred: a Predictions.
        x: inputs, (rows, ...), of which each row has the values of one image.
        y: labels (rows,), integers in 0 ... classes - 1.
        image_shape: (height, width) for grey images, (height, width, 3) for colour in [0, 1].

    Returns:
        The figure, for ``figure.savefig("summary.png")``.
    """
    _images_and_labels("summary_figure()", pred, x, y, image_shape)
    figure = new_figure(12.5, 6.9)
    halves = figure.add_gridspec(1, 2, width_ratios=[1, 1.35], wspace=0.03)
    left, right = figure.add_subfigure(halves[0, 0]), figure.add_subfigure(halves[0, 1])
    left.suptitle("Reliability of the predicted class", fontsize="medium")
    reliability_diagram(pred, y, left.add_subplot())
    most_uncertain(pred, x, y, image_shape=image_shape, k=12, figure=right)
    return figure


def new_figure(width: float, height: float) -> Figure:
    """A figure of that many inches, with a canvas of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _images_and_labels(
    call: str,
    pred: Predictions,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    image_shape: tuple[int, ...],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    if not hasattr(pred, "probs_per_draw"):
        raise TypeError(
            f"{call} needs a Predictions, for the entropy of its draws: received "
            f"{type(pred).__name__}. Wrap the probabilities: Predictions(probs_per_draw)."
        )
    num_draws, num_rows, num_classes = pred.shape
    del num_draws
    labels = check_labels(call, y, num_rows, num_classes)
    is_grey = len(image_shape) == 2
    if not (is_grey or (len(image_shape) == 3 and image_shape[2] == 3)):
        raise ValueError(
            f"{call} needs image_shape=(height, width) or (height, width, 3): received "
            f"{image_shape}. Write image_shape=(8, 8), say."
        )
    values = to_numpy(x).astype(np.float64)
    if len(values) != num_rows or values[0].size != np.prod(image_shape):
        raise ValueError(
            f"{call} needs one image of shape {image_shape} for each of {num_rows} rows: received "
            f"x of shape {values.shape}. Pass the inputs that were predicted and their image_shape."
        )
    return values.reshape(num_rows, *image_shape), labels


def _draw_image(ax: Axes, image: npt.NDArray[np.float64], darkest: float, brightest: float) -> None:
    # One grey scale for all images; imshow ignores it for colours.
    ax.imshow(image, cmap="gray", vmin=darkest, vmax=brightest, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])


def _title(ax: Axes, pred: Predictions, row: int, label: int) -> None:
    predicted = int(pred.mode[row])
    total = float(pred.entropy[row])
    share = float(pred.epistemic[row]) / total if total > 0 else 0.0
    is_correct = predicted == label
    mark = "✓" if is_correct else "✗"
    ax.set_title(
        f"true {label}, predicted {predicted} {mark}\n"
        f"p = {pred.mean[row, predicted]:.2f}, epistemic {100 * share:.0f} %",
        fontsize=8,
        color=INK if is_correct else VERMILLION,
    )


def _draw_bars(
    ax: Axes,
    mean: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    predicted: int,
    label: int,
) -> None:
    classes = np.arange(len(mean))
    colours = [ORANGE if c == predicted else GREY for c in classes]
    bars = ax.bar(classes, mean, 0.8, color=colours)
    bars[label].set_edgecolor("black")
    bars[label].set_linewidth(1.2)
    ax.vlines(classes, low, high, color=INK, linewidth=0.8)
    ax.set_yticks([])
    if len(classes) <= 12:
        ax.set_xticks(classes)
    ax.tick_params(labelsize=6, length=0, pad=1)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _explain_bars(figure: Figure | SubFigure, top: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=ORANGE, label="predicted class"),
        Patch(facecolor="white", edgecolor="black", linewidth=1.2, label="true class"),
        Line2D([], [], color=INK, linewidth=0.8, label="5 to 95 % of the draws"),
    ]
    title = f"bars: probability of each class, from 0 to {top:.2f}"
    figure.legend(
        handles=handles,
        title=title,
        loc="outside lower center",
        ncols=3,
        fontsize=7,
        title_fontsize=7,
        frameon=False,
    )
