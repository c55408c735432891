r"""Tests of calibration: could chance alone have made the differences, were every probability true?

Under the hypothesis the outcomes :math:`z_i` are independent and come true with probability
:math:`p_i`.

Spiegelhalter's test takes the Brier score, whose mean and variance are then known.  Of one event,

.. math:: Z = \frac{\sum_i (z_i - p_i)(1 - 2 p_i)}{\sqrt{\sum_i (1 - 2 p_i)^2 p_i (1 - p_i)}},

and of rows of several classes, with :math:`q_n = \sum_c p_{nc}^2`,

.. math:: Z = \frac{\sum_n (q_n - p_{n y_n})}{\sqrt{\sum_n \sum_c p_{nc} (p_{nc} - q_n)^2}},

which for two classes is the same.  Z is standard normal for many rows; it is positive where the
score is worse than claimed (overconfidence), negative where it is better.

Kolmogorov and Smirnov's test, and Kuiper's, take the cumulative sums of the events sorted by their
probability, :math:`C_k = \sum_{i \le k} (z_i - p_i) / \sqrt{\sum_i p_i (1 - p_i)}`, and
:math:`C_0 = 0`: the largest absolute value, and the range.  For many rows C is a Brownian motion on
[0, 1], whose largest absolute value D and range R have, with the upper tail
:math:`\bar\Phi` of the standard normal law,

.. math:: P(D > x) = 4 \sum_{k \ge 0} (-1)^k \bar\Phi((2k + 1) x), \qquad
    P(R > x) = 8 \sum_{k \ge 1} (-1)^{k - 1} k \bar\Phi(k x).

Events of equal probability are taken together, so that the order of rows does not matter; where
there are many of them the tests are conservative.  The first sees best a probability that is too
high or too low everywhere, the second also errors that turn their sign.

The p-values are those of the limit of many rows.  A small one speaks against calibration, a large
one of few rows says little, and neither says how large the error is.

References:
    D. J. Spiegelhalter. Probabilistic prediction in patient management and clinical trials.
    Statistics in Medicine 5, 1986.

    I. Arrieta-Ibarra, P. Gujral, J. Tannen, M. Tygert, C. Xu. Metrics of calibration for
    probabilistic predictions. Journal of Machine Learning Research 23, 2022 (the cumulative tests).

    W. Feller. The asymptotic distribution of the range of sums of independent random variables.
    Annals of Mathematical Statistics 22, 1951.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import (
    Predicted,
    UndefinedMetricWarning,
    probabilities_and_labels,
)
from bayes_sbn.metrics.events import events_of

Array = npt.NDArray[np.float64]
Alternative = Literal["two-sided", "greater", "less"]

_ROUNDING = 1e-14  # of a row; what is smaller is no difference


@dataclass(frozen=True)
class CalibrationTest:
    """A test of whether the probabilities are true.

    Args:
        statistic: the larger in absolute value, the less so.
        p_value: the probability that chance alone makes it as large, for many rows.
        num_rows: rows.
    """

    statistic: float
    p_value: float
    num_rows: int


def spiegelhalter(
    pred: Predicted,
    y: npt.ArrayLike,
    *,
    of: Literal["all", "top"] | int = "all",
    alternative: Alternative = "two-sided",
) -> CalibrationTest:
    """Whether the Brier score is what the probabilities themselves say it should be.

    The statistic is NaN, with an UndefinedMetricWarning, where the score leaves nothing to chance:
    all rows certain and right, or uniform.  It is infinite where certain rows alone are wrong.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        of: "all" classes, the "top" label alone, or a class against the rest.
        alternative: "two-sided"; "greater" for scores worse than claimed, as of overconfidence;
            "less" for better ones.

    Example:
        >>> found = spiegelhalter([[0.9, 0.1]] * 20, [0] * 14 + [1] * 6)
        >>> round(found.statistic, 4), round(found.p_value, 4)
        (2.9814, 0.0029)
    """
    call = "spiegelhalter()"
    probs, labels = probabilities_and_labels(call, pred, y)
    if alternative not in ("two-sided", "greater", "less"):
        raise ValueError(
            f"{call} needs alternative='two-sided', 'greater' or 'less': received {alternative!r}. "
            "Leave it out for 'two-sided'."
        )
    if isinstance(of, str) and of == "all":
        squares = np.einsum("rc,rc->r", probs, probs)
        of_label = np.take_along_axis(probs, labels[:, None], axis=-1)[:, 0]
        difference = squares - of_label
        variance = np.einsum("rc,rc->r", probs, (probs - squares[:, None]) ** 2)
    else:
        p, z = events_of(call, probs, labels, of, ("all", "top"))
        difference = (z - p) * (1 - 2 * p)
        variance = (1 - 2 * p) ** 2 * p * (1 - p)
    if not _is_defined(call, difference, variance, 2):
        return CalibrationTest(math.nan, math.nan, len(labels))
    statistic = _ratio(float(difference.sum()), float(variance.sum()))
    tail = {
        "greater": _upper_tail(statistic),
        "less": _upper_tail(-statistic),
        "two-sided": 2 * _upper_tail(abs(statistic)),
    }
    return CalibrationTest(statistic, tail[alternative], len(labels))


def kolmogorov_smirnov(
    pred: Predicted, y: npt.ArrayLike, *, of: Literal["top"] | int = "top"
) -> CalibrationTest:
    """Whether the cumulative differences of outcomes and probabilities stay near 0.

    The statistic is NaN, with an UndefinedMetricWarning, where all events are certain and came out
    as they should; infinite where all are certain and some did not.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        of: the "top" label, whether it is right, or a class against the rest.

    Example:
        >>> found = kolmogorov_smirnov([[0.9, 0.1]] * 20, [0] * 14 + [1] * 6)
        >>> round(found.statistic, 4), round(found.p_value, 4)
        (2.9814, 0.0057)
    """
    cumulative = _cumulative("kolmogorov_smirnov()", pred, y, of)
    statistic = float(np.max(np.abs(cumulative)))
    return CalibrationTest(statistic, largest_tail(statistic), len(np.asarray(y)))


def kuiper(
    pred: Predicted, y: npt.ArrayLike, *, of: Literal["top"] | int = "top"
) -> CalibrationTest:
    """Whether the cumulative differences of outcomes and probabilities have a small range.

    NaN and infinite as :func:`kolmogorov_smirnov` is.  The range contains 0, where the sums start.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        of: the "top" label, whether it is right, or a class against the rest.

    Example:
        >>> found = kuiper([[0.9, 0.1]] * 20, [0] * 14 + [1] * 6)
        >>> round(found.statistic, 4), round(found.p_value, 4)
        (2.9814, 0.0115)
    """
    cumulative = _cumulative("kuiper()", pred, y, of)
    statistic = float(np.max(cumulative) - np.min(cumulative))
    return CalibrationTest(statistic, range_tail(statistic), len(np.asarray(y)))


def largest_tail(x: float) -> float:
    """The probability that the largest absolute value of a Brownian motion on [0, 1] exceeds x."""
    if math.isnan(x) or x < 0.1:  # below, the probability is 1 in float64
        return math.nan if math.isnan(x) else 1.0
    k = np.arange(math.ceil(20 / x) + 1)
    tails = [_upper_tail((2 * i + 1) * x) for i in k]
    return float(np.clip(4 * np.sum((-1.0) ** k * tails), 0, 1))


def range_tail(x: float) -> float:
    """The probability that the range of a Brownian motion on [0, 1] exceeds x."""
    if math.isnan(x) or x < 0.1:
        return math.nan if math.isnan(x) else 1.0
    k = np.arange(1, math.ceil(40 / x) + 2)
    tails = [_upper_tail(i * x) for i in k]
    return float(np.clip(8 * np.sum((-1.0) ** (k - 1) * k * tails), 0, 1))


def _cumulative(call: str, pred: Predicted, y: npt.ArrayLike, of: object) -> Array:
    """Sums over all events up to each probability, from 0, over the root of their variance."""
    p, z = events_of(call, *probabilities_and_labels(call, pred, y), of, ("top",))
    difference, variance = z - p, p * (1 - p)
    if not _is_defined(call, difference, variance, 3):
        return np.full(2, math.nan)
    _, place = np.unique(p, return_inverse=True)
    sums = np.concatenate([[0.0], np.cumsum(np.bincount(place, difference))])
    total = float(variance.sum())
    return np.array([_ratio(float(s), total) for s in sums]) if total == 0 else sums / total**0.5


def _is_defined(call: str, difference: Array, variance: Array, callers: int) -> bool:
    """Whether there is anything to compare; warns on behalf of the call if not.

    Args:
        call: the call to name.
        difference: of each row.
        variance: of each row.
        callers: how many functions up is that of the user.
    """
    if np.any(np.abs(difference) > _ROUNDING) or np.any(variance > _ROUNDING):
        return True
    warnings.warn(
        f"{call}: no row of the {len(variance)} leaves anything to chance, so that there is "
        "nothing to test; the result is NaN. Test rows of which some are uncertain.",
        UndefinedMetricWarning,
        stacklevel=callers + 1,
    )
    return False


def _ratio(total: float, variance: float) -> float:
    """A sum over its standard deviation; infinite where what was certain did not happen."""
    if variance > 0:
        return total / math.sqrt(variance)
    return math.copysign(math.inf, total) if total else 0.0


def _upper_tail(x: float) -> float:
    return math.erfc(x / math.sqrt(2)) / 2
