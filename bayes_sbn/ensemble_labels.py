r"""How labels are drawn from the class probabilities of a draw and a row: the definition.

The label is the number of classes c, the last left out, with

    ``F_c <= u * F_last``,      ``F_c = p_0 + ... + p_c``,

the sums in float64, one class after the other, and ``u = u48 / 2**48``: class c is drawn with
probability :math:`p_c` to :math:`2^{-48}`, and never where it is 0.  As all random bits of an
ensemble, ``u48`` depends on (seed, stream, draw, row) alone
(:mod:`bayes_sbn.kernels.reference.sampling`): of the four words of Philox4x32-10 (purpose 9) at the
counter

    ``c0 = row // 2``, ``c1 = 0``, ``c2`` = draw, ``c3 = 9 << 8``,

an even row has words 0 and 1 and an odd one words 2 and 3; the low half of its first word stands
above its second.
"""

from __future__ import annotations

import numpy as np

from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.sampling import Int64, Key, counter_word
from bayes_sbn.philox import philox4x32_numpy

LABELS = 9
"""The purpose of the words that draw labels."""


def label_uniforms(key: Key, draws: Int64, first_row: int, num_rows: int) -> Float64:
    """``u`` of the labels, float64 in [0, 1), shape (draws, rows).

    Args:
        key: of :func:`bayes_sbn.philox.fold_stream`.
        draws: indices of the draws.
        first_row: index of the first row.
        num_rows: how many rows.
    """
    first_pair = first_row // 2
    pairs = np.arange(first_pair, (first_row + num_rows + 1) // 2)
    c2 = np.asarray(draws)[:, None]
    words = philox4x32_numpy(pairs, 0, c2, counter_word(0, LABELS), *key)
    u48 = np.empty((len(draws), len(pairs), 2), np.int64)
    for half in range(2):
        high, low = words[2 * half].astype(np.int64), words[2 * half + 1]
        u48[..., half] = ((high & 0xFFFF) << 32) | low
    start = first_row - 2 * first_pair
    by_row = u48.reshape(len(draws), 2 * len(pairs))[:, start : start + num_rows]
    uniforms: Float64 = by_row.astype(np.float64) * 2.0**-48
    return uniforms


def draw_labels(key: Key, draws: Int64, first_row: int, probs: Float64) -> Int64:
    """A label for each draw and row, int64, shape (draws, rows).

    Args:
        key: of :func:`bayes_sbn.philox.fold_stream`.
        draws: indices of the draws.
        first_row: index of the first row.
        probs: class probabilities, float64, shape (draws, rows, classes).
    """
    reached = np.cumsum(probs, axis=-1)
    place = label_uniforms(key, draws, first_row, probs.shape[1]) * reached[..., -1]
    labels: Int64 = (reached[..., :-1] <= place[..., None]).sum(axis=-1, dtype=np.int64)
    return labels
