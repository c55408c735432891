r"""RecalibratedLaw: a mixture of normal laws whose levels were mapped, with the draws behind it.

With F the distribution function of the mixture of S draws and R a map of levels that rises linearly
between corners, the law is :math:`R \circ F`.  Between two corners R has a constant slope
:math:`r_k`, so that the density is

.. math::
    R'(F(y))\, f(y) = \tfrac1S \sum_s r_{k(y)}\, f_s(y) ,

each draw's normal law cut at the corners' quantiles and its pieces weighted: a mixture of draws
again, whose weights :math:`w_s = \sum_k r_k \int_k f_s` average to 1.  Moments of cut normal laws
are known in closed form, and with mean :math:`\mu_s` and variance :math:`v_s` of draw s

.. math::
    \operatorname{Var} y = \underbrace{\tfrac1S \sum_s w_s v_s}_{\text{aleatoric}} +
    \underbrace{\tfrac1S \sum_s w_s (\mu_s - \mu)^2}_{\text{epistemic}}, \qquad
    \mu = \tfrac1S \sum_s w_s \mu_s .
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_count, check_level
from bayes_sbn.metrics.regression_arguments import check_targets
from bayes_sbn.predictions_regression import RegressionPredictions
from bayes_sbn.recalibration.arguments import with_note

Float64 = npt.NDArray[np.float64]


class RecalibratedMoments(NamedTuple):
    """Moments of the recalibrated law.

    Attributes:
        mean: (rows,).
        aleatoric: (rows,).
        epistemic: (rows,).
        weight: of each draw, averaging to 1 over the draws; (draws, rows).
    """

    mean: Float64
    aleatoric: Float64
    epistemic: Float64
    weight: Float64


class RecalibratedLaw:
    """The predictive law of each row with its levels mapped; made by ``IsotonicQuantiles``.

    Args:
        predictions: the predictions before, whose draws have a density.
        predicted: levels of the corners of the map, rising from 0 to 1.
        observed: what becomes of them, rising from 0 to 1.

    Example:
        >>> pred = RegressionPredictions([[0.0]], 1.0)
        >>> law = RecalibratedLaw(pred, np.array([0, 0.5, 1]), np.array([0, 0.9, 1]))
        >>> law.cdf([0.0]), law.quantile(0.9)
        (array([0.9]), array([0.]))
    """

    def __init__(
        self, predictions: RegressionPredictions, predicted: Float64, observed: Float64
    ) -> None:
        if not predictions.scale_per_draw.all():
            raise ValueError(
                "IsotonicQuantiles.apply() needs laws with a density: some draws are point masses. "
                'Give the standard deviations too, as in from_predictive(samples, mean="mean", '
                'scale="sigma").'
            )
        self.check_corners(predicted, observed)
        self._predictions = predictions
        self._predicted, self._observed = predicted, observed

    @staticmethod
    def check_corners(predicted: Float64, observed: Float64) -> None:
        """Raise ValueError where these are not corners of a map that rises from 0 to 1.

        Args:
            predicted: levels.
            observed: what becomes of them.
        """
        for corners in (predicted, observed):
            if corners.ndim != 1 or len(corners) != len(predicted) or len(corners) < 2:
                raise ValueError(f"corners of shapes {predicted.shape} and {observed.shape}")
            if corners[0] != 0 or corners[-1] != 1 or (np.diff(corners) <= 0).any():
                raise ValueError("corners do not rise from 0 to 1")

    @property
    def predictions(self) -> RegressionPredictions:
        """The predictions before, with all their draws."""
        return self._predictions

    @property
    def attrs(self) -> dict[str, object]:
        """Where the predictions come from, with ``"recalibrated_by"`` in addition."""
        return with_note(self._predictions.attrs, "IsotonicQuantiles")

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._predictions)

    def take(self, rows: npt.ArrayLike | slice) -> RecalibratedLaw:
        """The laws of some rows, in that order.

        Args:
            rows: their indices, a mask of all rows, or a slice.
        """
        return RecalibratedLaw(self._predictions.take(rows), self._predicted, self._observed)

    def __repr__(self) -> str:
        return f"RecalibratedLaw({self._predictions!r}, corners={len(self._predicted)})"

    # The law.

    def cdf(self, y: npt.ArrayLike) -> Float64:
        """Probability of at most y; (rows,).

        Args:
            y: targets (rows,).
        """
        targets = check_targets("RecalibratedLaw.cdf()", y, len(self))
        return np.interp(self._predictions.cdf(targets), self._predicted, self._observed)

    def log_prob(self, y: npt.ArrayLike) -> Float64:
        """Log density of each target; at a corner that of the piece below; (rows,).

        Args:
            y: targets (rows,).
        """
        targets = check_targets("RecalibratedLaw.log_prob()", y, len(self))
        level = self._predictions.cdf(targets)
        piece = np.searchsorted(self._predicted[1:-1], level, side="left")
        return np.asarray(self._predictions.log_prob(targets) + np.log(self._slopes[piece]))

    def quantile(self, q: float | npt.ArrayLike) -> Float64:
        """Quantiles.

        Args:
            q: one level in [0, 1], or several.

        Returns:
            (rows,) for one level, (levels, rows) for several.
        """
        levels = np.asarray(q, dtype=np.float64)
        if levels.ndim > 1 or not np.all((levels >= 0) & (levels <= 1)):
            raise ValueError(
                f"RecalibratedLaw.quantile() needs levels in [0, 1], one or a list: received {q!r}."
                " Write quantile(0.5) for the median."
            )
        return self._predictions.quantile(np.interp(levels, self._observed, self._predicted))

    def interval(self, level: float = 0.9) -> tuple[Float64, Float64]:
        """Ends of the equal-tailed interval of the target.

        Args:
            level: probability between the ends, in (0, 1).

        Returns:
            Low and high, each (rows,).
        """
        tail = (1 - check_level("RecalibratedLaw.interval()", level)) / 2
        low, high = self.quantile([tail, 1 - tail])
        return low, high

    def as_draws(self, num_draws: int = 200) -> RegressionPredictions:
        """Evenly spaced quantiles of each row as draws of its target, for any metric of draws.

        Args:
            num_draws: how many, at levels (i - 1/2) / num_draws.

        Returns:
            A RegressionPredictions of point masses.
        """
        number = check_count(
            "RecalibratedLaw.as_draws()", "num_draws", num_draws, minimum=1, usual=200
        )
        points = self.quantile((np.arange(number) + 0.5) / number)
        return RegressionPredictions(points, 0.0, attrs={**self.attrs, "point_masses": True})

    # Its moments, exact.

    @property
    def mean(self) -> Float64:
        """Mean; (rows,)."""
        return self._moments.mean

    @property
    def variance(self) -> Float64:
        """Variance, ``aleatoric + epistemic``; (rows,)."""
        return self._moments.aleatoric + self._moments.epistemic

    @property
    def std(self) -> Float64:
        """Standard deviation; (rows,)."""
        return np.sqrt(self.variance)

    @property
    def aleatoric(self) -> Float64:
        """Weighted mean over the draws of the variance of the target; (rows,)."""
        return self._moments.aleatoric

    @property
    def epistemic(self) -> Float64:
        """Weighted variance over the draws of the mean of the target; (rows,)."""
        return self._moments.epistemic

    @property
    def weight_per_draw(self) -> Float64:
        """The weights that the map gives to the draws, averaging to 1; (draws, rows)."""
        return self._moments.weight

    @cached_property
    def _slopes(self) -> Float64:
        return np.asarray(np.diff(self._observed) / np.diff(self._predicted))

    @cached_property
    def _moments(self) -> RecalibratedMoments:
        mean, scale = self._predictions.mean_per_draw, self._predictions.scale_per_draw
        cuts = self._predictions.quantile(self._predicted[1:-1])
        # Sums of moments of the cut standard normal laws of each draw; z is the cut before.
        total, first, second = (np.zeros(mean.shape) for _ in range(3))
        low: Float64 | None = None
        for slope, cut in zip(self._slopes, [*cuts, None], strict=True):
            high = None if cut is None else (cut - mean) / scale
            mass, at_low, at_high = _piece(low, high)
            total += slope * mass
            first += slope * (at_low - at_high)
            below = 0.0 if low is None else low * at_low
            above = 0.0 if high is None else high * at_high
            second += slope * (mass + below - above)
            low = high
        share = np.divide(1, total, out=np.zeros_like(total), where=total > 0)
        gap = first * share
        own_mean = mean + scale * gap
        own_variance = scale**2 * np.maximum(second * share - gap**2, 0)
        centre = (total * own_mean).mean(axis=0)
        aleatoric = (total * own_variance).mean(axis=0)
        epistemic = (total * (own_mean - centre) ** 2).mean(axis=0)
        return RecalibratedMoments(centre, aleatoric, epistemic, total)


def _piece(
    low: Float64 | None, high: Float64 | None
) -> tuple[Float64, Float64 | float, Float64 | float]:
    """Mass of the standard normal law between two cuts, and its density at both."""
    from scipy.special import ndtr

    at_low = 0.0 if low is None else _density(low)
    at_high = 0.0 if high is None else _density(high)
    if low is None:
        mass = np.ones(()) if high is None else ndtr(high)
    elif high is None:
        mass = ndtr(-low)
    else:  # From the nearer tail, which keeps its digits.
        mass = np.where(low > 0, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))
    return np.asarray(mass), at_low, at_high


def _density(z: Float64) -> Float64:
    return np.asarray(np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))
