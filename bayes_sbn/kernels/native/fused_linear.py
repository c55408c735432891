"""One dense layer alone by the compiled library: the structs of ``csrc/bsbn.h`` and the calls.

Equal to ``bayes_sbn.kernels.reference.fused_linear``.  The calls return None where scale or bias is
not finite, and where sums of 16-bit inputs may leave 32 bits.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.bits import num_words
from bayes_sbn.kernels.loader import (
    STATUS_NOT_FINITE,
    STATUS_OK,
    STATUS_OUT_OF_MEMORY,
    STATUS_SUMS_TOO_LARGE,
    NativeLibrary,
)
from bayes_sbn.kernels.native.ensemble import LAWS, LayerArguments
from bayes_sbn.philox import fold_stream

_ROWS = (
    ("layer", ctypes.c_void_p),
    ("rows", ctypes.c_void_p),
    ("numbers", ctypes.c_void_p),
)


class StochasticLinearArguments(ctypes.Structure):
    """``struct bsbn_stochastic_linear_args``."""

    _fields_ = (
        *_ROWS,
        ("words", ctypes.c_void_p),
        ("num_rows", ctypes.c_int64),
        ("first_row", ctypes.c_int64),
        ("draw", ctypes.c_int64),
        ("key0", ctypes.c_int64),
        ("key1", ctypes.c_int64),
        ("is_shared", ctypes.c_int64),
        ("num_threads", ctypes.c_int64),
        ("ran_isa", ctypes.c_int64),
    )


class SignLinearArguments(ctypes.Structure):
    """``struct bsbn_sign_linear_args``."""

    _fields_ = (
        *_ROWS,
        ("words", ctypes.c_void_p),
        ("num_rows", ctypes.c_int64),
        ("num_threads", ctypes.c_int64),
        ("ran_isa", ctypes.c_int64),
    )


class LinearLogitsArguments(ctypes.Structure):
    """``struct bsbn_linear_logits_args``."""

    _fields_ = (
        *_ROWS,
        ("logits", ctypes.c_void_p),
        ("num_rows", ctypes.c_int64),
        ("num_threads", ctypes.c_int64),
        ("ran_isa", ctypes.c_int64),
    )


class IntegerLinearArguments(ctypes.Structure):
    """``struct bsbn_integer_linear_args``."""

    _fields_ = (
        ("numbers", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
        ("dots", ctypes.c_void_p),
        ("num_rows", ctypes.c_int64),
        ("units", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("num_threads", ctypes.c_int64),
        ("ran_isa", ctypes.c_int64),
    )


def stochastic_linear(
    library: NativeLibrary,
    rows: Tensor,
    weights: Tensor,
    cold: Tensor | None,
    scale: Tensor,
    bias: Tensor,
    inputs: int,
    noise: str,
    noise_scale: float,
    is_shared: bool,
    seed: int,
    stream: int,
    draw: int,
    site: int,
    first_row: int,
    num_threads: int | None = None,
) -> Tensor | None:
    """Packed signs with noise; see ``reference.fused_linear.stochastic_linear``."""
    rows, weights, scale, bias = (t.contiguous() for t in (rows, weights, scale, bias))
    cold = None if cold is None else cold.contiguous()
    key = fold_stream(seed % 2**64, stream % 2**64)
    layer = LayerArguments(
        hot=None if cold is None else weights.data_ptr(),
        cold=None if cold is None else cold.data_ptr(),
        words=weights.data_ptr() if cold is None else None,
        site=site,
        law=LAWS[noise],
        noise_scale=noise_scale,
        **_units(scale, bias, inputs),
    )
    words = _words(rows, len(scale))
    arguments = StochasticLinearArguments(
        layer=ctypes.addressof(layer),
        words=words.data_ptr(),
        first_row=first_row,
        draw=draw,
        key0=key[0],
        key1=key[1],
        is_shared=is_shared,
        **_rows(rows, num_threads),
    )
    return words if _fits(library, "bsbn_stochastic_linear", arguments) else None


def sign_linear(
    library: NativeLibrary,
    rows: Tensor,
    weights: Tensor,
    scale: Tensor,
    bias: Tensor,
    inputs: int,
    num_threads: int | None = None,
) -> Tensor | None:
    """Packed signs; see ``reference.fused_linear.sign_linear``."""
    rows, weights, scale, bias = (t.contiguous() for t in (rows, weights, scale, bias))
    layer = LayerArguments(words=weights.data_ptr(), **_units(scale, bias, inputs))
    words = _words(rows, len(scale))
    arguments = SignLinearArguments(
        layer=ctypes.addressof(layer), words=words.data_ptr(), **_rows(rows, num_threads)
    )
    return words if _fits(library, "bsbn_sign_linear", arguments) else None


def linear_logits(
    library: NativeLibrary,
    rows: Tensor,
    weights: Tensor,
    scale: Tensor,
    bias: Tensor,
    inputs: int,
    num_threads: int | None = None,
) -> Tensor | None:
    """Logits; see ``reference.fused_linear.linear_logits``."""
    rows, weights, scale, bias = (t.contiguous() for t in (rows, weights, scale, bias))
    layer = LayerArguments(words=weights.data_ptr(), **_units(scale, bias, inputs))
    logits = torch.empty((*rows.shape[:-1], len(scale)), dtype=torch.float64)
    arguments = LinearLogitsArguments(
        layer=ctypes.addressof(layer), logits=logits.data_ptr(), **_rows(rows, num_threads)
    )
    return logits if _fits(library, "bsbn_linear_logits", arguments) else None


def integer_linear(
    library: NativeLibrary, rows: Tensor, weights: Tensor, num_threads: int | None = None
) -> Tensor | None:
    """Dots; see ``reference.fused_linear.integer_linear``."""
    rows, weights = rows.contiguous(), weights.contiguous()
    dots = torch.empty((*rows.shape[:-1], len(weights)), dtype=torch.int64)
    arguments = IntegerLinearArguments(
        numbers=rows.data_ptr(),
        weights=weights.data_ptr(),
        dots=dots.data_ptr(),
        num_rows=rows.shape[:-1].numel(),
        units=len(weights),
        inputs=rows.shape[-1],
        num_threads=num_threads or torch.get_num_threads(),
    )
    return dots if _fits(library, "bsbn_integer_linear", arguments) else None


def _units(scale: Tensor, bias: Tensor, inputs: int) -> dict[str, Any]:
    return {
        "scale": scale.data_ptr(),
        "bias": bias.data_ptr(),
        "units": len(scale),
        "inputs": inputs,
    }


def _rows(rows: Tensor, num_threads: int | None) -> dict[str, Any]:
    return {
        "numbers" if rows.dtype == torch.int16 else "rows": rows.data_ptr(),
        "num_rows": rows.shape[:-1].numel(),
        "num_threads": num_threads or torch.get_num_threads(),
    }


def _words(rows: Tensor, units: int) -> Tensor:
    return torch.empty((*rows.shape[:-1], num_words(units)), dtype=torch.int32)


def _fits(library: NativeLibrary, function: str, arguments: ctypes.Structure) -> bool:
    """Runs a function, and says whether its numbers were such that it could."""
    accepted = (STATUS_OUT_OF_MEMORY, STATUS_SUMS_TOO_LARGE, STATUS_NOT_FINITE)
    status = library.run(function, arguments, accept=accepted)
    if status == STATUS_OUT_OF_MEMORY:
        raise MemoryError(library.last_error)
    return status == STATUS_OK
