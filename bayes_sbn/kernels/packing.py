"""±1 values to bits and back: the operators pack, unpack and popcount.

Convention in ``bayes_sbn.bits``, definition in ``bayes_sbn.kernels.reference.packing``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_sbn.bits import PackedBits, num_words
from bayes_sbn.kernels.native import packing as native
from bayes_sbn.kernels.operators import forbid_gradient, register
from bayes_sbn.kernels.reference import packing as reference

VALUE_DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.bool,
)


def pack(x: Tensor) -> PackedBits:
    """Packs rows of ±1 values into bits, 32 to a word.

    Not differentiable: a result of ``x.detach()`` is meant.

    Args:
        x: values -1 and +1 (bool: true is +1), shape ``(..., K)``.

    Returns:
        The bits, with words of shape ``(..., num_words(K))``.

    Raises:
        TypeError: for a dtype that cannot hold ±1.
        ValueError: if a value is neither -1 nor +1.
        RuntimeError: if ``x`` requires a gradient.
    """
    if x.ndim == 0:
        raise ValueError(
            "pack() packs along the last dimension: received a scalar. Write pack(x[None])."
        )
    _check_dtype("pack()", x.dtype)
    words: Tensor = torch.ops.bayes_sbn.pack.default(x)
    return PackedBits(words, x.shape[-1])


def unpack(bits: PackedBits, dtype: torch.dtype = torch.float32) -> Tensor:
    """The ±1 values of packed bits.

    Args:
        bits: rows of K values.
        dtype: dtype of the result; for ``torch.bool``, +1 is true.

    Returns:
        Values of shape ``(..., K)``.

    Raises:
        TypeError: for a dtype that cannot hold ±1.
    """
    _check_dtype("unpack()", dtype)
    values: Tensor = torch.ops.bayes_sbn.unpack.default(bits.data, bits.length, dtype)
    return values


def popcount(bits: PackedBits) -> Tensor:
    """How many values of each row are +1.

    Args:
        bits: rows of K values.

    Returns:
        int64 counts, of the shape of ``bits`` without its last dimension.
    """
    counts: Tensor = torch.ops.bayes_sbn.popcount.default(bits.data, bits.length)
    return counts


def _check_dtype(call: str, dtype: torch.dtype) -> None:
    if dtype not in VALUE_DTYPES:
        names = ", ".join(str(d).removeprefix("torch.") for d in VALUE_DTYPES)
        raise TypeError(
            f"{call} received dtype {dtype}, which cannot be ±1 values: use one of {names}. "
            f"Convert with x.to(torch.float32)."
        )


def _fake_pack(x: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], num_words(x.shape[-1])), dtype=torch.int32)


def _fake_unpack(words: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    return words.new_empty((*words.shape[:-1], length), dtype=dtype)


def _fake_popcount(words: Tensor, length: int) -> Tensor:  # noqa: ARG001 - the operator's schema
    return words.new_empty(words.shape[:-1], dtype=torch.int64)


register(
    "pack(Tensor x) -> Tensor",
    native=native.pack,
    reference=reference.pack,
    fake=_fake_pack,
)
register(
    "unpack(Tensor words, SymInt length, ScalarType dtype) -> Tensor",
    native=native.unpack,
    reference=reference.unpack,
    fake=_fake_unpack,
)
register(
    "popcount(Tensor words, SymInt length) -> Tensor",
    native=native.popcount,
    reference=reference.popcount,
    fake=_fake_popcount,
)
forbid_gradient("pack", "Write pack(x.detach()).")
