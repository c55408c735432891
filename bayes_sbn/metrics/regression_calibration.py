r"""Calibration of predicted laws: how often targets fall below quantiles or inside intervals.

For the probability integral transforms :math:`u_n` of the rows (:mod:`bayes_sbn.metrics.pit`), the
observed share at an expected share p is

* ``"interval"``: :math:`\tfrac1N \#\{n : |2 u_n - 1| \le p\}`, the targets inside the central
  interval of probability p;
* ``"quantile"``: :math:`\tfrac1N \#\{n : u_n \le p\}`, the targets below the quantile of level p.

Observed and expected shares agree for calibrated laws.  Intervals do not see a bias, quantiles do.
At equally spaced :math:`p = 0, \dots, 1`, ends included, the difference is summed up as

* root mean squared calibration error and mean absolute calibration error, over the levels;
* miscalibration area: between the curve, linear from level to level, and the diagonal.

All are biased upwards: they are positive by chance for calibrated laws too.

References:
    V. Kuleshov, N. Fenner, S. Ermon. Accurate uncertainties for deep learning using calibrated
    regression. ICML 2018.

    Y. Chung, I. Char, H. Guo, J. Schneider, W. Neiswanger. Uncertainty Toolbox: an open-source
    library for assessing, visualizing, and improving uncertainty quantification. arXiv:2109.10254,
    2021 (the same levels and area; its quantiles are those of the negative residual).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_count
from bayes_sbn.metrics.chance_alone import of_transforms
from bayes_sbn.metrics.pit import pit_values
from bayes_sbn.metrics.properties import metric_properties
from bayes_sbn.metrics.regression_arguments import RegressionPredicted

Array = npt.NDArray[np.float64]
Kind = Literal["interval", "quantile"]

NUM_LEVELS = 100
"""Equally spaced expected shares from 0 to 1, unless said otherwise."""


@dataclass(frozen=True, eq=False)
class RegressionCalibrationCurve:
    """Observed against expected shares of targets.

    Args:
        expected: float64 (levels,), equally spaced from 0 to 1.
        observed: float64 (levels,), the share of the rows; never falls.
        kind: "interval" or "quantile".
        num_rows: rows.
    """

    expected: Array
    observed: Array
    kind: Kind
    num_rows: int


def regression_calibration_curve(
    pred: RegressionPredicted,
    y: npt.ArrayLike,
    *,
    kind: Kind = "interval",
    num_levels: int = NUM_LEVELS,
    seed: int = 0,
) -> RegressionCalibrationCurve:
    """Share of targets inside central intervals, or below quantiles, against the expected share.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,).
        kind: "interval" or "quantile".
        num_levels: expected shares, equally spaced from 0 to 1, at least 2.
        seed: seed of the randomisation for draws of the targets.
    """
    return _curve("regression_calibration_curve()", pred, y, kind, num_levels, seed)


@metric_properties(better="less", minimum=0, chance=of_transforms)
def miscalibration_area(
    pred: RegressionPredicted,
    y: npt.ArrayLike,
    *,
    kind: Kind = "interval",
    num_levels: int = NUM_LEVELS,
    seed: int = 0,
) -> float:
    """Area between the calibration curve, linear from level to level, and the diagonal.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,).
        kind: "interval" or "quantile".
        num_levels: expected shares, equally spaced from 0 to 1, at least 2.
        seed: seed of the randomisation for draws of the targets.
    """
    return area_of_curve(_curve("miscalibration_area()", pred, y, kind, num_levels, seed))


@metric_properties(better="less", minimum=0, chance=of_transforms)
def regression_rmsce(
    pred: RegressionPredicted,
    y: npt.ArrayLike,
    *,
    kind: Kind = "interval",
    num_levels: int = NUM_LEVELS,
    seed: int = 0,
) -> float:
    """Root mean squared difference of observed and expected share, over the levels.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,).
        kind: "interval" or "quantile".
        num_levels: expected shares, equally spaced from 0 to 1, at least 2.
        seed: seed of the randomisation for draws of the targets.
    """
    curve = _curve("regression_rmsce()", pred, y, kind, num_levels, seed)
    return float(np.sqrt(np.mean((curve.observed - curve.expected) ** 2)))


@metric_properties(better="less", minimum=0, chance=of_transforms)
def regression_mace(
    pred: RegressionPredicted,
    y: npt.ArrayLike,
    *,
    kind: Kind = "interval",
    num_levels: int = NUM_LEVELS,
    seed: int = 0,
) -> float:
    """Mean absolute difference of observed and expected share, over the levels.

    Args:
        pred: a prediction of real targets, or draws of them (draws, rows).
        y: targets (rows,).
        kind: "interval" or "quantile".
        num_levels: expected shares, equally spaced from 0 to 1, at least 2.
        seed: seed of the randomisation for draws of the targets.
    """
    curve = _curve("regression_mace()", pred, y, kind, num_levels, seed)
    return float(np.mean(np.abs(curve.observed - curve.expected)))


def curve_of_transforms(
    transforms: Array, kind: Kind = "interval", num_levels: int = NUM_LEVELS
) -> RegressionCalibrationCurve:
    """The curve of probability integral transforms that are there already."""
    places = np.sort(np.abs(2 * transforms - 1) if kind == "interval" else transforms)
    expected = np.linspace(0, 1, num_levels)
    observed = np.searchsorted(places, expected, side="right") / len(places)
    return RegressionCalibrationCurve(expected, observed, kind, len(places))


def area_of_curve(curve: RegressionCalibrationCurve) -> float:
    """Area between a curve, linear from level to level, and the diagonal."""
    return float(area_from_diagonal(curve.expected, curve.observed))


def area_from_diagonal(expected: Array, observed: Array) -> Array:
    """The same of several curves at once: observed shares (..., levels), areas (...)."""
    gap = observed - expected
    start, end = np.abs(gap[..., :-1]), np.abs(gap[..., 1:])
    # Where the curve crosses the diagonal there are two triangles instead of a trapezoid.
    height = np.divide(start**2 + end**2, start + end, out=np.zeros_like(start), where=end > 0)
    crosses = gap[..., :-1] * gap[..., 1:] < 0
    height = np.where(crosses, height, start + end)
    return np.asarray((height / 2) @ np.diff(expected))


def _curve(
    call: str,
    pred: RegressionPredicted,
    y: npt.ArrayLike,
    kind: Kind,
    num_levels: int,
    seed: int,
) -> RegressionCalibrationCurve:
    if kind not in ("interval", "quantile"):
        raise ValueError(
            f"{call} needs kind='interval' or kind='quantile': received {kind!r}. Write "
            "kind='quantile' to see a bias, too."
        )
    num_levels = check_count(call, "num_levels", num_levels, minimum=2, usual=NUM_LEVELS)
    return curve_of_transforms(pit_values(call, pred, y, seed), kind, num_levels)
