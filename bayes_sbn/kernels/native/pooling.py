"""Pooling by the compiled library: the structs of ``csrc/bsbn.h`` and the calls.

Equal to ``bayes_sbn.kernels.reference.pooling``.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from bayes_sbn.kernels.loader import NativeLibrary
from bayes_sbn.kernels.native.windows import Maps, Window
from bayes_sbn.kernels.windows import pooled_shape


class MaxPool2dArguments(ctypes.Structure):
    """``struct bsbn_max_pool2d_args``."""

    _fields_ = (
        ("maps", Maps),
        ("window", Window),
        ("words", ctypes.c_void_p),
        ("num_threads", ctypes.c_int64),
        ("ran_isa", ctypes.c_int64),
    )


class SumPool2dArguments(ctypes.Structure):
    """``struct bsbn_sum_pool2d_args``."""

    _fields_ = (
        ("maps", Maps),
        ("window", Window),
        ("sums", ctypes.c_void_p),
        ("num_threads", ctypes.c_int64),
        ("ran_isa", ctypes.c_int64),
    )


def max_pool2d(
    library: NativeLibrary,
    maps: Tensor,
    channels: int,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    num_threads: int | None = None,
) -> Tensor:
    """Words of the largest values; see ``reference.pooling.max_pool2d``."""
    maps = maps.contiguous()
    shape = pooled_shape(maps, kernel, stride, padding)
    words = torch.empty((*shape, maps.shape[3]), dtype=torch.int32)
    arguments = MaxPool2dArguments(
        maps=Maps.of(maps, channels),
        window=Window.of(kernel, stride, (1, 1), padding, shape[1:]),
        words=words.data_ptr(),
        num_threads=num_threads or torch.get_num_threads(),
    )
    library.run("bsbn_max_pool2d", arguments)
    return words


def sum_pool2d(
    library: NativeLibrary,
    maps: Tensor,
    channels: int,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    num_threads: int | None = None,
) -> Tensor:
    """Sums; see ``reference.pooling.sum_pool2d``."""
    maps = maps.contiguous()
    shape = pooled_shape(maps, kernel, stride, padding)
    sums = torch.empty((*shape, channels), dtype=torch.int16)
    arguments = SumPool2dArguments(
        maps=Maps.of(maps, channels),
        window=Window.of(kernel, stride, (1, 1), padding, shape[1:]),
        sums=sums.data_ptr(),
        num_threads=num_threads or torch.get_num_threads(),
    )
    library.run("bsbn_sum_pool2d", arguments)
    return sums
