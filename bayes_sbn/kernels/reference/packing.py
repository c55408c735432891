"""Definition of pack, unpack and popcount: the convention of ``bayes_sbn.bits`` in plain torch.

Works on every device and never looks at padding bits; gives int32 words whose padding bits are 0.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from bayes_sbn.bits import BITS_PER_WORD, check_signs, last_word_mask, num_words


def pack(x: Tensor) -> Tensor:
    """Words of ±1 values.

    Args:
        x: values -1 and +1 (bool: true is +1), shape ``(..., K)``.

    Returns:
        int32 words, shape ``(..., num_words(K))``.

    Raises:
        ValueError: if a value is neither -1 nor +1.
    """
    check_signs("pack()", x)
    length = x.shape[-1]
    bits = pad((x > 0).to(torch.int64), (0, BITS_PER_WORD * num_words(length) - length))
    bits = bits.reshape(*x.shape[:-1], num_words(length), BITS_PER_WORD)
    return _int32_of_bits((bits << _positions(x.device)).sum(-1))


def unpack(words: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    """±1 values of words.

    Args:
        words: int32, shape ``(..., num_words(length))``.
        length: the number K of values in a row.
        dtype: dtype of the values; for ``torch.bool``, +1 is true.

    Returns:
        The values, shape ``(..., K)``.
    """
    bits = (words.to(torch.int64)[..., None] >> _positions(words.device)) & 1
    bits = bits.reshape(*words.shape[:-1], BITS_PER_WORD * words.shape[-1])[..., :length]
    return bits.to(dtype) if dtype == torch.bool else (2 * bits - 1).to(dtype)


def popcount(words: Tensor, length: int) -> Tensor:
    """How many values of each row are +1.

    Args:
        words: int32, shape ``(..., num_words(length))``.
        length: the number of values in a row.

    Returns:
        int64 counts, shape ``words.shape[:-1]``.
    """
    if length == 0:
        return words.new_zeros(words.shape[:-1], dtype=torch.int64)
    used = torch.full((words.shape[-1],), -1, dtype=torch.int32, device=words.device)
    used[-1] = last_word_mask(length)
    bits = ((words & used).to(torch.int64)[..., None] >> _positions(words.device)) & 1
    return bits.sum((-1, -2))


def _positions(device: torch.device) -> Tensor:
    return torch.arange(BITS_PER_WORD, dtype=torch.int64, device=device)


def _int32_of_bits(words: Tensor) -> Tensor:
    """Numbers in ``[0, 2**32)`` as the int32 with the same bits."""
    sign = 1 << (BITS_PER_WORD - 1)
    return ((words ^ sign) - sign).to(torch.int32)
