"""Accuracy, NLL and ECE, raw and after one scale fitted on validation rows, and intervals.

A scaled prediction is softmax(t log p) with t in [1/4, 4] the minimiser of the validation NLL; of
an ensemble, p is the mean probability.  Without the bounds t is infinite where every validation row
is right, as happens on the 114 of breast cancer.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import t as student
from torch import Tensor

import bayes_sbn as sbn

LARGEST_LOG_SCALE = math.log(4)


def nll(log_probs: Tensor, labels: Tensor) -> float:
    """Mean of minus the log probability of the label, in nats."""
    return float(-log_probs.gather(1, labels[:, None]).mean())


def scaled(log_probs: Tensor, log_scale: float) -> Tensor:
    """Log of ``softmax(exp(log_scale) log_probs)``."""
    return (math.exp(log_scale) * log_probs).log_softmax(-1)


def fitted_log_scale(log_probs: Tensor, labels: Tensor) -> float:
    """That with the least NLL on these rows."""
    found = minimize_scalar(
        lambda value: nll(scaled(log_probs, value), labels),
        bounds=(-LARGEST_LOG_SCALE, LARGEST_LOG_SCALE),
        method="bounded",
    )
    return float(found.x)


def scores(validation: Tensor, test: Tensor, labels: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Of one prediction.

    Args:
        validation: log-probabilities, (rows, classes).
        test: likewise.
        labels: of the validation and of the test rows.
    """
    log_scale = fitted_log_scale(validation, labels[0])
    calibrated = scaled(test, log_scale)
    own = labels[1].numpy()
    return {
        "validation nll raw": nll(validation, labels[0]),
        "validation nll scaled": nll(scaled(validation, log_scale), labels[0]),
        "scale": math.exp(log_scale),
        "accuracy": float((test.argmax(1) == labels[1]).double().mean()),
        "nll raw": nll(test, labels[1]),
        "nll scaled": nll(calibrated, labels[1]),
        "ece raw": float(sbn.metrics.ece(test.exp().numpy(), own)),
        "ece scaled": float(sbn.metrics.ece(calibrated.exp().numpy(), own)),
    }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % t-interval over seeds."""
    values = np.asarray(values)
    number = len(values)
    if number < 2:
        return float(values.mean()), math.nan
    error = float(values.std(ddof=1)) / math.sqrt(number)
    return float(values.mean()), float(student.ppf(0.975, number - 1)) * error
