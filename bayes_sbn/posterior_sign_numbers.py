"""What the layers of a posterior that have ±1 weights share: sizes, prior and normalisation.

In a recalibrated layer (``normalisation_eps``) scale and bias are those of a normalisation,
``a_j = gamma_j (sum_i w_ji x_i - m_j) / sqrt(v_j + eps) + beta_j``, whose statistics m and v each
draw of the weights measures for itself.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from bayes_sbn.bits import num_words
from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.posterior_numbers import LayerNumbers


class SignLayerNumbers(LayerNumbers):
    """A frozen dataclass with a matrix of ±1 weights, their scale and their prior."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("normalisation_eps",)

    scale: Float64
    prior: Float64 | float
    normalisation_eps: float | None

    @property
    def _shape(self) -> tuple[int, ...]:
        """(out, in)."""
        raise NotImplementedError

    @property
    def entropy(self) -> float:
        """Entropy of all weights, in bits."""
        raise NotImplementedError

    @property
    def num_units(self) -> int:
        """Number of output units."""
        return self._shape[0]

    @property
    def num_inputs(self) -> int:
        """Number of inputs."""
        return self._shape[1]

    @property
    def num_weights(self) -> int:
        """Number of ±1 weights."""
        return math.prod(self._shape)

    @property
    def is_recalibrated(self) -> bool:
        """Whether each draw of the weights measures the statistics of the layer."""
        return self.normalisation_eps is not None

    @property
    def num_real_weights(self) -> int:
        """Number of real weights: none."""
        return 0

    @property
    def packed_bytes(self) -> int:
        """Bytes of one packed draw of the weights."""
        return 4 * self.num_units * num_words(self.num_inputs)

    @property
    def bits_per_weight(self) -> float:
        """Mean entropy of a weight, in bits: 0 for a fixed sign, 1 for a fair coin."""
        return self.entropy / self.num_weights

    @property
    def largest_weights(self) -> Float64:
        """Per unit, a bound on the magnitude of what multiplies an input."""
        return np.abs(self.scale)

    def _entry(self) -> dict[str, object]:
        """What of the layer JSON can hold, beside its kind."""
        entry: dict[str, object] = {
            "name": self.name,
            "site": self.site,
            "noise": self.noise,
            "noise_scale": self.noise_scale,
        }
        if self.is_recalibrated:
            entry["normalisation_eps"] = self.normalisation_eps
        return entry

    def _check_rest(self) -> None:
        """All but the weights themselves: noise, prior, normalisation, scale and bias."""
        self._check_site_and_noise()
        prior = self._probabilities("prior", self.prior)
        if prior.shape not in ((), self._shape):
            raise ValueError(
                f"{self._me()} has a prior of shape {prior.shape}: it is a number or of shape "
                f"{self._shape}, that of the weights."
            )
        self._set("prior", prior)
        self._check_normalisation()
        for name in ("scale", "bias"):
            self._set_for_units(name, self.num_units)

    def _check_normalisation(self) -> None:
        eps = self.normalisation_eps
        if eps is None:
            return
        if self.noise is None:
            raise ValueError(
                f"{self._me()} has a normalisation and no noise: the logits of the output layer "
                "are not normalised. Leave normalisation_eps out."
            )
        if not (math.isfinite(eps) and eps > 0):
            raise ValueError(
                f"{self._me()} has normalisation_eps {eps}: it is a positive finite number, such "
                "as 1e-5, or None for a layer with a scale and a bias of its own."
            )
        object.__setattr__(self, "normalisation_eps", float(eps))

    def _probabilities(self, name: str, values: object) -> Float64:
        array = self._finite(name, values)
        if ((array < 0) | (array > 1)).any():
            raise ValueError(
                f"{self._me()} has {name} from {array.min():g} to {array.max():g}: probabilities "
                "P(w = +1) lie in [0, 1]. A mean mu of ±1 weights is (1 + mu) / 2."
            )
        return array
