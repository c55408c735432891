"""nll.png: the scaled NLL of every method with its interval, by data set and activations.

python -m studies.binary_weight_methods.figure
"""

import argparse

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from studies.binary_weight_methods.methods import DEEP, OURS, RESTARTS
from studies.binary_weight_methods.run import HERE, Study, everything
from studies.binary_weight_methods.scores import interval
from studies.binary_weight_methods.tables import ACTIVATIONS, TITLES, complete

COLOURS = {OURS: "#D55E00", RESTARTS: "#E69F00", DEEP: "#0072B2", "full precision": "#000000"}
"""Of Okabe and Ito; single ±1-weight networks are the green one."""

OTHERS = "#009E73"
MARKERS = {OURS: "o", RESTARTS: "o", DEEP: "s", "full precision": "D"}


def draw(study: Study) -> Figure:
    """A row for the activations, a column a data set."""
    rows = [a for a in ACTIVATIONS if complete(study, a)]
    columns = max(len(complete(study, a)) for a in rows)
    figure = Figure(figsize=(4 * columns + 1, 3.2 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(wspace=0.03, hspace=0.04)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for activation, line in zip(rows, axes, strict=True):
        for k, ax in enumerate(line):
            if k >= len(complete(study, activation)):
                ax.set_visible(False)
                continue
            data = complete(study, activation)[k]
            found = everything(study, activation, data, "scaled")
            for place, (name, own) in enumerate(found.items()):
                mean, half = interval(own["nll scaled"])
                method = name.rsplit(", ", 1)[0]
                ax.errorbar(
                    mean,
                    place,
                    xerr=half,
                    fmt=MARKERS.get(method, "^"),
                    color=COLOURS.get(method, OTHERS),
                    markersize=5,
                    capsize=3,
                )
            ax.set_yticks(range(len(found)), list(found) if k == 0 else [""] * len(found))
            ax.invert_yaxis()
            ax.locator_params(axis="x", nbins=5)
            ax.grid(axis="x", color="#dddddd", linewidth=0.6)
            ax.set_title(f"{data}, {TITLES[activation]}", fontsize="medium")
            ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[-1]:
        ax.set_xlabel("NLL, scaled, nats")
    return figure


def main(arguments: list[str] | None = None) -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args(arguments)
    draw(Study(HERE / "results.json")).savefig(HERE / "nll.png", dpi=100)


if __name__ == "__main__":
    main()
