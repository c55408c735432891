"""uniforms by the compiled library: the struct of ``csrc/bsbn.h`` and the call.

Equal to ``bayes_sbn.kernels.reference.uniforms``.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from bayes_sbn.kernels.loader import NativeLibrary

VALUE_TYPES = {torch.float32: 0, torch.float64: 1}


class UniformsArguments(ctypes.Structure):
    """``struct bsbn_uniforms_args``."""

    _fields_ = (
        ("values", ctypes.c_void_p),
        ("value_type", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("seed", ctypes.c_int64),
        ("num_threads", ctypes.c_int64),
        ("ran_isa", ctypes.c_int64),
    )


def uniforms(
    library: NativeLibrary,
    shape: torch.Size,
    dtype: torch.dtype,
    seed: int,
    num_threads: int | None = None,
) -> Tensor:
    """Uniforms of a shape, float32 or float64; see ``reference.uniforms.uniforms_like``."""
    values = torch.empty(shape, dtype=dtype)
    arguments = UniformsArguments(
        values=values.data_ptr(),
        value_type=VALUE_TYPES[dtype],
        length=values.numel(),
        seed=seed,
        num_threads=num_threads or torch.get_num_threads(),
    )
    library.run("bsbn_uniforms", arguments)
    return values
