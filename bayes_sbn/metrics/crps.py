r"""The continuous ranked probability score: a proper score in the unit of the target.

For a law F of a row's target and what came true,

.. math::
    \mathrm{CRPS}(F, y) = \int (F(t) - \mathbf 1\{t \ge y\})^2 \,\mathrm dt
    = \mathrm E|T - y| - \tfrac12 \mathrm E|T - T'|, \qquad T, T' \sim F \text{ independent} .

A difference of independent normal variables is normal, and with
:math:`A(\mu, \sigma) = \mathrm E|\mu + \sigma Z| = 2 \sigma \varphi(\mu / \sigma) +
\mu (2 \Phi(\mu / \sigma) - 1)`, :math:`A(\mu, 0) = |\mu|`, the score of a mixture is exactly

.. math::
    \tfrac1S \sum_s A(y - m_s, \sigma_s) -
    \tfrac1{2 S^2} \sum_{s, t} A\bigl(m_s - m_t, (\sigma_s^2 + \sigma_t^2)^{1/2}\bigr),

with :math:`S(S-1)/2` terms a row.  For point masses sorting gives the double sum,
:math:`\sum_{s,t} |x_s - x_t| = 2 \sum_i i (S - i) (x_{(i+1)} - x_{(i)})`.

This is the score of the mixture of these draws.  Of the law from which the draws came it is an
estimate that is too large by the order 1/S, since a draw meets itself among the pairs.  The fair
score is over the :math:`S(S-1)` pairs of different draws and unbiased (Ferro 2014), also of normal
laws, where :math:`A(0, \sqrt2 \sigma_s)` is left out.

References:
    E. P. Grimit, T. Gneiting, V. J. Berrocal, N. A. Johnson. The continuous ranked probability
    score for circular variables and its application to mesoscale forecast ensemble verification.
    Quarterly Journal of the Royal Meteorological Society 132, 2006 (the mixture of normal laws).

    T. Gneiting, A. E. Raftery. Strictly proper scoring rules, prediction, and estimation. JASA 102,
    2007.

    C. A. T. Ferro. Fair scores for ensemble forecasts. Quarterly Journal of the Royal
    Meteorological Society 140, 2014.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.properties import metric_properties
from bayes_sbn.metrics.regression_arguments import RegressionPredicted, mixture_and_targets

_BLOCK = 2**15  # entries of a block of draws and rows, 256 kB: what is made of it stays in cache

Array = npt.NDArray[np.float64]


def _scores(pred: RegressionPredicted, y: npt.ArrayLike, fair: bool = False) -> Array:
    mixture, target = mixture_and_targets("crps()", pred, y)
    return crps_of_rows(mixture.mean_per_draw, mixture.scale_per_draw, target, fair=fair)


@metric_properties(better="less", row_losses=_scores)
def crps(pred: RegressionPredicted, y: npt.ArrayLike, *, fair: bool = False) -> float:
    """Continuous ranked probability score, exact for the mixture of the draws; mean over rows.

    For a single point mass it is the absolute error.  Of normal laws it takes time quadratic in the
    draws, of draws of the targets not; memory is bounded either way.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,).
        fair: estimate without bias the score of the law from which the draws came, by pairs of
            different draws alone; may be negative.  Needs two draws at least.

    Example:
        >>> from bayes_sbn.metrics import NormalMixture
        >>> round(crps(NormalMixture([0.0], 1.0), [0.0]), 4)
        0.2337
        >>> crps([[0.0], [2.0]], [1.0]), crps([[0.0], [2.0]], [1.0], fair=True)
        (0.5, 0.0)
    """
    return float(np.mean(_scores(pred, y, fair)))


def crps_of_rows(mean: Array, scale: Array, y: Array, *, fair: bool = False) -> Array:
    """The score of each row, (rows,).

    Args:
        mean: means (draws, rows).
        scale: standard deviations (draws, rows), 0 for a point mass.
        y: targets (rows,).
        fair: by pairs of different draws alone.
    """
    draws, rows = mean.shape
    if fair and draws < 2:
        raise ValueError(
            "crps(..., fair=True) needs at least 2 draws: received 1, which makes no pair. Predict "
            "with more draws, or write crps(pred, y) for the score of the predicted law itself."
        )
    scores = np.empty(rows)
    size = max(1, _BLOCK // draws)
    for start in range(0, rows, size):
        block = slice(start, start + size)
        distance = _mean_distance(y[block] - mean[:, block], scale[:, block]).mean(axis=0)
        if scale[:, block].any():
            between = _sum_over_pairs(mean[:, block], scale[:, block])
            itself = _mean_distance(np.zeros(1), np.sqrt(2) * scale[:, block]).sum(axis=0)
        else:
            between = _sum_over_pairs_of_points(mean[:, block])
            itself = np.zeros_like(between)
        spread = between / (draws * (draws - 1)) if fair else (between + itself / 2) / draws**2
        scores[block] = distance - spread
    return scores


def mean_distances(mean: Array, scale: Array, y: Array) -> tuple[Array, Array]:
    """E|T - y| of each draw, (draws,), and E|T - T'| of each two, (draws, draws); mean over rows.

    Of any subset of the draws the score is the mean of the first minus half that of the second.

    Args:
        mean: means (draws, rows).
        scale: standard deviations (draws, rows), 0 for a point mass.
        y: targets (rows,).
    """
    to_target = _mean_distance(y - mean, scale).mean(axis=1)
    between = np.empty((len(mean), len(mean)))
    for s in range(len(mean)):
        width = np.hypot(scale[s], scale[: s + 1])
        distance = _mean_distance(mean[s] - mean[: s + 1], width).mean(axis=1)
        between[s, : s + 1] = between[: s + 1, s] = distance
    return to_target, between


def _sum_over_pairs(mean: Array, scale: Array) -> Array:
    """Expected distances summed over the pairs of different draws, each pair once; (rows,)."""
    total = np.zeros(mean.shape[1])
    # Squares of scales neither overflow nor vanish in units of the row's largest.
    unit = scale.max(axis=0)
    variance = (scale / np.where(unit > 0, unit, 1)) ** 2
    for s in range(1, len(mean)):
        width = np.sqrt(variance[s] + variance[:s])
        width *= unit
        total += _mean_distance(mean[s] - mean[:s], width).sum(axis=0)
    return total


def _sum_over_pairs_of_points(draws: Array) -> Array:
    """Distances summed over the pairs of different draws, each pair once; (rows,)."""
    # Gaps between neighbours, each counted once for every pair around it: nothing cancels.
    gaps = np.diff(np.sort(draws, axis=0), axis=0)
    below = np.arange(1, len(draws))
    return np.asarray((below * (len(draws) - below)) @ gaps)


def _mean_distance(centre: Array, scale: Array) -> Array:
    """Expected absolute value of a normal variable; its shape is that of the scale."""
    from scipy.special import erf

    is_point = scale == 0
    has_points = bool(is_point.any())
    width = np.where(is_point, 1, scale) if has_points else scale
    with np.errstate(over="ignore", under="ignore"):  # far out the square overflows, and exp is 0
        z = centre / width
        z *= np.sqrt(0.5)
        distance = np.asarray(erf(z))
        distance *= centre
        np.multiply(z, z, out=z)
        np.negative(z, out=z)
        np.exp(z, out=z)
        z *= np.sqrt(2 / np.pi)
        z *= width
    distance += z
    return np.where(is_point, np.abs(centre), distance) if has_points else distance
