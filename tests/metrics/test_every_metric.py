"""What every metric of predictions says to what it cannot score, and gives for certain rows."""

import functools
import inspect
import math

import numpy as np
import pytest

from bayes_sbn import metrics
from bayes_sbn.metrics import NormalMixture, UndefinedMetricWarning
from bayes_sbn.predictions import Predictions
from bayes_sbn.predictions_regression import RegressionPredictions

OPTIONS = {"coverage_at_risk": {"risk": 0.2}, "risk_at_coverage": {"coverage": 0.5}}
EVERY = {
    name: functools.partial(function, **OPTIONS.get(name, {}))
    for name in metrics.__all__
    if inspect.isfunction(function := getattr(metrics, name))
    and list(inspect.signature(function).parameters)[:2] == ["pred", "y"]
}
OF_REALS = [n for n in EVERY if "Regression" in str(inspect.signature(getattr(metrics, n)))]
OF_CLASSES = [n for n in EVERY if n not in OF_REALS or n == "report"]

GENERATOR = np.random.default_rng(0)
PROBS, LABELS = GENERATOR.dirichlet(np.ones(3), 20), np.arange(20) % 3
MEAN, TARGETS = GENERATOR.normal(size=(4, 20)), GENERATOR.normal(size=20)


def changed(values: np.ndarray, row: int, value: float) -> np.ndarray:
    found = values.astype(float)
    found[row] = value
    return found


@pytest.mark.parametrize("name", OF_CLASSES)
def test_metrics_of_classes_refuse_what_they_cannot_score(name):
    for pred, y, words in (
        (np.empty((0, 3)), [], "at least one entry along every axis"),
        (Predictions(np.empty((2, 0, 3))), [], "at least one row: received predictions of none"),
        (changed(PROBS, 3, math.nan), LABELS, "finite probabilities: nan at row 3"),
        (PROBS - 0.1, LABELS, r"probabilities in \[0, 1\]"),
        (PROBS / 2, LABELS, "sum to 1 over the classes"),
        (PROBS[0], LABELS, r"shape \(row, class\)"),
        (PROBS, LABELS[1:], "one label a row: received 19 labels for 20 rows"),
        (PROBS, changed(LABELS, 5, math.nan), r"integer labels: y\[5\] is nan"),
        (PROBS, changed(LABELS, 5, 3), r"labels in 0 ... 2 for 3 classes: y\[5\] is 3"),
    ):
        with pytest.raises(ValueError, match=rf"^{name}\(\) needs .*{words}"):
            EVERY[name](pred, y)


@pytest.mark.parametrize("name", OF_REALS)
def test_metrics_of_real_targets_refuse_what_they_cannot_score(name):
    law = NormalMixture(MEAN, 0.5)
    for pred, y, words in (
        (RegressionPredictions(np.empty((2, 0)), 1.0), [], "at least one row: received none"),
        (law, TARGETS[1:], r"one target a row, shape \(20,\)"),
        (law, TARGETS[:, None], r"one target a row.*y.reshape\(-1\)"),
        (law, changed(TARGETS, 5, math.nan), r"finite numbers: y\[5\] is nan"),
        (law, changed(TARGETS, 5, math.inf), r"finite numbers: y\[5\] is inf"),
    ):
        with pytest.raises(ValueError, match=rf"^{name}\(\) needs .*{words}"):
            EVERY[name](pred, y)


# Of rows that are certain: all right, and all wrong.
CERTAIN = {
    "accuracy": (1, 0),
    "nll": (0, math.inf),
    "brier": (0, 2),
    "spherical": (1, 0),
    "d2_nll": (1, -math.inf),
    "ece": (0, 1),
    "mce": (0, 1),
    "rmsce": (0, 1),
    "debiased_rmsce": (0, 1),
    "smooth_ece": (0, 1),
    "corp_miscalibration": (0, 4 / 3),
    "corp_discrimination": (2 / 3, 0),
    "auroc": (1, 0.25),
    "aurc": (0, 1),
    "e_aurc": (0, 0),
    "augrc": (0, 0.5),
    "coverage_at_risk": (1, 0),
    "risk_at_coverage": (0, 1),
}


@pytest.mark.parametrize("name", CERTAIN)
def test_values_of_certain_rows_are_exact(name):
    # Of 18 rows, six of each class, the wrong ones are all taken for the next class.
    labels = np.arange(18) % 3
    right, wrong = np.eye(3)[labels], np.eye(3)[(labels + 1) % 3]
    for probs, expected in zip((right, wrong), CERTAIN[name], strict=True):
        np.testing.assert_allclose(EVERY[name](probs, labels), expected, rtol=1e-12, atol=1e-14)


def test_debiased_error_of_single_events_is_undefined():
    # Bins of equal mass of as many rows as bins hold one event each: nothing is known of chance.
    probs = np.stack([np.linspace(0.5, 0.9, 15), np.linspace(0.5, 0.1, 15)], axis=1)
    with pytest.warns(UndefinedMetricWarning, match=r"debiased_rmsce\(\): no bin has two events"):
        assert math.isnan(metrics.debiased_rmsce(probs, np.zeros(15, int)))
    assert metrics.debiased_rmsce(probs, np.zeros(15, int), num_bins=5) > 0
