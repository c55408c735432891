"""The figure of the study: relative error against the number of averaged draws."""

from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

STYLES = {
    "psa": ("#0072B2", "o"),
    "st": ("#D55E00", "s"),
    "zgr": ("#009E73", "^"),
    "score": ("#E69F00", "D"),
    "disarm": ("#CC79A7", "v"),
    "loo": ("#56B4E9", "P"),
    "local": ("#333333", "X"),
}
"""Colours of Okabe and Ito, and a marker each; other estimators are drawn in grey, numbered."""


def draw(results: dict[str, Any]) -> Figure:
    """A row an epoch, a column a layer."""
    epochs = list(results)
    layers = [k for k in next(iter(results[epochs[0]].values())) if k != "exact"]
    figure = Figure(figsize=(3 * len(layers), 2.4 * len(epochs) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(epochs), len(layers), squeeze=False, sharex=True)
    names = list(results[epochs[0]])
    for epoch, row in zip(epochs, axes, strict=True):
        for layer, ax in zip(layers, row, strict=True):
            for i, name in enumerate(names):
                errors = results[epoch][name][layer]["rmse"]
                colour, marker = STYLES.get(name, ("#999999", f"${i}$"))
                averaged = [int(m) for m in errors]
                ax.loglog(
                    averaged,
                    list(errors.values()),
                    color=colour,
                    marker=marker,
                    markersize=4,
                    linewidth=1,
                    label=name,
                )
            ax.spines[["top", "right"]].set_visible(False)
            ax.set_title(f"epoch {epoch}, {layer}", fontsize="small")
    for ax in axes[-1]:
        ax.set_xlabel("averaged draws", fontsize="small")
    for row in axes:
        row[0].set_ylabel("relative error", fontsize="small")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=min(len(labels), 8), frameon=False
    )
    return figure
