"""A score of uncertainty in and out of distribution: does it tell the one from the other?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_count, to_numpy
from bayes_sbn.plots.arguments import Float64, check_values
from bayes_sbn.plots.canvas import FILLED, HATCHED, legend_above, new_axes, open_frame
from bayes_sbn.plots.row_scores import SCORES, has_parts, row_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayes_sbn.metrics.arguments import Predicted


def ood_histogram(
    inside: Predicted | npt.ArrayLike,
    outside: Predicted | npt.ArrayLike,
    ax: Axes | None = None,
    *,
    score: str = "entropy",
    num_bins: int = 30,
) -> Axes:
    """Histograms of a score of rows like those that were fitted, and of others.

    Rows in distribution are filled bars, those out of it hatched outlines in front of them; each
    histogram sums to 1.  Above stands the area under the ROC curve: the probability that a row
    from outside has the larger score, ties counting half.

    Args:
        inside: a Predictions of rows in distribution, probabilities (rows, classes), or scores of
            your own (rows,), larger where the prediction is less sure.
        outside: the same of rows out of distribution; of other length, perhaps.
        ax: axes to draw in; None draws in a new figure, ``ax.figure`` of the result.
        score: ``"entropy"``, ``"epistemic"``, ``"aleatoric"`` or ``"confidence"``, which is taken
            as one minus it; not used for scores of your own.
        num_bins: bins of equal width, from the smallest score to the largest.

    Returns:
        The axes.

    Example:
        >>> ax = ood_histogram([0.1, 0.2, 0.3], [0.3, 0.9])
        >>> ax.get_legend().get_title().get_text()
        'AUROC 0.917'
    """
    call = "ood_histogram()"
    num_bins = check_count(call, "num_bins", num_bins, minimum=1, usual=30)
    first, own = _scores(call, "inside", inside, score)
    second, other_own = _scores(call, "outside", outside, score)
    if own != other_own:
        raise ValueError(
            f"{call} received scores of one and predictions of the other. Pass predictions of "
            "both, or scores of both."
        )
    ax = new_axes(5.2, 3.6) if ax is None else ax
    low, high = float(min(first.min(), second.min())), float(max(first.max(), second.max()))
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, num_bins + 1)
    looks = (
        ("in distribution", first, FILLED),
        (
            "out of distribution",
            second,
            HATCHED,
        ),
    )
    for word, values, look in looks:
        height = np.histogram(values, bins=edges)[0] / len(values)
        there = height > 0
        ax.bar(
            edges[:-1][there],
            height[there],
            np.diff(edges)[there],
            align="edge",
            label=f"{word} ({len(values)} row{'' if len(values) == 1 else 's'})",
            **look,
        )
    ax.set(
        xlim=(low, high),
        xlabel="score" if own else SCORES[score],
        ylabel="share of the rows",
    )
    open_frame(ax)
    legend_above(ax, 2, f"AUROC {share_of_larger(first, second):.3f}")
    return ax


def share_of_larger(inside: Float64, outside: Float64) -> float:
    """The area under the ROC curve: P(outside > inside) + P(outside = inside) / 2."""
    ordered = np.sort(inside)
    below = np.searchsorted(ordered, outside, side="left")
    up_to = np.searchsorted(ordered, outside, side="right")
    return float((below + up_to).mean() / (2 * len(inside)))


def _scores(call: str, name: str, given: object, score: str) -> tuple[Float64, bool]:
    """The scores, and whether they were given as such."""
    if not has_parts(given) and to_numpy(given).ndim == 1:
        return check_values(call, name, given), True
    found = row_scores(call, given, score)
    if not len(found):
        raise ValueError(
            f"{call} needs at least one row: {name} has none. Predict at least one row."
        )
    return found, False
