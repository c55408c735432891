"""Products of packed ±1 rows and weights, and draws of packed weights from planes: the definition.

``dot = K - 2 popcount(x ^ w)`` (:mod:`bayes_sbn.bits`); draws are those of
:mod:`bayes_sbn.kernels.reference.sampling`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bayes_sbn.kernels.reference.packing import unpack
from bayes_sbn.kernels.reference.sampling import draw_weights as draw_words


def xnor_linear(rows: Tensor, weights: Tensor, length: int) -> Tensor:
    """Inner products, int32, shape (..., units).

    Args:
        rows: words of ±1 rows, shape (..., words).
        weights: words of ±1 weights, shape (units, words).
        length: number of values in a row.
    """
    # sums of at most 2**31 signs are exact in float64
    x, w = (unpack(words, length, torch.float64) for words in (rows, weights))
    return (x @ w.mT).to(torch.int32)


def draw_weights(
    hot: Tensor,
    cold: Tensor,
    units: int,
    inputs: int,
    draws: list[int],
    site: int,
    key0: int,
    key1: int,
) -> Tensor:
    """Packed weights, int32 words of shape (draws, units, words).

    Args:
        hot: int32 planes (blocks, words, 9, 16) of ``csrc/bsbn.h``.
        cold: int32 planes (blocks, words, 16, 24).
        units: number of output units.
        inputs: number of inputs.
        draws: indices of the draws.
        site: index of the layer.
        key0: first word of the key.
        key1: second word of the key.
    """
    del inputs  # the padding of the planes is 0
    first = hot.cpu().numpy().view(np.uint32).transpose(2, 0, 3, 1)
    rest = cold.cpu().numpy().view(np.uint32).transpose(3, 0, 2, 1)
    planes = np.concatenate([first, rest])
    planes = planes.reshape(len(planes), -1, hot.shape[1])[:, :units]
    words = draw_words((key0, key1), site, np.array(draws, np.int64), planes)
    return torch.from_numpy(words.view(np.int32)).to(hot.device)
