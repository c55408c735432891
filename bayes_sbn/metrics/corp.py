r"""Scores in three parts: miscalibration, discrimination and uncertainty, by isotonic regression.

Let :math:`p_i` be the probability of an event, :math:`z_i \in \{0, 1\}` whether it came true, and
:math:`S(p)` the mean of a proper score, less being better.  Isotonic regression of z on p
recalibrates the probabilities: :math:`\hat p` is the non-decreasing function of p that fits z best,
found by pooling adjacent violators.  It has no bins to choose, and is the best one for every proper
score at once.  With the constant :math:`\bar z`, the share of events that came true,

.. math:: S(p) = \underbrace{S(p) - S(\hat p)}_{\text{MCB}}
    - \underbrace{(S(\bar z) - S(\hat p))}_{\text{DSC}} + \underbrace{S(\bar z)}_{\text{UNC}}.

* Miscalibration, MCB: what recalibration would gain; 0 where no recalibration helps.
* Discrimination, DSC: what the recalibrated probabilities tell beyond the constant; more is better.
* Uncertainty, UNC: of the events alone, whatever the prediction.

The identity is exact, and neither MCB nor DSC is negative.  (Decompositions by bins have a
remainder of what varies within them.)  Both MCB and DSC are biased upwards, as isotonic regression
fits chance too, and more so for few rows.

Rows of class probabilities make several claims (:mod:`bayes_sbn.metrics.events`):

* ``kind="classwise"``, the parts summed over the classes, each against the rest.  Of the Brier
  score they sum to :func:`~bayes_sbn.metrics.brier`.  Of the logarithmic score they sum, for two
  classes, to :func:`~bayes_sbn.metrics.nll`, both classes being one event; for more, to the sum
  over the classes of :math:`-\log p_c` of rows of the class and :math:`-\log (1 - p_c)` of all
  others, which is not the nll.  (Its classes can't be recalibrated one by one: the results would
  not sum to 1.)
* ``kind="top"``, the confidence against whether the most probable class is the label:
  the sum is the mean of :math:`(p - z)^2`, or of :math:`-\log` of what was given to the outcome.

References:
    T. Dimitriadis, T. Gneiting, A. I. Jordan. Stable reliability diagrams for probabilistic
    classifiers. PNAS 118, 2021.

    T. Gneiting, J. Resin. Regression diagnostics meets forecast evaluation: conditional
    calibration, reliability diagrams, and coefficient of determination. Electronic Journal of
    Statistics 17, 2023 (one recalibration for all proper scores).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import Predicted, probabilities_and_labels
from bayes_sbn.metrics.chance_alone import of_labels, with_options_of
from bayes_sbn.metrics.events import check_kind, events
from bayes_sbn.metrics.properties import Metric, OneByChance, metric_properties
from bayes_sbn.metrics.scores import negative_log_probability

Array = npt.NDArray[np.float64]
Score = Literal["brier", "nll"]
CorpKind = Literal["classwise", "top"]


class CorpParts(NamedTuple):
    """One score and its parts: ``value = miscalibration - discrimination + uncertainty``."""

    value: float
    miscalibration: float
    discrimination: float
    uncertainty: float


@dataclass(frozen=True)
class CorpDecomposition:
    """A score and its parts: ``value = miscalibration - discrimination + uncertainty``.

    Args:
        value: the score.
        miscalibration: MCB.
        discrimination: DSC.
        uncertainty: UNC.
        score: "brier" or "nll".
        kind: "classwise" or "top".
        parts: those of each class, of which the above are the sums; a single one of the most
            probable class, and of the nll of two classes.
    """

    value: float
    miscalibration: float
    discrimination: float
    uncertainty: float
    score: Score
    kind: CorpKind
    parts: tuple[CorpParts, ...]

    def __str__(self) -> str:
        return (
            f"{self.score} ({self.kind}) {self.value:.4f} = MCB {self.miscalibration:.4f} "
            f"- DSC {self.discrimination:.4f} + UNC {self.uncertainty:.4f}"
        )


def corp(
    pred: Predicted, y: npt.ArrayLike, *, score: Score = "brier", kind: CorpKind = "classwise"
) -> CorpDecomposition:
    """A score as miscalibration - discrimination + uncertainty, exactly, by isotonic regression.

    An nll that is infinite, since an event of probability 0 came true, has infinite miscalibration;
    its other parts are finite.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        score: "brier" or "nll".
        kind: "classwise", the sum over the classes, or "top", the most probable class alone.

    Example:
        >>> print(corp([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]], [0, 0, 1, 1]))
        brier (classwise) 0.3500 = MCB 0.1000 - DSC 0.2500 + UNC 0.5000
    """
    return _corp("corp()", pred, y, score, kind)


@metric_properties(better="less", minimum=0, chance=of_labels)
def corp_miscalibration(
    pred: Predicted, y: npt.ArrayLike, *, score: Score = "brier", kind: CorpKind = "classwise"
) -> float:
    """MCB: how much isotonic recalibration would take off the score; see :func:`corp`.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        score: "brier" or "nll".
        kind: "classwise" or "top".
    """
    return _corp("corp_miscalibration()", pred, y, score, kind).miscalibration


def _chance_of_discrimination(metric: Metric, pred: Predicted, y: npt.ArrayLike) -> OneByChance:
    # The score is unbiased, and UNC nearly: what chance adds to DSC is what it adds to MCB.
    return of_labels(with_options_of(metric, corp_miscalibration), pred, y)


@metric_properties(better="greater", minimum=0, chance=_chance_of_discrimination)
def corp_discrimination(
    pred: Predicted, y: npt.ArrayLike, *, score: Score = "brier", kind: CorpKind = "classwise"
) -> float:
    """DSC: how much less the recalibrated predictions lose than the constant; see :func:`corp`.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        score: "brier" or "nll".
        kind: "classwise" or "top".
    """
    return _corp("corp_discrimination()", pred, y, score, kind).discrimination


def recalibrated(probability: Array, outcome: npt.NDArray[np.bool_]) -> Array:
    """Isotonic regression of the outcomes on the probabilities, equal ones pooled; (events,)."""
    from scipy.optimize import isotonic_regression

    values, place, count = np.unique(probability, return_inverse=True, return_counts=True)
    share = np.bincount(place, outcome, len(values)) / count
    return np.asarray(np.clip(isotonic_regression(share, weights=count).x, 0, 1)[place])


def _corp(
    call: str, pred: Predicted, y: npt.ArrayLike, score: object, kind: object
) -> CorpDecomposition:
    probs, labels = probabilities_and_labels(call, pred, y)
    if score not in ("brier", "nll"):
        raise ValueError(
            f"{call} needs score='brier' or score='nll': received {score!r}. Leave it out for "
            "brier."
        )
    known: CorpKind = (
        "top" if check_kind(call, kind, ("classwise", "top")) == "top" else "classwise"
    )
    chosen: Score = "nll" if score == "nll" else "brier"
    probability, outcome = events(probs, labels, known)
    if chosen == "nll" and known == "classwise" and probs.shape[1] == 2:
        # Both classes are one event; the value is taken from the probabilities as they were given.
        value = float(np.mean(negative_log_probability(probs, labels)))
        parts = [_parts(probability[1], outcome[1], _log_loss, value)]
    else:
        loss = _log_loss if chosen == "nll" else _square
        parts = [_parts(p, z, loss) for p, z in zip(probability, outcome, strict=True)]
    sums = CorpParts(*(float(np.sum(part)) for part in zip(*parts, strict=True)))
    return CorpDecomposition(*sums, chosen, known, tuple(parts))


def _parts(
    probability: Array,
    outcome: npt.NDArray[np.bool_],
    loss: Callable[[Array, npt.NDArray[np.bool_]], float],
    value: float | None = None,
) -> CorpParts:
    value = loss(probability, outcome) if value is None else value
    after = loss(recalibrated(probability, outcome), outcome)
    constant = loss(np.full(len(outcome), outcome.mean()), outcome)
    return CorpParts(
        value, _not_rounded_below(value - after), _not_rounded_below(constant - after), constant
    )


def _square(probability: Array, outcome: npt.NDArray[np.bool_]) -> float:
    return float(np.mean((probability - outcome) ** 2))


def _log_loss(probability: Array, outcome: npt.NDArray[np.bool_]) -> float:
    with np.errstate(divide="ignore"):
        losses = np.where(outcome, np.log(probability), np.log1p(-probability))
    return float(0.0 - np.mean(losses))


def _not_rounded_below(part: float) -> float:
    """Zero for a part that is negative by rounding alone."""
    return 0.0 if -1e-12 < part < 0 else part
