r"""The histogram of probability integral transforms, with the band that a uniform law would have.

The transform of a row is the predicted distribution function at its outcome, F(y); if forecasts
are calibrated it is uniform.  Of n rows a bin of B then holds

.. math:: \mathrm{Binomial}(n, 1 / B)

rows, and the band lies between two quantiles of that law.  It holds for each bin by itself: at
level 0.9 one bin in ten is outside by chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_count, check_level
from bayes_sbn.plots.arguments import Float64, check_values
from bayes_sbn.plots.canvas import BLUE, GREY, INK, legend_above, new_axes, open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def pit_histogram(
    pit: npt.ArrayLike, ax: Axes | None = None, *, num_bins: int = 10, level: float = 0.9
) -> Axes:
    """Probability integral transforms in bins, and between which heights a uniform law's bars lie.

    Bars that are high at both ends come from forecasts that are too narrow, high in the middle from
    ones too wide, high at one end from ones that are biased.  Height 1 is the uniform density.

    Args:
        pit: the predicted distribution function at the outcome of each row, in [0, 1]; (rows,).
        ax: axes to draw in; None draws in a new figure, ``ax.figure`` of the result.
        num_bins: bins of equal width.
        level: probability with which a bin of a uniform law is inside the band, at least.

    Returns:
        The axes.

    Example:
        >>> ax = pit_histogram([0.1, 0.4, 0.7, 0.9], num_bins=2)
        >>> [float(bar.get_height()) for bar in ax.patches]
        [1.0, 1.0]
    """
    call = "pit_histogram()"
    values = check_values(call, "pit", pit)
    outside = np.flatnonzero((values < 0) | (values > 1))
    if len(outside):
        row = int(outside[0])
        raise ValueError(
            f"{call} needs values in [0, 1]: pit[{row}] is {values[row]:g}. Pass the predicted "
            "distribution function at each outcome, such as pred.cdf(y), and not the outcomes."
        )
    num_bins = check_count(call, "num_bins", num_bins, minimum=1, usual=10)
    level = check_level(call, level)
    ax = new_axes(4.8, 3.4) if ax is None else ax
    count, edges = np.histogram(values, bins=num_bins, range=(0, 1))
    unit = len(values) / num_bins  # rows of a bin at density 1
    tail = (1 - level) / 2
    low, high = binomial_quantiles(len(values), 1 / num_bins, np.array([tail, 1 - tail])) / unit
    ax.bar(
        edges[:-1],
        count / unit,
        1 / num_bins,
        align="edge",
        color=BLUE,
        alpha=0.6,
        edgecolor="white",
        label=f"{len(values)} rows",
    )
    ax.fill_between(
        [0, 1],
        low,
        high,
        color=GREY,
        alpha=0.45,
        linewidth=0,
        label=f"where a uniform law has {100 * level:g} % of its bars",
        zorder=2,
    )
    ax.axhline(1, color=INK, linewidth=1, linestyle="--", zorder=3)
    ax.set(
        xlim=(0, 1),
        ylim=(0, None),
        xlabel="probability integral transform",
        ylabel="density",
    )
    open_frame(ax)
    legend_above(ax, 2)
    return ax


def binomial_quantiles(num: int, probability: float, levels: Float64) -> Float64:
    """The least counts that a binomial variable does not exceed with these probabilities.

    Args:
        num: trials, at least 1.
        probability: of success, in (0, 1].
        levels: in (0, 1).
    """
    if probability == 1:
        return np.full(len(levels), float(num))
    k = np.arange(num)
    # The ratio of neighbouring probabilities, summed up in logarithms.
    ratio = np.log(num - k) - np.log(k + 1) + np.log(probability) - np.log1p(-probability)
    log_mass = np.concatenate([[0.0], np.cumsum(ratio)])
    mass = np.exp(log_mass - log_mass.max())
    cumulative = np.cumsum(mass / mass.sum())
    return np.searchsorted(cumulative, levels).astype(np.float64)
