r"""RegressionPredictions: the normal law of a real target under every draw, and their mixture.

Under draw s the target of row n is normal with mean :math:`m_{sn}` and standard deviation
:math:`\sigma_{sn}`; the predictive law is the mixture of the draws with equal weights,

.. math::
    p(y_n) = \tfrac1S \sum_s \mathcal N(y_n; m_{sn}, \sigma_{sn}^2), \qquad
    \operatorname{Var} y_n =
    \underbrace{\tfrac1S \sum_s \sigma_{sn}^2}_{\text{aleatoric}} +
    \underbrace{\tfrac1S \sum_s (m_{sn} - \bar m_n)^2}_{\text{epistemic}} ,

whose moments, density, distribution function and quantiles are computed and not simulated
(:mod:`bayes_sbn.metrics.normal_mixture`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_level, to_numpy
from bayes_sbn.metrics.normal_mixture import (
    MixtureMoments,
    mixture_cdf,
    mixture_log_prob,
    mixture_moments,
    mixture_quantile,
)
from bayes_sbn.metrics.regression_arguments import check_mixture, check_targets
from bayes_sbn.predictions_base import PredictionsBase, read_only
from bayes_sbn.predictions_file import Kind
from bayes_sbn.predictions_samples import one_of, site_values

Float64 = npt.NDArray[np.float64]


class RegressionPredictions(PredictionsBase):
    """A normal law of a real target for every draw and row, over the dims (draw, row); immutable.

    Args:
        mean_per_draw: means (draws, rows), an array or tensor.
        scale_per_draw: standard deviations (draws, rows), or what broadcasts to that, such as one
            number; 0 makes a point mass, of draws of the target itself.
        attrs: where they come from: names and values that JSON can hold.

    Example:
        >>> pred = RegressionPredictions([[0.0], [2.0]], 1.0)
        >>> pred.mean, pred.variance, pred.aleatoric, pred.epistemic
        (array([1.]), array([2.]), array([1.]), array([1.]))
        >>> pred
        RegressionPredictions(draw=2, row=1)
    """

    dims: ClassVar[tuple[str, str]] = ("draw", "row")
    """The names of the axes of ``mean_per_draw`` and ``scale_per_draw``."""

    _kind = Kind(
        "RegressionPredictions",
        "bayes_sbn.regression_predictions",
        dims,
        ("mean_per_draw", "scale_per_draw"),
    )

    def __init__(
        self,
        mean_per_draw: npt.ArrayLike,
        scale_per_draw: npt.ArrayLike,
        *,
        attrs: Mapping[str, object] | None = None,
    ) -> None:
        mean, scale = check_mixture("RegressionPredictions()", mean_per_draw, scale_per_draw)
        self._hold({"mean_per_draw": mean, "scale_per_draw": scale}, attrs)

    @classmethod
    def from_predictive(
        cls,
        samples: Mapping[str, npt.ArrayLike],
        *,
        mean: str | None = None,
        scale: str | float | npt.ArrayLike | None = None,
        draws: str | None = None,
        attrs: Mapping[str, object] | None = None,
    ) -> RegressionPredictions:
        """From what ``pyro.infer.Predictive`` returned: a dict of samples by site.

        Of sampled targets the law under each draw is not known: they are point masses, whose
        mixture has moments, quantiles and a distribution function, and no density; their spread
        counts as epistemic.

        Args:
            samples: values by name, arrays or tensors, draws along the first axis.
            mean: the site that holds the means, (draws, rows).
            scale: with ``mean``, the site of the standard deviations, or their value.
            draws: or the site of sampled targets, (draws, rows).
            attrs: as for the class.
        """
        call = "RegressionPredictions.from_predictive()"
        kind, site = one_of(call, {"mean": mean, "draws": draws}, samples)
        values = site_values(call, samples, site, ("draw", "row"))
        if kind == "draws":
            return cls(values, 0.0, attrs={**(attrs or {}), "point_masses": True})
        if scale is None:
            raise ValueError(
                f"{call} needs scale= with mean=: the site of the standard deviations of the "
                "target, or their value, as in scale=0.3."
            )
        if isinstance(scale, str):
            scale = _scales(call, samples, scale, values.shape[0])
        return cls(values, scale, attrs=attrs)

    @property
    def mean_per_draw(self) -> Float64:
        """Mean of the target under every draw; (draws, rows)."""
        return self._held["mean_per_draw"]

    @property
    def scale_per_draw(self) -> Float64:
        """Standard deviation of the target under every draw; (draws, rows)."""
        return self._held["scale_per_draw"]

    @property
    def shape(self) -> tuple[int, int]:
        """(draws, rows)."""
        draws, rows = self.mean_per_draw.shape
        return draws, rows

    # Moments of the mixture, exact.

    @cached_property
    def _moments(self) -> MixtureMoments:
        return mixture_moments(self.mean_per_draw, self.scale_per_draw)

    @property
    def mean(self) -> Float64:
        """Predictive mean; (rows,)."""
        return read_only(self._moments.mean)

    @property
    def variance(self) -> Float64:
        """Predictive variance, ``aleatoric + epistemic``; (rows,)."""
        return read_only(self._moments.variance)

    @property
    def std(self) -> Float64:
        """Predictive standard deviation; (rows,)."""
        return np.sqrt(self._moments.variance)

    @property
    def aleatoric(self) -> Float64:
        """Mean over the draws of the variance of the target; (rows,)."""
        return read_only(self._moments.aleatoric)

    @property
    def epistemic(self) -> Float64:
        """Variance over the draws of the mean of the target, divided by their number; (rows,)."""
        return read_only(self._moments.epistemic)

    # Its law.

    def log_prob(self, y: npt.ArrayLike) -> Float64:
        """Log of the predictive density of each target; (rows,).

        Args:
            y: targets (rows,).
        """
        call = "RegressionPredictions.log_prob()"
        targets = check_targets(call, y, len(self))
        if not self.scale_per_draw.all():
            raise ValueError(
                f"{call}: some draws are point masses, which have no density. Give the means and "
                'standard deviations, as in from_predictive(samples, mean="mean", scale="sigma").'
            )
        return mixture_log_prob(self.mean_per_draw, self.scale_per_draw, targets)

    def cdf(self, y: npt.ArrayLike) -> Float64:
        """Predictive probability of at most y; (rows,).

        Args:
            y: targets (rows,).
        """
        targets = check_targets("RegressionPredictions.cdf()", y, len(self))
        return mixture_cdf(self.mean_per_draw, self.scale_per_draw, targets)

    def quantile(self, q: float | npt.ArrayLike) -> Float64:
        """Quantiles of the predictive law.

        Args:
            q: one level in [0, 1], or several.

        Returns:
            (rows,) for one level, (levels, rows) for several.
        """
        return mixture_quantile(self.mean_per_draw, self.scale_per_draw, q)

    def interval(
        self, level: float = 0.9, *, of: Literal["target", "mean"] = "target"
    ) -> tuple[Float64, Float64]:
        """Ends of the equal-tailed interval of the target, or of its mean over the draws.

        Args:
            level: probability between the ends, in (0, 1).
            of: ``"target"`` for the predictive law; ``"mean"`` for the spread of the means of the
                draws alone, the epistemic part.

        Returns:
            Low and high, each (rows,).
        """
        call = "RegressionPredictions.interval()"
        tail = (1 - check_level(call, level)) / 2
        if of not in ("target", "mean"):
            raise ValueError(
                f"{call} needs of='target' or of='mean': received {of!r}. Write interval(0.9)."
            )
        if of == "mean":
            low, high = np.quantile(self.mean_per_draw, [tail, 1 - tail], axis=0)
        else:
            low, high = self.quantile([tail, 1 - tail])
        return low, high

    def sample(self, seed: int = 0) -> Float64:
        """A target drawn under each draw; (draws, rows).

        Args:
            seed: of NumPy's generator; the same seed gives the same targets.
        """
        normal = np.random.default_rng(seed).standard_normal(self.shape)
        return np.asarray(self.mean_per_draw + self.scale_per_draw * normal)

    def rescaled(self, scale: float, shift: float = 0.0) -> RegressionPredictions:
        """The predictions of ``shift + scale * y``: the units of targets that were standardised.

        Args:
            scale: such as the standard deviation of the training targets; not 0.
            shift: such as their mean.
        """
        if not (np.isfinite(scale) and scale != 0 and np.isfinite(shift)):
            raise ValueError(
                f"RegressionPredictions.rescaled({scale!r}, {shift!r}): scale and shift are finite "
                "numbers, scale not 0. Write rescaled(y_train.std(), y_train.mean())."
            )
        return RegressionPredictions(
            shift + scale * self.mean_per_draw, abs(scale) * self.scale_per_draw, attrs=self.attrs
        )


def _scales(
    call: str, samples: Mapping[str, npt.ArrayLike], site: str, draws: int
) -> npt.NDArray[np.generic]:
    """The standard deviations of a site: one a draw, as (draws, 1), or one for each row."""
    is_one_a_draw = site in samples and to_numpy(samples[site]).size == draws
    if is_one_a_draw:
        return site_values(call, samples, site, ("draw",)).reshape(draws, 1)
    return site_values(call, samples, site, ("draw", "row"))
