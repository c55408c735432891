"""The reliability curve without bins, against the formula of isotonic regression, and its band."""

import numpy as np
import pytest
import torch
from scipy import stats

from bayes_sbn import plots
from bayes_sbn.metrics import accuracy
from bayes_sbn.plots.isotonic import consistency_band, isotonic_curve


def max_min_regression(p: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Isotonic regression at each row: ``max_{a <= p} min_{b >= p} mean(z of a <= p <= b)``."""
    values = np.unique(p)
    return np.array(
        [
            max(
                min(z[(p >= a) & (p <= b)].mean() for b in values[values >= at])
                for a in values[values <= at]
            )
            for at in p
        ]
    )


@pytest.mark.parametrize("num_values", [3, 12, 1000])
def test_curve_is_the_max_min_formula(num_values):
    generator = np.random.default_rng(num_values)
    p = generator.integers(num_values + 1, size=40) / num_values
    z = generator.random(40) < p
    curve = isotonic_curve(p, z)
    expected = max_min_regression(p, z)
    np.testing.assert_array_equal(curve.probability, np.unique(p))
    place = np.searchsorted(curve.probability, p)
    np.testing.assert_allclose(curve.frequency[place], expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(curve.count, [(p == value).sum() for value in np.unique(p)])
    score = np.mean((p - z) ** 2)
    after = np.mean((expected - z) ** 2)
    assert curve.miscalibration == pytest.approx(score - after, abs=1e-12)
    assert curve.discrimination == pytest.approx(z.var() - after, abs=1e-12)
    parts = curve.miscalibration - curve.discrimination + curve.uncertainty
    assert parts == pytest.approx(score, abs=1e-12)


def test_a_forecast_on_its_own_curve_has_no_miscalibration():
    z = np.array([False, False, True, False, True, True])
    curve = isotonic_curve(np.array([0.0, 0.5, 0.5, 0.5, 0.5, 1.0]), z)
    np.testing.assert_allclose(curve.frequency, [0, 0.5, 1])
    assert curve.miscalibration == 0


def lines(ax) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {line.get_label(): line.get_data() for line in ax.lines}


@pytest.mark.parametrize("label", [None, 0, 7])
def test_figure_draws_the_ends_of_each_block(pred, y, label):
    ax = plots.isotonic_reliability(pred, y, label=label)
    p = pred.mean.max(axis=1) if label is None else pred.mean[:, label]
    z = pred.mode == y if label is None else y == label
    curve = isotonic_curve(p, z)
    at, frequency = lines(ax)["isotonic regression"]
    # All of the curve is drawn, though only the ends of its level parts are.
    np.testing.assert_array_equal(np.interp(p, at, frequency), max_min_regression(p, z))
    assert len(at) < len(curve.probability)
    assert (ax.get_xlabel() == "confidence (probability of the predicted class)") == (label is None)
    assert label is None or f"class {label}" in ax.get_xlabel()
    words = ax.get_legend().get_title().get_text()
    assert words == (
        f"MCB {curve.miscalibration:.4f}, DSC {curve.discrimination:.4f}, "
        f"UNC {curve.uncertainty:.4f}; 90 rows"
    )


def test_uncertainty_of_the_predicted_class_is_that_of_the_accuracy(pred, y):
    p = accuracy(pred, y)
    curve = isotonic_curve(pred.mean.max(axis=1), pred.mode == y)
    assert curve.uncertainty == pytest.approx(p * (1 - p), abs=1e-12)


def test_band_of_one_probability_is_that_of_a_binomial_share():
    # All rows say 0.3, so that a resampled curve is the share of successes among 20 rows.
    curve = isotonic_curve(np.full(20, 0.3), np.arange(20) < 6)
    low, high = consistency_band(curve, np.array([0.3]), level=0.64, resamples=4000, seed=0)
    law = stats.binom(20, 0.3)
    assert low[0] * 20 == pytest.approx(law.ppf(0.18), abs=1e-9)
    assert high[0] * 20 == pytest.approx(law.ppf(0.82), abs=1e-9)
    # They are so for nearly every seed: the law's steps are 6 standard errors and more away.
    error = np.sqrt(0.18 * 0.82 / 4000)
    for count, level in ((law.ppf(0.18), 0.18), (law.ppf(0.82), 0.82)):
        assert law.cdf(count - 1) < level - 6 * error
        assert law.cdf(count) > level + 6 * error


def test_band_is_drawn_where_it_is_computed(pred, y):
    ax = plots.isotonic_reliability(pred, y, level=0.5, resamples=40, seed=3)
    p = pred.mean.max(axis=1)
    curve = isotonic_curve(p, pred.mode == y)
    at = np.linspace(p.min(), p.max(), 201)
    low, high = consistency_band(curve, at, level=0.5, resamples=40, seed=3)
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    for place, a, b in list(zip(at, low, high, strict=True))[::20]:
        there = corners[np.abs(corners[:, 0] - place) < 1e-12][:, 1]
        assert {a, b} <= set(there)
    assert band.get_label() == "50 % if calibrated"


def test_band_holds_calibrated_forecasts_and_shows_others():
    generator = np.random.default_rng(5)
    p = generator.random(4000)
    at = np.linspace(0.05, 0.95, 50)

    def share_inside(z):
        curve = isotonic_curve(p, z)
        low, high = consistency_band(curve, at, level=0.9, resamples=100, seed=0)
        found = np.interp(at, curve.probability, curve.frequency)
        return np.mean((low <= found) & (found <= high))

    assert share_inside(generator.random(4000) < p) > 0.7
    assert share_inside(generator.random(4000) < p**1.5) < 0.2


def test_no_resamples_draw_no_band(pred, y):
    assert not plots.isotonic_reliability(pred, y, resamples=0).collections


def test_one_row_and_equal_probabilities_are_drawn():
    ax = plots.isotonic_reliability([[0.7, 0.3]], [0])
    at, frequency = lines(ax)["isotonic regression"]
    assert (list(at), list(frequency)) == ([0.7], [1.0])
    ax.figure.canvas.draw()
    ax = plots.isotonic_reliability(torch.full((5, 4), 0.25), [0, 1, 2, 3, 0])
    assert list(lines(ax)["isotonic regression"][1]) == [0.4]
    ax.figure.canvas.draw()


def test_counts_are_the_rows(pred, y):
    ax = plots.isotonic_reliability(pred, y)
    heights = np.array([bar.get_height() for bar in ax.patches])
    count = np.histogram(pred.mean.max(axis=1), bins=50, range=(0, 1))[0]
    np.testing.assert_allclose(heights * count.max() / 0.1, count, atol=1e-12)


def test_errors_name_the_call(pred, y):
    name = r"^isotonic_reliability\(\) needs "
    with pytest.raises(ValueError, match=name + r"label in 0 \.\.\. 9 for 10 classes: received 10"):
        plots.isotonic_reliability(pred, y, label=10)
    with pytest.raises(TypeError, match=name + "an integer label: received 'cat'"):
        plots.isotonic_reliability(pred, y, label="cat")
    with pytest.raises(ValueError, match=name + "a level strictly between 0 and 1"):
        plots.isotonic_reliability(pred, y, level=1.0)
    with pytest.raises(ValueError, match=name + "resamples of at least 0"):
        plots.isotonic_reliability(pred, y, resamples=-1)
    with pytest.raises(ValueError, match=name + "one label a row"):
        plots.isotonic_reliability(pred, y[1:])
