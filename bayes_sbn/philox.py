r"""Philox4x32, the counter-based generator behind every random bit below a fitted posterior.

A keyed bijection of 128-bit counters: random words are a function of where they are used, not of
what was drawn before, so they are the same on every device and for every batch size, number of
threads and sharding.  With :math:`M_0` = 0xD2511F53, :math:`M_1` = 0xCD9E8D57 and the 64-bit
product split into its high and low words, one round is

.. math::
    (c_0, c_1, c_2, c_3) \to (\mathrm{hi}(M_1 c_2) \oplus c_1 \oplus k_0,\; \mathrm{lo}(M_1 c_2),\;
                              \mathrm{hi}(M_0 c_0) \oplus c_3 \oplus k_1,\; \mathrm{lo}(M_0 c_0)),

and between rounds the key advances by the Weyl constants
:math:`(k_0, k_1) \mathrel{+}=` (0x9E3779B9, 0xBB67AE85) modulo :math:`2^{32}`.

Ten rounds are the published default.  Seven pass the statistical batteries too, but eight or more
have no known weakness, so the package stays at ten; the argument exists for the known-answer tests.

Reference:
    Salmon, Moraes, Dror, Shaw. Parallel random numbers: as easy as 1, 2, 3. SC 2011.
"""

from __future__ import annotations

import operator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NumpyWords = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]
TorchWords = tuple[Tensor, Tensor, Tensor, Tensor]

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF
_LARGEST_NUMBER_OF_ROUNDS = 16  # the most that Random123 defines
_STREAM_MARK = 0xFFFFFFFF  # c3 of no random draw, so folding never reuses a counter of one


def philox4x32_numpy(
    c0: int | NDArray[np.integer],
    c1: int | NDArray[np.integer],
    c2: int | NDArray[np.integer],
    c3: int | NDArray[np.integer],
    k0: int | NDArray[np.integer],
    k1: int | NDArray[np.integer],
    rounds: int = 10,
) -> NumpyWords:
    """Philox4x32 in NumPy: four random words for each counter and key.

    Args:
        c0: first word of the counter.  Integers must lie in ``[0, 2**32)``; integer arrays are
            taken modulo ``2**32``, so int32 words stand for their bits.  All six broadcast.
        c1: second word of the counter.
        c2: third word of the counter.
        c3: fourth word of the counter.
        k0: first word of the key.
        k1: second word of the key.
        rounds: how often the round function is applied, 1 to 16.

    Returns:
        Four uint32 arrays of the broadcast shape.
    """
    _check_rounds("philox4x32_numpy", rounds)
    # Words are kept in uint64: products fit, and no sum can overflow, in arrays and scalars alike.
    mask, shift = np.uint64(_MASK), np.uint64(32)
    m0, m1 = (np.uint64(m) for m in _MULTIPLIERS)
    w0, w1 = (np.uint64(w) for w in _WEYL)
    x0, x1, x2, x3, y0, y1 = (
        _numpy_word(name, value)
        for name, value in zip(_NAMES, (c0, c1, c2, c3, k0, k1), strict=True)
    )
    shape = np.broadcast_shapes(*(x.shape for x in (x0, x1, x2, x3, y0, y1)))
    for _ in range(rounds):
        p0, p1 = m0 * x0, m1 * x2
        x0, x1, x2, x3 = (p1 >> shift) ^ x1 ^ y0, p1 & mask, (p0 >> shift) ^ x3 ^ y1, p0 & mask
        y0, y1 = (y0 + w0) & mask, (y1 + w1) & mask
    r0, r1, r2, r3 = (np.array(np.broadcast_to(x, shape), np.uint32) for x in (x0, x1, x2, x3))
    return r0, r1, r2, r3


def philox4x32_torch(
    c0: int | Tensor,
    c1: int | Tensor,
    c2: int | Tensor,
    c3: int | Tensor,
    k0: int | Tensor,
    k1: int | Tensor,
    rounds: int = 10,
) -> TorchWords:
    """Philox4x32 in torch: the words of :func:`philox4x32_numpy` on any device.

    Args:
        c0: first word of the counter.  Integers must lie in ``[0, 2**32)``; integer tensors are
            taken modulo ``2**32``, so int32 words stand for their bits.  All six broadcast; an
            integer follows the tensors' device.
        c1: second word of the counter.
        c2: third word of the counter.
        c3: fourth word of the counter.
        k0: first word of the key.
        k1: second word of the key.
        rounds: how often the round function is applied, 1 to 16.

    Returns:
        Four int64 tensors of the broadcast shape with values in ``[0, 2**32)``.
    """
    _check_rounds("philox4x32_torch", rounds)
    values = (c0, c1, c2, c3, k0, k1)
    devices = [v.device for v in values if isinstance(v, Tensor)]
    device = devices[0] if devices else torch.device("cpu")
    m0, m1 = _MULTIPLIERS
    x0, x1, x2, x3, y0, y1 = (
        _torch_word(name, value, device) for name, value in zip(_NAMES, values, strict=True)
    )
    shape = torch.broadcast_shapes(*(x.shape for x in (x0, x1, x2, x3, y0, y1)))
    for _ in range(rounds):
        # int64 products wrap modulo 2**64: the low word is right as it stands, and the high word
        # once the sign bits that the arithmetic shift brings in are masked off.
        p0, p1 = m0 * x0, m1 * x2
        x0, x1 = ((p1 >> 32) & _MASK) ^ x1 ^ y0, p1 & _MASK
        x2, x3 = ((p0 >> 32) & _MASK) ^ x3 ^ y1, p0 & _MASK
        y0, y1 = (y0 + _WEYL[0]) & _MASK, (y1 + _WEYL[1]) & _MASK
    r0, r1, r2, r3 = (x.expand(shape).contiguous() for x in (x0, x1, x2, x3))
    return r0, r1, r2, r3


def fold_stream(seed: int, stream: int = 0) -> tuple[int, int]:
    """The key of a seed, with a stream folded into it.

    The key of stream 0 is the seed itself, low word first.  Any other stream (an epoch, a chain, a
    call) replaces it by the first two words of Philox4x32-10 of the counter ``(stream low word,
    stream high word, 0, 0xFFFFFFFF)`` under that key.

    Args:
        seed: an integer in ``[0, 2**64)``.
        stream: an integer in ``[0, 2**64)``.

    Returns:
        The two words of the key, each in ``[0, 2**32)``.
    """
    seed, stream = _check_64_bits("seed", seed), _check_64_bits("stream", stream)
    k0, k1 = seed & _MASK, seed >> 32
    if stream == 0:
        return k0, k1
    r0, r1, _, _ = philox4x32_numpy(stream & _MASK, stream >> 32, 0, _STREAM_MARK, k0, k1)
    return int(r0), int(r1)


_NAMES = ("c0", "c1", "c2", "c3", "k0", "k1")


def _check_rounds(call: str, rounds: int) -> None:
    if not 1 <= rounds <= _LARGEST_NUMBER_OF_ROUNDS:
        raise ValueError(
            f"{call}(rounds={rounds}): the number of rounds lies between 1 and "
            f"{_LARGEST_NUMBER_OF_ROUNDS}. Leave it at rounds=10."
        )


def _check_word(call: str, name: str, value: int) -> int:
    if not 0 <= value <= _MASK:
        raise ValueError(
            f"{call}({name}={value}): a word lies in [0, 2**32). "
            f"Split a longer number into {name} & 0xFFFFFFFF and {name} >> 32."
        )
    return value


def _numpy_word(name: str, value: int | NDArray[np.integer]) -> NDArray[np.uint64]:
    if isinstance(value, (np.ndarray, np.generic)):
        if not np.issubdtype(value.dtype, np.integer):
            raise TypeError(
                f"philox4x32_numpy() received {name} of dtype {value.dtype}: words are integers. "
                f"Convert with {name}.astype(np.uint32)."
            )
        return np.asarray(value).astype(np.uint64) & np.uint64(_MASK)
    return np.asarray(_check_word("philox4x32_numpy", name, operator.index(value)), np.uint64)


def _torch_word(name: str, value: int | Tensor, device: torch.device) -> Tensor:
    if isinstance(value, Tensor):
        if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
            raise TypeError(
                f"philox4x32_torch() received {name} of dtype {value.dtype}: words are integers. "
                f"Convert with {name}.to(torch.int64)."
            )
        return value.to(torch.int64) & _MASK
    word = _check_word("philox4x32_torch", name, operator.index(value))
    return torch.tensor(word, dtype=torch.int64, device=device)


def _check_64_bits(name: str, value: int) -> int:
    value = operator.index(value)
    if not 0 <= value < 1 << 64:
        raise ValueError(
            f"fold_stream({name}={value}): a {name} is an integer in [0, 2**64). "
            f"Write {name}={value} % 2**64 to wrap it."
        )
    return value
