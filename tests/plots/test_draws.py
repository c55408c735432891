"""Scores against the number of draws: those of subsets, of every size, at random."""

import itertools

import numpy as np
import pytest

from bayes_sbn import plots
from bayes_sbn.metrics import NormalMixture, accuracy, crps, nll, nlpd
from bayes_sbn.plots.draws import subset_scores, subset_scores_of_targets
from bayes_sbn.predictions import Predictions
from bayes_sbn.predictions_regression import RegressionPredictions
from tests import chance


def test_scores_are_those_of_a_subset_of_that_size(pred, y):
    few = Predictions(pred.probs_per_draw[:5])
    sizes = np.array([1, 2, 4, 5])
    got = subset_scores(few.probs_per_draw, y, sizes, subsets=6, seed=0)
    for j, size in enumerate(sizes):
        possible = [
            few.probs_per_draw[list(subset)].mean(axis=0)
            for subset in itertools.combinations(range(5), size)
        ]
        for scores, metric in zip(got, (accuracy, nll), strict=True):
            wanted = np.array([metric(mean, y) for mean in possible])
            for score in scores[:, j]:
                assert np.abs(wanted - score).min() < 1e-12


def targets() -> tuple[NormalMixture, np.ndarray]:
    generator = np.random.default_rng(4)
    law = NormalMixture(generator.normal(size=(6, 20)), generator.uniform(0.3, 2, (6, 20)))
    return law, generator.normal(size=20)


def test_scores_of_targets_are_those_of_the_first_draws_of_each_order():
    law, y = targets()
    sizes = np.array([1, 2, 5, 6])
    found = subset_scores_of_targets(
        law.mean_per_draw, law.scale_per_draw, y, sizes, subsets=4, seed=3
    )
    generator = np.random.default_rng(3)
    for i in range(4):
        order = generator.permutation(6)
        for j, size in enumerate(sizes):
            kept = order[:size]
            part = NormalMixture(law.mean_per_draw[kept], law.scale_per_draw[kept])
            for scores, metric in zip(found, (crps, nlpd), strict=True):
                np.testing.assert_allclose(scores[i, j], metric(part, y), rtol=1e-12)


def test_figure_of_targets_has_both_scores():
    law, y = targets()
    figure = plots.score_against_draws(law, y, subsets=5)
    left, right = figure.axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("CRPS", "NLPD, nats a row")
    assert left.lines[1].get_ydata()[0] == pytest.approx(crps(law, y), rel=1e-12)
    assert right.lines[1].get_ydata()[0] == pytest.approx(nlpd(law, y), rel=1e-12)
    of_draws = RegressionPredictions(law.mean_per_draw, law.scale_per_draw)
    again = plots.score_against_draws(of_draws, y, subsets=5)
    for ax, same in zip(figure.axes, again.axes, strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), same.lines[0].get_ydata())


def test_figure_of_targets_says_what_it_needs():
    law, y = targets()
    name = r"^score_against_draws\(\) needs "
    with pytest.raises(ValueError, match=name + "one target a row"):
        plots.score_against_draws(law, y[1:])
    with pytest.raises(ValueError, match=name + "laws with a density: some .* are 0. Predict"):
        plots.score_against_draws(NormalMixture(law.mean_per_draw, 0.0), y)
    with pytest.raises(ValueError, match=name + "at least 2 draws"):
        plots.score_against_draws(NormalMixture([0.0], 1.0), [0.0])


def test_every_draw_is_as_often_in_a_subset():
    # Each draw alone is right about a row of its own, so that the accuracy of one draw tells which.
    probs = np.full((4, 15, 2), 0.5)
    labels = np.ones(15, dtype=np.int64)
    for draw in range(4):
        probs[draw, : 2**draw] = [0.0, 1.0]
    found, _ = subset_scores(
        probs, labels, np.array([1]), subsets=4000, seed=chance.seed("subsets of draws")
    )
    counts = [np.sum(found[:, 0] == 2**draw / 15) for draw in range(4)]
    assert sum(counts) == 4000
    chance.assert_count(counts, 4000, 0.25, detects=0.07)


def test_figure_draws_quantiles_of_the_subsets(pred, y):
    figure = plots.score_against_draws(pred, y, subsets=7, level=0.6, seed=2)
    sizes = np.arange(1, 9)
    scores = subset_scores(pred.probs_per_draw, y, sizes, subsets=7, seed=2)
    for ax, found in zip(figure.axes, scores, strict=True):
        ordered = np.sort(found, axis=0)
        median, whole = ax.lines
        np.testing.assert_array_equal(median.get_xdata(), sizes)
        np.testing.assert_array_equal(median.get_ydata(), ordered[3])
        assert set(whole.get_ydata()) == {found[0, -1]}
        corners = ax.collections[0].get_paths()[0].vertices
        for j, size in enumerate(sizes):
            there = corners[corners[:, 0] == size, 1]
            assert (there.min(), there.max()) == (ordered[1, j], ordered[5, j])
    words = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert words == ["60 % of 7 subsets", "median of subsets", "all 8 draws"]
    assert scores[1][0, -1] == pytest.approx(nll(pred, y), abs=1e-12)


def test_infinite_scores_leave_a_gap_that_is_said():
    probs = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.0]]])
    figure = plots.score_against_draws(Predictions(probs), [0], subsets=20)
    figure.canvas.draw()
    _, right = figure.axes
    median = right.lines[0]
    assert list(median.get_xdata()) == [2, 3]  # two thirds of the pairs have the first draw
    assert "infinite" in right.get_ylabel()
    never = plots.score_against_draws(Predictions(probs[1:]), [0], subsets=3)
    never.canvas.draw()
    assert "infinite" in never.axes[1].get_ylabel()
    assert "infinite" not in never.axes[0].get_ylabel()


def test_errors_say_what_to_pass(pred, y):
    name = r"^score_against_draws\(\) needs "
    with pytest.raises(TypeError, match=name + "a Predictions, .*: received ndarray. Wrap"):
        plots.score_against_draws(pred.mean, y)
    with pytest.raises(ValueError, match=name + "at least 2 draws: received 1"):
        plots.score_against_draws(Predictions(pred.probs_per_draw[:1]), y)
    with pytest.raises(ValueError, match=name + "subsets of at least 1"):
        plots.score_against_draws(pred, y, subsets=0)
    with pytest.raises(ValueError, match=name + "at least one row"):
        plots.score_against_draws(Predictions(np.ones((2, 0, 3))), [])
    with pytest.raises(ValueError, match=name + "one label a row"):
        plots.score_against_draws(pred, y[1:])
