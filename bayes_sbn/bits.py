r"""The convention of packed signs, and the only place where ±1 values are 0/1 bits.

A row of K values ±1 becomes ``num_words(K)`` words of 32 bits.  Bit 1 is +1 and bit 0 is -1;
value ``i`` is bit ``i % 32``, counted from the least significant, of word ``i // 32``.  The padding
bits of the last word are 0.  Hence for two rows packed this way

.. math:: \sum_{i < K} x_i w_i \;=\; K - 2\,\mathrm{popcount}(x \oplus w),

padding included, since equal padding bits are no mismatch.  Words are held as ``torch.int32``,
whose bits are meant, not its sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BITS_PER_WORD = 32


@dataclass(frozen=True, eq=False)
class PackedBits:
    """Rows of ±1 values, one bit each.

    Args:
        data: int32 words, shape ``(..., num_words(length))``, padding bits 0.
        length: the number K of values in a row.
    """

    data: Tensor
    length: int

    def __post_init__(self) -> None:
        if self.data.dtype != torch.int32:
            raise TypeError(
                f"PackedBits() holds words of dtype torch.int32: received {self.data.dtype}. "
                f"Pack ±1 values with bayes_sbn.kernels.pack(x)."
            )
        if self.length < 0:
            raise ValueError(
                f"PackedBits(length={self.length}): the number of values in a row is not negative."
            )
        if self.data.ndim == 0 or self.data.shape[-1] != num_words(self.length):
            raise ValueError(
                f"PackedBits(length={self.length}) needs {num_words(self.length)} words in the "
                f"last dimension: received data of shape {tuple(self.data.shape)}. "
                f"Give the number of values that were packed."
            )

    @property
    def shape(self) -> torch.Size:
        """Shape of the ±1 values: that of the words, with the length of a row in the last place."""
        return torch.Size((*self.data.shape[:-1], self.length))

    @property
    def device(self) -> torch.device:
        """Device of the words."""
        return self.data.device

    def to(self, device: torch.device | str) -> PackedBits:
        """The same bits on another device."""
        return PackedBits(self.data.to(device), self.length)


def num_words(length: int) -> int:
    """Words of a row of ``length`` values: the length over 32, rounded up."""
    return (length + BITS_PER_WORD - 1) // BITS_PER_WORD


def last_word_mask(length: int) -> int:
    """Mask of the bits of a row's last word that are values, as an int32 (-1 if all of them are).

    Args:
        length: the number of values in the row, at least 1.
    """
    used = (length - 1) % BITS_PER_WORD + 1
    return -1 if used == BITS_PER_WORD else (1 << used) - 1


def dot_from_mismatches(length: int, mismatches: Tensor) -> Tensor:
    """Inner product of two ±1 rows with ``mismatches`` unequal entries: K - 2 popcount(x ^ w)."""
    return length - 2 * mismatches


def is_sign(x: Tensor) -> Tensor:
    """Where ``x`` is -1 or +1; a bool is a sign everywhere, true standing for +1."""
    if x.dtype == torch.bool:
        return torch.ones_like(x)
    if not x.dtype.is_signed:  # torch wraps the -1 of a comparison: an unsigned 255 would equal it
        return x == 1
    return (x == 1) | (x == -1)


def check_signs(call: str, x: Tensor) -> None:
    """Raises unless every value of ``x`` is -1 or +1 (a bool always passes).

    Args:
        call: the call to blame, such as ``"pack()"``.
        x: the values.

    Raises:
        ValueError: with what came, and how to make signs of it.
    """
    if not bool(is_sign(x).all()):
        raise not_signs(call, x)


def not_signs(call: str, x: Tensor) -> ValueError:
    """The error for an ``x`` that :func:`check_signs` refuses."""
    needs = f"{call} needs ±1 values: received"
    if bool(((x == 0) | (x == 1)).all()):
        return ValueError(f"{needs} values in {{0, 1}}. Map them with 2 * x - 1.")
    wrong = x[~is_sign(x)][0].item()
    index = tuple(int(i) for i in (~is_sign(x)).nonzero()[0])
    return ValueError(
        f"{needs} {wrong} at index {index}. Take signs first, with torch.where(x < 0, -1.0, 1.0)."
    )
