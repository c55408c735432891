"""The heat maps of a posterior: each cell is its weight, or the mean of its block."""

import numpy as np
import pytest

from bayes_sbn import plots
from bayes_sbn.plots.sign_certainty import block_means
from bayes_sbn.posterior import Posterior
from bayes_sbn.posterior_layer import PosteriorLayer
from bayes_sbn.posterior_real_layer import RealPosteriorLayer


def layer(name: str, site: int, shape: tuple[int, int], *, last: bool = False) -> PosteriorLayer:
    p = np.random.default_rng(site).integers(2**16 + 1, size=shape) / 2**16
    zeros = np.zeros(shape[0])
    return PosteriorLayer(name, site, p, zeros + 1, zeros, None if last else "logistic")


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    return Posterior([layer("low", 0, (5, 6)), layer("high", 1, (3, 5), last=True)], 2.0**-8)


def heat_maps(figure) -> list:
    return [ax for ax in figure.axes if ax.images]


@pytest.mark.parametrize("show", ["certainty", "probability"])
def test_cells_are_the_weights(posterior, show):
    axes = heat_maps(plots.sign_certainty(posterior, show=show))
    assert len(axes) == 2
    for ax, found in zip(axes, posterior.layers, strict=True):
        p = found.probabilities
        values = p if show == "probability" else abs(2 * p - 1)
        np.testing.assert_allclose(ax.images[0].get_array(), values)
        assert ax.images[0].get_clim() == (0, 1)
        title = ax.get_title().rstrip("\n")
        assert title == f"{found.name}, {p.shape[0]} × {p.shape[1]}, mean {values.mean():.2f}"


@pytest.mark.parametrize(
    ("shape", "cells"), [((5, 6), 2), ((7, 3), 3), ((10, 10), 10), ((1, 9), 4)]
)
def test_blocks_are_means(shape, cells):
    values = np.random.default_rng(0).random(shape)
    found, (rows, columns) = block_means(values, cells)
    assert max(found.shape) <= cells
    for i in range(found.shape[0]):
        for j in range(found.shape[1]):
            block = values[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
            assert found[i, j] == pytest.approx(block.mean(), abs=1e-12)
    assert (found.shape[0] - 1) * rows < shape[0]
    assert (found.shape[1] - 1) * columns < shape[1]


def test_large_layers_say_what_a_cell_is(posterior):
    first, second = heat_maps(plots.sign_certainty(posterior, max_cells=3))
    assert first.get_title().endswith("\na cell: the mean of 2 × 2 weights")
    assert second.get_title().endswith("\na cell: the mean of 1 × 2 weights")
    certainty = abs(2 * posterior.layers[0].probabilities - 1)
    np.testing.assert_allclose(first.images[0].get_array(), block_means(certainty, 3)[0])


@pytest.mark.parametrize(("max_units", "units"), [(36, [0, 1, 2, 3, 4]), (3, [0, 2, 4])])
def test_first_layer_is_drawn_as_images(posterior, max_units, units):
    figure = plots.sign_certainty(posterior, image_shape=(2, 3), max_units=max_units)
    first = heat_maps(figure)[0]
    picture = np.ma.filled(first.images[0].get_array(), np.nan)
    values = abs(2 * posterior.layers[0].probabilities - 1)
    columns = 3 if len(units) == 5 else 2
    for place, unit in enumerate(units):
        top, left = place // columns * 3, place % columns * 4
        np.testing.assert_allclose(
            picture[top : top + 2, left : left + 3], values[unit].reshape(2, 3)
        )
    assert np.isfinite(picture).sum() == 6 * len(units)
    some = "all units, as images" if len(units) == 5 else "3 of 5 units, evenly spaced"
    assert first.get_title().endswith(some)


def test_layers_of_real_weights_are_left_out_and_named():
    zeros = np.zeros(4)
    real = RealPosteriorLayer("real one", 0, np.ones((4, 6)), 0.5, zeros, "logistic")
    mixed = Posterior([real, layer("signs", 1, (3, 4), last=True)], 2.0**-8)
    figure = plots.sign_certainty(mixed)
    assert len(heat_maps(figure)) == 1
    assert figure.get_suptitle() == "left out, of real weights: real one"
    with pytest.raises(ValueError, match=r'images of the first .*"real one" are real. Leave image'):
        plots.sign_certainty(mixed, image_shape=(2, 3))


def test_a_component_is_chosen(posterior):
    other = Posterior([layer("low", 2, (5, 6)), layer("high", 3, (3, 5), last=True)], 2.0**-8)
    mixture = Posterior.mixture([posterior, other])
    with pytest.raises(ValueError, match=r"draws one component, and .* has 2.*Write component=0"):
        plots.sign_certainty(mixture)
    first = heat_maps(plots.sign_certainty(mixture, component=1, show="probability"))[0]
    np.testing.assert_allclose(first.images[0].get_array(), other.layers[0].probabilities)
    with pytest.raises(ValueError, match=r"needs component in 0 \.\.\. 1: received 2"):
        plots.sign_certainty(mixture, component=2)


def test_errors_say_what_to_pass(posterior):
    name = r"^sign_certainty\(\) "
    with pytest.raises(TypeError, match=name + "needs a Posterior: received list. Write sbn.Post"):
        plots.sign_certainty([])
    with pytest.raises(ValueError, match=name + r"needs image_shape=.* of 6 inputs: .*\(2, 2\)"):
        plots.sign_certainty(posterior, image_shape=(2, 2))
    with pytest.raises(ValueError, match=name + "knows show='certainty', 'probability': received"):
        plots.sign_certainty(posterior, show="sign")
    with pytest.raises(ValueError, match=name + "needs max_cells of at least 1"):
        plots.sign_certainty(posterior, max_cells=0)
