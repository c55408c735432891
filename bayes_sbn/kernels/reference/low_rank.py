r"""How the ±1 weights of a layer whose weights share normal factors are drawn: the definition.

    ``q(w) = E_z prod q(w_i | z)``,   ``P(w_i = +1 | z) = F64(lam_i(z))``,   ``z ~ N(0, I)``,

with F64 the logistic law of scale 1/2 (:mod:`bayes_sbn.kernels.reference.cdf64`).  The factors of
a draw are those of all layers, ``z_k = Q64((u32 + 1/2) / 2**32)`` with Q64 of
:mod:`bayes_sbn.kernels.reference.quantile64` and ``u32`` output word ``k % 4`` of Philox4x32-10
(purpose 8) at ``(k // 4, 0, draw, 8 << 8)``.  Then

    ``lam(z) = (...((lam + z_0 * L_0) + z_1 * L_1) + ...)``,

each product and each sum rounded, and the weight is +1 where its ``u32`` is below ``q = rint(F64 *
2**32)``, the words of weights being those of :mod:`bayes_sbn.kernels.reference.sampling`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bayes_sbn.bits import num_words
from bayes_sbn.kernels.reference.cdf64 import Float64, logistic_cdf64
from bayes_sbn.kernels.reference.quantile64 import normal_quantile64
from bayes_sbn.kernels.reference.sampling import (
    Int64,
    Key,
    UInt32,
    UInt64,
    counter_word,
    draw_weights,
    probability_thresholds,
    threshold_planes,
)
from bayes_sbn.philox import philox4x32_numpy

FACTORS = 8
"""The purpose of the words of factors."""

_WORDS = 4


def draw_factors(key: Key, draws: Int64, rank: int) -> Float64:
    """The factors of draws, float64, shape (draws, rank)."""
    groups = np.arange(-(-rank // _WORDS))
    words = philox4x32_numpy(groups, 0, np.asarray(draws)[:, None], counter_word(0, FACTORS), *key)
    u32 = np.stack(words, axis=-1).reshape(len(draws), _WORDS * len(groups))[:, :rank]
    return normal_quantile64((u32.astype(np.float64) + 0.5) * 2.0**-32)


def thresholds_at(natural: Float64, loadings: Float64, factors: Float64) -> UInt64:
    """``q`` of the weights at given factors.

    Args:
        natural: float64, shape (out, in).
        loadings: float64, shape (rank, out, in).
        factors: float64, shape (rank,).
    """
    given = natural
    for factor, loading in zip(factors, loadings, strict=True):
        given = given + factor * loading
    return probability_thresholds(logistic_cdf64(given, 0.5))


@dataclass(frozen=True, eq=False)
class LowRankDenseLayer:
    """A dense layer of ±1 weights with shared factors as the kernels see it.

    Args:
        site: index of the layer, by which its random words are keyed.
        natural: ``lam``, float64, shape (out, in).
        loadings: ``L``, float64, shape (rank, out, in).
        scale: float64, shape (out,).
        bias: float64, shape (out,).
        noise: name of the activations' noise, or None for the last layer.
        noise_scale: scale of the noise.
        eps: as in :class:`bayes_sbn.kernels.reference.network.DenseLayer`.
    """

    is_real: ClassVar[bool] = False

    site: int
    natural: Float64
    loadings: Float64
    scale: Float64
    bias: Float64
    noise: str | None
    noise_scale: float
    eps: float | None = None

    @property
    def num_units(self) -> int:
        """Number of output units."""
        return int(self.natural.shape[0])

    @property
    def num_inputs(self) -> int:
        """Number of inputs."""
        return int(self.natural.shape[1])

    @property
    def bytes_per_draw(self) -> int:
        """Bytes of one packed draw of the weights."""
        return 4 * self.num_units * num_words(self.num_inputs)

    def draw(self, key: Key, draws: Int64) -> UInt32:
        """The packed weights of draws: words of shape (draws, out, words)."""
        factors = draw_factors(key, draws, len(self.loadings))
        words = np.empty((len(draws), self.num_units, num_words(self.num_inputs)), np.uint32)
        for place, own in enumerate(factors):
            planes = threshold_planes(thresholds_at(self.natural, self.loadings, own))
            words[place] = draw_weights(key, self.site, draws[place : place + 1], planes)[0]
        return words
