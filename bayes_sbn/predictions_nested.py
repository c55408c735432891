r"""Predictions with several draws of the activations for each draw of the weights.

A prediction of an ensemble has one draw of the activations for each draw of the weights, so that
the two cannot be told apart.  These have the dims (draw, activation, row, ...) and split the
uncertainty in three (:mod:`bayes_sbn.uncertainty_nested`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_probabilities, to_numpy
from bayes_sbn.metrics.regression_arguments import check_mixture
from bayes_sbn.predictions import Predictions
from bayes_sbn.predictions_base import PredictionsBase
from bayes_sbn.predictions_file import Kind
from bayes_sbn.predictions_regression import RegressionPredictions
from bayes_sbn.uncertainty import Correction
from bayes_sbn.uncertainty_nested import ThreeParts, entropy_parts, variance_parts

Float64 = npt.NDArray[np.float64]


class NestedPredictions(PredictionsBase):
    """Class probabilities over the dims (draw, activation, row, class); immutable.

    Made by :meth:`bayes_sbn.Ensemble.predict_nested`.

    Args:
        probs: probabilities (draws, activations, rows, classes).
        attrs: where they come from.

    Example:
        >>> nested = NestedPredictions([[[[0.9, 0.1]], [[0.5, 0.5]]], [[[0.2, 0.8]], [[0.2, 0.8]]]])
        >>> parts = nested.decompose()
        >>> bool(parts.likelihood + parts.activations + parts.weights == parts.total)
        True
    """

    dims: ClassVar[tuple[str, ...]] = ("draw", "activation", "row", "class")
    """The names of the axes of ``probs``."""

    _kind = Kind("NestedPredictions", "bayes_sbn.nested_predictions", dims, ("probs",))

    def __init__(self, probs: npt.ArrayLike, *, attrs: Mapping[str, object] | None = None) -> None:
        checked = check_probabilities(
            "NestedPredictions()", probs, self.dims, may_have_no_rows=True
        )
        self._hold({"probs": checked}, attrs)

    @property
    def probs(self) -> Float64:
        """Probabilities; (draws, activations, rows, classes)."""
        return self._held["probs"]

    @cached_property
    def predictions(self) -> Predictions:
        """The predictions whose draws are those of the weights, activations averaged out.

        Their aleatoric part is that of activations and likelihood together.
        """
        return Predictions(self.probs.mean(axis=1), attrs=self.attrs)

    def decompose(self, correction: Correction = None) -> ThreeParts:
        """Entropy in nats in three parts, with standard errors.

        Args:
            correction: None for the plug-in numbers; "jackknife" to remove their bias of order
                1/draws and 1/activations, which needs two of both.
        """
        _check(self._kind.name, correction, *self.probs.shape[:2])
        return entropy_parts(self.probs, correction)


class NestedRegressionPredictions(PredictionsBase):
    """Normal laws of a real target over the dims (draw, activation, row); immutable.

    Made by :meth:`bayes_sbn.RegressionEnsemble.predict_nested`.

    Args:
        mean: means (draws, activations, rows).
        scale: standard deviations, of the same shape or broadcast to it.
        attrs: where they come from.
    """

    dims: ClassVar[tuple[str, ...]] = ("draw", "activation", "row")
    """The names of the axes of ``mean_per_draw`` and ``scale_per_draw``."""

    _kind = Kind(
        "NestedRegressionPredictions",
        "bayes_sbn.nested_regression_predictions",
        dims,
        ("mean_per_draw", "scale_per_draw"),
    )

    def __init__(
        self,
        mean: npt.ArrayLike,
        scale: npt.ArrayLike,
        *,
        attrs: Mapping[str, object] | None = None,
    ) -> None:
        call = "NestedRegressionPredictions()"
        means = to_numpy(mean)
        if means.ndim != 3 or 0 in means.shape[:2]:
            raise ValueError(
                f"{call} needs means of shape (draws, activations, rows), one of each draw at "
                f"least: received shape {means.shape}. For one draw of the activations write "
                "mean[:, None]."
            )
        shape, flat = means.shape, (means.shape[0] * means.shape[1], means.shape[2])
        scales = np.broadcast_to(to_numpy(scale), shape)
        checked = check_mixture(call, means.reshape(flat), scales.reshape(flat))
        names = self._kind.arrays
        self._hold({n: a.reshape(shape) for n, a in zip(names, checked, strict=True)}, attrs)

    @property
    def mean_per_draw(self) -> Float64:
        """Means; (draws, activations, rows)."""
        return self._held["mean_per_draw"]

    @property
    def scale_per_draw(self) -> Float64:
        """Standard deviations; (draws, activations, rows)."""
        return self._held["scale_per_draw"]

    @cached_property
    def predictions(self) -> RegressionPredictions:
        """The predictions of all draws of weights and activations, in one mixture."""
        rows = len(self)
        return RegressionPredictions(
            self.mean_per_draw.reshape(-1, rows),
            self.scale_per_draw.reshape(-1, rows),
            attrs=self.attrs,
        )

    def decompose(self, correction: Correction = None) -> ThreeParts:
        """Variance in three parts, with standard errors.

        Args:
            correction: None for the plug-in numbers; "jackknife" for unbiased ones, of which the
                weights' may be negative; it needs two draws and two activations.
        """
        _check(self._kind.name, correction, *self.mean_per_draw.shape[:2])
        return variance_parts(self.mean_per_draw, self.scale_per_draw, correction)


def _check(name: str, correction: object, num_draws: int, num_activations: int) -> None:
    if correction not in (None, "jackknife"):
        raise ValueError(
            f"{name}.decompose() needs correction=None or correction='jackknife': received "
            f"{correction!r}. Write decompose(correction='jackknife')."
        )
    if correction == "jackknife" and min(num_draws, num_activations) < 2:
        raise ValueError(
            f"{name}.decompose(correction='jackknife') needs at least 2 draws and 2 activations of "
            f"each: received {num_draws} and {num_activations}. Predict with more, or write "
            "decompose() for the plug-in numbers."
        )
