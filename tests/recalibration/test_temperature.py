"""Temperature scaling: against scikit-learn, scipy and closed forms, and what it must keep."""

import numpy as np
import pytest
import torch
from scipy import optimize
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from bayes_sbn.metrics import accuracy, ece, nll
from bayes_sbn.predictions import Predictions
from bayes_sbn.recalibration import RecalibrationWarning, TemperatureScaling
from tests.recalibration.class_cases import ensemble, mean_nll, softmax


class GivenProbabilities(ClassifierMixin, BaseEstimator):
    """A scikit-learn classifier whose probabilities are the features themselves."""

    def fit(self, x, y):
        self.classes_ = np.arange(x.shape[1])
        return self

    def predict_proba(self, x):
        return x

    def predict(self, x):
        return x.argmax(axis=1)


def scikit_learn(method: str, pred: Predictions, y: np.ndarray) -> CalibratedClassifierCV:
    """scikit-learn 1.9.1, fitted to the mean of the draws."""
    classifier = GivenProbabilities().fit(pred.mean, y)
    return CalibratedClassifierCV(FrozenEstimator(classifier), method=method).fit(pred.mean, y)


@pytest.fixture(params=[(2, 0.5), (3, 3.0), (10, 1.5)], ids=str)
def case(request) -> tuple[Predictions, np.ndarray]:
    classes, sharpness = request.param
    return ensemble(400, classes, sharpness=sharpness, seed=classes)


# Oracles.


def test_temperature_of_the_mean_equals_scikit_learn(case):
    pred, y = case
    scaling = TemperatureScaling().fit(pred, y)
    theirs = scikit_learn("temperature", pred, y)
    (calibrated,) = theirs.calibrated_classifiers_
    assert scaling.temperature == pytest.approx(1 / calibrated.calibrators[0].beta_, rel=1e-5)
    np.testing.assert_allclose(scaling(pred).mean, theirs.predict_proba(pred.mean), atol=1e-6)


def test_temperature_of_the_mean_is_where_the_derivative_vanishes(case):
    pred, y = case
    logs = np.log(pred.mean)

    def slope(power: float) -> float:
        return float((np.sum(softmax(power * logs) * logs, axis=1) - logs[range(400), y]).mean())

    root = optimize.brentq(slope, 0.01, 20, xtol=1e-14)
    assert TemperatureScaling().fit(pred, y).temperature == pytest.approx(1 / root, rel=1e-7)


def test_temperature_of_draws_minimises_the_nll_of_their_mean(case):
    pred, y = case
    scaling = TemperatureScaling("draws").fit(pred, y)

    def loss(temperature: float) -> float:
        draws = softmax(np.log(pred.probs_per_draw) / temperature)
        return mean_nll(draws.mean(axis=0), y)

    grid = np.exp(np.linspace(np.log(0.1), np.log(100), 400))
    assert loss(scaling.temperature) <= min(loss(t) for t in grid)
    found = optimize.minimize_scalar(
        loss, bounds=(scaling.temperature / 2, scaling.temperature * 2), options={"xatol": 1e-10}
    )
    assert scaling.temperature == pytest.approx(found.x, rel=1e-6)


def test_temperature_of_one_draw_is_that_of_the_mean(case):
    pred, y = case
    of_mean = TemperatureScaling("mean").fit(pred.mean, y)
    of_draws = TemperatureScaling("draws").fit(pred.mean, y)
    assert of_mean.temperature == pytest.approx(of_draws.temperature, rel=1e-12)
    np.testing.assert_allclose(of_mean(pred.mean), of_draws(pred.mean), atol=1e-12)


def test_known_temperature_is_recovered():
    # Labels of softmax(z), predicted as softmax(2 z): 2 is the temperature, which 200,000 rows
    # give within five standard errors of 0.006.
    generator = np.random.default_rng(5)
    logits = 1.5 * generator.standard_normal((200_000, 3))
    cumulative = softmax(logits).cumsum(axis=-1)[:, :-1]
    y = (cumulative < generator.random((len(logits), 1))).sum(axis=-1)
    assert abs(TemperatureScaling().fit(softmax(2 * logits), y).temperature - 2) < 0.03


# What is kept.


@pytest.mark.parametrize("of", ["mean", "draws"])
def test_draws_average_to_the_mean_and_rows_sum_to_one(case, of):
    pred, y = case
    scaling = TemperatureScaling(of).fit(pred, y)
    after = scaling(pred)
    assert after.shape == pred.shape
    assert after.attrs == {"seed": pred.attrs["seed"], "recalibrated_by": ["TemperatureScaling"]}
    np.testing.assert_allclose(after.probs_per_draw.sum(axis=-1), 1, atol=1e-12)
    power = 1 / scaling.temperature
    if of == "mean":
        expected = softmax(power * np.log(pred.mean))
    else:
        expected = softmax(power * np.log(pred.probs_per_draw)).mean(axis=0)
    np.testing.assert_allclose(after.probs_per_draw.mean(axis=0), expected, atol=1e-12)
    assert np.all(after.std > 0)


def test_accuracy_is_kept_by_the_mean_and_that_of_each_draw_by_draws(case):
    pred, y = case
    after = TemperatureScaling("mean").fit(pred, y)(pred)
    assert accuracy(after, y) == accuracy(pred, y)
    of_draws = TemperatureScaling("draws").fit(pred, y)(pred)
    modes = pred.probs_per_draw.argmax(axis=-1)
    np.testing.assert_array_equal(of_draws.probs_per_draw.argmax(axis=-1), modes)


def test_scores_of_other_rows_get_better():
    pred, y = ensemble(4000, 4, sharpness=4.0)
    valid, test = np.arange(2000), np.arange(2000, 4000)
    for of in ("mean", "draws"):
        after = TemperatureScaling(of).fit(pred.take(valid), y[valid])(pred.take(test))
        assert nll(after, y[test]) < nll(pred.take(test), y[test]) - 0.1
        assert ece(after, y[test]) < ece(pred.take(test), y[test]) / 2


def test_temperature_one_is_the_identity():
    pred, y = ensemble(100, 3)
    for of in ("mean", "draws"):
        scaling = TemperatureScaling(of).fit(pred, y)
        scaling._fitted.numbers["temperature"][...] = 1.0
        np.testing.assert_allclose(
            scaling(pred).probs_per_draw, pred.probs_per_draw, rtol=0, atol=1e-15
        )
        scaling._fitted.numbers["temperature"][...] = np.nextafter(1.0, 2)
        np.testing.assert_allclose(
            scaling(pred).probs_per_draw, pred.probs_per_draw, rtol=0, atol=1e-12
        )


def test_a_modest_ensemble_is_not_sharpened_by_its_draws():
    # Three draws that are certain, each of another class a third of the time: their mean is too
    # modest where the most frequent class is always right, and stays so at any temperature.
    draws = np.full((3, 300, 3), 1e-4)
    draws[..., 0] = 1 - 2e-4
    draws[2, :, 0], draws[2, :, 1] = 1e-4, 1 - 2e-4
    y = np.zeros(300, int)
    pred = Predictions(draws)
    with pytest.warns(RecalibrationWarning, match="at the bound 0.01"):
        of_mean = TemperatureScaling("mean").fit(pred, y)
    of_draws = TemperatureScaling("draws")
    with pytest.warns(RecalibrationWarning, match="at the bound"):
        of_draws.fit(pred, y)
    assert nll(of_mean(pred), y) < 1e-6
    assert nll(of_draws(pred), y) > np.log(1.5) - 0.01


# Edges.


def test_probabilities_of_zero_and_one_stay():
    probs = np.tile([[1.0, 0.0, 0.0], [0.3, 0.7, 0.0], [0.2, 0.3, 0.5]], (30, 1))
    y = np.tile([0, 1, 2], 30)
    y[1:9:3] = 0
    y[2:19:3] = 1
    for of in ("mean", "draws"):
        scaling = TemperatureScaling(of).fit(probs, y)
        after = scaling(probs)
        np.testing.assert_array_equal(after[0], [1, 0, 0])
        power = 1 / scaling.temperature
        other = 0.3**power / (0.3**power + 0.7**power)
        np.testing.assert_allclose(after[1], [other, 1 - other, 0], atol=1e-15)
        assert after[1, 2] == 0


def test_labels_of_probability_zero_are_named_and_bounded():
    pred, y = ensemble(200, 3)
    probs = pred.mean.copy()
    probs[0] = np.eye(3)[(y[0] + 1) % 3]
    with pytest.warns(RecalibrationWarning, match="1 validation rows have labels of probability 0"):
        of_zero = TemperatureScaling().fit(probs, y)
    # In the fit it counts as 1e-12, and the map keeps the 0.
    probs[0] = np.where(np.arange(3) == y[0], 1e-12, probs[0])
    almost = TemperatureScaling().fit(probs / probs.sum(-1, keepdims=True), y)
    assert of_zero.temperature == pytest.approx(almost.temperature, rel=1e-3)
    assert of_zero.temperature > TemperatureScaling().fit(pred, y).temperature


def test_bounds_warn():
    certain = softmax(np.random.default_rng(0).standard_normal((60, 3)))
    with pytest.warns(RecalibrationWarning, match=r"bound 0.01 .*no error to learn from"):
        assert TemperatureScaling().fit(certain, certain.argmax(1)).temperature == 0.01
    with pytest.warns(RecalibrationWarning, match=r"bound 100 .*same order"):
        assert TemperatureScaling().fit(certain, certain.argmin(1)).temperature == 100


@pytest.mark.parametrize("probs", [np.eye(3), np.full((3, 3), 1 / 3)])
def test_where_no_temperature_is_better_it_is_one(probs):
    scaling = TemperatureScaling().fit(np.tile(probs, (20, 1)), np.tile([0, 1, 2], 20))
    assert scaling.temperature == 1


def test_few_rows_warn():
    pred, y = ensemble(20, 3)
    with pytest.warns(RecalibrationWarning, match="20 validation rows are few for a temperature"):
        TemperatureScaling().fit(pred, y)


def test_tensors_and_float32_are_taken():
    pred, y = ensemble(200, 3)
    probs = torch.tensor(pred.mean, dtype=torch.float32)
    scaling = TemperatureScaling().fit(probs, torch.tensor(y))
    expected = TemperatureScaling().fit(pred.mean, y)
    assert scaling.temperature == pytest.approx(expected.temperature, rel=1e-5)
    after = scaling(probs)
    assert isinstance(after, np.ndarray)
    np.testing.assert_allclose(after.sum(axis=-1), 1, atol=1e-14)


def test_one_row_and_none_are_recalibrated():
    pred, y = ensemble(200, 3)
    scaling = TemperatureScaling().fit(pred, y)
    np.testing.assert_allclose(
        scaling(pred.take([7])).probs_per_draw, scaling(pred).probs_per_draw[:, [7]], atol=1e-15
    )
    assert scaling(pred.take([])).shape == (7, 0, 3)


# Errors.


def test_errors_say_what_to_do():
    pred, y = ensemble(100, 3)
    with pytest.raises(ValueError, match=r"needs of='mean' or of='draws': received 'both'"):
        TemperatureScaling("both")
    with pytest.raises(RuntimeError, match=r"TemperatureScaling.apply\(\): it was not fitted"):
        TemperatureScaling()(pred)
    with pytest.raises(RuntimeError, match=r"temperature: it was not fitted. Write .fit"):
        _ = TemperatureScaling().temperature
    with pytest.raises(RuntimeError, match=r"save\(\): it was not fitted"):
        TemperatureScaling().save("nowhere")
    with pytest.raises(ValueError, match="received 99 labels for 100 rows"):
        TemperatureScaling().fit(pred, y[1:])
    with pytest.raises(ValueError, match="needs validation rows: received none"):
        TemperatureScaling().fit(pred.take([]), [])
    with pytest.raises(ValueError, match="finite probabilities"):
        TemperatureScaling().fit(np.full((3, 2), np.nan), [0, 1, 0])
    scaling = TemperatureScaling().fit(pred, y)
    with pytest.raises(ValueError, match="fitted to 3 classes and received 4"):
        scaling(np.full((2, 4), 0.25))


def test_other_kinds_of_predictions_are_refused_by_name():
    from bayes_sbn.predictions_moments import PredictionMoments
    from bayes_sbn.predictions_nested import NestedPredictions
    from bayes_sbn.predictions_regression import RegressionPredictions

    pred, y = ensemble(60, 3)
    scaling = TemperatureScaling().fit(pred, y)
    with pytest.raises(TypeError, match=r"received NestedPredictions. Pass its .predictions"):
        scaling(NestedPredictions(pred.probs_per_draw[None]))
    with pytest.raises(TypeError, match=r"received PredictionMoments. Pass its .mean"):
        scaling(PredictionMoments(pred.mean, pred.std, pred.aleatoric, pred.epistemic, 7))
    with pytest.raises(TypeError, match=r"received RegressionPredictions. Methods for real"):
        scaling(RegressionPredictions(np.zeros((2, 60)), 1.0))


def test_frequencies_of_labels_have_no_draws_to_scale():
    _, y = ensemble(200, 3)
    sampled = np.where(np.random.default_rng(0).random((20, 200)) < 0.9, y, 2 - y)
    sampled[0], sampled[1], y[:20] = 0, 1, 1
    sampled[2] = 2
    frequencies = Predictions.from_predictive({"y": sampled}, labels="y", num_classes=3)
    with pytest.raises(ValueError, match="frequencies of sampled labels"):
        TemperatureScaling("draws").fit(frequencies, y)
    after = TemperatureScaling().fit(frequencies, y)(frequencies)
    assert after.attrs["frequencies_of"] == 20


def test_recalibrations_follow_one_another():
    pred, y = ensemble(200, 3)
    first = TemperatureScaling("draws").fit(pred, y)
    second = TemperatureScaling("mean").fit(first(pred), y)
    assert second(first(pred)).attrs["recalibrated_by"] == ["TemperatureScaling"] * 2
    assert nll(second(first(pred)), y) <= nll(first(pred), y) + 1e-12


def test_repr_has_the_fitted_numbers():
    pred, y = ensemble(100, 3)
    scaling = TemperatureScaling()
    assert repr(scaling) == "TemperatureScaling(of='mean', not fitted)"
    scaling.fit(pred, y)
    assert repr(scaling).startswith("TemperatureScaling(of='mean', temperature=")
    assert repr(scaling).endswith(", rows=100)")
    assert scaling.num_rows == 100
    assert scaling.is_fitted
