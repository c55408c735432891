"""The risk-coverage figure: its lines are the curves, between chance and knowing the errors."""

import numpy as np
import pytest
import torch

from bayes_sbn import metrics, plots
from bayes_sbn.plots.risk_coverage import WORDS
from bayes_sbn.predictions import Predictions


def words(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def risks_by_hand(scores, wrong):
    """Of distinct scores: mean error of the k least unusual rows."""
    order = np.argsort(scores)
    return [np.mean(wrong[order[: k + 1]]) for k in range(len(order))]


def test_lines_are_the_risks_of_the_rows_accepted(pred, y):
    ax = plots.risk_coverage(pred, y, scores=list(WORDS))
    wrong = pred.mean.argmax(-1) != y
    *lines, best, chance = ax.lines
    assert len(lines) == 4
    for name, line in zip(WORDS, lines, strict=True):
        curve = metrics.risk_coverage_curve(pred, y, score=name)
        np.testing.assert_array_equal(line.get_xdata(), curve.coverage)
        np.testing.assert_array_equal(line.get_ydata(), curve.risk)
        assert line.get_label() == f"{WORDS[name]}, AURC {metrics.aurc(pred, y, score=name):.3f}"
    by_hand = risks_by_hand(1 - pred.mean.max(-1), wrong)
    np.testing.assert_allclose(lines[0].get_ydata(), by_hand, atol=1e-12)
    np.testing.assert_allclose(best.get_ydata(), risks_by_hand(wrong, wrong), atol=1e-12)
    assert set(chance.get_ydata()) == {wrong.mean()}
    assert words(ax)[-1] == "at random"
    assert words(ax)[-2].startswith("errors last, AURC ")
    top = ax.get_ylim()[1]
    assert all(np.max(line.get_ydata()) <= top for line in ax.lines)


def test_series_differ_by_dash_and_marker(pred, y):
    ax = plots.risk_coverage(pred, y, scores=list(WORDS))
    lines = ax.lines[:4]
    for looks in (
        {line.get_marker() for line in lines},
        {str(line.get_linestyle()) for line in lines} | {str(line._dash_pattern) for line in lines},
        {line.get_color() for line in lines},
    ):
        assert len(looks) >= 4


def test_arrays_tensors_and_functions_are_taken(pred, y):
    wanted = plots.risk_coverage(pred, y).lines[0].get_ydata()
    for given in (pred.mean, torch.tensor(pred.mean)):
        found = plots.risk_coverage(given, torch.tensor(y)).lines[0].get_ydata()
        np.testing.assert_array_equal(found, wanted)

    def doubt(given):
        return 3 - 2 * given.mean.max(-1)

    ax = plots.risk_coverage(pred, y, scores=[doubt, "entropy"])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), wanted)
    assert words(ax)[0].startswith("doubt, AURC ")


@pytest.mark.parametrize("right", [True, False])
def test_all_right_all_wrong_and_one_row(right):
    probs = np.tile([0.9, 0.1], (3, 1))
    for rows in (3, 1):
        ax = plots.risk_coverage(probs[:rows], np.full(rows, 0 if right else 1))
        ax.figure.canvas.draw()
        assert set(ax.lines[0].get_ydata()) == {0.0 if right else 1.0}
        low, high = ax.get_ylim()
        assert low == 0
        assert high >= 1


def test_one_draw_is_enough_for_scores_of_the_mean(pred, y):
    one = Predictions(pred.probs_per_draw[:1])
    ax = plots.risk_coverage(one, y, scores=["max_prob", "epistemic"])
    assert len(ax.lines) == 4


def test_errors_say_what_to_pass(pred, y):
    with pytest.raises(ValueError, match=r"risk_coverage\(\) needs a score among max_prob"):
        plots.risk_coverage(pred, y, scores="doubt")
    with pytest.raises(TypeError, match=r"risk_coverage\(\) needs the probabilities of every draw"):
        plots.risk_coverage(pred.mean, y, scores=["epistemic"])
    with pytest.raises(ValueError, match=r"risk_coverage\(\) needs at least one score"):
        plots.risk_coverage(pred, y, scores=[])
    with pytest.raises(ValueError, match=r"risk_coverage\(\) needs one label a row"):
        plots.risk_coverage(pred, y[1:])
    with pytest.raises(ValueError, match=r"risk_coverage\(\) needs finite probabilities"):
        plots.risk_coverage(pred.mean * np.nan, y)
