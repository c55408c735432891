"""What every metric says to arguments it cannot score, and what it takes."""

import numpy as np
import pytest
import torch

from bayes_sbn import metrics
from bayes_sbn.predictions import Predictions

PROBS = np.array([[0.5, 0.25, 0.25], [0.125, 0.125, 0.75], [0.25, 0.5, 0.25]])
LABELS = np.array([0, 2, 0])
METRICS = {
    name: getattr(metrics, name)
    for name in ("accuracy", "nll", "brier", "ece", "mce", "rmsce", "report", "reliability_curve")
}
SCALARS = sorted(METRICS.keys() - {"report", "reliability_curve"})


@pytest.fixture(params=METRICS)
def metric(request):
    return METRICS[request.param]


@pytest.fixture
def call(metric) -> str:
    return rf"^{metric.__name__}\(\) needs "


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        LABELS.tolist(),
        LABELS.astype(np.uint8),
        LABELS.astype(np.float32),
        torch.tensor(LABELS),
        torch.tensor(LABELS, dtype=torch.int32),
        torch.tensor(LABELS, dtype=torch.float64),
    ],
    ids=lambda y: str(getattr(y, "dtype", "list")),
)
def test_metrics_take_labels_of_every_integer_kind(name, labels):
    assert METRICS[name](PROBS, labels) == METRICS[name](PROBS, LABELS)


@pytest.mark.parametrize("name", SCALARS)
def test_metrics_take_lists_arrays_tensors_and_predictions(name):
    expected = METRICS[name](PROBS, LABELS)
    assert isinstance(expected, float)
    assert METRICS[name](PROBS.tolist(), LABELS) == expected
    assert METRICS[name](PROBS.astype(np.float32), LABELS) == expected  # exact in float32
    assert METRICS[name](torch.tensor(PROBS, requires_grad=True), LABELS) == expected
    assert METRICS[name](Predictions(PROBS[None]), LABELS) == expected


@pytest.mark.parametrize("name", SCALARS)
def test_metrics_score_the_mean_of_the_draws(name):
    draws = np.random.default_rng(0).dirichlet(np.ones(3), (7, 50))
    labels = np.random.default_rng(1).integers(3, size=50)
    assert METRICS[name](Predictions(draws), labels) == METRICS[name](draws.mean(axis=0), labels)


def test_metrics_take_booleans_for_two_classes():
    assert metrics.accuracy([[0.9, 0.1], [0.2, 0.8]], np.array([False, True])) == 1


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 1], "one label a row: received 2 labels for 3 rows"),
        (
            [[0], [1], [2]],
            r"one label a row, shape \(3,\): received shape \(3, 1\).*y.reshape\(-1\)",
        ),
        (
            np.eye(3),
            r"one label a row.*received shape \(3, 3\). For one-hot labels write y.argmax\(-1\)",
        ),
        (1, r"one label a row, shape \(3,\): received shape \(\)"),
        ([0, 1, 3], r"labels in 0 ... 2 for 3 classes: y\[2\] is 3. Number the classes from 0"),
        ([0, -1, 1], r"labels in 0 ... 2 for 3 classes: y\[1\] is -1"),
        ([0.0, 1.5, 2.0], r"integer labels: y\[1\] is 1.5.*y.astype\(int\)"),
        ([0.0, 1.0, float("nan")], r"integer labels: y\[2\] is nan. Drop rows without a label"),
        ([0.0, 1.0, float("inf")], r"integer labels: y\[2\] is inf"),
        (torch.tensor([0.0, 0.5, 1.0]), r"integer labels: y\[1\] is 0.5"),
    ],
)
def test_metrics_refuse_labels_that_are_none(metric, call, labels, words):
    with pytest.raises(ValueError, match=call + words):
        metric(PROBS, labels)


@pytest.mark.parametrize("labels", [["a", "b", "c"], [None, 0, 1]])
def test_metrics_refuse_labels_that_are_no_numbers(metric, call, labels):
    with pytest.raises(TypeError, match=call + "integer labels: received values of type .*unique"):
        metric(PROBS, labels)


def test_metrics_say_how_to_number_signs(metric, call):
    with pytest.raises(ValueError, match=call + r"labels in 0 ... 1 .*write \(y \+ 1\) // 2"):
        metric([[0.5, 0.5], [0.5, 0.5]], [-1, 1])


@pytest.mark.parametrize(
    ("probs", "words"),
    [
        ([0.1, 0.9, 0.5], r"shape \(row, class\): received shape \(3,\).*np.stack\(\[1 - p, p\]"),
        (PROBS[None], r"received shape \(1, 3, 3\).*Predictions\(probs\) or probs.mean\(axis=0\)"),
        (PROBS[:, :1], r"two classes: received shape \(3, 1\)"),
        (np.empty((0, 3)), r"at least one entry.*\(0, 3\)"),
        (PROBS * np.nan, "finite probabilities: nan at row 0, class 0"),
        (PROBS * 4 - 1, r"probabilities in \[0, 1\]: -0.5 at row 1, class 0.*softmax"),
        (PROBS / 2, "sum to 1 over the classes .*at row 0 they sum to 0.5"),
    ],
)
def test_metrics_refuse_what_is_no_probability(metric, call, probs, words):
    with pytest.raises(ValueError, match=call + ".*" + words):
        metric(probs, LABELS)


@pytest.mark.parametrize("name", ["ece", "mce", "rmsce", "reliability_curve"])
def test_calibration_refuses_other_numbers_of_bins(name):
    with pytest.raises(ValueError, match=rf"^{name}\(\) needs num_bins of at least 1: received 0"):
        METRICS[name](PROBS, LABELS, num_bins=0)
    for num_bins in (1.5, True, "15"):
        with pytest.raises(TypeError, match=rf"^{name}\(\) needs an integer num_bins: received"):
            METRICS[name](PROBS, LABELS, num_bins=num_bins)


def test_metrics_leave_their_arguments_alone():
    probs, labels = PROBS.copy(), LABELS.copy()
    for function in METRICS.values():
        function(probs, labels)
    np.testing.assert_array_equal(probs, PROBS)
    np.testing.assert_array_equal(labels, LABELS)
