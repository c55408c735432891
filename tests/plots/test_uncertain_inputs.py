"""The most uncertain inputs, and the summary: what they show is what the predictions say."""

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from bayes_sbn import plots
from bayes_sbn.metrics import ece
from bayes_sbn.predictions import Predictions

ROWS = 90


def images_of(figure) -> list[np.ndarray]:
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]


def titles_of(figure) -> list[str]:
    return [ax.get_title() for ax in figure.axes if ax.images]


def test_most_uncertain_shows_the_largest_entropies_in_order(pred, x, y):
    figure = plots.most_uncertain(pred, x, y, image_shape=(8, 8), k=7)
    order = sorted(range(ROWS), key=lambda row: -pred.entropy[row])[:7]
    np.testing.assert_array_equal(images_of(figure), x[order].reshape(7, 8, 8))
    for row, title in zip(order, titles_of(figure), strict=True):
        share = pred.epistemic[row] / pred.entropy[row]
        probability = pred.mean[row].max()
        mark = "✓" if pred.mode[row] == y[row] else "✗"
        assert title == (
            f"true {y[row]}, predicted {pred.mode[row]} {mark}\n"
            f"p = {probability:.2f}, epistemic {100 * share:.0f} %"
        )


def test_most_uncertain_bars_are_the_predictive_probabilities(pred, x, y):
    figure = plots.most_uncertain(pred, x, y, image_shape=(8, 8), k=5)
    order = np.argsort(-pred.entropy)[:5]
    bars = [ax for ax in figure.axes if ax.patches]
    limits = {ax.get_ylim() for ax in bars}
    assert len(limits) == 1  # one scale
    for ax, row in zip(bars, order, strict=True):
        heights = [bar.get_height() for bar in ax.patches]
        np.testing.assert_array_equal(heights, pred.mean[row])
        orange = [i for i, bar in enumerate(ax.patches) if to_hex(bar.get_facecolor()) == "#e69f00"]
        outlined = [
            i
            for i, bar in enumerate(ax.patches)
            if to_hex(bar.get_edgecolor(), keep_alpha=True) == "#000000ff"
        ]
        assert orange == [pred.mode[row]]
        assert outlined == [y[row]]
        spread = np.array(ax.collections[0].get_segments())[:, :, 1]
        expected = np.quantile(pred.probs_per_draw[:, row], [0.05, 0.95], axis=0).T
        np.testing.assert_allclose(spread, expected, rtol=1e-12)
        assert ax.get_ylim()[1] >= spread.max()


@pytest.mark.parametrize("wrong", [False, True])
def test_most_uncertain_marks_errors_by_sign_and_colour(wrong):
    pred = Predictions([[[0.6, 0.4]]])
    figure = plots.most_uncertain(pred, np.zeros((1, 4)), [int(wrong)], image_shape=(2, 2))
    (title,) = [ax.title for ax in figure.axes if ax.images]
    assert ("✗" in title.get_text()) == wrong
    assert title.get_color() == (plots.VERMILLION if wrong else plots.INK)


def test_most_uncertain_of_certain_predictions_has_no_epistemic_share():
    pred = Predictions([[[1.0, 0.0]]])
    figure = plots.most_uncertain(pred, np.zeros((1, 4)), [0], image_shape=(2, 2))
    assert titles_of(figure) == ["true 0, predicted 0 ✓\np = 1.00, epistemic 0 %"]


def test_most_uncertain_shows_no_more_rows_than_there_are():
    pred = Predictions([[[0.6, 0.4], [0.5, 0.5]]])
    figure = plots.most_uncertain(pred, torch.zeros(2, 1, 2, 2), [0, 1], image_shape=(2, 2))
    assert len(images_of(figure)) == 2


def test_most_uncertain_takes_colour_images(pred, y):
    x = np.random.default_rng(4).random((ROWS, 5, 4, 3))
    figure = plots.most_uncertain(pred, x, y, image_shape=(5, 4, 3), k=1)
    assert images_of(figure)[0].shape == (5, 4, 3)


def test_most_uncertain_grey_scale_is_common_to_all_images(pred, x, y):
    figure = plots.most_uncertain(pred, x, y, image_shape=(8, 8))
    limits = {ax.images[0].get_clim() for ax in figure.axes if ax.images}
    assert limits == {(x.min(), x.max())}


@pytest.mark.parametrize("function", [plots.most_uncertain, plots.summary_figure])
def test_grids_refuse_images_that_do_not_fit(pred, x, y, function):
    name = rf"^{function.__name__}\(\) needs "
    with pytest.raises(ValueError, match=name + r"one image of shape \(8, 9\) for each of 90 rows"):
        function(pred, x, y, image_shape=(8, 9))
    with pytest.raises(ValueError, match=name + r"one image .*received x of shape \(89, 64\)"):
        function(pred, x[1:], y, image_shape=(8, 8))
    with pytest.raises(ValueError, match=name + r"image_shape=\(height, width\) or .*\(64,\)"):
        function(pred, x, y, image_shape=(64,))
    with pytest.raises(ValueError, match=name + "one label a row: received 89 labels"):
        function(pred, x, y[1:], image_shape=(8, 8))
    with pytest.raises(TypeError, match=name + "a Predictions, .*received ndarray. Wrap"):
        function(pred.mean, x, y, image_shape=(8, 8))


@pytest.mark.parametrize("k", [0, -1])
def test_most_uncertain_refuses_to_show_nothing(pred, x, y, k):
    with pytest.raises(ValueError, match=r"most_uncertain\(\) needs k of at least 1: received"):
        plots.most_uncertain(pred, x, y, image_shape=(8, 8), k=k)


def test_summary_figure_holds_the_diagram_and_twelve_inputs(pred, x, y, tmp_path):
    figure = plots.summary_figure(pred, x, y, image_shape=(8, 8))
    assert isinstance(figure.canvas, FigureCanvasAgg)
    assert len(images_of(figure)) == 12
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert any(text.startswith(f"ECE = {ece(pred, y):.4f}") for text in texts)
    figure.savefig(tmp_path / "summary.png")
    assert (tmp_path / "summary.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_summary_figure_has_no_overlapping_titles(pred, x, y):
    figure = plots.summary_figure(pred, x, y, image_shape=(8, 8))
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    titles = [ax.title for ax in figure.axes if ax.images]
    boxes = [title.get_window_extent(renderer) for title in titles]
    boxes += [ax.get_window_extent(renderer) for ax in figure.axes if ax.images]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
