"""The bands of a regression are as many standard deviations, and lie inside each other."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from bayes_sbn import plots

ROWS = 30


@pytest.fixture(scope="module")
def found() -> SimpleNamespace:
    generator = np.random.default_rng(0)
    return SimpleNamespace(
        mean=generator.normal(size=ROWS),
        aleatoric=generator.gamma(1.0, size=ROWS),
        epistemic=generator.gamma(1.0, size=ROWS),
    )


def bands(ax) -> dict[str, np.ndarray]:
    return {band.get_label(): band.get_paths()[0].vertices for band in ax.collections}


def test_bands_are_the_intervals_of_normal_laws(found):
    x = np.random.default_rng(1).permutation(ROWS) / 10
    ax = plots.regression_band(found, torch.tensor(x), level=0.8)
    (mean,) = (line for line in ax.lines if line.get_label() == "mean")
    order = np.argsort(x)
    np.testing.assert_array_equal(mean.get_xdata(), x[order])
    np.testing.assert_array_equal(mean.get_ydata(), found.mean[order])
    variances = {
        "total, 80 %": found.aleatoric + found.epistemic,
        "aleatoric, 80 %": found.aleatoric,
    }
    drawn = bands(ax)
    assert set(drawn) == set(variances)
    for name, variance in variances.items():
        low, high = stats.norm(found.mean, np.sqrt(variance)).interval(0.8)
        for row in range(ROWS):
            there = drawn[name][np.isclose(drawn[name][:, 0], x[row], rtol=0, atol=1e-12), 1]
            assert there.min() == pytest.approx(low[row], abs=1e-9)
            assert there.max() == pytest.approx(high[row], abs=1e-9)


def test_data_are_drawn_where_they_were_seen(found):
    grid = np.linspace(0, 1, ROWS)
    ax = plots.regression_band(found, grid, [1.0, 2.0], x_observed=[0.25, 0.5])
    (data,) = (line for line in ax.lines if line.get_label() == "data")
    np.testing.assert_array_equal(data.get_xydata(), [[0.25, 1.0], [0.5, 2.0]])
    ax = plots.regression_band(found, grid, found.mean)
    (data,) = (line for line in ax.lines if line.get_label() == "data")
    np.testing.assert_array_equal(data.get_xydata(), np.stack([grid, found.mean], axis=-1))


def test_one_row_and_no_noise_are_drawn():
    point = SimpleNamespace(mean=np.ones(1), aleatoric=np.zeros(1), epistemic=np.zeros(1))
    plots.regression_band(point, [0.0]).figure.canvas.draw()


def test_errors_say_what_to_pass(found):
    name = r"^regression_band\(\) "
    x = np.zeros(ROWS)
    with pytest.raises(TypeError, match=name + "needs predictions .*: received ndarray, which has"):
        plots.regression_band(x, x)
    with pytest.raises(ValueError, match=name + "needs one number a row: x has 29 for 30 rows"):
        plots.regression_band(found, x[1:])
    with pytest.raises(ValueError, match=name + "needs one number a row: y has 29 for 30 rows"):
        plots.regression_band(found, x, x[1:])
    with pytest.raises(ValueError, match=name + r"received x_observed without y\. Write y="):
        plots.regression_band(found, x, x_observed=[1.0])
    with pytest.raises(ValueError, match=name + r"needs one number a row: x has shape \(30, 1\)"):
        plots.regression_band(found, x[:, None])
    with pytest.raises(ValueError, match=name + "needs a level strictly between 0 and 1"):
        plots.regression_band(found, x, level=90)
