r"""How decided the ±1 weights of a posterior are, layer by layer.

Of a weight with :math:`p = P(w = +1)` the certainty is :math:`|2 p - 1|`, the magnitude of its
mean: 0 for a fair coin, 1 for a fixed sign.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from bayes_sbn.metrics.arguments import check_count
from bayes_sbn.plots.arguments import Float64, one_of
from bayes_sbn.plots.canvas import new_figure, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from bayes_sbn.posterior import Posterior
    from bayes_sbn.posterior_chain import Layer

_SHOWS = {
    "certainty": ("|2 P(w = +1) - 1|", "cividis"),
    "probability": ("P(w = +1)", "PuOr"),
}
"""Words and colours: one hue's lightness, and two hues about a light middle, dark at both ends."""


def sign_certainty(
    posterior: Posterior,
    *,
    show: str = "certainty",
    image_shape: tuple[int, int] | None = None,
    component: int | None = None,
    max_cells: int = 256,
    max_units: int = 36,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """A heat map of the ±1 weights of each layer: how decided they are, or which way.

    Rows are units and columns their inputs.  Where a layer has more than ``max_cells`` either way a
    cell is the mean of a block of weights, and the title says of how many.  Layers of real weights
    have none to show and are left out, which the title of the figure says.

    Args:
        posterior: a Posterior.
        show: ``"certainty"``, |2p - 1|, or ``"probability"``, p of +1.
        image_shape: (height, width) of an input; the first layer is then drawn as images of its
            units' weights, at most ``max_units`` of them, evenly spaced, as the title says.
        component: which component, of a posterior that has several.
        max_cells: cells a side, at most.
        max_units: units of the first layer drawn as images, at most.
        figure: figure or subfigure to draw in; None makes a new one.

    Returns:
        The figure, with one axes a layer and a bar of shades.
    """
    call = "sign_certainty()"
    show = one_of(call, "show", show, tuple(_SHOWS))
    max_cells = check_count(call, "max_cells", max_cells, minimum=1, usual=256)
    max_units = check_count(call, "max_units", max_units, minimum=1, usual=36)
    layers = _layers(call, posterior, component)
    if image_shape is not None:
        image_shape = _check_image_shape(call, image_shape, layers[0])
    shown = [layer for layer in layers if layer.num_weights]
    figure = new_figure(0.8 + 3.0 * len(shown), 3.5) if figure is None else figure
    words, colours = _SHOWS[show]
    left_out = [layer.name for layer in layers if not layer.num_weights]
    if left_out:
        figure.suptitle(f"left out, of real weights: {', '.join(left_out)}", fontsize="small")
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    for ax, layer in zip(axes, shown, strict=True):
        p: Any = layer
        values = p.probabilities if show == "probability" else np.abs(2 * p.probabilities - 1)
        is_first = layer is layers[0]
        if is_first and image_shape is not None:
            shades = _draw_images(ax, values, image_shape, max_units, colours)
        else:
            shades = _draw_matrix(ax, values, max_cells, colours)
        shape = f"{layer.num_units} × {layer.num_inputs}"
        ax.set_title(
            f"{layer.name}, {shape}, mean {values.mean():.2f}\n{ax.get_title()}", fontsize=8
        )
    figure.colorbar(shades, ax=list(axes), label=words, fraction=0.05)
    return figure


def block_means(values: Float64, max_cells: int) -> tuple[Float64, tuple[int, int]]:
    """Means over blocks of a matrix, so few that no side has more than max_cells; their size.

    The last blocks of a side are smaller where the size does not divide it.
    """
    rows, columns = (math.ceil(n / max_cells) for n in values.shape)
    if (rows, columns) == (1, 1):
        return values, (1, 1)
    starts = [np.arange(0, n, size) for n, size in zip(values.shape, (rows, columns), strict=True)]
    sums = np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1)
    lengths = [np.diff(np.append(start, n)) for start, n in zip(starts, values.shape, strict=True)]
    return sums / np.outer(*lengths), (rows, columns)


def _layers(call: str, posterior: Posterior, component: int | None) -> tuple[Layer, ...]:
    components = getattr(posterior, "components", None)
    if components is None:
        raise TypeError(
            f"{call} needs a Posterior: received {type(posterior).__name__}. Write "
            "sbn.Posterior.from_guide(model, guide)."
        )
    last = len(components) - 1
    if component is None:
        if last:
            raise ValueError(
                f"{call} draws one component, and the posterior has {last + 1}, each with weights "
                "of its own. Write component=0, say."
            )
        component = 0
    component = check_count(call, "component", component, minimum=0, usual=0)
    if component > last:
        raise ValueError(
            f"{call} needs component in 0 ... {last}: received {component}. Write component=0, say."
        )
    layers: tuple[Layer, ...] = components[component].layers
    return layers


def _check_image_shape(call: str, image_shape: tuple[int, ...], first: Layer) -> tuple[int, int]:
    if len(image_shape) != 2 or math.prod(image_shape) != first.num_inputs:
        raise ValueError(
            f"{call} needs image_shape=(height, width) of {first.num_inputs} inputs: received "
            f"{image_shape}. Write image_shape=(8, 8) for 64 inputs, or leave it out."
        )
    if not first.num_weights:
        raise ValueError(
            f"{call} draws images of the first layer's ±1 weights, and those of "
            f'"{first.name}" are real. Leave image_shape out.'
        )
    return int(image_shape[0]), int(image_shape[1])


def _draw_matrix(ax: Axes, values: Float64, max_cells: int, colours: str) -> Any:
    cells, (rows, columns) = block_means(values, max_cells)
    shades = ax.imshow(
        cells,
        cmap=colours,
        vmin=0,
        vmax=1,
        aspect="auto",
        interpolation="nearest",
        extent=(-0.5, values.shape[1] - 0.5, values.shape[0] - 0.5, -0.5),
    )
    ax.set(xlabel="input", ylabel="unit")
    whole_numbers(ax, "x", "y")
    if (rows, columns) != (1, 1):
        ax.set_title(f"a cell: the mean of {rows} × {columns} weights")
    return shades


def _draw_images(
    ax: Axes, values: Float64, image_shape: tuple[int, int], max_units: int, colours: str
) -> Any:
    """Images of units side by side, with white lines between them, in one picture."""
    number = min(len(values), max_units)
    units = np.linspace(0, len(values) - 1, number).round().astype(int)
    columns = math.ceil(math.sqrt(number))
    rows = math.ceil(number / columns)
    height, width = image_shape
    picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for place, unit in enumerate(units):
        line, column = divmod(place, columns)
        top, left = line * (height + 1), column * (width + 1)
        picture[top : top + height, left : left + width] = values[unit].reshape(image_shape)
    shades = ax.imshow(picture, cmap=colours, vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    some = f"{number} of {len(values)} units, evenly spaced"
    ax.set_title("all units, as images" if number == len(values) else some)
    return shades
