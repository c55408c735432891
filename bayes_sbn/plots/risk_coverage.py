r"""Risk against coverage: what is gained by refusing the rows that look the most unusual?

Rows are accepted from the least unusual on (:mod:`bayes_sbn.metrics.selective`).  Between the risk
of all rows, at which a score that knows nothing stays, and the curve of an order that knows the
errors, which is 0 up to the accuracy, lie the curves of scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import probabilities_and_labels
from bayes_sbn.metrics.scores import correctness
from bayes_sbn.metrics.selective import curve_of_losses
from bayes_sbn.metrics.unusual import Score, unusualness
from bayes_sbn.plots.canvas import DASHES, GREY, INK, STYLES, legend_above, new_axes, open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayes_sbn.metrics.arguments import Predicted

WORDS = {
    "max_prob": "1 - probability of the predicted class",
    "entropy": "predictive entropy",
    "epistemic": "epistemic part of the entropy",
    "variation_ratio": "share of draws that vote otherwise",
}
"""Name and words of each score."""

_MARKERS = 8  # on each line


def risk_coverage(
    pred: Predicted,
    y: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    scores: Score | Sequence[Score] = "max_prob",
) -> Axes:
    """Share of wrong rows among those accepted, against the share of rows that are accepted.

    A line for each score, with the area under it; dashed and grey, the risk of all rows, which is
    that of accepting at random; dotted, that of an order that knows which rows are wrong.  Rows of
    equal score come in random order, and the line is the expectation over the orders.

    Args:
        pred: a Predictions, or probabilities (rows, classes) for the scores of the mean alone.
        y: labels (rows,), integers in 0 ... classes - 1.
        ax: axes to draw in; None draws in a new figure, ``ax.figure`` of the result.
        scores: what rows are refused by, one or several: ``"max_prob"``, ``"entropy"``,
            ``"epistemic"``, ``"variation_ratio"``, or functions of ``pred`` that give numbers
            (rows,), larger where the prediction is less sure.

    Returns:
        The axes.

    Example:
        >>> ax = risk_coverage([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], [0, 1, 1])
        >>> [text.get_text() for text in ax.get_legend().get_texts()][0]
        '1 - probability of the predicted class, AURC 0.111'
    """
    call = "risk_coverage()"
    probs, labels = probabilities_and_labels(call, pred, y)
    losses = np.asarray(1.0 - correctness(probs, labels), np.float64)
    chosen = [scores] if isinstance(scores, str) or callable(scores) else list(scores)
    if not chosen:
        raise ValueError(
            f"{call} needs at least one score: received none. Write scores=['max_prob'], say."
        )
    curves = [curve_of_losses(unusualness(call, pred, score), losses) for score in chosen]
    ax = new_axes(5.2, 3.8 + 0.2 * len(chosen)) if ax is None else ax
    step = max(1, len(losses) // _MARKERS)
    for number, (score, curve) in enumerate(zip(chosen, curves, strict=True)):
        colour, marker = STYLES[number % len(STYLES)]
        ax.plot(
            curve.coverage,
            curve.risk,
            color=colour,
            linestyle=DASHES[number % len(DASHES)],
            marker=marker,
            markersize=4,
            markevery=(step - 1, step),
            label=f"{_words(score)}, AURC {curve.risk.mean():.3f}",
        )
    best = curve_of_losses(losses, losses)
    ax.plot(
        best.coverage,
        best.risk,
        color=INK,
        linewidth=1,
        linestyle=(0, (1, 1.5)),
        label=f"errors last, AURC {best.risk.mean():.3f}",
    )
    ax.axhline(losses.mean(), color=GREY, linewidth=1, linestyle="--", label="at random")
    highest = max(float(curve.risk.max()) for curve in [*curves, best])
    ax.set(
        xlim=(0, 1.02),
        ylim=(0, 1.08 * highest if highest > 0 else 1),
        xlabel="coverage (share of the rows that are accepted)",
        ylabel="risk (share of those that are wrong)",
    )
    open_frame(ax)
    legend_above(ax, 1)
    return ax


def _words(score: Score) -> str:
    if isinstance(score, str):
        return WORDS[score]
    return str(getattr(score, "__name__", "score"))
