"""Scores of a prediction, all by ``sbn.metrics``, and means with standard errors over splits."""

from collections.abc import Sequence

import numpy as np

import bayes_sbn as sbn
from studies.calibration.data import Array

LEVEL = 0.9
REGRESSION = ("rmse", "log-likelihood", "crps", "coverage")
"""In the units of the target; coverage is the share inside the central 90 % intervals."""
CLASSIFICATION = ("accuracy", "nll", "ece", "brier")
"""ECE: top label, 15 equal-width bins; Brier: summed over classes."""


def regression(pred: sbn.RegressionPredictions, y: Array) -> dict[str, float]:
    """Scores of real targets."""
    return {
        "rmse": sbn.metrics.rmse(pred, y),
        "log-likelihood": -sbn.metrics.nlpd(pred, y),
        "crps": float(sbn.metrics.crps(pred, y)),
        "coverage": sbn.metrics.interval_coverage(pred, y, LEVEL),
    }


def classification(pred: sbn.Predictions, y: Array) -> dict[str, float]:
    """Scores of labels."""
    return {name: float(getattr(sbn.metrics, name)(pred, y)) for name in CLASSIFICATION}


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error; of one value alone no error is known, NaN."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return float(np.mean(values)), float(error)
