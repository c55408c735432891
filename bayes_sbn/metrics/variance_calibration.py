r"""Calibration of predicted variances: are errors as large as they were said to be, row for row?

Rows are put into bins of their predicted variance.  In bin b of :math:`N_b` rows, with means
:math:`\mu_n` and variances :math:`\sigma_n^2` of the mixtures
(:mod:`bayes_sbn.metrics.normal_mixture`),

.. math::
    \mathrm{MV}_b = \tfrac{1}{N_b} \sum_{n \in b} \sigma_n^2, \qquad
    \mathrm{MSE}_b = \tfrac{1}{N_b} \sum_{n \in b} (y_n - \mu_n)^2,

and calibrated variances have :math:`\mathrm{MSE}_b = \mathrm{MV}_b` in every bin but for chance.
Over the B bins that have rows,

* expected normalised calibration error: :math:`\tfrac1B \sum_b
  |\mathrm{MV}_b^{1/2} - \mathrm{MSE}_b^{1/2}| \,/\, \mathrm{MV}_b^{1/2}`, without a unit; 0 for a
  bin without variance and errors, infinite for one with errors alone;
* uncertainty calibration error: :math:`\sum_b \tfrac{N_b}{N} |\mathrm{MV}_b - \mathrm{MSE}_b|`, in
  the unit of the target, squared.

Bins of equal "mass" hold as many rows each, rounded up or down; rows of the same variance are in
one bin, so that no result depends on the order of the rows.  Bins of equal "width" part the range
of the standard deviations for the former, of the variances for the latter, (a, b], the least value
in the first.  A wrong mean shows here too; that the law has the right shape beyond its variance
does not (:mod:`bayes_sbn.metrics.regression_calibration`).  Both errors are biased upwards by
chance.

References:
    D. Levi, L. Gispan, N. Giladi, E. Fetaya. Evaluating and calibrating uncertainty prediction in
    regression tasks. Sensors 22, 2022; arXiv:1905.11659, 2019 (the normalised error).

    M.-H. Laves, S. Ihler, J. F. Fast, L. A. Kahrs, T. Ortmaier. Well-calibrated regression
    uncertainty in medical imaging with deep learning. MIDL 2020 (the other).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_count
from bayes_sbn.metrics.calibration_bins import Bins, check_bins
from bayes_sbn.metrics.chance_alone import of_targets
from bayes_sbn.metrics.normal_mixture import mixture_moments
from bayes_sbn.metrics.properties import metric_properties
from bayes_sbn.metrics.regression_arguments import RegressionPredicted, mixture_and_targets

Array = npt.NDArray[np.float64]

NUM_BINS = 10
"""Bins of predicted variance, unless said otherwise."""


@dataclass(frozen=True, eq=False)
class VarianceCalibrationCurve:
    """Mean squared error against mean predicted variance, bin by bin; bins without rows are not in.

    Args:
        mean_variance: float64 (bins,), ascending.
        mean_squared_error: float64 (bins,).
        count: int64 (bins,), rows.
    """

    mean_variance: Array
    mean_squared_error: Array
    count: npt.NDArray[np.int64]


def variance_calibration_curve(
    pred: RegressionPredicted, y: npt.ArrayLike, *, bins: Bins = "mass", num_bins: int = NUM_BINS
) -> VarianceCalibrationCurve:
    """Mean squared errors and mean predicted variances of rows of like variance.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,).
        bins: of equal "mass", or of equal "width" in the variance.
        num_bins: bins, at least 1.

    Example:
        >>> from bayes_sbn.metrics import NormalMixture
        >>> law = NormalMixture([0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 3.0, 3.0])
        >>> variance_calibration_curve(law, [1.0, -1.0, 2.0, -4.0], num_bins=2).mean_squared_error
        array([ 1., 10.])
    """
    return _curve("variance_calibration_curve()", pred, y, bins, num_bins, of_scale=False)


@metric_properties(better="less", minimum=0, chance=of_targets)
def ence(
    pred: RegressionPredicted, y: npt.ArrayLike, *, bins: Bins = "mass", num_bins: int = NUM_BINS
) -> float:
    """Expected normalised calibration error of the predicted standard deviations.

    Mean over the bins of the difference of root mean variance and root mean squared error, divided
    by the former.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,).
        bins: of equal "mass", or of equal "width" in the standard deviation.
        num_bins: bins, at least 1.
    """
    curve = _curve("ence()", pred, y, bins, num_bins, of_scale=True)
    spread, error = np.sqrt(curve.mean_variance), np.sqrt(curve.mean_squared_error)
    gap = np.abs(spread - error)
    none = np.where(gap > 0, np.inf, 0)
    return float(np.mean(np.divide(gap, spread, out=none, where=spread > 0)))


@metric_properties(better="less", minimum=0, chance=of_targets)
def uce(
    pred: RegressionPredicted, y: npt.ArrayLike, *, bins: Bins = "mass", num_bins: int = NUM_BINS
) -> float:
    """Uncertainty calibration error of the predicted variances.

    Mean over the rows of the absolute difference of mean variance and mean squared error in their
    bin.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,).
        bins: of equal "mass", or of equal "width" in the variance.
        num_bins: bins, at least 1.
    """
    curve = _curve("uce()", pred, y, bins, num_bins, of_scale=False)
    gap = np.abs(curve.mean_variance - curve.mean_squared_error)
    return float(curve.count @ gap / curve.count.sum())


def _curve(
    call: str,
    pred: RegressionPredicted,
    y: npt.ArrayLike,
    bins: Bins,
    num_bins: int,
    *,
    of_scale: bool,
) -> VarianceCalibrationCurve:
    bins = check_bins(call, bins)
    num_bins = check_count(call, "num_bins", num_bins, minimum=1, usual=NUM_BINS)
    mixture, target = mixture_and_targets(call, pred, y)
    moments = mixture_moments(mixture.mean_per_draw, mixture.scale_per_draw)
    variance, squared = moments.variance, (target - moments.mean) ** 2
    at = _bin_of(np.sqrt(variance) if of_scale else variance, bins, num_bins)
    count = np.bincount(at, minlength=num_bins)
    held = count > 0
    mean_variance, mean_squared = (
        np.bincount(at, values, num_bins)[held] / count[held] for values in (variance, squared)
    )
    return VarianceCalibrationCurve(mean_variance, mean_squared, count[held])


def _bin_of(values: Array, bins: Bins, num_bins: int) -> npt.NDArray[np.intp]:
    """The bin (edge, next edge] of each value; the least one is in the first."""
    if bins == "mass":
        rank = -(-len(values) * np.arange(1, num_bins) // num_bins)  # n b / B rounded up
        inner = np.sort(values)[rank - 1]
    else:
        inner = np.linspace(values.min(), values.max(), num_bins + 1)[1:-1]
    return np.searchsorted(inner, values, side="left")
