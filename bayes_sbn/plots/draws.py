r"""Scores against the number of draws: are there enough of them?

For random orders of the draws, the first s of an order are a random subset of s, and their mean
:math:`\bar p^{(s)}` is scored; every order costs one pass over the draws.  At all S draws every
subset is the same, so the spread there is 0: the spread at s well below S is what other draws would
change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_count, check_labels, check_level
from bayes_sbn.metrics.scores import correctness, negative_log_probability
from bayes_sbn.plots.arguments import Float64
from bayes_sbn.plots.canvas import BLUE, INK, new_figure, open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from bayes_sbn.predictions import Predictions

_SIZES = 24  # numbers of draws at which scores are taken, at most


def score_against_draws(
    pred: Predictions,
    y: npt.ArrayLike,
    *,
    subsets: int = 30,
    level: float = 0.9,
    seed: int = 0,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Accuracy and NLL of random subsets of the draws, against how many draws are in them.

    The line is the median over the subsets, the band their middle share, and the dashed line the
    score of all draws.  Where the NLL of the middle subset is infinite, a label having probability
    0 under all its draws, no line is drawn, and the axis says so.

    Args:
        pred: a Predictions.
        y: labels (rows,), integers in 0 ... classes - 1.
        subsets: random orders of the draws.
        level: share of the subsets in the band.
        seed: of the orders.
        figure: figure or subfigure to draw in; None makes a new one.

    Returns:
        The figure: axes of the accuracy left, of the NLL right.
    """
    call = "score_against_draws()"
    if not hasattr(pred, "probs_per_draw"):
        raise TypeError(
            f"{call} needs a Predictions, of whose draws it takes subsets: received "
            f"{type(pred).__name__}. Wrap the probabilities: Predictions(probs_per_draw)."
        )
    num_draws, num_rows, num_classes = pred.shape
    labels = check_labels(call, y, num_rows, num_classes)
    if not num_rows:
        raise ValueError(f"{call} needs at least one row: received none. Predict at least one.")
    if num_draws == 1:
        raise ValueError(
            f"{call} needs at least 2 draws: received 1. Predict with posterior.draw(100), say."
        )
    subsets = check_count(call, "subsets", subsets, minimum=1, usual=30)
    level = check_level(call, level)
    sizes = np.unique(np.rint(np.geomspace(1, num_draws, _SIZES)).astype(int))
    accuracy, nll = subset_scores(pred.probs_per_draw, labels, sizes, subsets=subsets, seed=seed)
    figure = new_figure(8.0, 3.2) if figure is None else figure
    left, right = figure.subplots(1, 2)
    for ax, scores, name in ((left, accuracy, "accuracy"), (right, nll, "NLL, nats a row")):
        _draw_scores(ax, sizes, scores, level)
        ax.set(xlabel="draws", ylabel=name)
    left.legend(loc="lower right", fontsize="small", edgecolor="white")
    return figure


def subset_scores(
    probs_per_draw: Float64,
    labels: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.integer],
    *,
    subsets: int,
    seed: int,
) -> tuple[Float64, Float64]:
    """Accuracy and NLL of the means of the first draws in random orders, each (subsets, sizes)."""
    generator = np.random.default_rng(seed)
    accuracy, nll = np.empty((subsets, len(sizes))), np.empty((subsets, len(sizes)))
    for i in range(subsets):
        order = generator.permutation(len(probs_per_draw))
        total = np.zeros(probs_per_draw.shape[1:])
        start = 0
        for j, size in enumerate(sizes):
            for draw in order[start:size]:
                total += probs_per_draw[draw]
            start = size
            mean = total / size
            accuracy[i, j] = correctness(mean, labels).mean()
            nll[i, j] = negative_log_probability(mean, labels).mean()
    return accuracy, nll


def _draw_scores(ax: Axes, sizes: npt.NDArray[np.integer], scores: Float64, level: float) -> None:
    # Quantiles that are scores of subsets, since between a finite one and infinity there is none.
    tail = (1 - level) / 2
    low, middle, high = np.quantile(scores, [tail, 0.5, 1 - tail], axis=0, method="inverted_cdf")
    finite = np.isfinite(middle)
    top = np.where(np.isfinite(high), high, np.nanmax(np.where(np.isfinite(high), high, np.nan)))
    ax.fill_between(
        sizes[finite],
        low[finite],
        top[finite],
        color=BLUE,
        alpha=0.3,
        linewidth=0,
        label=f"{100 * level:g} % of {len(scores)} subsets",
    )
    ax.plot(
        sizes[finite], middle[finite], "o-", color=BLUE, markersize=3.5, label="median of subsets"
    )
    ax.axhline(middle[-1], color=INK, linewidth=1, linestyle="--", label=f"all {sizes[-1]} draws")
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    open_frame(ax)
