r"""Probability integral transforms: where in its predicted law each target fell.

Where every target comes from the law F that was predicted for it, :math:`F(y)` is uniform on
[0, 1].  Values that heap up at 0 and 1 speak of laws that are too narrow, in the middle of ones too
wide, at one side of a bias.

Where F has jumps, :math:`F(y)` is not uniform for any law, and is randomised: with V uniform,

* of a mixture with a point mass at y, :math:`F(y^-) + V\,(F(y) - F(y^-))`;
* of S draws of the target, all of them point masses,

  .. math:: \frac{\#\{s : x_s < y\} + V\,(1 + \#\{s : x_s = y\})}{S + 1},

  the randomised rank of y among itself and the draws.  It is exactly uniform where y is one more
  draw of the same law, for every S, ties or none.  (F of the draws alone would count a target
  beyond all of them as 0 or 1, and seem too narrow by 2 rows in S + 1.)

References:
    A. P. Dawid. Statistical theory: the prequential approach. Journal of the Royal Statistical
    Society A 147, 1984.

    T. Gneiting, F. Balabdaoui, A. E. Raftery. Probabilistic forecasts, calibration and sharpness.
    Journal of the Royal Statistical Society B 69, 2007.

    C. Czado, T. Gneiting, L. Held. Predictive model assessment for count data. Biometrics 65, 2009.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.normal_mixture import mixture_cdf
from bayes_sbn.metrics.regression_arguments import RegressionPredicted, mixture_and_targets

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class UniformityTest:
    """The Kolmogorov-Smirnov test of whether values are uniform on [0, 1].

    Args:
        statistic: the largest difference of the values' distribution function from the identity.
        p_value: its exact two-sided probability of being as large by chance.
        num_rows: rows.
    """

    statistic: float
    p_value: float
    num_rows: int


def pit(pred: RegressionPredicted, y: npt.ArrayLike, *, seed: int = 0) -> Array:
    """Probability integral transform of each target, in [0, 1]; (rows,).

    Of laws that have a density it is F(y); of draws of the targets it is randomised.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,).
        seed: seed of the randomisation; the same seed gives the same values.

    Example:
        >>> from bayes_sbn.metrics import NormalMixture
        >>> pit(NormalMixture([0.0, 0.0], 1.0), [0.0, 1.6449]).round(3)
        array([0.5 , 0.95])
    """
    return pit_values("pit()", pred, y, seed)


def pit_test(pred: RegressionPredicted, y: npt.ArrayLike, *, seed: int = 0) -> UniformityTest:
    """Whether the probability integral transforms are uniform, by Kolmogorov and Smirnov.

    The rows must be independent.  A small p-value speaks against the predicted laws; a large one of
    few rows says little.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,).
        seed: seed of the randomisation, where there is one.
    """
    from scipy.stats import kstest

    values = pit_values("pit_test()", pred, y, seed)
    found = kstest(values, "uniform")
    return UniformityTest(float(found.statistic), float(found.pvalue), len(values))


def pit_values(call: str, pred: RegressionPredicted, y: npt.ArrayLike, seed: int) -> Array:
    """The transforms, on behalf of another call; arguments as in :func:`pit`."""
    mixture, target = mixture_and_targets(call, pred, y)
    mean, scale = mixture.mean_per_draw, mixture.scale_per_draw
    reached = mixture_cdf(mean, scale, target)
    if np.all(scale > 0):
        return reached
    uniform = np.random.default_rng(seed).random(len(target))
    before = mixture_cdf(mean, scale, target, left=True)
    randomised = before + uniform * (reached - before)
    # The empirical distribution of S draws, with the target itself as one draw more.
    share = len(mean) / (len(mean) + 1)
    rank = share * randomised + (1 - share) * uniform
    return np.where(np.any(scale > 0, axis=0), randomised, rank)
