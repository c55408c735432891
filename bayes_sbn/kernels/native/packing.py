"""pack, unpack and popcount by the compiled library: the structs of ``csrc/bsbn.h`` and the calls.

Equal to ``bayes_sbn.kernels.reference.packing``.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from bayes_sbn.bits import not_signs, num_words
from bayes_sbn.kernels.loader import STATUS_NOT_A_SIGN, NativeLibrary

_VALUE_TYPES = {torch.float32: 0, torch.float64: 1, torch.int8: 2, torch.bool: 3}


class PackArguments(ctypes.Structure):
    """``struct bsbn_pack_args``."""

    _fields_ = (
        ("values", ctypes.c_void_p),
        ("words", ctypes.c_void_p),
        ("value_type", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("num_threads", ctypes.c_int64),
        ("ran_isa", ctypes.c_int64),
        ("bad_index", ctypes.c_int64),
    )


class UnpackArguments(ctypes.Structure):
    """``struct bsbn_unpack_args``."""

    _fields_ = (
        ("words", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("value_type", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("num_threads", ctypes.c_int64),
        ("ran_isa", ctypes.c_int64),
    )


class PopcountArguments(ctypes.Structure):
    """``struct bsbn_popcount_args``."""

    _fields_ = (
        ("words", ctypes.c_void_p),
        ("counts", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("num_threads", ctypes.c_int64),
        ("ran_isa", ctypes.c_int64),
    )


def pack(library: NativeLibrary, x: Tensor, num_threads: int | None = None) -> Tensor:
    """Words of ±1 values; see ``reference.packing.pack``."""
    length = x.shape[-1]
    # Other dtypes go through float64, where no value that is not ±1 becomes so.
    values = (x if x.dtype in _VALUE_TYPES else x.to(torch.float64)).contiguous()
    words = torch.empty((*x.shape[:-1], num_words(length)), dtype=torch.int32)
    arguments = PackArguments(
        values=values.data_ptr(),
        words=words.data_ptr(),
        value_type=_VALUE_TYPES[values.dtype],
        rows=x.shape[:-1].numel(),
        length=length,
        num_threads=num_threads or torch.get_num_threads(),
    )
    if library.run("bsbn_pack", arguments, accept=(STATUS_NOT_A_SIGN,)) == STATUS_NOT_A_SIGN:
        raise not_signs("pack()", x)
    return words


def unpack(
    library: NativeLibrary,
    words: Tensor,
    length: int,
    dtype: torch.dtype,
    num_threads: int | None = None,
) -> Tensor:
    """±1 values of words; see ``reference.packing.unpack``."""
    words = words.contiguous()
    values = torch.empty(
        (*words.shape[:-1], length), dtype=dtype if dtype in _VALUE_TYPES else torch.int8
    )
    arguments = UnpackArguments(
        words=words.data_ptr(),
        values=values.data_ptr(),
        value_type=_VALUE_TYPES[values.dtype],
        rows=words.shape[:-1].numel(),
        length=length,
        num_threads=num_threads or torch.get_num_threads(),
    )
    library.run("bsbn_unpack", arguments)
    return values.to(dtype)


def popcount(
    library: NativeLibrary, words: Tensor, length: int, num_threads: int | None = None
) -> Tensor:
    """How many values of each row are +1; see ``reference.packing.popcount``."""
    words = words.contiguous()
    counts = torch.empty(words.shape[:-1], dtype=torch.int64)
    arguments = PopcountArguments(
        words=words.data_ptr(),
        counts=counts.data_ptr(),
        rows=counts.numel(),
        length=length,
        num_threads=num_threads or torch.get_num_threads(),
    )
    library.run("bsbn_popcount", arguments)
    return counts
