"""Figure of an audit of gradient estimators: noise and bias of one step, block by block.

Colours are those of Okabe and Ito, which remain distinct to colour-blind readers, and each
estimator has a marker of its own as well.  matplotlib is imported when something is drawn.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bayes_sbn.plots.canvas import GREY, INK, STYLES, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayes_sbn.gradient_audit_result import Audit, BlockAudit

FLOOR = 1e-4
"""Biases below it, relative to the gradient, are drawn at the left edge."""


def draw_audit(audit: Audit, ax: Axes | None = None) -> Axes:
    """Standard deviation and bias of one step over the norm of the mean gradient, by block.

    One line an estimator and block: the filled marker is the standard deviation of one step, the
    open one the bias, with two standard errors either way.  A bias that noise hides has an arrow
    instead, from its upper bound to the left; so has one below the left edge.  What has no finite
    ratio, because noise hides the mean gradient, is left out.

    Args:
        audit: an audit.
        ax: axes to draw in; None draws in a new figure, ``ax.figure`` of the result.
    """
    blocks = list(next(iter(audit)).blocks)
    if ax is None:
        rows = len(blocks) * (len(audit) + 1)
        ax = new_axes(6.4, 1.6 + 0.12 * rows)
    step = 1 / (len(audit) + 1)
    ax.set_xscale("log")
    for i, found in enumerate(audit):
        colour, marker = STYLES[i % len(STYLES)]
        size = 5.0 + 1.5 * (i // len(STYLES))
        for j, name in enumerate(blocks):
            height = j + (i + 1) * step - 0.5
            block = found[name]
            if 0 < block.relative_std < math.inf:
                ax.plot(block.relative_std, height, marker, color=colour, markersize=size)
            if found.label != audit.reference:
                _draw_bias(ax, block, height, colour, marker, size)
    _decorate(ax, audit, blocks)
    return ax


def _draw_bias(
    ax: Axes, block: BlockAudit, height: float, colour: str, marker: str, size: float
) -> None:
    interval, norm = block.bias_interval, block.norm
    if interval is None or block.bias is None or norm == 0:
        return
    value, low, high = block.bias / norm, interval[0] / norm, interval[1] / norm
    if low >= FLOOR:
        ax.plot([low, high], [height, height], color=colour, linewidth=1)
        ax.plot(value, height, marker, color=colour, markersize=size, markerfacecolor="white")
        return
    end = max(high, FLOOR)
    ax.plot([FLOOR, end], [height, height], color=colour, linewidth=1, linestyle=":")
    ax.plot(FLOOR, height, marker=4, color=colour, markersize=size, clip_on=False)  # CARETLEFT
    if end > FLOOR:
        ax.plot(end, height, marker="|", color=colour, markersize=size + 1)


def _decorate(ax: Axes, audit: Audit, blocks: list[str]) -> None:
    from matplotlib.lines import Line2D

    ax.set_yticks(range(len(blocks)), blocks)
    ax.set_ylim(len(blocks) - 0.5, -0.5)
    ax.set_xlim(left=FLOOR)
    for j in range(1, len(blocks)):
        ax.axhline(j - 0.5, color=GREY, linewidth=0.5)
    ax.axvline(1, color=INK, linewidth=0.8, linestyle="--")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    truth = "the exact gradient" if audit.reference == "exact" else f'"{audit.reference}"'
    what = "standard deviation of one step / norm of its mean"
    if audit.reference is not None:
        what = f"deviation or bias of one step / norm of its mean; bias against {truth}"
    ax.set_xlabel(what, fontsize="small")
    handles = [
        Line2D(
            [],
            [],
            color=STYLES[i % len(STYLES)][0],
            marker=STYLES[i % len(STYLES)][1],
            linestyle="none",
            label=found.label,
        )
        for i, found in enumerate(audit)
    ]
    handles.append(Line2D([], [], color=INK, marker="o", linestyle="none", label="standard dev."))
    if audit.reference is not None:
        handles += [
            Line2D(
                [],
                [],
                color=INK,
                marker="o",
                markerfacecolor="white",
                linestyle="none",
                label="bias",
            ),
            Line2D([], [], color=INK, marker=4, linestyle=":", label="bias, bound"),
        ]
    ax.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=4,
        fontsize="small",
        frameon=False,
    )
