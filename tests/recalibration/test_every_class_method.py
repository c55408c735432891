"""What every recalibration of classes keeps: the draws, distributions, edges, errors."""

import warnings

import numpy as np
import pytest
import torch

from bayes_sbn.metrics import brier, nll
from bayes_sbn.predictions import Predictions
from bayes_sbn.recalibration import RecalibrationWarning
from tests.recalibration.class_cases import ensemble
from tests.recalibration.methods import CLASS_METHODS


@pytest.fixture(params=CLASS_METHODS)
def make(request):
    return CLASS_METHODS[request.param]


@pytest.mark.parametrize("classes", [2, 4])
def test_draws_average_to_the_recalibrated_mean(make, classes):
    pred, y = ensemble(1000, classes)
    method = make().fit(pred, y)
    after = method(pred)
    assert isinstance(after, Predictions)
    assert after.shape == pred.shape
    assert after.attrs == {"seed": 0, "recalibrated_by": [type(method).__name__]}
    np.testing.assert_allclose(after.probs_per_draw.sum(axis=-1), 1, rtol=0, atol=1e-10)
    assert after.probs_per_draw.min() >= 0
    assert after.probs_per_draw.max() <= 1
    if getattr(method, "of", "mean") == "mean":
        of_array = method(pred.mean)
        np.testing.assert_allclose(after.mean, of_array, rtol=0, atol=1e-10)
        assert np.all(after.epistemic <= pred.epistemic + 1e-12)  # relabelled, hence no more
    assert after.epistemic.mean() > 0.2 * pred.epistemic.mean()
    low, high = after.interval(0.9)
    assert np.all(low <= high)


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_of_other_rows_get_better(make, classes):
    pred, y = ensemble(6000, classes, sharpness=4.0)
    valid, test = np.arange(4000), np.arange(4000, 6000)
    after = make().fit(pred.take(valid), y[valid])(pred.take(test))
    assert brier(after, y[test]) < brier(pred.take(test), y[test])
    if np.all(after.mean[np.arange(2000), y[test]] > 0):
        assert nll(after, y[test]) < nll(pred.take(test), y[test])


def test_rows_are_recalibrated_one_by_one(make):
    pred, y = ensemble(1000, 3)
    method = make().fit(pred, y)
    whole = method(pred).probs_per_draw
    order = np.random.default_rng(0).permutation(1000)
    np.testing.assert_array_equal(method(pred.take(order)).probs_per_draw, whole[:, order])
    np.testing.assert_allclose(method(pred.take([5])).probs_per_draw, whole[:, [5]], atol=1e-15)
    assert method(pred.take([])).shape == (7, 0, 3)
    assert method(pred.mean[:0]).shape == (0, 3)


def test_fit_does_not_depend_on_the_order_of_rows(make):
    pred, y = ensemble(1000, 3)
    order = np.random.default_rng(0).permutation(1000)
    one, other = make().fit(pred, y), make().fit(pred.take(order), y[order])
    np.testing.assert_allclose(one(pred).mean, other(pred).mean, atol=1e-6)


def test_probabilities_of_zero_and_one_are_taken(make):
    pred, y = ensemble(1000, 3)
    draws = pred.probs_per_draw.copy()
    certain = np.arange(0, 1000, 20)
    draws[:, certain] = np.eye(3)[np.where(np.arange(50) % 10, y[certain], (y[certain] + 1) % 3)]
    mixed = np.arange(1, 1000, 20)  # certain draws that disagree
    draws[:, mixed] = np.eye(3)[np.random.default_rng(0).integers(3, size=(7, 50))]
    draws[0, mixed] = np.eye(3)[y[mixed]]
    sharp = Predictions(draws)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        method = make().fit(sharp, y)
    assert all("labels of probability 0" in str(one.message) for one in caught)
    after = method(sharp)
    assert np.isfinite(after.probs_per_draw).all()
    np.testing.assert_allclose(after.probs_per_draw.sum(axis=-1), 1, atol=1e-12)


def test_single_draw_and_array_agree(make):
    pred, y = ensemble(1000, 3, draws=1)
    of_draw, of_array = make().fit(pred, y), make().fit(pred.mean, y)
    assert repr(of_draw) == repr(of_array)
    np.testing.assert_array_equal(of_draw(pred).probs_per_draw[0], of_array(pred.mean))


def test_tensors_of_float32_are_taken(make):
    pred, y = ensemble(1000, 3)
    tensor = torch.tensor(pred.mean, dtype=torch.float32)
    method = make().fit(tensor, torch.tensor(y))
    exact = make().fit(tensor.double().numpy(), y)
    np.testing.assert_array_equal(method(tensor), exact(tensor))
    assert method(tensor).dtype == np.float64


def test_unfitted_methods_say_so(make):
    pred, _ = ensemble(10, 3)
    method = make()
    assert "not fitted" in repr(method)
    assert not method.is_fitted
    for call in (lambda: method(pred), lambda: method.save("nowhere"), lambda: method.num_rows):
        with pytest.raises(RuntimeError, match=r"it was not fitted. Write .fit\(pred_valid, y_v"):
            call()


def test_other_numbers_of_classes_are_refused(make):
    pred, y = ensemble(1000, 3)
    method = make().fit(pred, y)
    with pytest.raises(ValueError, match="fitted to 3 classes and received 4"):
        method(np.full((2, 4), 0.25))
    with pytest.raises(ValueError, match="received 999 labels for 1000 rows"):
        make().fit(pred, y[1:])
    with pytest.raises(ValueError, match=r"needs labels in 0 \.\.\. 2"):
        make().fit(pred, y + 1)


def test_few_rows_warn(make):
    pred, y = ensemble(40, 3)
    with pytest.warns(RecalibrationWarning, match=r"40 validation rows are few for"):
        make().fit(pred, y)


def test_one_row_is_fitted_with_warnings(make):
    pred, y = ensemble(1, 3)
    with pytest.warns(RecalibrationWarning):
        method = make().fit(pred, y)
    after = method(pred)
    np.testing.assert_allclose(after.mean.sum(axis=-1), 1, atol=1e-12)


def test_refitting_forgets_the_first_fit(make):
    pred, y = ensemble(1000, 3)
    other, z = ensemble(1200, 4, sharpness=0.5)
    method = make().fit(other, z).fit(pred, y)
    assert repr(method) == repr(make().fit(pred, y))
    assert method.num_rows == 1000
