r"""Errors of the predicted mean or median, R², sharpness, and the negative log predictive density.

For the mixture of normal laws p of a row (:mod:`bayes_sbn.metrics.normal_mixture`) with mean
:math:`\mu`, standard deviation :math:`\sigma` and target y, over N rows,

* root mean squared error: :math:`(\tfrac1N \sum (y - \mu)^2)^{1/2}`;
* mean absolute error: :math:`\tfrac1N \sum |y - \mu|`, or of the median;
* coefficient of determination: :math:`1 - \sum (y - \mu)^2 / \sum (y - \bar y)^2`, with
  :math:`\bar y` the mean of the targets that are scored;
* sharpness: :math:`(\tfrac1N \sum \sigma^2)^{1/2}`;
* negative log predictive density: :math:`-\tfrac1N \sum \log p(y)`.

The last is not ``nll``, which is the logarithm of a probability: a density has the inverse of the
target's unit, so that its negative log may be below 0 and changes by log c where y is multiplied by
c.  Under another name the two are not mixed up in a table.
"""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import UndefinedMetricWarning
from bayes_sbn.metrics.normal_mixture import (
    mixture_log_prob,
    mixture_moments,
    mixture_quantile,
)
from bayes_sbn.metrics.properties import metric_properties
from bayes_sbn.metrics.regression_arguments import (
    NormalMixturePrediction,
    RegressionPredicted,
    mixture_and_targets,
    mixture_of,
)


def _absolute_errors(
    pred: RegressionPredicted, y: npt.ArrayLike, point: str = "mean"
) -> npt.NDArray[np.float64]:
    mixture, target = mixture_and_targets("mae()", pred, y)
    if point == "mean":
        predicted = _mean(mixture)
    elif point == "median":
        predicted = mixture_quantile(mixture.mean_per_draw, mixture.scale_per_draw, 0.5)
    else:
        raise ValueError(
            f"mae() needs point='mean' or point='median': received {point!r}. Write "
            "mae(pred, y, point='median') for the error of the predicted median."
        )
    return np.abs(target - predicted)


def _negative_log_density(pred: RegressionPredicted, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
    mixture, target = mixture_and_targets("nlpd()", pred, y)
    if np.any(mixture.scale_per_draw == 0):
        raise ValueError(
            "nlpd() needs a density: received standard deviations of 0, or draws of the targets, "
            "which have none. Write crps(draws, y), or predict with an observation noise."
        )
    return -mixture_log_prob(mixture.mean_per_draw, mixture.scale_per_draw, target)


@metric_properties(better="less", minimum=0)
def rmse(pred: RegressionPredicted, y: npt.ArrayLike) -> float:
    """Root mean squared error of the predicted mean.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,).

    Example:
        >>> rmse([[1.0, 2.0], [3.0, 2.0]], [4.0, 4.0])
        2.0
    """
    mixture, target = mixture_and_targets("rmse()", pred, y)
    return float(np.sqrt(np.mean((target - _mean(mixture)) ** 2)))


@metric_properties(better="greater")
def r2(pred: RegressionPredicted, y: npt.ArrayLike) -> float:
    """Coefficient of determination of the predicted mean: 1 at best, 0 for the targets' own mean.

    NaN, with an UndefinedMetricWarning, where all targets are the same.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,).

    Example:
        >>> r2([[1.0, 2.0, 4.0]], [1.0, 2.0, 3.0])
        0.5
    """
    mixture, target = mixture_and_targets("r2()", pred, y)
    if np.all(target == target[0]):
        warnings.warn(
            f"r2(): the {len(target)} targets are all {float(target[0])!r}, so that there is no "
            "variance to explain; the result is NaN. Score rows whose targets differ, or write "
            "rmse(pred, y).",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        return float("nan")
    residual = np.sum((target - _mean(mixture)) ** 2)
    return float(1 - residual / np.sum((target - target.mean()) ** 2))


@metric_properties(better="less", minimum=0, row_losses=_absolute_errors)
def mae(
    pred: RegressionPredicted, y: npt.ArrayLike, *, point: Literal["mean", "median"] = "mean"
) -> float:
    """Mean absolute error of the predicted mean, or of the predicted median.

    The median of the mixture is the number of least expected absolute error.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,).
        point: "mean" or "median".
    """
    return float(np.mean(_absolute_errors(pred, y, point)))


@metric_properties(better="less", row_losses=_negative_log_density)
def nlpd(pred: RegressionPredicted, y: npt.ArrayLike) -> float:
    """Mean negative log predictive density, in nats: of the mixture, not the mean over its draws.

    It may be negative, and depends on the unit of y.

    Args:
        pred: a prediction of real targets with positive standard deviations.
        y: targets (rows,).

    Example:
        >>> from bayes_sbn.metrics import NormalMixture
        >>> round(nlpd(NormalMixture([0.0], 1.0), [0.0]), 4)
        0.9189
    """
    return float(np.mean(_negative_log_density(pred, y)))


@metric_properties(better="less", minimum=0)
def sharpness(pred: RegressionPredicted, y: npt.ArrayLike | None = None) -> float:
    """Root mean variance of the predicted laws: how much they leave open, whatever comes true.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,), of no effect; there, so that this is called as other metrics are.
    """
    call = "sharpness()"
    mixture = mixture_of(call, pred) if y is None else mixture_and_targets(call, pred, y)[0]
    moments = mixture_moments(mixture.mean_per_draw, mixture.scale_per_draw)
    return float(np.sqrt(np.mean(moments.variance)))


def _mean(mixture: NormalMixturePrediction) -> npt.NDArray[np.float64]:
    return np.asarray(mixture.mean_per_draw.mean(axis=0))
