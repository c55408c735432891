r"""Variance scaling: one factor on the standard deviations of the predictive laws.

With mean :math:`\bar m` and variance v of the mixture of the draws, the law of y becomes that of
:math:`\bar m + k\,(y - \bar m)`, which is the mixture of the draws

.. math:: m'_s = \bar m + k\,(m_s - \bar m), \qquad \sigma'_s = k\,\sigma_s .

The mean stays, aleatoric and epistemic variance are both multiplied by :math:`k^2`, and so is
nothing else.  The factor is fitted to validation rows

* ``by="moments"``: the standardised errors get the mean square 1,
  :math:`k^2 = \tfrac1N \sum_n (y_n - \bar m_n)^2 / v_n`, which is also the k of greatest likelihood
  where the laws are normal;
* ``by="likelihood"``: the k of greatest likelihood of the mixtures.

One number cannot repair laws that are too wide in some places and too narrow in others, nor a wrong
shape (:class:`bayes_sbn.recalibration.IsotonicQuantiles`).

References:
    D. Levi, L. Gispan, N. Giladi, E. Fetaya. Evaluating and calibrating uncertainty prediction in
    regression tasks. Sensors 22, 2022.

    M. Laves, S. Ihler, J. Fast, L. Kahrs, T. Ortmaier. Well-calibrated regression uncertainty in
    medical imaging with deep learning. MIDL 2020.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.normal_mixture import mixture_log_prob
from bayes_sbn.predictions_regression import RegressionPredictions
from bayes_sbn.recalibration.arguments import warn, with_note
from bayes_sbn.recalibration.calibration_file import Fitted
from bayes_sbn.recalibration.regression_recalibration import (
    RegressionRecalibration,
    check_predictions,
)

Float64 = npt.NDArray[np.float64]

LOWEST, HIGHEST = 0.01, 100.0
"""The factors among which that of greatest likelihood is sought."""

_GRID = 41  # logarithmic; the likelihood of a mixture may have more than one maximum
_ENOUGH_ROWS = 50


class VarianceScaling(RegressionRecalibration):
    """A factor on the standard deviations: above 1 where the laws were too narrow.

    Args:
        by: ``"moments"`` for the mean squared standardised error; ``"likelihood"`` for the
            likelihood of the mixtures, which needs laws with a density.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> pred = RegressionPredictions(rng.standard_normal((5, 1000)), 0.5)
        >>> y = pred.mean + 2 * pred.std * rng.standard_normal(1000)  # twice as far off as said
        >>> scaling = VarianceScaling().fit(pred, y)
        >>> scaling
        VarianceScaling(by='moments', factor=1.99332, rows=1000)
        >>> bool(np.allclose(scaling(pred).std, scaling.factor * pred.std))
        True
    """

    def __init__(self, by: Literal["moments", "likelihood"] = "moments") -> None:
        if by not in ("moments", "likelihood"):
            raise ValueError(
                f"VarianceScaling() needs by='moments' or by='likelihood': received {by!r}. Write "
                "VarianceScaling() for the moments."
            )
        self._options = {"by": by}

    @property
    def factor(self) -> float:
        """The fitted k."""
        return float(self._need("factor").numbers["factor"])

    def apply(self, pred: RegressionPredictions) -> RegressionPredictions:
        """The predictions with laws k times as wide around their means.

        Args:
            pred: predictions.

        Returns:
            A RegressionPredictions with the same draws, rows and attrs, whose attrs have
            ``"recalibrated_by"`` in addition.
        """
        factor = float(self._need("apply()").numbers["factor"])
        check_predictions("VarianceScaling.apply()", pred)
        return RegressionPredictions(
            pred.mean + factor * (pred.mean_per_draw - pred.mean),
            factor * pred.scale_per_draw,
            attrs=with_note(pred.attrs, "VarianceScaling"),
        )

    def __call__(self, pred: RegressionPredictions) -> RegressionPredictions:
        """:meth:`apply` by another name.

        Args:
            pred: predictions.
        """
        return self.apply(pred)

    def _numbers(
        self, call: str, pred: RegressionPredictions, targets: Float64
    ) -> dict[str, Float64]:
        if self._options["by"] == "moments":
            return {"factor": np.asarray(_by_moments(call, pred, targets))}
        factor = _by_likelihood(call, pred, targets)
        if factor in (LOWEST, HIGHEST):
            warn(
                f"{call}: the best factor is at the bound {factor:g} of what is sought; see "
                "whether targets and predictions have the same units and order."
            )
        return {"factor": np.asarray(factor)}

    def _enough_rows(self) -> int:
        return _ENOUGH_ROWS

    def _check(self, fitted: Fitted) -> None:
        factor = fitted.numbers["factor"]
        if factor.shape != () or not factor > 0 or len(fitted.numbers) != 1:
            raise ValueError("there is no positive factor")

    def _words(self, fitted: Fitted) -> str:
        return f"factor={float(fitted.numbers['factor']):.6g}"


def _by_moments(call: str, pred: RegressionPredictions, targets: Float64) -> float:
    certain = np.flatnonzero(pred.variance == 0)
    if len(certain):
        raise ValueError(
            f"{call}: the law of row {certain[0]} has variance 0, which no factor widens. Predict "
            "with more draws, or give the standard deviation of the target."
        )
    mean_square = float(np.mean((targets - pred.mean) ** 2 / pred.variance))
    if mean_square == 0:
        raise ValueError(
            f"{call}: every target is the predicted mean, and the best factor would be 0. Give "
            "validation rows that the model was not trained on."
        )
    return float(np.sqrt(mean_square))


def _by_likelihood(call: str, pred: RegressionPredictions, targets: Float64) -> float:
    from scipy.optimize import minimize_scalar

    if not pred.scale_per_draw.all():
        raise ValueError(
            f"{call} with by='likelihood' needs laws with a density: some draws are point masses. "
            "Write VarianceScaling(by='moments')."
        )
    gap, centred = pred.mean_per_draw - pred.mean, targets - pred.mean

    def loss(log_factor: float) -> float:
        # The density of y is that of its standardised value in the laws as they are, over k.
        y = centred * np.exp(-log_factor)
        return float(log_factor - mixture_log_prob(gap, pred.scale_per_draw, y).mean())

    grid = np.linspace(np.log(LOWEST), np.log(HIGHEST), _GRID)
    losses = [loss(value) for value in grid]
    best = int(np.argmin(losses))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]
    found = minimize_scalar(loss, bounds=(low, high), options={"xatol": 1e-12})
    if best == 0 and losses[0] <= found.fun:
        return LOWEST
    if best == _GRID - 1 and losses[-1] <= found.fun:
        return HIGHEST
    return float(np.exp(found.x))
