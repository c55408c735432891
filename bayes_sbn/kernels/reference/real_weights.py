r"""How real weights are drawn, in whole steps of a grid: the definition.

No float sum decides a bit, so a layer's real weights are 16-bit integers times a step, a power of
two that the layer keeps.  Weight k of a unit in a draw is

    ``n = rint((loc + spread * Q64((u32 + 1/2) / 2**32)) / step)``,

product, sum and quotient rounded one by one (the quotient is exact), Q64 of
:mod:`bayes_sbn.kernels.reference.quantile64`.  A weight of spread 0 is ``rint(loc / step)`` in
every draw.  ``u32`` is output word ``k % 4`` of Philox4x32-10 (purpose 4) at the counter

    ``c0 = k // 4``, ``c1`` = output unit, ``c2`` = draw, ``c3 = site << 16 | purpose << 8``,

so that a draw depends on nothing else (:mod:`bayes_sbn.kernels.reference.sampling`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.quantile64 import LARGEST_NORMAL, normal_quantile64
from bayes_sbn.kernels.reference.sampling import Int64, Key, UInt32, counter_word
from bayes_sbn.philox import philox4x32_numpy

REAL_WEIGHTS = 4
"""The purpose of the words of real weights."""

LARGEST_STEP_COUNT = 32767
"""Real weights are integers of 16 bits, from -32767 to 32767, times the step."""

Int16 = NDArray[np.int16]

_WORDS = 4
_WEIGHTS_AT_A_TIME = 1 << 16


def weight_step(loc: Float64, spread: Float64) -> float:
    """The least power of two of whose steps 32767 hold every draw; 1 where all weights are 0."""
    reach = float((np.abs(loc) + LARGEST_NORMAL * spread).max())
    if reach == 0:
        return 1.0
    mantissa, exponent = math.frexp(reach / LARGEST_STEP_COUNT)
    return math.ldexp(1.0, exponent - 1 if mantissa == 0.5 else exponent)


def real_weight_words(key: Key, site: int, draws: Int64, num_units: int, num_inputs: int) -> UInt32:
    """``u32`` of real weights, shape (draws, num_units, num_inputs)."""
    groups = -(-num_inputs // _WORDS)
    words = philox4x32_numpy(
        np.arange(groups),
        np.arange(num_units)[:, None],
        np.asarray(draws)[:, None, None],
        counter_word(site, REAL_WEIGHTS),
        *key,
    )
    interleaved = np.stack(words, axis=-1).reshape(len(draws), num_units, groups * _WORDS)
    return interleaved[..., :num_inputs]


def draw_real_weights(
    key: Key, site: int, draws: Int64, loc: Float64, spread: Float64, step: float
) -> Int16:
    """Real weights of a layer in steps, for each draw.

    Args:
        key: of :func:`bayes_sbn.philox.fold_stream`.
        site: index of the layer.
        draws: indices of the draws.
        loc: float64, shape (out, in).
        spread: float64, shape (out, in), not negative.
        step: of the grid, one that :func:`weight_step` finds wide enough.

    Returns:
        int16, shape (draws, out, in); where no weight has a spread, one copy seen by every draw.
    """
    shape = (len(draws), *loc.shape)
    if not spread.any():
        return np.broadcast_to(np.rint(loc / step).astype(np.int16), shape)
    result = np.empty(shape, np.int16)
    at_once = max(1, _WEIGHTS_AT_A_TIME // loc.size)
    for start in range(0, len(draws), at_once):
        part = slice(start, start + at_once)
        u32 = real_weight_words(key, site, draws[part], *loc.shape)
        z = normal_quantile64((u32.astype(np.float64) + 0.5) * 2.0**-32)
        result[part] = np.rint((loc + spread * z) / step).astype(np.int16)
    return result


@dataclass(frozen=True, eq=False)
class RealDenseLayer:
    """A dense layer with real weights as the kernels see it.

    Args:
        site: index of the layer, by which its random words are keyed.
        loc: float64, shape (out, in).
        spread: float64, shape (out, in).
        step: of the grid of the weights, a power of two.
        bias: float64, shape (out,).
        noise: name of the activations' noise, or None for the last layer.
        noise_scale: scale of the noise.
    """

    site: int
    loc: Float64
    spread: Float64
    step: float
    bias: Float64
    noise: str | None
    noise_scale: float
    is_real: ClassVar[bool] = True
    eps: ClassVar[None] = None
    """Its statistics are never measured: real weights have a scale of their own."""

    @property
    def num_units(self) -> int:
        """Number of output units."""
        return int(self.loc.shape[0])

    @property
    def num_inputs(self) -> int:
        """Number of inputs."""
        return int(self.loc.shape[1])

    @property
    def scale(self) -> Float64:
        """What multiplies the integer dots of each unit: the step."""
        return np.full(self.num_units, self.step)

    @property
    def is_fixed(self) -> bool:
        """Whether all draws have the same weights."""
        return not self.spread.any()

    @property
    def bytes_per_draw(self) -> int:
        """Bytes of one draw of the weights."""
        return 2 * self.loc.size

    def draw(self, key: Key, draws: Int64) -> Int16:
        """The weights of draws, in steps: int16, shape (draws, out, in)."""
        return draw_real_weights(key, self.site, draws, self.loc, self.spread, self.step)
