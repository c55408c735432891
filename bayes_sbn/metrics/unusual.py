r"""How unusual each row looks to a prediction: the scores that detection and rejection rank by.

Higher is more unusual, for every score.  Of the class probabilities :math:`p_{s}` of a row under
draws :math:`s = 1, \dots, S`, their mean :math:`\bar p`, and H the entropy in nats,

=====================  =========================================================================
``"max_prob"``         :math:`1 - \max_c \bar p_c`
``"entropy"``          :math:`H(\bar p)`
``"epistemic"``        :math:`H(\bar p) - \tfrac1S \sum_s H(p_s)`, the mutual information of
                       label and draw
``"variation_ratio"``  share of the draws whose most probable class is not the one that most draws
                       have
=====================  =========================================================================

Of ±1 hidden units :math:`h_{su}` the flip rate is the probability that two different draws differ
at a unit, averaged over all units of all layers,

.. math:: \tfrac1U \sum_u \tfrac{S}{S - 1} \cdot \tfrac{1 - \bar h_u^2}{2},
    \qquad \bar h_u = \tfrac1S \sum_s h_{su} .

It is 0 where all draws agree at every unit and one half, on average, where units are coin tosses.

References:
    D. Hendrycks, K. Gimpel. A baseline for detecting misclassified and out-of-distribution examples
    in neural networks. ICLR 2017 (the greatest probability).

    Y. Gal. Uncertainty in deep learning. PhD thesis, Cambridge 2016 (entropy, mutual information,
    variation ratio).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import (
    Predicted,
    ProbabilisticPrediction,
    check_probabilities,
    is_prediction,
    to_numpy,
)

Array = npt.NDArray[np.float64]
ScoreName = Literal["max_prob", "entropy", "epistemic", "variation_ratio"]
Score = ScoreName | Callable[[Any], npt.ArrayLike]
"""The name of a score, or a function of a prediction that gives numbers (rows,)."""

OF_DRAWS = ("epistemic", "variation_ratio")
"""Scores that need the probabilities of every draw."""


def max_prob(probs: Array) -> Array:
    """One minus the greatest probability of each row of probabilities (rows, classes)."""
    return np.asarray(1 - probs.max(axis=-1))


def entropy(probs: Array) -> Array:
    """Entropy of each row of probabilities (rows, classes), in nats."""
    from scipy.special import entr

    return np.asarray(entr(probs).sum(axis=-1))


def epistemic(probs_per_draw: Array) -> Array:
    """Mutual information of label and draw, from probabilities (draws, rows, classes), in nats."""
    aleatoric = np.zeros(probs_per_draw.shape[1])
    for probs in probs_per_draw:
        aleatoric += entropy(probs)
    total = entropy(probs_per_draw.mean(axis=0))
    return np.maximum(total - aleatoric / len(probs_per_draw), 0)  # below 0 by rounding alone


def variation_ratio(probs_per_draw: Array) -> Array:
    """Share of draws off the class that most draws have, from (draws, rows, classes)."""
    mode = probs_per_draw.argmax(axis=-1)
    votes = np.stack([(mode == c).mean(axis=0) for c in range(probs_per_draw.shape[-1])])
    return np.asarray(1 - votes.max(axis=0))


def flip_rate(activations: npt.ArrayLike | Sequence[npt.ArrayLike]) -> Array:
    """Probability that two draws differ at a ±1 hidden unit, averaged over the units; (rows,).

    Args:
        activations: ±1 values (draws, rows, units), or a list of such arrays, one a layer, as
            ``ensemble.activations(x)`` gives them; of at least two draws.

    Example:
        >>> flip_rate([[[1, 1]], [[1, -1]]])
        array([0.5])
    """
    layers = _layers(activations)
    rate = np.zeros(layers[0].shape[1])
    for layer in layers:
        draws = len(layer)
        plus = (layer == 1).sum(axis=0)
        rate += (2 * plus * (draws - plus) / (draws * (draws - 1))).sum(axis=-1)
    return np.asarray(rate / sum(layer.shape[-1] for layer in layers))


def unusualness(call: str, pred: Predicted, score: Score) -> Array:
    """The score of each row, (rows,), for a call that is named in errors.

    Args:
        call: the call to name in errors, such as ``"aurc()"``.
        pred: a Predictions, or probabilities (rows, classes) for the scores of the mean alone.
        score: the name of a score, or a function of ``pred``.
    """
    if callable(score):
        values = score(pred)
        num_rows = None
        if is_prediction(pred):
            num_rows = len(pred.mean)
        return check_scores(call, "score(pred)", values, num_rows)
    if not isinstance(score, str) or score not in _SCORES:
        raise ValueError(
            f"{call} needs a score among {', '.join(_SCORES)}, or a function of the prediction: "
            f"received {score!r}. Write score='entropy', say; higher is more unusual."
        )
    if is_prediction(pred):
        return _SCORES[score](pred)
    if score in OF_DRAWS:
        raise TypeError(
            f"{call} needs the probabilities of every draw for score={score!r}: received a "
            f"{type(pred).__name__}. Pass a Predictions, or write score='entropy'."
        )
    probs = check_probabilities(call, pred, ("row", "class"))
    return max_prob(probs) if score == "max_prob" else entropy(probs)


def check_scores(call: str, name: str, values: object, num_rows: int | None = None) -> Array:
    """Scores as float64 (rows,), none of them NaN; infinite ones are ranked like others."""
    raw = to_numpy(values)
    if raw.dtype.kind not in "fiub":
        raise TypeError(
            f"{call} needs real numbers as {name}: received values of type {raw.dtype}. Pass an "
            "array with one number a row."
        )
    if raw.ndim != 1 or not len(raw) or num_rows not in (None, len(raw)):
        rows = "rows" if num_rows is None else num_rows
        raise ValueError(
            f"{call} needs {name} of shape ({rows},), at least one number and one a row: received "
            f"shape {raw.shape}. Average over the draws and flatten to one number a row."
        )
    numbers = raw.astype(np.float64, copy=False)
    broken = np.flatnonzero(np.isnan(numbers))
    if len(broken):
        raise ValueError(
            f"{call} needs {name} that can be ranked: row {int(broken[0])} is NaN. Drop such rows, "
            "or find out where the NaN comes from."
        )
    return numbers


_SCORES: dict[str, Callable[[ProbabilisticPrediction], Array]] = {
    "max_prob": lambda pred: max_prob(pred.mean),
    "entropy": lambda pred: entropy(pred.mean),
    "epistemic": lambda pred: epistemic(pred.probs_per_draw),
    "variation_ratio": lambda pred: variation_ratio(pred.probs_per_draw),
}


def _layers(activations: npt.ArrayLike | Sequence[npt.ArrayLike]) -> list[npt.NDArray[np.generic]]:
    call = "flip_rate()"
    given: list[object] = [activations]
    if isinstance(activations, list | tuple) and all(hasattr(a, "shape") for a in activations):
        given = list(activations)
    layers = [to_numpy(layer) for layer in given]
    for number, layer in enumerate(layers):
        if layer.ndim != 3 or 0 in layer.shape:
            raise ValueError(
                f"{call} needs activations of shape (draws, rows, units): received shape "
                f"{layer.shape} for layer {number}. Write flip_rate(ensemble.activations(x))."
            )
        if layer.shape[:2] != layers[0].shape[:2]:
            raise ValueError(
                f"{call} needs the same draws and rows in every layer: received shapes "
                f"{layers[0].shape} and {layer.shape}. Take them from one call of "
                "ensemble.activations(x)."
            )
        if layer.dtype.kind not in "fiu":
            raise TypeError(
                f"{call} needs activations that are -1 and +1: received values of type "
                f"{layer.dtype} for layer {number}. Map booleans with 2 * bits.astype(int) - 1."
            )
        if not np.all((layer == 1) | (layer == -1)):
            raise ValueError(
                f"{call} needs activations that are -1 and +1: layer {number} has other values. "
                "Map 0/1 bits with 2 * bits - 1."
            )
    if not layers or len(layers[0]) < 2:
        raise ValueError(
            f"{call} needs at least 2 draws, and one layer: received "
            f"{len(layers[0]) if layers else 0}. Draw more networks: posterior.draw(100)."
        )
    return layers
