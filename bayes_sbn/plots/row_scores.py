"""Scores of rows by which one orders them: the larger, the less sure is the prediction."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayes_sbn.metrics.arguments import check_probabilities
from bayes_sbn.plots.arguments import Float64, one_of
from bayes_sbn.uncertainty import entropy

SCORES = {
    "entropy": "predictive entropy, nats",
    "epistemic": "epistemic part of the entropy, nats",
    "aleatoric": "aleatoric part of the entropy, nats",
    "confidence": "1 - probability of the predicted class",
}
"""Name and words of each score."""

_OF_DRAWS = ("epistemic", "aleatoric")


def has_parts(pred: object) -> bool:
    """Whether it is a Predictions or its moments, with the parts of the entropy."""
    return all(hasattr(pred, name) for name in ("mean", "entropy", "aleatoric", "epistemic"))


def row_scores(call: str, pred: Any, score: str) -> Float64:
    """A score of each row, (rows,).

    Args:
        call: the call to name in errors.
        pred: a Predictions or its moments, or probabilities (rows, classes).
        score: a name of :data:`SCORES`; parts of the entropy need draws.
    """
    score = one_of(call, "score", score, tuple(SCORES))
    if has_parts(pred):
        if score == "confidence":
            return np.asarray(1 - pred.mean.max(axis=-1))
        return np.asarray(getattr(pred, score))
    if score in _OF_DRAWS:
        raise TypeError(
            f"{call} needs a Predictions for score={score!r}, which is of the draws: received "
            f"{type(pred).__name__}. Wrap the probabilities of all draws, "
            "Predictions(probs_per_draw), or write score='entropy'."
        )
    probs = check_probabilities(call, pred, ("row", "class"))
    return np.asarray(1 - probs.max(axis=-1)) if score == "confidence" else entropy(probs)
