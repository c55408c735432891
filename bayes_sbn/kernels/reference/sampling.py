r"""Which random bits are drawn where, and how each decides a ±1 value: the definition.

Every random word is Philox4x32-10 of a counter that says what the word is for, under the key
``fold_stream(seed, stream)``, so a draw depends on nothing else: not on the batch, the number of
threads, the order or the device.  The counter is

    ``(c0, c1, c2, c3)`` with ``c1`` = output unit, ``c2`` = draw, ``c3 = site << 16 | purpose << 8
    | group``.

* **Weights** (purpose 0).  ``c0`` is the index of a 32-bit word of the unit's packed weights, and
  group g (0 to 7) gives the random planes 4g to 4g + 3.  Bit ``k % 32`` of the 32 planes, plane 0
  first, is the 32-bit uniform ``u32`` of weight k, most significant bit first.  The weight is +1
  where ``u32 < q``; ``q = rint(p * 2**32)`` has 33 bits, so ``p = 0`` and ``p = 1`` are exact.

* **Activations, one noise for each row** (purposes 1 and 2).  The uniform is ``u48 = u16 * 2**32 +
  v32``.  With ``o = row % 32``, ``j = o >> 3``, ``i = (o >> 1) & 3``, ``u16`` is half ``o & 1``
  (0 is the low one) of output word j at ``c0 = 4 * (row // 32) + i``, purpose 1; ``v32`` is output
  word 0 at ``c0 = row``, purpose 2, looked at only where ``u16`` leaves the matter open.

* **Activations, one noise shared by all rows** (purpose 3, ``c0`` = 0).  ``u48 = (low half of
  output word 0) * 2**32 + (output word 1)``.

* **Activations of calibration rows** (purposes 5 and 6), laid out as 1 and 2: the rows by which a
  draw measures its statistics have a noise that no prediction sees.

Either way the activation is +1 where ``u48 < rint(F64(a) * 2**48)``, with F64 of
:mod:`bayes_sbn.kernels.reference.cdf64` and ``a = scale * dot + bias`` in float64, the product
rounded before the sum; ``dot`` is an exact integer.  Each step is monotone in ``dot``, so for a
given ``u48`` the rule is one comparison of ``dot`` with an integer: :func:`shared_thresholds`.

Reference:
    Salmon, Moraes, Dror, Shaw. Parallel random numbers: as easy as 1, 2, 3. SC 2011.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bayes_sbn.bits import BITS_PER_WORD, num_words
from bayes_sbn.kernels.reference.cdf64 import CDF64, Float64
from bayes_sbn.philox import philox4x32_numpy

Key = tuple[int, int]
Int64 = NDArray[np.int64]
UInt32 = NDArray[np.uint32]
UInt64 = NDArray[np.uint64]
Bool = NDArray[np.bool_]

WEIGHTS = 0
ROW_NOISE = 1
ROW_NOISE_TIES = 2
SHARED_NOISE = 3
CALIBRATION_NOISE = 5  # 4 is that of real weights
CALIBRATION_NOISE_TIES = 6

PLANES = 32
_PLANES_PER_GROUP = 4
_ROWS_PER_GROUP = 32
_ELEMENTS_PER_PASS = 1 << 14  # intermediate results of F64 stay in the cache


def counter_word(site: int, purpose: int, group: int = 0) -> int:
    """The fourth word of a counter, ``site << 16 | purpose << 8 | group``."""
    return site << 16 | purpose << 8 | group


def probability_thresholds(p: Float64) -> UInt64:
    """``q = rint(p * 2**32)``, from 0 to ``2**32`` included."""
    return np.rint(p * 2.0**32).astype(np.uint64)


def threshold_planes(q: UInt64) -> UInt32:
    """Bit planes of weight thresholds, laid out as the random planes are.

    Args:
        q: thresholds, shape (out, in).

    Returns:
        uint32 words, shape (33, out, words): plane 0 marks the thresholds equal to ``2**32``, which
        every uniform is below, and planes 1 to 32 hold the others from the most significant bit.
        Padding is 0, which no uniform is below.
    """
    num_units, length = q.shape
    padded = np.zeros((num_units, num_words(length) * BITS_PER_WORD), np.uint64)
    padded[:, :length] = q
    planes = np.empty((PLANES + 1, num_units, num_words(length)), np.uint32)
    for plane in range(PLANES + 1):
        bits = (padded >> np.uint64(PLANES - plane)) & np.uint64(1)
        planes[plane] = _words_of_bits(bits.astype(np.bool_))
    return planes


def weight_planes(key: Key, site: int, draws: Int64, num_units: int, words: int) -> list[UInt32]:
    """The 32 random planes of a layer's weights, plane 0 (most significant) first.

    Returns:
        32 arrays of shape (draws, num_units, words).
    """
    c0 = np.arange(words)
    c1 = np.arange(num_units)[:, None]
    c2 = np.asarray(draws)[:, None, None]
    planes: list[UInt32] = []
    for group in range(PLANES // _PLANES_PER_GROUP):
        c3 = counter_word(site, WEIGHTS, group)
        planes.extend(philox4x32_numpy(c0, c1, c2, c3, *key))
    return planes


def draw_weights(key: Key, site: int, draws: Int64, planes: UInt32) -> UInt32:
    """Packed ±1 weights of a layer, for each draw.

    Args:
        key: of :func:`bayes_sbn.philox.fold_stream`.
        site: index of the layer.
        draws: indices of the draws.
        planes: thresholds, as :func:`threshold_planes` lays them out.

    Returns:
        uint32 words, shape (draws, out, words); bit 1 is +1, padding is 0.
    """
    _, num_units, words = planes.shape
    uniforms = weight_planes(key, site, draws, num_units, words)
    # u < q for 32 pairs of numbers at once, from the least significant bit: the more significant
    # bit decides unless it is the same in u and q.
    below = np.zeros((len(draws), num_units, words), np.uint32)
    for u, q in zip(reversed(uniforms), reversed(planes[1:]), strict=True):
        same = ~(u ^ q)
        below = (same & below) | (~same & q)
    weights: UInt32 = below | planes[0]
    return weights


def activation_thresholds(
    dots: Int64, scale: Float64, bias: Float64, noise: str, noise_scale: float
) -> Int64:
    """``rint(F64(a) * 2**48)`` with ``a = scale * dot + bias``: +1 is drawn where u48 is below it.

    Args:
        dots: exact inner products, shape (..., out).
        scale: float64, shape (out,), or of the shape of ``dots``.
        bias: float64, of the shape of ``scale``.
        noise: name of the law.
        noise_scale: scale of the law.

    Returns:
        Integers from 0 to ``2**48`` of the shape of ``dots``.
    """
    cdf = CDF64[noise]
    rows = dots.reshape(-1, dots.shape[-1])
    scales, biases = (np.broadcast_to(t, dots.shape).reshape(rows.shape) for t in (scale, bias))
    thresholds = np.empty(rows.shape, np.int64)
    step = max(1, _ELEMENTS_PER_PASS // max(1, dots.shape[-1]))
    with np.errstate(over="ignore"):  # a quotient that overflows is deep in a tail
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            a = scales[part] * rows[part].astype(np.float64) + biases[part]
            thresholds[part] = np.rint(cdf(a, noise_scale) * 2.0**48)
    return thresholds.reshape(dots.shape)


def row_uniforms16(
    key: Key,
    site: int,
    draws: Int64,
    num_units: int,
    first_row: int,
    num_rows: int,
    purpose: int = ROW_NOISE,
) -> UInt32:
    """``u16`` of each row's activations, shape (draws, rows, num_units)."""
    first_group = first_row // _ROWS_PER_GROUP
    groups = (first_row + num_rows - 1) // _ROWS_PER_GROUP - first_group + 1 if num_rows else 0
    c0 = np.arange(4 * first_group, 4 * (first_group + groups))[:, None]
    c2 = np.asarray(draws)[:, None, None]
    output = philox4x32_numpy(c0, np.arange(num_units), c2, counter_word(site, purpose), *key)
    # row within its group: 8 * (output word) + 2 * (c0 % 4) + (half)
    halves = np.empty((len(draws), groups, 4, 4, 2, num_units), np.uint32)
    for j, word in enumerate(output):
        by_group = word.reshape(len(draws), groups, 4, num_units)
        halves[:, :, j, :, 0] = by_group & np.uint32(0xFFFF)
        halves[:, :, j, :, 1] = by_group >> np.uint32(16)
    start = first_row - _ROWS_PER_GROUP * first_group
    rows = halves.reshape(len(draws), groups * _ROWS_PER_GROUP, num_units)
    return rows[:, start : start + num_rows]


def row_uniforms32(
    key: Key,
    site: int,
    draws: Int64,
    units: Int64,
    rows: Int64,
    purpose: int = ROW_NOISE_TIES,
) -> UInt32:
    """``v32``, the low bits of rows' uniforms, at the broadcast (draw, unit, row)."""
    return philox4x32_numpy(rows, units, draws, counter_word(site, purpose), *key)[0]


def draw_row_activations(
    key: Key,
    site: int,
    draws: Int64,
    first_row: int,
    thresholds: Int64,
    *,
    calibrates: bool = False,
) -> Bool:
    """Activations with a noise of their own for each row; true is +1.

    Args:
        key: of :func:`bayes_sbn.philox.fold_stream`.
        site: index of the layer.
        draws: indices of the draws.
        first_row: index of the first row.
        thresholds: of :func:`activation_thresholds`, shape (draws, rows, out).
        calibrates: whether they are rows by which draws measure their statistics.
    """
    purpose, ties = ROW_NOISE, ROW_NOISE_TIES
    if calibrates:
        purpose, ties = CALIBRATION_NOISE, CALIBRATION_NOISE_TIES
    _, num_rows, num_units = thresholds.shape
    u16 = row_uniforms16(key, site, draws, num_units, first_row, num_rows, purpose)
    high = thresholds >> 32
    positive: Bool = u16 < high
    # u16 alone decides unless it equals the threshold's high part, once in 2**16 times
    s, r, unit = np.nonzero(u16 == high)
    v32 = row_uniforms32(key, site, np.asarray(draws)[s], unit, first_row + r, ties)
    positive[s, r, unit] = v32 < (thresholds[s, r, unit] & 0xFFFFFFFF)
    return positive


def shared_uniforms(key: Key, site: int, draws: Int64, num_units: int) -> Int64:
    """``u48`` of the noise that all rows of a draw share, shape (draws, num_units)."""
    c2 = np.asarray(draws)[:, None]
    word0, word1, _, _ = philox4x32_numpy(
        0, np.arange(num_units), c2, counter_word(site, SHARED_NOISE), *key
    )
    return ((word0.astype(np.int64) & 0xFFFF) << 32) | word1.astype(np.int64)


def orientation(scale: Float64) -> Int64:
    """-1 for units whose scale is negative, else +1: thresholds act on ``orientation * dot``."""
    return np.where(scale < 0, -1, 1).astype(np.int64)


def shared_thresholds(
    u48: Int64, scale: Float64, bias: Float64, noise: str, noise_scale: float, largest_dot: int
) -> Int64:
    """The integers T with ``orientation * dot >= T`` if and only if the activation is +1.

    Found by bisection of the direct rule over ``-largest_dot <= dot <= largest_dot``; the rule is
    monotone in ``orientation * dot``, so the answer is exact.

    Args:
        u48: uniforms, shape (..., out).
        scale: float64, shape (out,), or of the shape of ``u48``.
        bias: float64, of the shape of ``scale``.
        noise: name of the law.
        noise_scale: scale of the law.
        largest_dot: bound on the magnitude of the inner products.

    Returns:
        T of the shape of ``u48``: from ``-largest_dot`` (always +1) to ``largest_dot + 1`` (never).
    """
    sign = orientation(scale)
    low = np.full(u48.shape, -largest_dot, np.int64)
    high = np.full(u48.shape, largest_dot + 1, np.int64)
    for _ in range((2 * largest_dot + 1).bit_length()):
        middle = (low + high) >> 1
        tried = np.minimum(middle, largest_dot)  # where low = high already, middle may be the end
        positive = u48 < activation_thresholds(sign * tried, scale, bias, noise, noise_scale)
        open_ = low < high
        high = np.where(open_ & positive, middle, high)
        low = np.where(open_ & ~positive, middle + 1, low)
    return high


def _words_of_bits(bits: Bool) -> UInt32:
    """Bits of the last dimension, a multiple of 32 long, as words with the first bit lowest."""
    packed = np.packbits(bits, axis=-1, bitorder="little")
    return np.ascontiguousarray(packed).view("<u4").astype(np.uint32)
