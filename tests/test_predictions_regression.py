"""RegressionPredictions against scipy and by hand; its file; what it refuses."""

import numpy as np
import pytest
import torch
from scipy import stats

from bayes_sbn import RegressionPredictions
from tests.chance import numpy_generator

G = numpy_generator("regression predictions")
MEAN, SCALE = G.normal(size=(7, 4)), G.uniform(0.1, 2, size=(7, 4))
Y = G.normal(size=4)
PRED = RegressionPredictions(MEAN, SCALE)


def test_moments_are_those_of_the_mixture_and_parts_sum():
    assert np.allclose(PRED.mean, MEAN.mean(0), atol=1e-15)
    second = (SCALE**2 + MEAN**2).mean(0)
    assert np.allclose(PRED.variance, second - MEAN.mean(0) ** 2, atol=1e-12)
    assert np.array_equal(PRED.variance, PRED.aleatoric + PRED.epistemic)
    assert np.allclose(PRED.epistemic, MEAN.var(0), atol=1e-15)
    assert np.array_equal(PRED.std, np.sqrt(PRED.variance))


def test_density_distribution_and_quantiles():
    law = stats.norm(MEAN, SCALE)
    assert np.allclose(PRED.log_prob(Y), np.log(law.pdf(Y).mean(0)), atol=1e-12)
    assert np.allclose(PRED.cdf(Y), law.cdf(Y).mean(0), atol=1e-14)
    low, high = PRED.interval(0.8)
    assert np.allclose(PRED.cdf(low), 0.1, atol=1e-12)
    assert np.allclose(PRED.cdf(high), 0.9, atol=1e-12)
    assert np.allclose(PRED.quantile([0.1, 0.9]), [low, high], atol=1e-14)


def test_interval_of_the_mean_is_the_spread_of_the_draws():
    low, high = PRED.interval(0.5, of="mean")
    assert np.array_equal(low, np.quantile(MEAN, 0.25, axis=0))
    assert np.array_equal(high, np.quantile(MEAN, 0.75, axis=0))


def test_a_single_draw_is_its_normal_law():
    one = RegressionPredictions(MEAN[:1], SCALE[:1])
    assert not one.epistemic.any()
    assert np.allclose(one.quantile(0.9), stats.norm(MEAN[0], SCALE[0]).ppf(0.9), atol=1e-12)
    assert np.allclose(one.log_prob(Y), stats.norm(MEAN[0], SCALE[0]).logpdf(Y), atol=1e-12)


def test_samples_follow_a_seed_and_the_law_of_their_draw():
    wide = RegressionPredictions(np.zeros((1000, 1)), 1.0)
    drawn = wide.sample(seed=4)
    assert np.array_equal(drawn, wide.sample(seed=4))
    assert not np.array_equal(drawn, wide.sample(seed=5))
    narrow = RegressionPredictions(MEAN, 0.0)
    assert np.array_equal(narrow.sample(), MEAN)
    standard = np.random.default_rng(3).standard_normal(MEAN.shape)
    assert np.array_equal(PRED.sample(3), MEAN + SCALE * standard)


def test_rescaled_is_the_law_in_other_units():
    other = PRED.rescaled(-3.0, 10.0)
    assert np.allclose(other.log_prob(10 - 3 * Y), PRED.log_prob(Y) - np.log(3), atol=1e-12)
    assert np.allclose(other.mean, 10 - 3 * PRED.mean, atol=1e-12)
    assert np.allclose(other.std, 3 * PRED.std, atol=1e-12)


def len_of(rows):
    return 2 if isinstance(rows, slice) else len(rows)


def test_rows_are_taken_by_index_mask_and_slice():
    for rows in ([2, 0, 2], np.array([True, False, False, True]), slice(1, 3), []):
        part = PRED.take(rows)
        index = (
            rows
            if isinstance(rows, slice)
            else np.arange(4)[np.asarray(rows, dtype=None)]
            if len(rows)
            else []
        )
        assert np.array_equal(part.mean_per_draw, MEAN[:, index])
        assert len(part) == part.shape[1]
    with pytest.raises(IndexError, match="there are 4 rows, and indices reach from 0 to 4"):
        PRED.take([0, 4])
    with pytest.raises(TypeError, match=r"a mask of 4 of them, or a slice: received bool of shape"):
        PRED.take([True, False])


def test_file_brings_it_back(tmp_path):
    pred = RegressionPredictions(torch.tensor(MEAN), 0.5, attrs={"seed": 1})
    pred.save(tmp_path / "p.npz")
    assert RegressionPredictions.load(tmp_path / "p.npz") == pred
    from bayes_sbn import Predictions

    with pytest.raises(ValueError, match=r"its format is 'bayes_sbn.regression_predictions'"):
        Predictions.load(tmp_path / "p.npz")


def test_it_cannot_be_changed():
    with pytest.raises(AttributeError, match="cannot be set: predictions are immutable"):
        PRED.mean = 3
    for array in (PRED.mean, PRED.variance, PRED.mean_per_draw, PRED.scale_per_draw):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_from_predictive_takes_means_and_scales():
    samples = {
        "mean": torch.tensor(MEAN)[:, None, :, None],
        "scale": torch.tensor(SCALE),
        "sigma": torch.tensor(SCALE[:, :1]),
        "y": torch.tensor(MEAN),
    }
    of = RegressionPredictions.from_predictive
    assert of(samples, mean="mean", scale="scale") == PRED
    assert np.array_equal(of(samples, mean="mean", scale="sigma").scale_per_draw[:, 2], SCALE[:, 0])
    assert (of(samples, mean="mean", scale=0.5).scale_per_draw == 0.5).all()
    points = of(samples, draws="y")
    assert np.array_equal(points.quantile(0.5), np.sort(MEAN, 0)[3])
    with pytest.raises(ValueError, match="point masses, which have no density"):
        points.log_prob(Y)
    with pytest.raises(ValueError, match="needs scale= with mean="):
        of(samples, mean="mean")
    with pytest.raises(ValueError, match="one of mean=, draws=, the name of a site"):
        of(samples)
    with pytest.raises(ValueError, match="no site 'mu' in the samples, which have 'mean'"):
        of(samples, mean="mu", scale=1.0)


@pytest.mark.parametrize(
    ("mean", "scale", "error", "words"),
    [
        (
            MEAN[0],
            1.0,
            ValueError,
            r"\(draws, rows\), .* write mean\[None\]",
        ),
        (MEAN, SCALE[:, :2], ValueError, r"received shape \(7, 2\)"),
        (MEAN, -SCALE, ValueError, "not negative: received"),
        (MEAN * np.nan, SCALE, ValueError, r"mean_per_draw\[0, 0\] is nan"),
        ([["a"]], 1.0, TypeError, "needs real numbers"),
        (np.zeros((0, 3)), 1.0, ValueError, "one draw at least"),
    ],
)
def test_arrays_that_are_not_allowed(mean, scale, error, words):
    with pytest.raises(error, match=words):
        RegressionPredictions(mean, scale)


def test_calls_that_are_not_allowed():
    with pytest.raises(ValueError, match=r"log_prob\(\) needs one target a row, shape \(4,\)"):
        PRED.log_prob(Y[:3])
    with pytest.raises(ValueError, match=r"y\[1\] is nan"):
        PRED.cdf([0, np.nan, 0, 0])
    with pytest.raises(ValueError, match=r"For a column write y.reshape"):
        PRED.cdf(Y[:, None])
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        PRED.interval(1.0)
    with pytest.raises(ValueError, match="of='target' or of='mean'"):
        PRED.interval(of="all")
    with pytest.raises(ValueError, match="scale not 0"):
        PRED.rescaled(0.0)
