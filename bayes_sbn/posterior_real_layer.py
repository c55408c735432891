r"""RealPosteriorLayer: one dense layer of a posterior with real weights, normal or points.

The pre-activation of unit j is ``a_j = sum_i w_ji x_i + bias_j`` with ``w_ji ~ Normal(loc_ji,
spread_ji^2)``, a point where the spread is 0, drawn in whole steps of a 16-bit grid
(:mod:`bayes_sbn.kernels.reference.real_weights`), so that dots are exact integers.  The grid is of
the layer: the step is the least power of two of which 32767 hold every draw that there can be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.real_weights import (
    LARGEST_STEP_COUNT,
    RealDenseLayer,
    weight_step,
)
from bayes_sbn.posterior_numbers import LayerNumbers

_LARGEST_WEIGHT = 1e100
_SMALLEST_STEP = 2.0**-1000  # quotients by it are no subnormal numbers


@dataclass(frozen=True, eq=False)
class RealPosteriorLayer(LayerNumbers):
    """A layer with real weights; immutable, checked when it is made.

    Args:
        name: name of the layer, for people.
        site: index that keys the layer's random bits, 0 to 65535; different for every layer.
        loc: means of the weights, shape (out, in).
        spread: their standard deviations, of the same shape, or one number; 0 is a point.
        bias: shape (out,).
        noise: name of the law of the activations' noise, or None for the output layer.
        noise_scale: scale of that law.
        prior_scale: standard deviation of the prior, whose mean is 0: a number, or of the shape of
            the weights.
        step: of the grid of the weights, a power of two; by default the least that holds them.
    """

    TENSORS: ClassVar[dict[str, str]] = dict.fromkeys(
        ("loc", "spread", "bias", "prior_scale"), "float64"
    )

    FURTHER: ClassVar[tuple[str, ...]] = ("step",)

    name: str
    site: int
    loc: Float64
    spread: Float64
    bias: Float64
    noise: str | None = None
    noise_scale: float = 1.0
    prior_scale: Float64 | float = 1.0
    step: float | None = None

    def __post_init__(self) -> None:
        self._check_site_and_noise()
        loc = self._finite("weights", self.loc)
        self._check_matrix("weights", loc)
        self._set("loc", loc)
        for name in ("spread", "prior_scale"):
            values = self._finite(name, getattr(self, name))
            if values.shape not in ((), loc.shape):
                raise ValueError(
                    f"{self._me()} has a {name} of shape {values.shape}: it is a number or of "
                    f"shape {loc.shape}, that of the weights."
                )
            if (values < 0).any() or (name == "prior_scale" and (values == 0).any()):
                raise ValueError(
                    f"{self._me()} has a {name} of {values.min():g}: a standard deviation is "
                    "positive, and a spread of 0 is a point."
                )
            self._set(name, values)
        if max(np.abs(loc).max(), self.spread.max()) > _LARGEST_WEIGHT:
            raise ValueError(
                f"{self._me()} has weights or spreads beyond {_LARGEST_WEIGHT:g}: the fit has "
                "diverged. Fit again with a smaller learning rate."
            )
        self._set_for_units("bias", len(loc))
        least = max(weight_step(loc, self.spread), _SMALLEST_STEP)
        step = least if self.step is None else float(self.step)
        if not (math.isfinite(step) and step >= least and math.frexp(step)[0] == 0.5):
            raise ValueError(
                f"{self._me()} has step {step}: it is a power of two of at least {least}, so that "
                f"{LARGEST_STEP_COUNT} steps hold every draw. Leave it out for the least one."
            )
        object.__setattr__(self, "step", step)

    normalisation_eps: ClassVar[None] = None
    """No draw measures its statistics: real weights have a scale of their own."""

    @property
    def is_recalibrated(self) -> bool:
        """Whether each draw of the weights measures the statistics of the layer: it does not."""
        return False

    @property
    def num_units(self) -> int:
        """Number of output units."""
        return int(self.loc.shape[0])

    @property
    def num_inputs(self) -> int:
        """Number of inputs."""
        return int(self.loc.shape[1])

    @property
    def num_weights(self) -> int:
        """Number of ±1 weights: none."""
        return 0

    @property
    def num_real_weights(self) -> int:
        """Number of real weights."""
        return int(self.loc.size)

    @property
    def packed_bytes(self) -> int:
        """Bytes of one draw of the weights: 16 bits each."""
        return 2 * self.num_real_weights

    @property
    def entropy(self) -> float:
        """Entropy of ±1 weights, in bits: there are none."""
        return 0.0

    @property
    def weight_error(self) -> float:
        """The largest error that rounding to the grid can make in a weight of a draw."""
        assert self.step is not None
        of_points = np.abs(self.loc - np.rint(self.loc / self.step) * self.step)
        errors = np.where(self.spread > 0, self.step / 2, of_points)
        return float(errors.max())

    @property
    def largest_weights(self) -> Float64:
        """Per unit, a bound on the magnitude of what multiplies an input."""
        assert self.step is not None
        return np.full(self.num_units, LARGEST_STEP_COUNT * self.step)

    def mode(self) -> RealPosteriorLayer:
        """The layer with every weight at its mean, on the same grid."""
        return replace(self, spread=np.zeros(()))

    def to_entry(self) -> dict[str, object]:
        """What of the layer JSON can hold."""
        return {
            "kind": "real",
            "name": self.name,
            "site": self.site,
            "noise": self.noise,
            "noise_scale": self.noise_scale,
            "step": self.step,
        }

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """The layer's arrays, by the names of :attr:`TENSORS`."""
        return {name: np.asarray(getattr(self, name), np.float64) for name in self.TENSORS}

    def kernel_layer(self) -> RealDenseLayer:
        """The layer as the kernels see it."""
        assert self.step is not None
        return RealDenseLayer(
            site=self.site,
            loc=self.loc,
            spread=np.broadcast_to(self.spread, self.loc.shape),
            step=self.step,
            bias=self.bias,
            noise=self.noise,
            noise_scale=self.noise_scale,
        )
