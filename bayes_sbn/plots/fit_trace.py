"""The course of a fit: what was minimised, what held-out rows say, and which epoch was kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bayes_sbn.plots.canvas import (
    BLUE,
    GREEN,
    INK,
    PURPLE,
    VERMILLION,
    legend_above,
    new_axes,
    open_frame,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayes_sbn.training_result import EpochRecord, Fit

_SERIES = {
    "loss": ("loss (minimised)", BLUE, "-", "o"),
    "validation_nll": ("validation NLL, ensemble", VERMILLION, "--", "s"),
    "validation_draw_nll": ("validation NLL, one draw", GREEN, ":", "^"),
    "validation_elbo": ("minus validation ELBO", PURPLE, "-.", "v"),
}
"""Word, colour, dash and marker of what a record has."""

_REASONS = {
    "epochs": "all epochs done",
    "patience": "stopped by patience",
    "interrupted": "interrupted",
}


def fit_trace(
    fit: Fit | Sequence[EpochRecord],
    ax: Axes | None = None,
    *,
    elbo: bool = False,
    log: bool = False,
) -> Axes:
    """Loss and validation scores of each epoch of :func:`bayes_sbn.fit`, in nats a row.

    An upright line stands at the epoch whose parameters were kept; how the fit ended is beside it.
    What was minimised is a mean over the steps of an epoch, with the KL at the fit's temperature,
    and validation scores are taken at its end and have no KL: they are no two measurements of one
    number.

    Args:
        fit: what ``fit`` returned, or records of epochs, such as those that ``after_epoch=`` saw.
        ax: axes to draw in; None draws in a new figure, ``ax.figure`` of the result.
        elbo: whether to draw minus the validation bound at temperature 1 as well, which is often
            much larger than the others.
        log: whether the axis of the losses is logarithmic.

    Returns:
        The axes.
    """
    history = _history(fit)
    ax = new_axes(5.6, 3.6) if ax is None else ax
    if log:
        ax.set_yscale("log")
    epochs = np.array([record.epoch for record in history])
    for name, (word, colour, dashes, marker) in _SERIES.items():
        if name == "validation_elbo" and not elbo:
            continue
        values = np.array([_number(getattr(record, name)) for record in history])
        values = -values if name == "validation_elbo" else values
        if np.isnan(values).all():
            continue
        ax.plot(
            epochs,
            values,
            color=colour,
            linestyle=dashes,
            marker=marker,
            markersize=3.5,
            markevery=max(1, len(epochs) // 12),
            label=word,
        )
    if not isinstance(fit, Sequence):
        ax.axvline(
            fit.epoch,
            color=INK,
            linewidth=1,
            linestyle=(0, (1, 2)),
            label=f"kept: epoch {fit.epoch} ({_REASONS[fit.stopped]})",
        )
    ax.set(xlabel="epoch", ylabel="nats a row")
    whole_numbers(ax, "x")
    open_frame(ax)
    legend_above(ax, 2)
    return ax


def _history(fit: Fit | Sequence[EpochRecord]) -> tuple[EpochRecord, ...]:
    records: Any = getattr(fit, "history", fit)
    if not isinstance(records, Sequence) or not all(hasattr(r, "validation_nll") for r in records):
        raise TypeError(
            f"fit_trace() needs the result of sbn.fit, or its records: received "
            f"{type(fit).__name__}. Write fit_trace(sbn.fit(model, guide, data))."
        )
    if not records:
        raise ValueError(
            "fit_trace() needs at least one epoch: received none. Fit with epochs=1 or more."
        )
    return tuple(records)


def _number(value: float | None) -> float:
    return np.nan if value is None else value
