"""Convolutions by the compiled library: the struct of ``csrc/bsbn.h`` and the call.

Equal to ``bayes_sbn.kernels.reference.convolutions``.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from bayes_sbn.kernels.loader import STATUS_OUT_OF_MEMORY, NativeLibrary
from bayes_sbn.kernels.native.windows import Maps, Window
from bayes_sbn.kernels.windows import output_sizes


class XnorConv2dArguments(ctypes.Structure):
    """``struct bsbn_xnor_conv2d_args``."""

    _fields_ = (
        ("maps", Maps),
        ("window", Window),
        ("weights", ctypes.c_void_p),
        ("dots", ctypes.c_void_p),
        ("units", ctypes.c_int64),
        ("groups", ctypes.c_int64),
        ("num_threads", ctypes.c_int64),
        ("ran_isa", ctypes.c_int64),
    )


def xnor_conv2d(
    library: NativeLibrary,
    maps: Tensor,
    weights: Tensor,
    channels: int,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    num_threads: int | None = None,
) -> Tensor:
    """Sums; see ``reference.convolutions.xnor_conv2d``."""
    maps, weights = maps.contiguous(), weights.contiguous()
    kernel = weights.shape[1:3]
    outputs = output_sizes(maps.shape[1:3], kernel, stride, padding, dilation)
    dots = torch.empty((len(maps), *outputs, len(weights)), dtype=torch.int32)
    arguments = XnorConv2dArguments(
        maps=Maps.of(maps, channels),
        window=Window.of(kernel, stride, dilation, padding[::2], outputs),
        weights=weights.data_ptr(),
        dots=dots.data_ptr(),
        units=len(weights),
        groups=groups,
        num_threads=num_threads or torch.get_num_threads(),
    )
    if library.run("bsbn_xnor_conv2d", arguments, accept=(STATUS_OUT_OF_MEMORY,)):
        raise MemoryError(library.last_error)
    return dots
