"""Parts of a layer by the compiled library: the structs of ``csrc/bsbn.h`` and the calls.

Equal to ``bayes_sbn.kernels.reference.layers``.
"""

from __future__ import annotations

import ctypes

import numpy as np
import torch
from torch import Tensor

from bayes_sbn.bits import num_words
from bayes_sbn.kernels.loader import STATUS_OUT_OF_MEMORY, NativeLibrary


class XnorLinearArguments(ctypes.Structure):
    """``struct bsbn_xnor_linear_args``."""

    _fields_ = (
        ("rows", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
        ("dots", ctypes.c_void_p),
        ("num_rows", ctypes.c_int64),
        ("units", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("num_threads", ctypes.c_int64),
        ("ran_isa", ctypes.c_int64),
    )


class DrawWeightsArguments(ctypes.Structure):
    """``struct bsbn_draw_weights_args``."""

    _fields_ = (
        ("hot", ctypes.c_void_p),
        ("cold", ctypes.c_void_p),
        ("draws", ctypes.c_void_p),
        ("words", ctypes.c_void_p),
        ("num_draws", ctypes.c_int64),
        ("site", ctypes.c_int64),
        ("units", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("key0", ctypes.c_int64),
        ("key1", ctypes.c_int64),
        ("num_threads", ctypes.c_int64),
        ("ran_isa", ctypes.c_int64),
    )


def xnor_linear(
    library: NativeLibrary,
    rows: Tensor,
    weights: Tensor,
    length: int,
    num_threads: int | None = None,
) -> Tensor:
    """Inner products; see ``reference.layers.xnor_linear``."""
    rows, weights = rows.contiguous(), weights.contiguous()
    dots = torch.empty((*rows.shape[:-1], len(weights)), dtype=torch.int32)
    arguments = XnorLinearArguments(
        rows=rows.data_ptr(),
        weights=weights.data_ptr(),
        dots=dots.data_ptr(),
        num_rows=rows.shape[:-1].numel(),
        units=len(weights),
        length=length,
        num_threads=num_threads or torch.get_num_threads(),
    )
    if library.run("bsbn_xnor_linear", arguments, accept=(STATUS_OUT_OF_MEMORY,)):
        raise MemoryError(library.last_error)
    return dots


def draw_weights(
    library: NativeLibrary,
    hot: Tensor,
    cold: Tensor,
    units: int,
    inputs: int,
    draws: list[int],
    site: int,
    key0: int,
    key1: int,
    num_threads: int | None = None,
) -> Tensor:
    """Packed weights of draws; see ``reference.layers.draw_weights``."""
    hot, cold = hot.contiguous(), cold.contiguous()
    indices = np.array(draws, np.int64)
    words = torch.empty((len(indices), units, num_words(inputs)), dtype=torch.int32)
    arguments = DrawWeightsArguments(
        hot=hot.data_ptr(),
        cold=cold.data_ptr(),
        draws=indices.ctypes.data,
        words=words.data_ptr(),
        num_draws=len(indices),
        site=site,
        units=units,
        inputs=inputs,
        key0=key0,
        key1=key1,
        num_threads=num_threads or torch.get_num_threads(),
    )
    if library.run("bsbn_draw_weights", arguments, accept=(STATUS_OUT_OF_MEMORY,)):
        raise MemoryError(library.last_error)
    return words
