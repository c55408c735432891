"""The picture of an audit: every marker is where its number is."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import bayes_sbn as sbn
from bayes_sbn import gradient_audit_plot


@pytest.fixture
def found():
    generator = torch.Generator().manual_seed(3)
    model = sbn.models.BinaryMLP(2, [2], 2, num_data=1)
    guide = sbn.guides.AutoSignBernoulli(model, generator=generator)
    batch = torch.randn(1, 2, generator=generator), torch.tensor([1])
    return sbn.audit(model, guide, batch, ["psa", "st", "zgr", "disarm"], repeats=40)


def marks(ax, colour, *, filled):
    """(x, y) of the markers of one colour, those of bounds and arrows left out."""
    return [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in ax.lines
        if to_hex(line.get_color()) == colour.lower()
        and line.get_marker() in {m for _, m in gradient_audit_plot.STYLES}
        and (line.get_markerfacecolor() != "white") == filled
    ]


def test_markers_stand_at_deviations_and_biases(found):
    ax = found.plot()
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_yticklabels()] == list(found["psa"].blocks)
    for (colour, _), estimator in zip(gradient_audit_plot.STYLES, found, strict=False):
        finite = [b for b in estimator.blocks.values() if np.isfinite(b.relative_std)]
        deviations = [x for x, _ in marks(ax, colour, filled=True)]
        assert deviations == pytest.approx([b.relative_std for b in finite])
        shown = [b for b in finite if b.bias_interval[0] >= gradient_audit_plot.FLOOR * b.norm]
        biases = [x for x, _ in marks(ax, colour, filled=False)]
        assert biases == pytest.approx([b.bias / b.norm for b in shown])
    assert marks(ax, gradient_audit_plot.STYLES[1][0], filled=False)  # st is biased


def test_each_block_has_rows_of_its_own(found):
    ax = found.plot()
    for colour, _ in gradient_audit_plot.STYLES[: len(found)]:
        for _, y in marks(ax, colour, filled=True):
            assert abs(y - round(y)) < 0.5
    heights = [y for c, _ in gradient_audit_plot.STYLES[:3] for _, y in marks(ax, c, filled=True)]
    assert len(set(heights)) == 3 * len(found["psa"].blocks)


def test_a_bias_that_is_hidden_has_its_bound(found):
    ax = found.plot()
    colour = gradient_audit_plot.STYLES[3][0]
    bounds = [
        line.get_xdata()[0]
        for line in ax.lines
        if line.get_marker() == "|" and to_hex(line.get_color()) == colour.lower()
    ]
    hidden = [b for b in found["disarm"].blocks.values() if b.norm and b.bias_interval[0] == 0]
    assert bounds == pytest.approx([b.bias_interval[1] / b.norm for b in hidden])
    assert bounds


def test_legend_and_axis_say_what_is_drawn(found):
    ax = found.plot()
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert words == ["psa", "st", "zgr", "disarm", "standard dev.", "bias", "bias, bound"]
    assert "against the exact gradient" in ax.get_xlabel()
    ax.figure.canvas.draw()
    renderer = ax.figure.canvas.get_renderer()
    box = ax.get_legend().get_window_extent(renderer)
    assert box.x0 >= 0
    assert box.x1 <= ax.figure.bbox.width
    assert box.y1 <= ax.figure.bbox.height


def test_without_a_reference_no_bias_is_drawn(found):
    generator = torch.Generator().manual_seed(3)
    model = sbn.models.BinaryMLP(2, [2], 2, num_data=1)
    guide = sbn.guides.AutoSignBernoulli(model, generator=generator)
    batch = torch.randn(1, 2, generator=generator), torch.tensor([1])
    ax = sbn.audit(model, guide, batch, ["psa"], exact_bits=0, repeats=10).plot()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["psa", "standard dev."]
    assert "bias" not in ax.get_xlabel()


def test_draws_in_given_axes_and_writes_a_picture(found, tmp_path):
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    assert found.plot(axes[1]) is axes[1]
    assert not axes[0].has_data()
    figure.savefig(tmp_path / "audit.png")
    assert (tmp_path / "audit.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_an_audit_loads_matplotlib_only_to_draw():
    script = (
        "import sys, torch\n"
        "import bayes_sbn as sbn\n"
        "model = sbn.models.BinaryMLP(1, [1], 2, num_data=1)\n"
        "guide = sbn.guides.AutoSignBernoulli(model)\n"
        "found = sbn.audit(model, guide, (torch.ones(1, 1), torch.tensor([0])), ['psa'])\n"
        "str(found)\n"
        "assert 'matplotlib' not in sys.modules\n"
        "found.plot()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[1])
