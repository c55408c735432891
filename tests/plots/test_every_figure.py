"""What holds of every figure: it draws where it is told to, and its words are legible."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from bayes_sbn import plots
from bayes_sbn.metrics import NormalMixture
from bayes_sbn.plots.canvas import DASHES, STYLES
from bayes_sbn.posterior import Posterior
from bayes_sbn.posterior_layer import PosteriorLayer


def posterior() -> Posterior:
    generator = np.random.default_rng(0)
    return Posterior(
        [
            PosteriorLayer(f"layer{i}", i, generator.random((o, n)), np.ones(o), np.zeros(o), noise)
            for i, (o, n, noise) in enumerate(((12, 16, "logistic"), (3, 12, None)))
        ],
        2.0**-8,
    )


def surface(rows: np.ndarray) -> np.ndarray:
    p = 1 / (1 + np.exp(-rows[:, 0]))
    return np.stack([1 - p, p], axis=-1)


def band() -> SimpleNamespace:
    x = np.linspace(0, 1, 20)
    return SimpleNamespace(mean=np.sin(x), aleatoric=0.1 + x, epistemic=x**2)


EPOCHS = [
    SimpleNamespace(
        epoch=i, loss=1 / i, validation_nll=2 / i, validation_draw_nll=3 / i, validation_elbo=-4 / i
    )
    for i in range(1, 30)
]
FIT = SimpleNamespace(history=EPOCHS, epoch=17, stopped="patience")

ON_AXES = {
    "reliability_diagram": lambda pred, y, ax: plots.reliability_diagram(pred, y, ax),
    "isotonic_reliability": lambda pred, y, ax: plots.isotonic_reliability(pred, y, ax),
    "confidence_histogram": lambda pred, y, ax: plots.confidence_histogram(pred, y, ax),
    "ood_histogram": lambda pred, y, ax: plots.ood_histogram(pred, pred.mean[y < 4], ax),
    "decision_surface": lambda pred, y, ax: plots.decision_surface(
        surface, np.eye(2), [0, 1], ax, score="entropy", num_cells=5
    ),
    "regression_band": lambda pred, y, ax: plots.regression_band(
        band(), np.arange(20), np.arange(20), ax
    ),
    "pit_histogram": lambda pred, y, ax: plots.pit_histogram(pred.mean[:, 0], ax),
    "target_against_prediction": lambda pred, y, ax: plots.target_against_prediction(
        NormalMixture(np.arange(20.0), 1.0), np.arange(20) ** 1.1, ax
    ),
    "fit_trace": lambda pred, y, ax: plots.fit_trace(FIT, ax, elbo=True),
    "risk_coverage": lambda pred, y, ax: plots.risk_coverage(
        pred, y, ax, scores=["max_prob", "epistemic"]
    ),
}
"""Functions that draw in axes, or make them."""

ON_FIGURES = {
    "score_against_draws": lambda pred, y, figure: plots.score_against_draws(
        pred, y, figure=figure
    ),
    "sign_certainty": lambda pred, y, figure: plots.sign_certainty(
        posterior(), image_shape=(4, 4), figure=figure
    ),
    "most_uncertain": lambda pred, y, figure: plots.most_uncertain(
        pred, np.zeros((len(y), 4)), y, image_shape=(2, 2), figure=figure
    ),
}
"""Functions that need several axes."""


def test_every_figure_is_here():
    others = {"summary_figure", "new_figure"}
    assert {*ON_AXES, *ON_FIGURES} == {*plots.__all__} - others


@pytest.mark.parametrize("name", ON_AXES)
def test_given_axes_are_drawn_in(pred, y, name):
    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    untouched, ax = figure.subplots(1, 2)
    assert ON_AXES[name](pred, y, ax) is ax
    assert ax.has_data()
    assert not untouched.has_data()
    figure.canvas.draw()


@pytest.mark.parametrize("name", ON_FIGURES)
def test_given_figures_are_drawn_in(pred, y, name):
    figure = Figure(layout="constrained", figsize=(9, 4))
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2)
    assert ON_FIGURES[name](pred, y, right) is right
    assert right.axes
    assert not left.axes
    figure.canvas.draw()


def words(figure) -> list[tuple[str, object]]:
    """All texts that are shown, and where."""
    renderer = figure.canvas.get_renderer()
    found = [
        (text.get_text().strip(), text.get_window_extent(renderer))
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip()
    ]
    # matplotlib keeps labels of ticks that lie outside the axes, which it does not draw.
    return [
        (text, box)
        for text, box in found
        if figure.bbox.overlaps(box) and not is_hidden_tick(figure, text, box)
    ]


def is_hidden_tick(figure, text: str, box) -> bool:
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                label = tick.label1
                if label.get_text() == text and not low <= tick.get_loc() <= high:
                    there = label.get_window_extent(figure.canvas.get_renderer())
                    if np.allclose(there.bounds, box.bounds):
                        return True
    return False


@pytest.mark.parametrize("name", [*ON_AXES, *ON_FIGURES])
def test_words_neither_overlap_nor_leave_the_figure(pred, y, name):
    drawn = (ON_AXES | ON_FIGURES)[name](pred, y, None)
    figure = drawn if name in ON_FIGURES else drawn.figure
    figure.canvas.draw()
    found = words(figure)
    assert len(found) > 4
    for i, (text, box) in enumerate(found):
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= figure.bbox.width + 1, text
        assert box.y1 <= figure.bbox.height + 1, text
        for other, there in found[:i]:
            inner = box.padded(-1)
            assert not inner.overlaps(there.padded(-1)), f"{text!r} over {other!r}"


@pytest.mark.parametrize("name", ON_AXES)
def test_legends_hide_nothing(pred, y, name):
    ax = ON_AXES[name](pred, y, None)
    ax.figure.canvas.draw()
    legend = ax.get_legend()
    if name == "reliability_diagram":  # its legend stands where accuracies exceed confidences
        return
    assert legend.get_window_extent().y0 >= ax.get_window_extent().y1 - 1


def test_series_differ_by_more_than_colour():
    assert len({marker for _, marker in STYLES}) == len(STYLES) == len(set(DASHES))
    assert len({colour for colour, _ in STYLES}) == len(STYLES)


def test_drawing_touches_no_pyplot(tmp_path):
    script = (
        "import sys, numpy as np\n"
        "from bayes_sbn import plots\n"
        "from bayes_sbn.predictions import Predictions\n"
        "assert not {'matplotlib', 'sklearn', 'torch'} & set(sys.modules)\n"
        "pred = Predictions(np.full((2, 3, 4), 0.25))\n"
        "figure = plots.summary_figure(pred, np.eye(3, 4), [0, 1, 2], image_shape=(2, 2))\n"
        "figure.savefig(sys.argv[1])\n"
        "plots.isotonic_reliability(pred, [0, 1, 2])\n"
        "plots.decision_surface(lambda x: np.full((2, len(x), 2), 0.5), np.eye(2), [0, 1])\n"
        "plots.score_against_draws(pred, [0, 1, 2])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "summary.png")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    assert (tmp_path / "summary.png").stat().st_size > 10_000
