r"""A regression over one input: the mean, what the data scatter by, and what is not known on top.

The variance of a prediction is the mean of the draws' variances plus the variance of their means,

.. math:: \sigma^2 = \underbrace{\overline{\sigma_s^2}}_{\text{aleatoric}} +
    \underbrace{\overline{(\mu_s - \bar\mu)^2}}_{\text{epistemic}} ,

so bands of as many standard deviations lie inside each other.  They are drawn as intervals of
normal laws, :math:`\bar\mu \pm z \sigma`; those of the mixture itself (``pred.interval``) have no
such parts.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_level
from bayes_sbn.plots.arguments import Float64, check_values
from bayes_sbn.plots.canvas import BLUE, INK, SKY, legend_above, new_axes, open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class RegressionParts(Protocol):
    """What the figure reads of predictions of a real target, each (rows,)."""

    @property
    def mean(self) -> Float64:
        """Mean over the draws."""

    @property
    def aleatoric(self) -> Float64:
        """Mean of the draws' variances."""

    @property
    def epistemic(self) -> Float64:
        """Variance of the draws' means."""


def regression_band(
    pred: RegressionParts,
    x: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    ax: Axes | None = None,
    *,
    x_observed: npt.ArrayLike | None = None,
    level: float = 0.9,
) -> Axes:
    """Mean of a regression over a one-dimensional input, with its aleatoric and total intervals.

    The inner band is that of the aleatoric variance alone, the outer one that of all variance; what
    lies between them is what the posterior does not know.

    Args:
        pred: predictions of a real target, such as RegressionPredictions.
        x: the inputs that were predicted, in any order; (rows,).
        y: outcomes to draw as dots, at x or at x_observed.
        ax: axes to draw in; None draws in a new figure, ``ax.figure`` of the result.
        x_observed: inputs of the outcomes, where they are others than those predicted, as when a
            grid is predicted and the training data are shown.
        level: probability of both intervals, were the laws normal.

    Returns:
        The axes.
    """
    call = "regression_band()"
    for name in ("mean", "aleatoric", "epistemic"):
        if not hasattr(pred, name):
            raise TypeError(
                f"{call} needs predictions with mean, aleatoric and epistemic variance: received "
                f"{type(pred).__name__}, which has no {name}. Pass a RegressionPredictions."
            )
    mean = check_values(call, "pred.mean", pred.mean)
    places = check_values(call, "x", x, len(mean))
    level = check_level(call, level)
    aleatoric = check_values(call, "pred.aleatoric", pred.aleatoric, len(mean))
    total = aleatoric + check_values(call, "pred.epistemic", pred.epistemic, len(mean))
    if x_observed is not None and y is None:
        raise ValueError(
            f"{call} received x_observed without y. Write y=..., the outcomes at x_observed."
        )
    at = places if x_observed is None else check_values(call, "x_observed", x_observed)
    outcomes = None if y is None else check_values(call, "y", y, len(at))

    ax = new_axes(5.6, 3.6) if ax is None else ax
    order = np.argsort(places, kind="stable")
    places, mean = places[order], mean[order]
    z = NormalDist().inv_cdf((1 + level) / 2)
    bands: tuple[tuple[str, Float64, dict[str, Any]], ...] = (
        ("total", total, {"color": SKY, "alpha": 0.35}),
        ("aleatoric", aleatoric, {"color": BLUE, "alpha": 0.45}),
    )
    for name, variance, look in bands:
        half = z * np.sqrt(variance[order])
        ax.fill_between(
            places,
            mean - half,
            mean + half,
            linewidth=0,
            label=f"{name}, {100 * level:g} %",
            **look,
        )
        for edge in (mean - half, mean + half):
            dashes = "--" if name == "total" else "-"
            ax.plot(places, edge, color=BLUE, linewidth=0.7, linestyle=dashes)
    ax.plot(places, mean, color=INK, linewidth=1.6, label="mean")
    if outcomes is not None:
        ax.plot(at, outcomes, ".", color=INK, markersize=3, alpha=0.6, label="data")
    ax.set(xlabel="x", ylabel="y")
    open_frame(ax)
    legend_above(ax, 4)
    return ax
