"""Ensembles whose probabilities are wrong in a known way, and labels drawn from the right ones."""

import numpy as np

from bayes_sbn.predictions import Predictions


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def ensemble(
    rows: int, classes: int, *, draws: int = 7, sharpness: float = 2.0, seed: int = 0
) -> tuple[Predictions, np.ndarray]:
    """Predictions whose logits are ``sharpness`` times too large, and labels; draws disagree."""
    generator = np.random.default_rng(seed)
    logits = 1.5 * generator.standard_normal((rows, classes))
    spread = 0.7 * generator.standard_normal((draws, rows, classes))
    cumulative = softmax(logits).cumsum(axis=-1)[:, :-1]
    labels = (cumulative < generator.random((rows, 1))).sum(axis=-1)
    return Predictions(softmax(sharpness * (logits + spread)), attrs={"seed": seed}), labels


def mean_nll(probs: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(probs[np.arange(len(labels)), labels]).mean())
