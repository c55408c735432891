"""Class probabilities by the compiled library: the struct of ``csrc/bsbn.h`` and the call.

Equal to ``softmax64`` of ``bayes_sbn.kernels.reference.network``.
"""

from __future__ import annotations

import ctypes

import numpy as np

from bayes_sbn.kernels.loader import NativeLibrary
from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.sampling import Int64


class ProbabilitiesArguments(ctypes.Structure):
    """``struct bsbn_probabilities_args``."""

    _fields_ = (
        ("dots", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("probabilities", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("classes", ctypes.c_int64),
        ("num_threads", ctypes.c_int64),
    )


def probabilities(
    library: NativeLibrary, dots: Int64, scale: Float64, bias: Float64, num_threads: int
) -> Float64:
    """The softmax of ``scale * dot + bias``, float64, of the shape of the dots (..., classes)."""
    dots = np.ascontiguousarray(dots)
    scale, bias = np.ascontiguousarray(scale), np.ascontiguousarray(bias)
    result = np.empty(dots.shape, np.float64)
    arguments = ProbabilitiesArguments(
        dots=dots.ctypes.data,
        scale=scale.ctypes.data,
        bias=bias.ctypes.data,
        probabilities=result.ctypes.data,
        rows=dots.size // dots.shape[-1],
        classes=dots.shape[-1],
        num_threads=num_threads,
    )
    library.run("bsbn_probabilities", arguments)
    return result
