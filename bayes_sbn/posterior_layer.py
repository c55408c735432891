r"""PosteriorLayer: one dense layer of a posterior, its ±1 weights independent Bernoulli variables.

The pre-activation of unit j is ``a_j = scale_j * sum_i w_ji x_i + bias_j`` with
``P(w_ji = +1) = p_ji``; the activation is +1 with probability ``F(a_j)``, F the law of the noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.network import DenseLayer
from bayes_sbn.kernels.reference.sampling import probability_thresholds
from bayes_sbn.posterior_sign_numbers import SignLayerNumbers


@dataclass(frozen=True, eq=False)
class PosteriorLayer(SignLayerNumbers):
    """A layer of a posterior; immutable, checked when it is made.

    Args:
        name: name of the layer, for people.
        site: index that keys the layer's random bits, 0 to 65535; different for every layer.
        probabilities: ``P(w = +1)``, shape (out, in); kept rounded to multiples of ``2**-32``.
        scale: shape (out,).
        bias: shape (out,).
        noise: name of the law of the activations' noise, or None for the output layer.
        noise_scale: scale of that law.
        prior: the prior ``P(w = +1)``, shape (out, in), or a single number for all weights.
        normalisation_eps: what is added to the variances of a recalibrated layer; else None.
    """

    TENSORS: ClassVar[dict[str, str]] = {
        "thresholds": "uint32",
        "ones": "int64",
        "scale": "float64",
        "bias": "float64",
        "prior": "float64",
    }
    """The arrays of a layer in a file, and their types."""

    name: str
    site: int
    probabilities: Float64
    scale: Float64
    bias: Float64
    noise: str | None = None
    noise_scale: float = 1.0
    prior: Float64 | float = 0.5
    normalisation_eps: float | None = None

    def __post_init__(self) -> None:
        p = self._probabilities("probabilities", self.probabilities)
        self._check_matrix("probabilities", p)
        # p * 2**32 and the quotient are exact, so that only rint rounds
        self._set("probabilities", np.rint(p * 2.0**32) / 2.0**32)
        self._check_rest()

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.probabilities.shape

    @property
    def entropy(self) -> float:
        """Entropy of all weights, in bits."""
        p = self.probabilities[(self.probabilities > 0) & (self.probabilities < 1)]
        return float(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)).sum())

    def mode(self) -> PosteriorLayer:
        """The layer with every weight at its likelier sign (+1 where both are alike)."""
        return replace(self, probabilities=(self.probabilities >= 0.5).astype(np.float64))

    def to_entry(self) -> dict[str, object]:
        """What of the layer JSON can hold."""
        return self._entry()

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """The layer's arrays, by the names of :attr:`TENSORS`.

        A threshold has 33 bits: the low 32, and the places of those that equal ``2**32``.
        """
        thresholds = probability_thresholds(self.probabilities)
        return {
            "thresholds": thresholds.astype(np.uint32),
            "ones": np.flatnonzero(thresholds == 1 << 32).astype(np.int64),
            "scale": self.scale,
            "bias": self.bias,
            "prior": np.asarray(self.prior, np.float64),
        }

    @classmethod
    def _numbers_of(cls, tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, Float64]:
        numbers = super()._numbers_of(tensors)
        q, ones = numbers.pop("thresholds"), numbers.pop("ones").astype(np.int64)
        if ones.ndim != 1 or ((ones < 0) | (ones >= q.size)).any() or q.flat[ones].any():
            raise ValueError("probabilities of 1 stand where there are none")
        q.flat[ones] = 2.0**32
        return {"probabilities": q / 2.0**32, **numbers}

    def kernel_layer(self) -> DenseLayer:
        """The layer as the kernels see it."""
        return DenseLayer(
            site=self.site,
            thresholds=probability_thresholds(self.probabilities),
            scale=self.scale,
            bias=self.bias,
            noise=self.noise,
            noise_scale=self.noise_scale,
            eps=self.normalisation_eps,
        )
