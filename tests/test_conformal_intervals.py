"""Conformal intervals: against quantiles written out, and their coverage."""

import numpy as np
import pytest
from mapie.regression import ConformalizedQuantileRegressor, SplitConformalRegressor
from sklearn.base import BaseEstimator, RegressorMixin

from bayes_sbn.conformal import ConformalRegressor
from bayes_sbn.predictions_regression import RegressionPredictions
from bayes_sbn.recalibration import IsotonicQuantiles
from tests import chance


def laws(rows: int = 200, seed: int = 0) -> tuple[RegressionPredictions, np.ndarray]:
    generator = np.random.default_rng(seed)
    mean = generator.standard_normal(rows) + 0.5 * generator.standard_normal((5, rows))
    pred = RegressionPredictions(mean, generator.uniform(0.4, 1.2, (5, rows)))
    return pred, pred.mean - 1 + 4 * generator.beta(1, 3, size=rows)


def written_out(
    method: str, pred: RegressionPredictions, y: np.ndarray, new: RegressionPredictions, c: float
) -> tuple[np.ndarray, np.ndarray]:
    place = int(np.ceil((len(y) + 1) * c - 1e-9)) - 1
    if method == "cqr":
        low, high = pred.interval(c)
        reach = sorted(max(a - t, t - b) for a, b, t in zip(low, high, y, strict=True))[place]
        ends = new.interval(c)
        return ends[0] - reach, ends[1] + reach
    scale, new_scale = (pred.std, new.std) if method == "normalised" else (1.0, 1.0)
    reach = sorted(np.abs(y - pred.mean) / scale)[place]
    return new.mean - reach * new_scale, new.mean + reach * new_scale


@pytest.mark.parametrize("method", ["residual", "normalised", "cqr"])
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.9])
def test_intervals_equal_those_written_out(method, confidence):
    pred, y = laws()
    cal, new = pred.take(slice(101)), pred.take(slice(101, None))
    low, high = ConformalRegressor(method, confidence).fit(cal, y[:101]).predict_interval(new)
    expected = written_out(method, cal, y[:101], new, confidence)
    np.testing.assert_allclose(low, expected[0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(high, expected[1], rtol=0, atol=1e-10)


class Given(RegressorMixin, BaseEstimator):
    """An estimator of scikit-learn that predicts one of its features."""

    n_features_in_ = 3

    def __init__(self, column: int) -> None:
        self.column = column

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, x, y):
        raise AssertionError("it is given")

    def predict(self, x):
        return x[:, self.column]


@pytest.mark.parametrize("confidence", [0.6, 0.9])
def test_intervals_are_those_of_mapie(confidence):
    pred, y = laws(300)
    low, high = pred.interval(confidence)
    columns = np.stack([low, high, pred.mean], axis=1)
    cal, new = pred.take(slice(150)), pred.take(slice(150, None))
    mapie = ConformalizedQuantileRegressor(
        [Given(0), Given(1), Given(2)], confidence_level=confidence, prefit=True
    )
    mapie.conformalize(columns[:150], y[:150])
    _, ends = mapie.predict_interval(columns[150:], symmetric_correction=True)
    ours = ConformalRegressor("cqr", confidence).fit(cal, y[:150]).predict_interval(new)
    np.testing.assert_allclose(ours, ends[:, :, 0].T, atol=1e-12)
    mapie = SplitConformalRegressor(Given(2), confidence_level=confidence, prefit=True)
    mapie.conformalize(columns[:150], y[:150])
    _, ends = mapie.predict_interval(columns[150:])
    ours = ConformalRegressor("residual", confidence).fit(cal, y[:150]).predict_interval(new)
    np.testing.assert_allclose(ours, ends[:, :, 0].T, atol=1e-12)


@pytest.mark.parametrize("method", ["residual", "normalised", "cqr"])
def test_target_of_one_more_row_is_in_its_interval_as_often_as_said(method):
    """N = 19 rows without ties: with probability 16 / 20 exactly, though the law is wrong."""
    generator = chance.numpy_generator(f"conformal {method}")
    covered, repetitions = 0, 500
    for _ in range(repetitions):
        mean = generator.standard_normal((2, 20))
        pred = RegressionPredictions(mean, generator.uniform(0.1, 0.3, (2, 20)))
        y = pred.mean + generator.exponential(size=20) * np.abs(mean[0])
        conformal = ConformalRegressor(method, 0.8).fit(pred.take(slice(19)), y[:19])
        low, high = conformal.predict_interval(pred.take([19]))
        covered += int(low[0] <= y[19] <= high[0])
    chance.assert_count(covered, repetitions, 0.8, detects=0.16)


def test_recalibrated_laws_are_taken():
    pred, y = laws(600)
    law = IsotonicQuantiles().fit(pred.take(slice(200)), y[:200])(pred.take(slice(200, None)))
    cal, new = law.take(slice(200)), law.take(slice(200, None))
    for method in ("residual", "normalised", "cqr"):
        low, high = ConformalRegressor(method).fit(cal, y[200:400]).predict_interval(new)
        assert np.mean((low <= y[400:]) & (y[400:] <= high)) > 0.8


def test_saved_arrays_are_taken_as_one_draw():
    pred, y = laws()
    saved = RegressionPredictions(pred.mean[None], pred.std[None])
    for method in ("residual", "normalised"):
        whole = ConformalRegressor(method).fit(pred, y).predict_interval(pred)
        of_arrays = ConformalRegressor(method).fit(saved, y).predict_interval(saved)
        np.testing.assert_allclose(of_arrays, whole, rtol=0, atol=1e-12)


def test_ends_that_would_cross_meet():
    wide = RegressionPredictions(np.zeros((1, 60)), np.linspace(0.1, 10, 60)[None])
    conformal = ConformalRegressor("cqr", 0.9).fit(wide, np.zeros(60))
    low, high = conformal.predict_interval(wide)
    assert np.all(low <= high)
    np.testing.assert_allclose((low + high) / 2, 0, atol=1e-12)


def test_one_row_and_none_are_predicted():
    pred, y = laws()
    for method in ("residual", "normalised", "cqr"):
        conformal = ConformalRegressor(method).fit(pred, y)
        low, high = conformal.predict_interval(pred)
        one = conformal.predict_interval(pred.take([3]))
        np.testing.assert_allclose(one, (low[[3]], high[[3]]), rtol=0, atol=1e-12)
        assert [len(end) for end in conformal.predict_interval(pred.take([]))] == [0, 0]


def test_errors_say_what_to_do():
    pred, y = laws(60)
    with pytest.raises(ValueError, match="'residual', 'normalised' or 'cqr': received 'gamma'"):
        ConformalRegressor("gamma")
    with pytest.raises(ValueError, match="needs a confidence strictly between 0 and 1"):
        ConformalRegressor(confidence=90)
    with pytest.raises(RuntimeError, match="it was not fitted"):
        ConformalRegressor().predict_interval(pred)
    with pytest.raises(TypeError, match=r"received ndarray\. Of means and standard deviations"):
        ConformalRegressor().fit(pred.mean, y)
    with pytest.raises(ValueError, match=r"at least 10 calibration rows .* received 9"):
        ConformalRegressor().fit(pred.take(slice(9)), y[:9])
    with pytest.raises(ValueError, match="Pass the targets of exactly the rows"):
        ConformalRegressor().fit(pred, y[1:])
    certain = RegressionPredictions(np.zeros((2, 60)), np.where(np.arange(60) == 7, 0.0, 1.0))
    with pytest.raises(ValueError, match=r"that of row 7 is 0. Write ConformalRegressor\('resid"):
        ConformalRegressor("normalised").fit(certain, y)
    assert repr(ConformalRegressor()).endswith("('normalised', confidence=0.9, not fitted)")
    fitted = ConformalRegressor("cqr").fit(pred, y)
    assert repr(fitted) == "ConformalRegressor('cqr', confidence=0.9, rows=60)"
