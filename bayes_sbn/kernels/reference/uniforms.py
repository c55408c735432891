r"""Uniforms in [0, 1) from a seed: the definition, in plain torch, on any device.

Counter ``16 b + l`` of block b, the words ``(low, high, 0, 0xFFFFFFFE)``, gives Philox4x32-10 words
``w_0 ... w_3`` under the key of the seed (:mod:`bayes_sbn.philox`).  A float32 takes one word,

    u_(64 b + 16 j + l) = floor(w_j / 2^8) / 2^24,                                   j = 0 ... 3,

a float64 takes two,

    u_(32 b + 16 j + l) = (floor(w_2j / 2^5) 2^26 + floor(w_(2j+1) / 2^6)) / 2^53,       j = 0, 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_sbn.philox import philox4x32_torch

LANES = 16
PURPOSE = 0xFFFFFFFE
"""The last word of the counter, which no draw below a posterior has."""


def uniforms_like(x: Tensor, seed: int) -> Tensor:
    """Uniforms of the shape, dtype and device of x.

    Args:
        x: float32 or float64; its values do not matter.
        seed: 64 bits, of either sign.
    """
    words_each = 1 if x.dtype == torch.float32 else 2
    blocks = -(-x.numel() * words_each // (4 * LANES))
    counter = torch.arange(blocks * LANES, device=x.device)
    low, high = seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
    words = philox4x32_torch(counter, counter >> 32, 0, PURPOSE, low, high)
    w = torch.stack(words).reshape(4, blocks, LANES).transpose(0, 1)  # (blocks, 4, lanes)
    if words_each == 1:
        values = (w >> 8).to(x.dtype) * 2.0**-24
    else:
        values = ((w[:, 0::2] >> 5).to(x.dtype) * 2.0**26 + (w[:, 1::2] >> 6)) * 2.0**-53
    return values.reshape(-1)[: x.numel()].reshape(x.shape)
