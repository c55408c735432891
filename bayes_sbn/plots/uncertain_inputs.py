"""The inputs that a prediction is least sure of, each with the probabilities of its classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_count, check_labels, to_numpy
from bayes_sbn.plots.canvas import GREY, INK, ORANGE, VERMILLION, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from bayes_sbn.predictions import Predictions


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
    images, labels = images_and_labels(call, pred, x, y, image_shape)
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


def images_and_labels(
    call: str,
    pred: Predictions,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    image_shape: tuple[int, ...],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The inputs as images (rows, ...) and their labels, checked for a call."""
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
