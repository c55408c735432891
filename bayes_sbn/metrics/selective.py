r"""Selective prediction: how wrong are the rows that are left when the most unusual are refused?

Rows are accepted in the order of a score (:mod:`bayes_sbn.metrics.unusual`; higher is more
unusual), the least unusual first.  With :math:`\ell_{(i)}` the loss of the i-th row accepted, the
error of its most probable class unless said otherwise, the first k of N rows have

.. math::
    \text{coverage } \tfrac kN, \qquad
    \text{risk } r_k = \tfrac1k \sum_{i \le k} \ell_{(i)}, \qquad
    \text{generalised risk } g_k = \tfrac1N \sum_{i \le k} \ell_{(i)} .

Rows of the same score come in random order, and the curves are expectations over the orders: each
of them counts with the mean loss of those that share its score.  No result depends on the order in
which rows were given.

* AURC: :math:`\tfrac1N \sum_k r_k`, k from 1 to N.
* E-AURC: AURC minus that of the same losses accepted in ascending order, which is the least.
* AUGRC: :math:`\int_0^1 g\,\mathrm d c`, with g linear between :math:`g_0 = 0, g_1, \dots, g_N`.
  For errors it is :math:`(1 - a)\,a\,(1 - \text{AUROC}) + \tfrac12 (1 - a)^2`, with a the accuracy
  and AUROC that of telling errors by the score; at most one half.
* Coverage at a risk: the largest coverage at which the risk is at most so much, 0 if there is none.
* Risk at a coverage: that of the fewest rows that reach it.

Others integrate the risk by trapezoids over coverages from 1/N to 1 and divide by 1 - 1/N
(torch-uncertainty); for many rows the numbers agree.

References:
    Y. Geifman, G. Uziel, R. El-Yaniv. Bias-reduced uncertainty estimation for deep neural
    classifiers. ICLR 2019 (AURC and E-AURC; the latter with an approximation of the least AURC).

    J. Traub, T. J. Bungert, C. T. Lüth, M. Baumgartner, K. H. Maier-Hein, L. Maier-Hein,
    P. F. Jaeger. Overcoming common flaws in the evaluation of selective classification systems.
    NeurIPS 2024 (AUGRC).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import Predicted, probabilities_and_labels
from bayes_sbn.metrics.properties import metric_properties
from bayes_sbn.metrics.scores import correctness
from bayes_sbn.metrics.unusual import Score, check_scores, unusualness

Array = npt.NDArray[np.float64]
Loss = Callable[[Any, Any], npt.ArrayLike] | None
"""A function of prediction and observations that gives losses (rows,); None for the error."""


@dataclass(frozen=True, eq=False)
class RiskCoverageCurve:
    """Risk of the rows accepted, for every number of rows accepted.

    Args:
        coverage: float64 (rows,), 1/N to 1.
        risk: float64 (rows,), mean loss of the rows accepted.
        generalised_risk: float64 (rows,), their summed loss divided by all rows.
    """

    coverage: Array
    risk: Array
    generalised_risk: Array


def risk_coverage_curve(
    pred: Any, y: npt.ArrayLike, *, score: Score = "max_prob", loss: Loss = None
) -> RiskCoverageCurve:
    """Risk against coverage, as rows are accepted from the least unusual on.

    Args:
        pred: a Predictions, or probabilities (rows, classes); with functions for ``score`` and
            ``loss`` whatever these take.
        y: labels (rows,), integers in 0 ... classes - 1, or what ``loss`` takes.
        score: "max_prob", "entropy", "epistemic", "variation_ratio", or a function of ``pred`` that
            gives numbers (rows,); higher is more unusual, and refused earlier.
        loss: a function of ``(pred, y)`` that gives losses (rows,); if None, 1 for a row whose most
            probable class is not the label, else 0.

    Example:
        >>> probs = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]]
        >>> risk_coverage_curve(probs, [0, 1, 1, 0]).risk
        array([0.        , 0.        , 0.33333333, 0.25      ])
    """
    return curve_of_losses(*_scores_and_losses("risk_coverage_curve()", pred, y, score, loss))


@metric_properties(better="less", minimum=0)
def aurc(pred: Any, y: npt.ArrayLike, *, score: Score = "max_prob", loss: Loss = None) -> float:
    """Area under the risk-coverage curve: the mean of the risks at coverages 1/N to 1.

    Args:
        pred: as in :func:`risk_coverage_curve`.
        y: labels (rows,), or what ``loss`` takes.
        score: what rows are refused by; higher is more unusual.
        loss: losses of rows; the error if None.
    """
    curve = curve_of_losses(*_scores_and_losses("aurc()", pred, y, score, loss))
    return float(np.mean(curve.risk))


@metric_properties(better="less", minimum=0)
def e_aurc(pred: Any, y: npt.ArrayLike, *, score: Score = "max_prob", loss: Loss = None) -> float:
    """Excess of the area under the risk-coverage curve over the least one of the same losses.

    Args:
        pred: as in :func:`risk_coverage_curve`.
        y: labels (rows,), or what ``loss`` takes.
        score: what rows are refused by; higher is more unusual.
        loss: losses of rows; the error if None.
    """
    scores, losses = _scores_and_losses("e_aurc()", pred, y, score, loss)
    excess = curve_of_losses(scores, losses).risk - curve_of_losses(losses, losses).risk
    return float(np.mean(excess))


@metric_properties(better="less", minimum=0)
def augrc(pred: Any, y: npt.ArrayLike, *, score: Score = "max_prob", loss: Loss = None) -> float:
    """Area under the generalised risk-coverage curve, by trapezoids from coverage 0.

    Args:
        pred: as in :func:`risk_coverage_curve`.
        y: labels (rows,), or what ``loss`` takes.
        score: what rows are refused by; higher is more unusual.
        loss: losses of rows; the error if None.
    """
    curve = curve_of_losses(*_scores_and_losses("augrc()", pred, y, score, loss))
    last = curve.generalised_risk[-1]
    return float(np.mean(curve.generalised_risk) - last / (2 * len(curve.risk)))


@metric_properties(better="greater", minimum=0)
def coverage_at_risk(
    pred: Any,
    y: npt.ArrayLike,
    risk: float = 0.05,
    *,
    score: Score = "max_prob",
    loss: Loss = None,
) -> float:
    """Largest coverage at which the accepted rows have at most so much risk; 0 if there is none.

    Args:
        pred: as in :func:`risk_coverage_curve`.
        y: labels (rows,), or what ``loss`` takes.
        risk: the mean loss that is allowed, at least 0.
        score: what rows are refused by; higher is more unusual.
        loss: losses of rows; the error if None.
    """
    if not risk >= 0:
        raise ValueError(
            f"coverage_at_risk() needs a risk of at least 0: received risk={risk!r}. For one error "
            "in twenty write risk=0.05."
        )
    curve = curve_of_losses(*_scores_and_losses("coverage_at_risk()", pred, y, score, loss))
    allowed = np.flatnonzero(curve.risk <= risk + 1e-12)
    return float(curve.coverage[allowed[-1]]) if len(allowed) else 0.0


@metric_properties(better="less", minimum=0)
def risk_at_coverage(
    pred: Any,
    y: npt.ArrayLike,
    coverage: float = 0.8,
    *,
    score: Score = "max_prob",
    loss: Loss = None,
) -> float:
    """Mean loss of the fewest rows, accepted from the least unusual on, that reach a coverage.

    Args:
        pred: as in :func:`risk_coverage_curve`.
        y: labels (rows,), or what ``loss`` takes.
        coverage: share of the rows to accept, in (0, 1].
        score: what rows are refused by; higher is more unusual.
        loss: losses of rows; the error if None.
    """
    if not 0 < coverage <= 1:
        raise ValueError(
            f"risk_at_coverage() needs a coverage in (0, 1]: received coverage={coverage!r}. For "
            "four fifths of the rows write coverage=0.8."
        )
    curve = curve_of_losses(*_scores_and_losses("risk_at_coverage()", pred, y, score, loss))
    accepted = math.ceil(coverage * len(curve.risk) - 1e-9)  # 0.07 * 100 is 7
    return float(curve.risk[max(accepted, 1) - 1])


def curve_of_losses(scores: Array, losses: Array) -> RiskCoverageCurve:
    """The curve of rows with given scores and losses, each (rows,); ties in random order."""
    num_rows = len(losses)
    _, group = np.unique(scores, return_inverse=True)
    in_group = np.bincount(group)
    mean = np.bincount(group, losses) / in_group
    # Where all losses are alike, as those of a sort by the losses themselves, none is rounded.
    low, high = np.full(len(in_group), np.inf), np.full(len(in_group), -np.inf)
    np.minimum.at(low, group, losses)
    np.maximum.at(high, group, losses)
    summed = np.cumsum(np.repeat(np.where(low == high, low, mean), in_group))
    accepted = np.arange(1, num_rows + 1)
    return RiskCoverageCurve(accepted / num_rows, summed / accepted, summed / num_rows)


def _scores_and_losses(
    call: str, pred: Any, y: npt.ArrayLike, score: Score, loss: Loss
) -> tuple[Array, Array]:
    if loss is None:
        predicted: Predicted = pred
        probs, labels = probabilities_and_labels(call, predicted, y)
        losses = 1.0 - correctness(probs, labels)
    else:
        losses = check_scores(call, "loss(pred, y)", loss(pred, y))
        if not np.all(np.isfinite(losses)):
            raise ValueError(
                f"{call} needs finite losses: received infinite ones, of which a mean says "
                "nothing. Use a bounded loss, such as the error or the Brier score."
            )
    scores = unusualness(call, pred, score)
    if len(scores) != len(losses):
        raise ValueError(
            f"{call} needs a score and a loss for each row: received {len(scores)} scores and "
            f"{len(losses)} losses. Give functions with one number a row."
        )
    return scores, np.asarray(losses, dtype=np.float64)
