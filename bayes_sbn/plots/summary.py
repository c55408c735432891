"""One picture of a prediction: how reliable it is, and what it is least sure of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy.typing as npt

from bayes_sbn.plots.canvas import new_figure
from bayes_sbn.plots.reliability import reliability_diagram
from bayes_sbn.plots.uncertain_inputs import images_and_labels, most_uncertain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bayes_sbn.predictions import Predictions


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
    images_and_labels("summary_figure()", pred, x, y, image_shape)
    figure = new_figure(12.5, 6.9)
    halves = figure.add_gridspec(1, 2, width_ratios=[1, 1.35], wspace=0.03)
    left, right = figure.add_subfigure(halves[0, 0]), figure.add_subfigure(halves[0, 1])
    left.suptitle("Reliability of the predicted class", fontsize="medium")
    reliability_diagram(pred, y, left.add_subplot())
    most_uncertain(pred, x, y, image_shape=image_shape, k=12, figure=right)
    return figure
