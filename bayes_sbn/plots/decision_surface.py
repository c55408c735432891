"""The decisions of a classifier over two inputs, and where it does not know."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_count, check_labels, check_probabilities, to_numpy
from bayes_sbn.plots.arguments import Float64
from bayes_sbn.plots.canvas import INK, STYLES, legend_above, new_axes
from bayes_sbn.plots.row_scores import SCORES, has_parts, row_scores
from bayes_sbn.predictions import Predictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayes_sbn.ensemble import Ensemble

Limits = tuple[tuple[float, float], tuple[float, float]]
"""Ends of the first input and of the second."""


def decision_surface(
    predictor: Ensemble | Callable[[Float64], object],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    score: str = "epistemic",
    num_cells: int = 100,
    limits: Limits | None = None,
) -> Axes:
    """Uncertainty over a plane of two inputs, the borders of the predicted classes, and the data.

    The shade is a score of each cell's prediction, darker where it is surer, with a bar beside the
    axes.  A line runs where the predicted class changes.  Data have the marker and colour of their
    class.

    Args:
        predictor: an Ensemble; or a function of float64 inputs (rows, 2) that returns a
            Predictions, probabilities (rows, classes), or those of draws (draws, rows, classes).
        x: inputs of the data, (rows, 2).
        y: their labels (rows,), integers in 0 ... classes - 1.
        ax: axes to draw in; None draws in a new figure, ``ax.figure`` of the result.
        score: ``"epistemic"``, ``"aleatoric"`` or ``"entropy"`` in nats, or ``"confidence"``, drawn
            as one minus it.
        num_cells: cells along each input; its square is how many rows are predicted.
        limits: ends of the two inputs; None goes a quarter of the data's range beyond them.

    Returns:
        The axes.
    """
    call = "decision_surface()"
    data = _check_inputs(call, x)
    num_cells = check_count(call, "num_cells", num_cells, minimum=2, usual=100)
    (left, right), (bottom, top) = _around(data) if limits is None else _checked(call, limits)
    # A cell is predicted in its middle.
    middle = (np.arange(num_cells) + 0.5) / num_cells
    first, second = left + (right - left) * middle, bottom + (top - bottom) * middle
    rows = np.stack([a.ravel() for a in np.meshgrid(first, second)], axis=-1)
    mean, values = _predicted(call, predictor, rows, score)
    labels = check_labels(call, y, len(data), mean.shape[1])
    classes = mean.argmax(axis=-1).reshape(num_cells, num_cells)

    ax = new_axes(5.4, 4.4) if ax is None else ax
    shades = ax.imshow(
        values.reshape(num_cells, num_cells),
        origin="lower",
        extent=(left, right, bottom, top),
        cmap="cividis",
        vmin=0,
        aspect="auto",
        interpolation="nearest",
    )
    ax.figure.colorbar(shades, ax=ax, label=SCORES[score])
    _draw_borders(ax, classes, (left, right), (bottom, top))
    for label in np.unique(labels):
        colour, marker = STYLES[label % len(STYLES)]
        ax.plot(
            *data[labels == label].T,
            marker,
            color=colour,
            markersize=6 if marker in "o s" else 7,
            markeredgecolor="white",
            markeredgewidth=0.6,
            label=f"class {label}",
        )
    ax.set(xlim=(left, right), ylim=(bottom, top), xlabel="first input", ylabel="second input")
    legend_above(ax, 4)
    return ax


def _check_inputs(call: str, x: npt.ArrayLike) -> Float64:
    raw = to_numpy(x)
    if raw.ndim != 2 or raw.shape[1] != 2 or not len(raw):
        raise ValueError(
            f"{call} needs inputs of shape (rows, 2): received shape {raw.shape}. Of more inputs "
            "choose two, fix the others in a function, and pass that function and x[:, [i, j]]."
        )
    data = raw.astype(np.float64)
    if not np.isfinite(data).all():
        row = int(np.flatnonzero(~np.isfinite(data).all(axis=1))[0])
        raise ValueError(f"{call} needs finite inputs: x[{row}] is {data[row]}. Drop such rows.")
    return data


def _around(data: Float64) -> Limits:
    low, high = data.min(axis=0), data.max(axis=0)
    margin = np.where(high > low, 0.25 * (high - low), 0.5)
    (a, c), (b, d) = low - margin, high + margin
    return (float(a), float(b)), (float(c), float(d))


def _checked(call: str, limits: Limits) -> Limits:
    ends = np.asarray(limits, dtype=np.float64)
    if ends.shape != (2, 2) or not np.isfinite(ends).all() or not (ends[:, 0] < ends[:, 1]).all():
        raise ValueError(
            f"{call} needs limits=((low, high), (low, high)), each low below its high: received "
            f"{limits!r}. Write limits=((-2, 2), (-1, 1)), say."
        )
    (a, b), (c, d) = ends.tolist()
    return (a, b), (c, d)


def _predicted(call: str, predictor: Any, rows: Float64, score: str) -> tuple[Float64, Float64]:
    """Mean probabilities and the score of each row."""
    # The moments of an Ensemble take the memory of one draw, whatever the number of draws.
    name = next((n for n in ("predict_moments", "predict") if hasattr(predictor, n)), None)
    if name is None and not callable(predictor):
        raise TypeError(
            f"{call} needs an Ensemble, or a function of inputs (rows, 2): received "
            f"{type(predictor).__name__}. Write decision_surface(posterior.draw(100), x, y)."
        )
    pred = predictor(rows) if name is None else getattr(predictor, name)(rows)
    if has_parts(pred):
        mean = pred.mean
    else:
        probs = to_numpy(pred)
        pred = Predictions(probs) if probs.ndim == 3 else probs
        is_of_draws = isinstance(pred, Predictions)
        mean = pred.mean if is_of_draws else check_probabilities(call, probs, ("row", "class"))
    if len(mean) != len(rows):
        raise ValueError(
            f"{call} predicts {len(rows)} rows at once: the function returned {len(mean)}. Return "
            "probabilities of every row that it is given, (rows, classes)."
        )
    return mean, row_scores(call, pred, score)


def _draw_borders(
    ax: Axes,
    classes: npt.NDArray[np.integer],
    across: tuple[float, float],
    up: tuple[float, float],
) -> None:
    """Lines along the edges of cells whose neighbour is predicted as another class."""
    from matplotlib.collections import LineCollection

    x = np.linspace(*across, classes.shape[1] + 1)
    y = np.linspace(*up, classes.shape[0] + 1)
    i, j = np.nonzero(classes[:, 1:] != classes[:, :-1])
    upright = np.stack([x[j + 1], y[i], x[j + 1], y[i + 1]], axis=-1)
    i, j = np.nonzero(classes[1:] != classes[:-1])
    level = np.stack([x[j], y[i + 1], x[j + 1], y[i + 1]], axis=-1)
    segments = np.concatenate([upright, level]).reshape(-1, 2, 2)
    for colour, width in (("white", 2.4), (INK, 1.2)):
        ax.add_collection(LineCollection(list(segments), colors=colour, linewidths=width))
