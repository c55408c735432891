"""The histograms of a score in and out of distribution, and the area under the curve."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

from bayes_sbn import plots
from bayes_sbn.plots.out_of_distribution import share_of_larger
from bayes_sbn.plots.row_scores import SCORES
from bayes_sbn.predictions import Predictions


@pytest.fixture(scope="module")
def other() -> Predictions:
    draws = np.random.default_rng(7).dirichlet(np.ones(10), (8, 40))
    return Predictions(draws)


def expected_score(pred, score: str) -> np.ndarray:
    total = stats.entropy(pred.mean, axis=-1)
    aleatoric = stats.entropy(pred.probs_per_draw, axis=-1).mean(axis=0)
    return {
        "entropy": total,
        "aleatoric": aleatoric,
        "epistemic": total - aleatoric,
        "confidence": 1 - pred.mean.max(axis=-1),
    }[score]


@pytest.mark.parametrize("score", SCORES)
def test_bars_are_shares_of_the_rows(pred, other, score):
    ax = plots.ood_histogram(pred, other, score=score, num_bins=9)
    inside, outside = expected_score(pred, score), expected_score(other, score)
    both = np.concatenate([inside, outside])
    for bars, values in zip(ax.containers, (inside, outside), strict=True):
        count = np.histogram(values, bins=9, range=(both.min(), both.max()))[0]
        found = [bar.get_height() for bar in bars]
        np.testing.assert_allclose(found, count[count > 0] / len(values), atol=1e-12)
    assert ax.get_xlabel() == SCORES[score]
    auroc = roc_auc_score(np.arange(130) >= 90, both)
    assert ax.get_legend().get_title().get_text() == f"AUROC {auroc:.3f}"


def test_area_under_the_curve_counts_ties_by_half():
    generator = np.random.default_rng(1)
    inside, outside = generator.integers(4, size=30), generator.integers(1, 6, size=20)
    expected = roc_auc_score(np.arange(50) >= 30, np.concatenate([inside, outside]))
    assert share_of_larger(inside, outside) == pytest.approx(expected, abs=1e-12)
    assert share_of_larger(np.zeros(3), np.zeros(2)) == 0.5


def test_scores_of_ones_own_and_arrays_are_taken(pred, other):
    ax = plots.ood_histogram(torch.tensor(pred.entropy), other.entropy)
    assert ax.get_xlabel() == "score"
    by_array = plots.ood_histogram(pred.mean, torch.tensor(other.mean))
    for one, two in zip(ax.patches, by_array.patches, strict=True):
        assert one.get_height() == pytest.approx(two.get_height())


def test_equal_scores_are_drawn():
    ax = plots.ood_histogram([0.5], [0.5, 0.5])
    ax.figure.canvas.draw()
    assert [bar.get_height() for bar in ax.patches] == [1.0, 1.0]


def test_errors_say_what_to_pass(pred, other):
    name = r"^ood_histogram\(\) "
    with pytest.raises(ValueError, match=name + r"knows score='entropy', .*: received 'loudness'"):
        plots.ood_histogram(pred, other, score="loudness")
    with pytest.raises(TypeError, match=name + r"needs a Predictions for score='epistemic'"):
        plots.ood_histogram(pred.mean, other.mean, score="epistemic")
    with pytest.raises(ValueError, match=name + "received scores of one and predictions of the"):
        plots.ood_histogram(pred.entropy, other)
    with pytest.raises(ValueError, match=name + r"needs finite numbers: outside\[1\] is nan"):
        plots.ood_histogram([1.0], [1.0, np.nan])
    with pytest.raises(ValueError, match=name + r"needs at least one row: inside has none"):
        plots.ood_histogram(Predictions(np.ones((2, 0, 3))), other)
