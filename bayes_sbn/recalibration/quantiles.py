r"""Isotonic quantiles: predicted levels replaced by the shares of targets found below them.

Where F is the predicted law of a row, the transforms :math:`u_n = F_n(y_n)` of N validation targets
would be uniform if the laws were right.  The map

.. math:: R(u) = \Pr(F(Y) \le u)

is estimated from them, and the law becomes :math:`R \circ F`: a quantile is
:math:`F^{-1}(R^{-1}(q))`, and the density :math:`R'(F(y))\, f(y)`.  Whatever F was, the
recalibrated transforms are uniform over all rows together; not in each part of the data by itself.

R goes linearly through corners: (0, 0), :math:`(u_{(n)}, \tfrac{n}{N + 1})`, (1, 1), where
:math:`u_{(1)} \le \dots \le u_{(N)}`.  They rise, so that the isotonic regression of the paper on
:math:`(u_n, \#\{m : u_m \le u_n\} / N)` goes through such points already; N + 1 in place of N, the
expected level of an order statistic, leaves mass beyond the last.  With ``num_levels`` L the
corners are only those at levels 0, 1/L, ..., 1, linearly between order statistics: the density is
then constant over many rows and not the spacing of two, and the law's moments are cheap.

Beyond the outermost transforms R keeps the shape of F's tail and gives it 1/L or 1/(N + 1) of the
mass; it cannot reach where F has none.  A law that is k times too narrow wants
:class:`bayes_sbn.recalibration.VarianceScaling` first.

References:
    V. Kuleshov, N. Fenner, S. Ermon. Accurate uncertainties for deep learning using calibrated
    regression. ICML 2018.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_count
from bayes_sbn.metrics.normal_mixture import mixture_cdf
from bayes_sbn.predictions_regression import RegressionPredictions
from bayes_sbn.recalibration.arguments import warn
from bayes_sbn.recalibration.calibration_file import Fitted
from bayes_sbn.recalibration.recalibrated_law import RecalibratedLaw
from bayes_sbn.recalibration.regression_recalibration import (
    RegressionRecalibration,
    check_predictions,
)

Float64 = npt.NDArray[np.float64]

_NEAREST_TO_AN_END = 2.0**-53
_ENOUGH_ROWS_A_LEVEL = 5
_ENOUGH_ROWS = 100


class IsotonicQuantiles(RegressionRecalibration):
    """The map of predicted levels to the shares of targets below them.

    Args:
        num_levels: equal steps of level between the corners of the map, at least 2; None for a
            corner at every validation row.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> pred = RegressionPredictions(rng.standard_normal((3, 2000)), 1.0)
        >>> y = pred.mean + rng.exponential(size=2000)  # of another shape, and never below the mean
        >>> quantiles = IsotonicQuantiles().fit(pred, y)
        >>> low, high = quantiles(pred).interval(0.9)
        >>> round(float(np.mean((low < y) & (y < high))), 2)
        0.9
    """

    def __init__(self, num_levels: int | None = 20) -> None:
        if num_levels is not None:
            num_levels = check_count(
                "IsotonicQuantiles()", "num_levels", num_levels, minimum=2, usual=20
            )
        self._options = {"num_levels": num_levels}

    @property
    def corners(self) -> tuple[Float64, Float64]:
        """The corners of R: predicted levels, and what becomes of them."""
        numbers = self._need("corners").numbers
        return numbers["predicted"], numbers["observed"]

    def apply(self, pred: RegressionPredictions) -> RecalibratedLaw:
        """The recalibrated law of each row, with the predictions behind it.

        Args:
            pred: predictions whose draws have a density.
        """
        self._need("apply()")
        check_predictions("IsotonicQuantiles.apply()", pred)
        return RecalibratedLaw(pred, *self.corners)

    def __call__(self, pred: RegressionPredictions) -> RecalibratedLaw:
        """:meth:`apply` by another name.

        Args:
            pred: predictions whose draws have a density.
        """
        return self.apply(pred)

    def _numbers(
        self, call: str, pred: RegressionPredictions, targets: Float64
    ) -> dict[str, Float64]:
        if not pred.scale_per_draw.all():
            raise ValueError(
                f"{call} needs laws with a density: some draws are point masses. Give the standard "
                'deviations too, as in from_predictive(samples, mean="mean", scale="sigma").'
            )
        transforms = mixture_cdf(pred.mean_per_draw, pred.scale_per_draw, targets)
        beyond = int(((transforms == 0) | (transforms == 1)).sum())
        if beyond:
            warn(
                f"{call}: {beyond} targets lie where their predicted law has no mass in float64, "
                "and no map of its levels reaches there. Use VarianceScaling() first, and this on "
                "its predictions."
            )
        predicted, observed = level_map(transforms, self._options["num_levels"])
        return {"predicted": predicted, "observed": observed}

    def _enough_rows(self) -> int:
        num_levels = self._options["num_levels"]
        return _ENOUGH_ROWS if num_levels is None else _ENOUGH_ROWS_A_LEVEL * int(num_levels)

    def _check(self, fitted: Fitted) -> None:
        if set(fitted.numbers) != {"predicted", "observed"}:
            raise ValueError("there are no corners")
        RecalibratedLaw.check_corners(fitted.numbers["predicted"], fitted.numbers["observed"])

    def _words(self, fitted: Fitted) -> str:
        return f"corners={len(fitted.numbers['predicted'])}"


def level_map(transforms: Float64, num_levels: int | None) -> tuple[Float64, Float64]:
    """Corners of the map of levels, both coordinates rising from 0 to 1.

    Of several corners at the same predicted level one is kept, the highest below one half and the
    lowest above it: their mass lies outwards of it.

    Args:
        transforms: of the validation targets, in [0, 1].
        num_levels: equal steps of level, or None for a corner at every row.

    Example:
        >>> level_map(np.array([0.2, 0.9, 0.5]), None)
        (array([0. , 0.2, 0.5, 0.9, 1. ]), array([0.  , 0.25, 0.5 , 0.75, 1.  ]))
        >>> level_map(np.array([0.2, 0.9, 0.5]), 2)
        (array([0. , 0.5, 1. ]), array([0. , 0.5, 1. ]))
    """
    inside = np.clip(np.sort(transforms), _NEAREST_TO_AN_END, 1 - _NEAREST_TO_AN_END)
    predicted = np.concatenate([[0.0], inside, [1.0]])
    observed = np.arange(len(predicted)) / (len(predicted) - 1)
    if num_levels is not None:
        levels = np.arange(num_levels + 1) / num_levels
        predicted, observed = np.interp(levels, observed, predicted), levels
    is_last = np.append(predicted[1:] > predicted[:-1], True)
    is_first = np.insert(predicted[1:] > predicted[:-1], 0, True)
    kept = np.where(predicted <= 0.5, is_last, is_first)
    kept[0] = kept[-1] = True
    return predicted[kept], observed[kept]
