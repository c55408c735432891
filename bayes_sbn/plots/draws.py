r"""Scores against the number of draws: are there enough of them?

For random orders of the draws, the first s of an order are a random subset of s, and their mean
:math:`\bar p^{(s)}` is scored; every order costs one pass over the draws.  At all S draws every
subset is the same, so the spread there is 0: the spread at s well below S is what other draws would
change.

Of a real target :math:`\bar p^{(s)}` is the mixture of the draws' normal laws, its scores the CRPS
and the negative log density, both exact (:mod:`bayes_sbn.metrics.crps`): the distances of all pairs
of draws are computed once, and every subset takes its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_count, check_labels, check_level
from bayes_sbn.metrics.crps import mean_distances
from bayes_sbn.metrics.regression_arguments import check_targets, is_normal_mixture
from bayes_sbn.metrics.scores import correctness, negative_log_probability
from bayes_sbn.plots.arguments import Float64
from bayes_sbn.plots.canvas import BLUE, INK, new_figure, open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from bayes_sbn.metrics.regression_arguments import NormalMixturePrediction
    from bayes_sbn.predictions import Predictions

_SIZES = 24  # numbers of draws at which scores are taken, at most


def score_against_draws(
    pred: Predictions | NormalMixturePrediction,
    y: npt.ArrayLike,
    *,
    subsets: int = 30,
    level: float = 0.9,
    seed: int = 0,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Accuracy and NLL of random subsets of the draws, against how many draws are in them.

    Of a real target CRPS and negative log density.

    The line is the median over the subsets, the band their middle share, and the dashed line the
    score of all draws.  Where a label has probability 0 under all draws of a subset its NLL is
    infinite, which the axis then says; no line is drawn where the median is.

    Args:
        pred: a Predictions; of a real target a RegressionPredictions or a NormalMixture.
        y: labels (rows,), integers in 0 ... classes - 1; or real targets (rows,).
        subsets: random orders of the draws.
        level: share of the subsets in the band.
        seed: of the orders.
        figure: figure or subfigure to draw in; None makes a new one.

    Returns:
        The figure: axes of the accuracy left, of the NLL right; or of CRPS and log density.
    """
    call = "score_against_draws()"
    subsets = check_count(call, "subsets", subsets, minimum=1, usual=30)
    level = check_level(call, level)
    if is_normal_mixture(pred):
        mean, scale = pred.mean_per_draw, pred.scale_per_draw
        sizes = _sizes(call, *mean.shape)
        target = check_targets(call, y, mean.shape[1])
        if not np.all(scale > 0):
            raise ValueError(
                f"{call} needs laws with a density: some standard deviations are 0. Predict with "
                "the noise of the target."
            )
        both = subset_scores_of_targets(mean, scale, target, sizes, subsets=subsets, seed=seed)
        names, corner = ("CRPS", "NLPD, nats a row"), "upper right"
    else:
        if not hasattr(pred, "probs_per_draw"):
            raise TypeError(
                f"{call} needs a Predictions, of whose draws it takes subsets: received "
                f"{type(pred).__name__}. Wrap the probabilities: Predictions(probs_per_draw)."
            )
        probs = pred.probs_per_draw
        labels = check_labels(call, y, *probs.shape[1:])
        sizes = _sizes(call, *probs.shape[:2])
        both = subset_scores(probs, labels, sizes, subsets=subsets, seed=seed)
        names, corner = ("accuracy", "NLL, nats a row"), "lower right"
    figure = new_figure(8.0, 3.2) if figure is None else figure
    axes = figure.subplots(1, 2)
    for ax, scores, name in zip(axes, both, names, strict=True):
        _draw_scores(ax, sizes, scores, level, name)
    axes[0].legend(loc=corner, fontsize="small", edgecolor="white")
    return figure


def _sizes(call: str, num_draws: int, num_rows: int) -> npt.NDArray[np.int64]:
    """Numbers of draws from 1 to all, equally spaced on a logarithmic scale."""
    if not num_rows:
        raise ValueError(f"{call} needs at least one row: received none. Predict at least one.")
    if num_draws == 1:
        raise ValueError(
            f"{call} needs at least 2 draws: received 1. Predict with posterior.draw(100), say."
        )
    return np.unique(np.rint(np.geomspace(1, num_draws, _SIZES)).astype(np.int64))


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


def subset_scores_of_targets(
    mean: Float64,
    scale: Float64,
    y: Float64,
    sizes: npt.NDArray[np.integer],
    *,
    subsets: int,
    seed: int,
) -> tuple[Float64, Float64]:
    """CRPS and negative log density of the first draws in random orders, each (subsets, sizes)."""
    generator = np.random.default_rng(seed)
    to_target, between = mean_distances(mean, scale, y)
    density = -(((y - mean) / scale) ** 2) / 2 - np.log(scale) - np.log(2 * np.pi) / 2
    crps, nlpd = np.empty((subsets, len(sizes))), np.empty((subsets, len(sizes)))
    last = sizes - 1
    for i in range(subsets):
        order = generator.permutation(len(mean))
        pairs = between[np.ix_(order, order)].cumsum(axis=0).cumsum(axis=1)[last, last]
        crps[i] = to_target[order].cumsum()[last] / sizes - pairs / sizes**2 / 2
        of_mixture = np.logaddexp.accumulate(density[order])[last] - np.log(sizes)[:, None]
        nlpd[i] = -of_mixture.mean(axis=1)
    return crps, nlpd


def _draw_scores(
    ax: Axes, sizes: npt.NDArray[np.integer], scores: Float64, level: float, name: str
) -> None:
    # Quantiles that are scores of subsets, since between a finite one and infinity there is none.
    tail = (1 - level) / 2
    low, middle, high = np.quantile(scores, [tail, 0.5, 1 - tail], axis=0, method="inverted_cdf")
    is_finite = np.isfinite(middle)
    # A band that is open above ends at the highest finite score.
    top = np.where(np.isfinite(high), high, np.max(scores, where=np.isfinite(scores), initial=0))
    ax.fill_between(
        sizes[is_finite],
        low[is_finite],
        top[is_finite],
        color=BLUE,
        alpha=0.3,
        linewidth=0,
        label=f"{100 * level:g} % of {len(scores)} subsets",
    )
    x, y = sizes[is_finite], middle[is_finite]
    ax.plot(x, y, "o-", color=BLUE, markersize=3.5, label="median of subsets")
    if is_finite[-1]:
        label = f"all {sizes[-1]} draws"
        ax.axhline(middle[-1], color=INK, linewidth=1, linestyle="--", label=label)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlim(0.9, 1.1 * sizes[-1])
    number = int(np.isinf(scores).sum(axis=0).max())
    remark = f"\n(infinite for up to {number} of {len(scores)} subsets)" if number else ""
    ax.set(xlabel="draws", ylabel=name + remark)
    open_frame(ax)
