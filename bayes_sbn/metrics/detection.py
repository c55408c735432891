r"""Detection of rows from elsewhere: does a score tell them from the rows that were trained for?

A score says how unusual each row is, and higher is more unusual, always: energies, distances and
entropies are used as they are, and log-probabilities and other confidences must be negated first.
Scores are only ranked; they may have any range, and infinite ones are ranked like others.  With a
for a row from inside and b for one from outside,

* AUROC: :math:`P(\text{score}_a < \text{score}_b) + \tfrac12 P(\text{score}_a = \text{score}_b)`;
* AUPR-out: average precision :math:`\sum_n (R_n - R_{n-1}) P_n` of finding the rows from outside by
  high scores, tied rows at once; AUPR-in: of finding those from inside by low scores.  Without
  interpolation.  A score that says nothing has the share of its positives;
* FPR95: with t the least score among the rows from inside such that at least 95 % of them have
  score ≤ t, the share of the rows from outside with score ≤ t: what is let in by mistake where 95 %
  of the insiders are let in.  (Others take the outsiders for positives, and give the share of the
  insiders refused where 95 % of the outsiders are refused: ``fpr95(-out, -in)`` here.)

The areas are counted from the rows of each rank, in whole numbers up to the last division; they are
scikit-learn's.

References:
    D. Hendrycks, K. Gimpel. A baseline for detecting misclassified and out-of-distribution examples
    in neural networks. ICLR 2017.

    S. Liang, Y. Li, R. Srikant. Enhancing the reliability of out-of-distribution image detection in
    neural networks. ICLR 2018 (the rate at 95 %, insiders as positives).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import Predicted, is_prediction, to_numpy
from bayes_sbn.metrics.properties import metric_properties
from bayes_sbn.metrics.unusual import Score, check_scores, unusualness

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Detection:
    """How well a score tells rows from outside from those from inside.

    Args:
        score: the name of the score.
        auroc: probability that a row from outside has the higher score, ties counting half.
        aupr_in: average precision of finding the rows from inside by low scores.
        aupr_out: average precision of finding the rows from outside by high scores.
        fpr95: share of the rows from outside let in where 95 % of those from inside are.
        num_in: rows from inside.
        num_out: rows from outside.
    """

    score: str
    auroc: float
    aupr_in: float
    aupr_out: float
    fpr95: float
    num_in: int
    num_out: int

    def __str__(self) -> str:
        return (
            f"{self.score}: AUROC {self.auroc:.4f}, AUPR-in {self.aupr_in:.4f}, AUPR-out "
            f"{self.aupr_out:.4f}, FPR95 {self.fpr95:.4f} "
            f"({self.num_in} rows in, {self.num_out} out)"
        )


def ood(pred_in: Predicted, pred_out: Predicted, score: Score = "entropy") -> Detection:
    """Detection of out-of-distribution rows by a score, higher being more unusual.

    Args:
        pred_in: a Predictions of rows like those trained for, probabilities (rows, classes), or
            scores (rows,) that are there already.
        pred_out: the same of rows from elsewhere.
        score: "max_prob", "entropy", "epistemic" (mutual information), "variation_ratio", or a
            function of a prediction that gives numbers (rows,); of no effect on scores.

    Example:
        >>> ood([[0.9, 0.1], [0.8, 0.2]], [[0.5, 0.5], [0.6, 0.4]]).auroc
        1.0
        >>> print(ood([0.1, 0.2, 0.4], [0.3, 0.9]))
        scores: AUROC 0.8333, AUPR-in 0.9167, AUPR-out 0.8333, FPR95 0.5000 (3 rows in, 2 out)
    """
    call = "ood()"
    given = [_are_scores(pred) for pred in (pred_in, pred_out)]
    if given[0] != given[1]:
        raise TypeError(
            f"{call} needs two predictions, or two arrays of scores (rows,): received one of each. "
            "Write ood(pred_in, pred_out, score='entropy'), or ood(score_in, score_out)."
        )
    if given[0]:
        name = "scores"
        inside = check_scores(call, "scores of rows from inside", pred_in)
        outside = check_scores(call, "scores of rows from outside", pred_out)
    else:
        name = getattr(score, "__name__", "score") if callable(score) else score
        inside, outside = (unusualness(call, pred, score) for pred in (pred_in, pred_out))
    return Detection(
        name,
        detection_auroc(inside, outside),
        detection_aupr(inside, outside, positive="in"),
        detection_aupr(inside, outside, positive="out"),
        fpr95(inside, outside),
        len(inside),
        len(outside),
    )


def ood_score(pred: Predicted, score: Score = "entropy") -> Array:
    """How unusual each row looks; higher is more unusual; (rows,).

    Args:
        pred: a Predictions, or probabilities (rows, classes) for "max_prob" and "entropy".
        score: as in :func:`ood`.
    """
    return unusualness("ood_score()", pred, score)


@metric_properties(better="greater", minimum=0, of_two_sides=True)
def detection_auroc(score_in: npt.ArrayLike, score_out: npt.ArrayLike) -> float:
    """Probability that a row from outside has the higher score, ties counting half.

    Args:
        score_in: scores of rows from inside, (rows,); higher is more unusual.
        score_out: scores of rows from outside.
    """
    inside, outside = _counts("detection_auroc()", score_in, score_out)
    below = np.cumsum(inside) - inside
    wins = outside @ (2 * below + inside)  # twice, so that half a win of a tie is a whole number
    return float(wins / (2 * inside.sum() * outside.sum()))


@metric_properties(better="greater", minimum=0, of_two_sides=True)
def detection_aupr(
    score_in: npt.ArrayLike, score_out: npt.ArrayLike, *, positive: Literal["in", "out"] = "out"
) -> float:
    """Average precision of finding the rows from outside, or those from inside.

    Args:
        score_in: scores of rows from inside, (rows,); higher is more unusual.
        score_out: scores of rows from outside.
        positive: "out" to find those from outside by high scores, "in" to find those from inside
            by low ones.
    """
    if positive not in ("in", "out"):
        raise ValueError(
            f"detection_aupr() needs positive='in' or positive='out': received {positive!r}. Write "
            "positive='out' for the rows from outside."
        )
    inside, outside = _counts("detection_aupr()", score_in, score_out)
    # Rows are found one rank at a time, the most unusual first, or the least.
    found, mistaken = (outside[::-1], inside[::-1]) if positive == "out" else (inside, outside)
    precision = np.cumsum(found) / np.cumsum(found + mistaken)
    return float(found @ precision / found.sum())


@metric_properties(better="less", minimum=0, of_two_sides=True)
def fpr95(score_in: npt.ArrayLike, score_out: npt.ArrayLike) -> float:
    """Share of the rows from outside let in where 95 % of those from inside are let in.

    A row is let in where its score is at most t, the least score of a row from inside that lets
    95 % of them in.

    Args:
        score_in: scores of rows from inside, (rows,); higher is more unusual.
        score_out: scores of rows from outside.
    """
    inside = np.sort(check_scores("fpr95()", "scores of rows from inside", score_in))
    outside = check_scores("fpr95()", "scores of rows from outside", score_out)
    needed = math.ceil(0.95 * len(inside) - 1e-9)  # 0.95 * 20 is 19
    return float(np.mean(outside <= inside[needed - 1]))


def _are_scores(pred: Predicted) -> bool:
    return not is_prediction(pred) and to_numpy(pred).ndim == 1


def _counts(
    call: str, score_in: npt.ArrayLike, score_out: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """How many rows from inside and from outside have each of the scores, in ascending order."""
    inside = check_scores(call, "scores of rows from inside", score_in)
    outside = check_scores(call, "scores of rows from outside", score_out)
    distinct, rank = np.unique(np.concatenate([inside, outside]), return_inverse=True)
    places = rank[: len(inside)], rank[len(inside) :]
    of_inside, of_outside = (np.bincount(place, minlength=len(distinct)) for place in places)
    return of_inside, of_outside
