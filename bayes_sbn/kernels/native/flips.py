"""Sums of exact flips by the compiled library: the struct of ``csrc/bsbn.h`` and the call.

Equal to ``bayes_sbn.kernels.reference.flips`` up to rounding.  What depends on two of the three
indices of a flip is computed here, in tensors of the sizes of the arguments; the library does what
depends on all three.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from bayes_sbn.kernels.loader import NativeLibrary
from bayes_sbn.kernels.reference import flips as reference
from bayes_sbn.noise import get_noise

LAWS = {"gaussian": 2, "laplace": 3, "uniform": 4, "triangular": 5}
LOGISTIC, SCALED_LOGISTIC = 0, 1
_VALUE_TYPES = {torch.float32: 0, torch.float64: 1}
LARGEST_STEP = {torch.float32: 64.0, torch.float64: 600.0}
"""The largest ``2 |s c|`` of logistic noise whose exponential is in range in every tail of F."""
_LARGEST_RECIPROCAL = {torch.float32: 1e30, torch.float64: 1e300}


class FlipSumsArguments(ctypes.Structure):
    """``struct bsbn_flip_sums_args``."""

    _fields_ = (
        ("steps", ctypes.c_void_p),
        ("left", ctypes.c_void_p),
        ("right", ctypes.c_void_p),
        ("gain", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("signs", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
        ("law", ctypes.c_int64),
        ("value_type", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("step_batch", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("terms", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("num_threads", ctypes.c_int64),
        ("ran_isa", ctypes.c_int64),
    )


def flip_sums(
    library: NativeLibrary,
    a: Tensor,
    g: Tensor,
    c: Tensor,
    x: Tensor,
    scale: Tensor,
    noise: str,
    num_threads: int | None = None,
) -> Tensor:
    """Sums of flips; see ``reference.flips.flip_sums``, which also does what is not compiled.

    That is: types other than float32 and float64, and steps that are not finite or, for logistic
    noise, beyond :data:`LARGEST_STEP`.
    """
    if not is_compiled(c, scale, noise):
        return reference.flip_sums(a, g, c, x, scale, noise)
    if noise == "logistic":
        lower, upper = torch.sigmoid(-a), torch.sigmoid(a)
        of_terms = (lower, upper, g * lower * upper)
        law = LOGISTIC if bool((scale == 1).all()) else SCALED_LOGISTIC
    else:
        of_terms, law = (a, 0.5 * get_noise(noise).mean_sign(a), g), LAWS[noise]
    steps = _reciprocals(c) if law == LOGISTIC else c
    left, right, gain = (tensor.contiguous() for tensor in of_terms)
    steps, scale, signs = steps.contiguous(), scale.contiguous(), x.contiguous()
    sums = torch.empty_like(signs)
    arguments = FlipSumsArguments(
        steps=steps.data_ptr(),
        left=left.data_ptr(),
        right=right.data_ptr(),
        gain=gain.data_ptr(),
        scale=scale.data_ptr(),
        signs=signs.data_ptr(),
        sums=sums.data_ptr(),
        law=law,
        value_type=_VALUE_TYPES[x.dtype],
        batch=x.shape[0],
        step_batch=c.shape[0],
        rows=x.shape[1],
        terms=c.shape[1],
        columns=x.shape[2],
        num_threads=num_threads or torch.get_num_threads(),
    )
    library.run("bsbn_flip_sums", arguments)
    return sums


def is_compiled(c: Tensor, scale: Tensor, noise: str) -> bool:
    """Whether the library has code for flips by these steps."""
    if c.dtype not in _VALUE_TYPES:
        return False
    if not (c.numel() and scale.numel()):
        return True
    largest = 2 * _largest_size(scale) * _largest_size(c)
    bound = LARGEST_STEP[c.dtype] if noise == "logistic" else torch.finfo(c.dtype).max
    return largest <= bound  # false for NaN


def _largest_size(tensor: Tensor) -> float:
    """The largest absolute value, or NaN, without a copy of the tensor."""
    low, high = torch.aminmax(tensor)
    return float(torch.maximum(-low, high))


def _reciprocals(c: Tensor) -> Tensor:
    """``sign(c) / (e^{2|c|} - 1)``; a step of 0 becomes one of 1e-30, to have a finite one."""
    size = c.abs().mul_(2).expm1_().reciprocal_().clamp_max_(_LARGEST_RECIPROCAL[c.dtype])
    return size.copysign_(c)
