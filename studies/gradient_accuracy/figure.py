"""The figures of the study: error and cosine against the number of averaged draws."""

from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PUBLISHED = ("psa", "st", "tanh", "concrete-0.1", "concrete-1", "arm", "score")
"""Those of the paper's figure."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Of Okabe and Ito; when they are used up, they come again with dashes."""

MARKERS = "osD^vPX<>*hpd8H"

LABELS = {"rmse": "relative error", "cosine": "cosine"}


def later(results: dict[str, Any]) -> tuple[str, ...]:
    """Psa and st, and what the paper's figure does not have."""
    names = next(iter(results.values()))
    return ("psa", "st", *(name for name in names if name not in PUBLISHED))


def draw(results: dict[str, Any], names: tuple[str, ...], quantity: str = "rmse") -> Figure:
    """A row an epoch, a column a layer; ``quantity`` is ``"rmse"`` or ``"cosine"``."""
    epochs = list(results)
    layers = [k for k in next(iter(results[epochs[0]].values())) if k != "exact"]
    figure = Figure(figsize=(3 * len(layers), 2.5 * len(epochs) + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(epochs), len(layers), squeeze=False, sharex=True)
    for epoch, row in zip(epochs, axes, strict=True):
        for layer, ax in zip(layers, row, strict=True):
            for i, name in enumerate(names):
                found = results[epoch][name][layer][quantity]
                ax.plot(
                    [int(number) for number in found],
                    list(found.values()),
                    color=COLOURS[i % len(COLOURS)],
                    linestyle="-" if i < len(COLOURS) else "--",
                    marker=MARKERS[i % len(MARKERS)],
                    markersize=5,
                    markerfacecolor="none" if i >= len(COLOURS) else None,
                    linewidth=1.2,
                    label=name,
                )
            ax.set_xscale("log")
            if quantity == "rmse":
                ax.set_yscale("log")
            else:
                ax.axhline(0, color="#bbbbbb", linewidth=0.8, zorder=0)
            ax.spines[["top", "right"]].set_visible(False)
            ax.set_title(f"epoch {epoch}, {layer}", fontsize="medium")
    for ax in axes[-1]:
        ax.set_xlabel("averaged draws")
    for row in axes:
        row[0].set_ylabel(LABELS[quantity])
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 7))
    return figure


def draw_signs(audits: dict[str, Any]) -> Figure:
    """A column an audit, a row an estimator: deviation of one step and bias of all parameters.

    Over the norm of the exact gradient; where repeats do not tell a bias from 0, its upper end.
    """
    figure = Figure(figsize=(5 * len(audits), 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(audits), squeeze=False, sharey=True)[0]
    for (step, audit), ax in zip(audits.items(), axes, strict=True):
        found = {name: each["all"] for name, each in audit["estimators"].items()}
        norm = found["score"]["squared_norm"]["value"] ** 0.5
        rows = range(len(found))
        deviation = [each["variance"]["value"] ** 0.5 / norm for each in found.values()]
        ax.plot(deviation, rows, "o", color=COLOURS[0], label="standard deviation")
        marks: dict[str, list[tuple[float, int]]] = {"bias": [], "bias below": []}
        for row, each in enumerate(found.values()):
            value, error = each["squared_bias"]["value"], each["squared_bias"]["error"]
            seen = error == 0 or value > 2 * error
            square = value if seen else max(value, 0.0) + 2 * error
            if square > 1e-12 * norm**2:
                marks["bias" if seen else "bias below"].append((square**0.5 / norm, row))
        for (label, points), marker in zip(marks.items(), "D<", strict=True):
            x, y = zip(*points, strict=True) if points else ((), ())
            ax.plot(x, y, marker, color=COLOURS[1], markerfacecolor="none", label=label)
        ax.set_xscale("log")
        ax.set_yticks(rows, list(found))
        ax.grid(axis="y", color="#dddddd", linewidth=0.6)
        ax.set_title(f"after {step} steps of SVI", fontsize="medium")
        ax.set_xlabel("over the norm of the exact gradient")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure
