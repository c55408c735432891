"""Vector scaling: against scipy, closed forms and temperature scaling."""

import numpy as np
import pytest
from scipy import optimize, special

from bayes_sbn.recalibration import RecalibrationWarning, TemperatureScaling, VectorScaling
from tests.recalibration.class_cases import ensemble, mean_nll


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("penalty", [0.0, 0.05])
def test_vector_equals_scipy(classes, penalty):
    pred, y = ensemble(1500, classes, seed=classes)
    logs = np.log(pred.mean)

    def loss(numbers: np.ndarray) -> float:
        weight, bias = numbers[:classes], numbers[classes:]
        own = mean_nll(special.softmax(weight * logs + bias, axis=1), y)
        return own + penalty / 2 * (np.sum((weight - 1) ** 2) + np.sum(bias**2))

    start = np.concatenate([np.full(classes, 0.5), np.zeros(classes)])
    found = optimize.minimize(loss, start, method="SLSQP", options={"ftol": 1e-14, "maxiter": 500})
    scaling = VectorScaling(penalty).fit(pred, y)
    assert loss(np.concatenate([scaling.weight, scaling.bias])) <= found.fun + 1e-10
    expected = special.softmax(found.x[:classes] * logs + found.x[classes:], axis=1)
    np.testing.assert_allclose(scaling(pred).mean, expected, atol=2e-5)
    assert scaling.bias.sum() == pytest.approx(0, abs=1e-12)


def test_vector_is_where_the_derivative_vanishes():
    pred, y = ensemble(1500, 4)
    after = VectorScaling().fit(pred, y)(pred).mean
    excess = after - np.eye(4)[y]
    np.testing.assert_allclose(excess.mean(axis=0), 0, atol=1e-7)
    np.testing.assert_allclose((excess * np.log(pred.mean)).mean(axis=0), 0, atol=1e-7)


def test_vector_is_no_worse_than_temperature():
    pred, y = ensemble(1500, 4)
    of_vector = mean_nll(VectorScaling().fit(pred, y)(pred).mean, y)
    assert of_vector <= mean_nll(TemperatureScaling().fit(pred, y)(pred).mean, y) + 1e-12


def test_large_penalty_is_the_identity():
    pred, y = ensemble(1500, 3)
    scaling = VectorScaling(penalty=1e9).fit(pred, y)
    np.testing.assert_allclose(scaling(pred).probs_per_draw, pred.probs_per_draw, atol=1e-8)


def test_missing_class_is_named_and_a_penalty_holds_it():
    pred, y = ensemble(1500, 3)
    y = np.where(y == 2, 0, y)
    with pytest.warns(RecalibrationWarning, match=r"no validation row has the label 2;"):
        VectorScaling().fit(pred, y)
    scaling = VectorScaling(penalty=1e-3).fit(pred, y)
    assert np.abs(scaling.bias).max() < 20


def test_separated_rows_warn_and_a_penalty_holds_them():
    pred, _ = ensemble(600, 3)
    with pytest.warns(RecalibrationWarning, match=r"the weights ran away: .*penalty=1e-3"):
        scaling = VectorScaling().fit(pred, pred.mode)
    assert np.isfinite(scaling(pred).mean).all()
    assert VectorScaling(penalty=1e-3).fit(pred, pred.mode).weight.max() < 20


@pytest.mark.parametrize("penalty", [-1.0, float("inf"), float("nan"), "some", True])
def test_penalties_out_of_range_are_refused(penalty):
    with pytest.raises(ValueError, match=r"VectorScaling\(\) needs a penalty of at least 0"):
        VectorScaling(penalty)


def test_unfitted_numbers_say_so():
    for name in ("weight", "bias"):
        with pytest.raises(RuntimeError, match=f"{name}: it was not fitted"):
            getattr(VectorScaling(), name)
