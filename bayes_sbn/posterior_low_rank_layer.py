r"""LowRankPosteriorLayer: a dense layer whose ±1 weights share normal factors with other layers.

Given the factors z of the whole network the weights are independent,

    ``P(w_ji = +1 | z) = sigmoid(2 lam_ji(z))``,
    ``lam(z) = lam + sum_k z_k L_k``,   ``z ~ N(0, I)``,

and a draw of the network draws z first (:mod:`bayes_sbn.kernels.reference.low_rank`).  As
``lam_ji(z)`` is normal with mean ``lam_ji`` and variance ``sum_k L_kji^2``, the probability of a
single weight and the entropy of the weights given z are sums of one-dimensional integrals, which
are taken by the trapezoidal rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.low_rank import LowRankDenseLayer
from bayes_sbn.posterior_layer import PosteriorLayer
from bayes_sbn.posterior_sign_numbers import SignLayerNumbers

_LARGEST_NATURAL = 1e100
_PLACES = np.linspace(-8.0, 8.0, 129)
_WEIGHTS = np.exp(-0.5 * _PLACES**2) / np.exp(-0.5 * _PLACES**2).sum()


@dataclass(frozen=True, eq=False)
class LowRankPosteriorLayer(SignLayerNumbers):
    """A layer of ±1 weights with shared factors; immutable, checked when it is made.

    Args:
        name: name of the layer, for people.
        site: index that keys the layer's random bits, 0 to 65535; different for every layer.
        natural: ``lam``, the natural parameters at factors of 0, shape (out, in).
        loadings: ``L``, shape (rank, out, in).
        scale: shape (out,).
        bias: shape (out,).
        noise: name of the law of the activations' noise, or None for the output layer.
        noise_scale: scale of that law.
        prior: the prior ``P(w = +1)``, shape (out, in), or a single number for all weights.
        normalisation_eps: what is added to the variances of a recalibrated layer; else None.
    """

    TENSORS: ClassVar[dict[str, str]] = dict.fromkeys(
        ("natural", "loadings", "scale", "bias", "prior"), "float64"
    )
    """The arrays of a layer in a file, and their types."""

    name: str
    site: int
    natural: Float64
    loadings: Float64
    scale: Float64
    bias: Float64
    noise: str | None = None
    noise_scale: float = 1.0
    prior: Float64 | float = 0.5
    normalisation_eps: float | None = None

    def __post_init__(self) -> None:
        natural = self._finite("natural parameters", self.natural)
        self._check_matrix("natural parameters", natural)
        loadings = self._finite("loadings", self.loadings)
        if loadings.ndim != 3 or loadings.shape[1:] != natural.shape or not len(loadings):
            raise ValueError(
                f"{self._me()} has loadings of shape {loadings.shape}: they are of shape "
                f"{('rank', *natural.shape)}, those of the weights for each of at least one factor."
            )
        if max(np.abs(natural).max(), np.abs(loadings).max()) > _LARGEST_NATURAL:
            raise ValueError(
                f"{self._me()} has natural parameters or loadings beyond {_LARGEST_NATURAL:g}: the "
                "fit has diverged. Fit again with a smaller learning rate."
            )
        self._set("natural", natural)
        self._set("loadings", loadings)
        self._check_rest()

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.natural.shape

    @property
    def rank(self) -> int:
        """Number of factors."""
        return len(self.loadings)

    @property
    def probabilities(self) -> Float64:
        """``P(w = +1)`` of each single weight, shape (out, in)."""
        return self._mean_over_factors(_sigmoid_of_twice)

    @cached_property
    def entropy(self) -> float:
        """Mean entropy of the weights given the factors, in bits.

        That of the weights themselves is higher, by their mutual information with the factors.
        """
        return float(self._mean_over_factors(_bits).sum())

    def mode(self) -> PosteriorLayer:
        """The layer with every weight at its likelier sign (+1 where both are alike)."""
        return PosteriorLayer(
            name=self.name,
            site=self.site,
            probabilities=(self.natural >= 0).astype(np.float64),
            scale=self.scale,
            bias=self.bias,
            noise=self.noise,
            noise_scale=self.noise_scale,
            prior=self.prior,
            normalisation_eps=self.normalisation_eps,
        )

    def to_entry(self) -> dict[str, object]:
        """What of the layer JSON can hold."""
        return {"kind": "low_rank", **self._entry()}

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """The layer's arrays, by the names of :attr:`TENSORS`."""
        return {name: np.asarray(getattr(self, name), np.float64) for name in self.TENSORS}

    def kernel_layer(self) -> LowRankDenseLayer:
        """The layer as the kernels see it."""
        return LowRankDenseLayer(
            site=self.site,
            natural=self.natural,
            loadings=self.loadings,
            scale=self.scale,
            bias=self.bias,
            noise=self.noise,
            noise_scale=self.noise_scale,
            eps=self.normalisation_eps,
        )

    def _mean_over_factors(self, function: Callable[[Float64], Float64]) -> Float64:
        """``E function(lam_ji(z))`` for each weight."""
        spread = np.sqrt((self.loadings**2).sum(0))
        total = np.zeros(self._shape)
        for place, weight in zip(_PLACES, _WEIGHTS, strict=True):
            total += weight * function(self.natural + place * spread)
        return total


def _sigmoid_of_twice(natural: Float64) -> Float64:
    return 0.5 + 0.5 * np.tanh(natural)


def _bits(natural: Float64) -> Float64:
    """The entropy of a coin, ``ln(1 + e^-2a) + 2a / (1 + e^2a)`` with a = |lam|, in bits."""
    twice = 2 * np.abs(natural)
    e = np.exp(-twice)
    bits: Float64 = (np.log1p(e) + twice * e / (1 + e)) / np.log(2.0)
    return bits
