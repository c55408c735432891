r"""Central intervals and quantiles of predicted laws: coverage, width, and their proper scores.

The central interval of level :math:`1 - \alpha` of a row's law ends at its quantiles
:math:`l = F^{-1}(\alpha/2)` and :math:`u = F^{-1}(1 - \alpha/2)`, those of the mixture of the draws
(:mod:`bayes_sbn.metrics.normal_mixture`).  Over the rows,

* coverage: the share with :math:`l \le y \le u`, to be compared with the level;
* width: the mean of :math:`u - l`;
* interval score: the mean of :math:`(u - l) + \tfrac2\alpha (l - y)_+ + \tfrac2\alpha (y - u)_+`,
  which is least in expectation for the true quantiles;
* pinball loss of the quantile :math:`x_q = F^{-1}(q)`: the mean of
  :math:`(\mathbf 1\{y \le x_q\} - q)(x_q - y)`, not doubled.  The CRPS is twice its integral
  over q.

Of S draws of the target the interval is made of order statistics and covers a further draw less
often than the level says, by the order 1/S; for a test of draws see :mod:`bayes_sbn.metrics.pit`.

References:
    T. Gneiting, A. E. Raftery. Strictly proper scoring rules, prediction, and estimation. JASA 102,
    2007.

    R. Koenker, G. Bassett. Regression quantiles. Econometrica 46, 1978.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_level
from bayes_sbn.metrics.normal_mixture import mixture_quantile
from bayes_sbn.metrics.properties import metric_properties
from bayes_sbn.metrics.regression_arguments import (
    NormalMixturePrediction,
    RegressionPredicted,
    mixture_and_targets,
    mixture_of,
)

Array = npt.NDArray[np.float64]


def central_interval(mixture: NormalMixturePrediction, level: float) -> tuple[Array, Array]:
    """Low and high ends of each row's central interval, each (rows,).

    Args:
        mixture: the law of each row.
        level: its probability, in (0, 1).
    """
    tail = (1 - level) / 2
    low, high = mixture_quantile(mixture.mean_per_draw, mixture.scale_per_draw, [tail, 1 - tail])
    return low, high


def _covered(pred: RegressionPredicted, y: npt.ArrayLike, level: float = 0.9) -> Array:
    call = "interval_coverage()"
    level = check_level(call, level)
    mixture, target = mixture_and_targets(call, pred, y)
    low, high = central_interval(mixture, level)
    return ((low <= target) & (target <= high)).astype(np.float64)


def _widths(pred: RegressionPredicted, y: npt.ArrayLike | None = None, level: float = 0.9) -> Array:
    call = "interval_width()"
    level = check_level(call, level)
    mixture = mixture_of(call, pred) if y is None else mixture_and_targets(call, pred, y)[0]
    low, high = central_interval(mixture, level)
    return np.asarray(high - low)


def _interval_scores(pred: RegressionPredicted, y: npt.ArrayLike, level: float = 0.9) -> Array:
    call = "interval_score()"
    level = check_level(call, level)
    mixture, target = mixture_and_targets(call, pred, y)
    low, high = central_interval(mixture, level)
    outside = np.maximum(low - target, 0) + np.maximum(target - high, 0)
    return np.asarray((high - low) + 2 / (1 - level) * outside)


def _pinball_losses(
    pred: RegressionPredicted, y: npt.ArrayLike, q: float | npt.ArrayLike = 0.5
) -> Array:
    mixture, target = mixture_and_targets("pinball()", pred, y)
    levels = np.atleast_1d(np.asarray(q, dtype=np.float64))
    if levels.ndim != 1 or not levels.size or not np.all((levels > 0) & (levels < 1)):
        raise ValueError(
            f"pinball() needs levels strictly between 0 and 1, one or a list: received {q!r}. "
            "Write pinball(pred, y, 0.5) for the median."
        )
    gap = mixture_quantile(mixture.mean_per_draw, mixture.scale_per_draw, levels) - target
    return np.asarray((((gap >= 0) - levels[:, None]) * gap).mean(axis=0))


@metric_properties(better=None, minimum=0, row_losses=_covered)
def interval_coverage(pred: RegressionPredicted, y: npt.ArrayLike, level: float = 0.9) -> float:
    """Share of rows whose target lies in the central interval, ends included.

    It should be the level: neither less nor more is better.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,).
        level: probability of the interval, in (0, 1).

    Example:
        >>> from bayes_sbn.metrics import NormalMixture
        >>> interval_coverage(NormalMixture([0.0, 0.0], 1.0), [1.6, 1.7])
        0.5
    """
    return float(np.mean(_covered(pred, y, level)))


@metric_properties(better="less", minimum=0, row_losses=_widths)
def interval_width(
    pred: RegressionPredicted, y: npt.ArrayLike | None = None, level: float = 0.9
) -> float:
    """Mean width of the central intervals, in the unit of the target.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,), of no effect; there, so that this is called as other metrics are.
        level: probability of the interval, in (0, 1).

    Example:
        >>> from bayes_sbn.metrics import NormalMixture
        >>> round(interval_width(NormalMixture([0.0], 1.0), level=0.95), 4)
        3.9199
    """
    return float(np.mean(_widths(pred, y, level)))


@metric_properties(better="less", minimum=0, row_losses=_interval_scores)
def interval_score(pred: RegressionPredicted, y: npt.ArrayLike, level: float = 0.9) -> float:
    """Interval score: the width of the central interval, and a penalty for missing the target.

    A miss costs its distance times 2 / (1 - level).  Lower is better.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,).
        level: probability of the interval, in (0, 1).
    """
    return float(np.mean(_interval_scores(pred, y, level)))


@metric_properties(better="less", minimum=0, row_losses=_pinball_losses)
def pinball(pred: RegressionPredicted, y: npt.ArrayLike, q: float | npt.ArrayLike = 0.5) -> float:
    """Pinball loss of predicted quantiles, averaged over rows and levels; not doubled.

    At level 0.5 it is half the mean absolute error of the median.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,).
        q: one level in (0, 1), or several.
    """
    return float(np.mean(_pinball_losses(pred, y, q)))
