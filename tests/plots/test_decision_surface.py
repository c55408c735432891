"""The surface over two inputs: its cells, borders and data are what the predictor says."""

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn import plots
from bayes_sbn.predictions import Predictions

X = np.array([[-1.0, 0.0], [1.0, 2.0], [0.5, 1.0]])
Y = np.array([0, 1, 2])


def draws_of(rows: np.ndarray) -> np.ndarray:
    """Probabilities of three classes under four draws of a linear classifier."""
    weights = np.random.default_rng(0).normal(size=(4, 2, 3))
    e = np.exp(np.einsum("ri,dic->drc", rows, weights))
    return e / e.sum(axis=-1, keepdims=True)


def centres(limits, cells: int) -> np.ndarray:
    """The middle of each cell, the first input running fastest."""
    (a, b), (c, d) = limits
    return np.array(
        [
            [a + (b - a) * (i + 0.5) / cells, c + (d - c) * (j + 0.5) / cells]
            for j in range(cells)
            for i in range(cells)
        ]
    )


LIMITS = ((-2.0, 2.0), (0.0, 3.0))


@pytest.mark.parametrize("score", ["epistemic", "entropy", "aleatoric", "confidence"])
def test_cells_have_the_score_of_their_middle(score):
    ax = plots.decision_surface(draws_of, X, Y, score=score, num_cells=7, limits=LIMITS)
    pred = Predictions(draws_of(centres(LIMITS, 7)))
    wanted = 1 - pred.mean.max(axis=1) if score == "confidence" else getattr(pred, score)
    (image,) = ax.images
    np.testing.assert_allclose(image.get_array(), wanted.reshape(7, 7), rtol=1e-12)
    assert image.get_extent() == [-2.0, 2.0, 0.0, 3.0]
    assert image.origin == "lower"
    bar = ax.figure.axes[1]
    assert bar.get_ylabel() == plots.decision_surface.__globals__["SCORES"][score]


def test_borders_run_between_cells_of_other_classes():
    cells = 6
    ax = plots.decision_surface(draws_of, X, Y, num_cells=cells, limits=((0, 6), (0, 6)))
    classes = Predictions(draws_of(centres(((0, 6), (0, 6)), cells))).mode.reshape(cells, cells)
    wanted = set()
    for j in range(cells):
        for i in range(cells):
            if i + 1 < cells and classes[j, i] != classes[j, i + 1]:
                wanted.add(((i + 1, j), (i + 1, j + 1)))
            if j + 1 < cells and classes[j, i] != classes[j + 1, i]:
                wanted.add(((i, j + 1), (i + 1, j + 1)))
    assert wanted
    for lines in ax.collections:
        found = {tuple(tuple(point) for point in segment) for segment in lines.get_segments()}
        assert found == wanted


def test_data_have_the_marker_of_their_class():
    ax = plots.decision_surface(draws_of, torch.tensor(X), Y, num_cells=3)
    for label, line in enumerate(ax.lines):
        np.testing.assert_array_equal(line.get_xydata(), X[[label]])
        assert line.get_label() == f"class {label}"
    assert len({line.get_marker() for line in ax.lines}) == 3
    # A quarter of the range of the data beyond them, either way.
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1.5, 1.5), (-0.5, 2.5))


def test_an_ensemble_is_predicted_with():
    model = sbn.models.BinaryMLP(2, [5], 2, num_data=3)
    guide = sbn.guides.AutoSignBernoulli(model, generator=torch.Generator().manual_seed(0))
    ensemble = sbn.Posterior.from_guide(model, guide).draw(6)
    ax = plots.decision_surface(ensemble, X, [0, 1, 1], num_cells=4, limits=LIMITS)
    pred = ensemble.predict(centres(LIMITS, 4))
    shown = ax.images[0].get_array()
    np.testing.assert_allclose(shown, pred.epistemic.reshape(4, 4), atol=1e-12)


def test_probabilities_without_draws_and_predictions_are_taken():
    mean = plots.decision_surface(
        lambda rows: draws_of(rows).mean(axis=0), X, Y, score="entropy", num_cells=5
    )
    whole = plots.decision_surface(
        lambda rows: Predictions(draws_of(rows)), X, Y, score="entropy", num_cells=5
    )
    np.testing.assert_allclose(mean.images[0].get_array(), whole.images[0].get_array())


def test_one_point_and_one_class_are_drawn():
    ax = plots.decision_surface(draws_of, X[:1], [1], num_cells=4)
    assert ax.get_xlim() == (-1.5, -0.5)
    ax.figure.canvas.draw()


def test_errors_say_what_to_pass():
    name = r"^decision_surface\(\) "

    def surface(predictor=draws_of, x=X, y=Y, **options):
        plots.decision_surface(predictor, x, y, num_cells=4, **options)

    with pytest.raises(ValueError, match=name + r"needs inputs of shape \(rows, 2\): .*\(3, 3\)"):
        surface(x=np.zeros((3, 3)))
    with pytest.raises(ValueError, match=name + r"needs finite inputs: x\[1\] is"):
        surface(x=np.array([[0.0, 1.0], [np.nan, 1.0]]))
    with pytest.raises(ValueError, match=name + r"needs limits=\(\(low, high\), \(low, high\)\)"):
        surface(limits=((1, 0), (0, 1)))
    with pytest.raises(TypeError, match=name + "needs an Ensemble, or a function .*received dict"):
        surface({})
    with pytest.raises(TypeError, match=name + "needs a Predictions for score='epistemic'"):
        surface(lambda rows: draws_of(rows)[0])
    with pytest.raises(ValueError, match=name + "predicts 16 rows at once: .* returned 3"):
        surface(lambda rows: draws_of(rows[:3]))
    with pytest.raises(ValueError, match=name + r"needs labels in 0 \.\.\. 2"):
        surface(y=[0, 1, 3])
    with pytest.raises(ValueError, match=name + r"needs probabilities of shape \(row, class\)"):
        surface(lambda rows: rows[:, 0], score="entropy")
