"""Real targets against their predictions, each with its interval, and which of them miss it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_level
from bayes_sbn.metrics.intervals import central_interval
from bayes_sbn.metrics.normal_mixture import mixture_moments
from bayes_sbn.metrics.regression_arguments import NormalMixturePrediction, mixture_and_targets
from bayes_sbn.plots.canvas import BLUE, INK, SKY, VERMILLION, legend_above, new_axes, open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def target_against_prediction(
    pred: NormalMixturePrediction,
    y: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    level: float = 0.9,
) -> Axes:
    """Targets over the means that were predicted for them, with the central intervals as bars.

    Targets inside their interval are dots, those outside crosses.  On the dashed diagonal a target
    is its predicted mean; a cloud that crosses it at an angle is of predictions that err in one
    direction at either end.

    Args:
        pred: a RegressionPredictions, or a NormalMixture.
        y: targets (rows,).
        ax: axes to draw in; None draws in a new figure, ``ax.figure`` of the result.
        level: probability of the intervals.

    Returns:
        The axes.

    Example:
        >>> from bayes_sbn.metrics import NormalMixture
        >>> ax = target_against_prediction(NormalMixture([0.0, 1.0, 2.0], 0.5), [0.1, 3.0, 1.9])
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['90 % interval', 'inside (2 rows)', 'outside (1 row)', 'target = mean']
    """
    call = "target_against_prediction()"
    mixture, target = mixture_and_targets(call, pred, y)
    level = check_level(call, level)
    low, high = central_interval(mixture, level)
    mean = mixture_moments(mixture.mean_per_draw, mixture.scale_per_draw).mean
    is_inside = (low <= target) & (target <= high)

    ax = new_axes(4.8, 4.2) if ax is None else ax
    ax.vlines(
        mean, low, high, color=SKY, alpha=0.5, linewidth=1, label=f"{100 * level:g} % interval"
    )
    looks = (("inside", is_inside, "o", BLUE, 3.5), ("outside", ~is_inside, "x", VERMILLION, 5))
    for word, chosen, marker, colour, size in looks:
        number = int(chosen.sum())
        ax.plot(
            mean[chosen],
            target[chosen],
            marker,
            color=colour,
            markersize=size,
            label=f"{word} ({number} row{'' if number == 1 else 's'})",
        )
    ends = np.array([mean.min(), mean.max()])
    ax.plot(ends, ends, color=INK, linewidth=1, linestyle="--", label="target = mean")
    ax.set(xlabel="predicted mean", ylabel="target")
    open_frame(ax)
    legend_above(ax, 2)
    return ax
