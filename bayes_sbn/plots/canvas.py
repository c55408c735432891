"""What all figures are drawn on and with: a figure without pyplot, colours, markers, dashes.

Colours are those of Okabe and Ito, which remain distinct to colour-blind readers.  None carries a
meaning alone: series differ by marker and dash too, areas by hatching or by their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE = "#0072B2"
ORANGE = "#E69F00"
VERMILLION = "#D55E00"
GREEN = "#009E73"
SKY = "#56B4E9"
PURPLE = "#CC79A7"
GREY = "#999999"
INK = "#333333"

STYLES = (
    (BLUE, "o"),
    (VERMILLION, "s"),
    (GREEN, "^"),
    (ORANGE, "D"),
    (PURPLE, "v"),
    (SKY, "P"),
    (INK, "X"),
    (GREY, "*"),
)
"""Colour and marker by position in a list; past the last they start again."""

DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 1)), (0, (3, 3)))
"""Line styles in the same way."""


FILLED: Mapping[str, Any] = {"color": BLUE, "alpha": 0.45, "edgecolor": "white"}
"""Bars of the first of two histograms in one place."""

HATCHED: Mapping[str, Any] = {
    "facecolor": "none",
    "edgecolor": VERMILLION,
    "hatch": "////",
    "linewidth": 1.2,
}
"""Bars of the second, through which the first is seen."""


def new_figure(width: float, height: float) -> Figure:
    """A figure of that many inches, with a canvas of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def new_axes(width: float, height: float) -> Axes:
    """The axes of a new figure of that many inches."""
    return new_figure(width, height).add_subplot()


def open_frame(ax: Axes) -> None:
    """Leave the axes their left and lower edge."""
    ax.spines[["top", "right"]].set_visible(False)


def whole_numbers(ax: Axes, *names: Literal["x", "y"]) -> None:
    """Ticks of these axes at whole numbers alone."""
    from matplotlib.ticker import MaxNLocator

    for name in names:
        axis = ax.xaxis if name == "x" else ax.yaxis
        axis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def legend_above(ax: Axes, columns: int, title: str | None = None) -> None:
    """The legend over the axes, where it hides nothing.

    Args:
        ax: the axes, with labelled artists.
        columns: entries side by side.
        title: a line over the entries.
    """
    ax.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=columns,
        title=title,
        title_fontsize="small",
        fontsize="small",
        frameon=False,
    )
