"""Packed maps and windows as the compiled library takes them: structs of ``csrc/bsbn.h``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from torch import Tensor


class Maps(ctypes.Structure):
    """``struct bsbn_maps``."""

    _fields_ = (
        ("words", ctypes.c_void_p),
        ("batch", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("channels", ctypes.c_int64),
    )

    @classmethod
    def of(cls, words: Tensor, channels: int) -> Maps:
        """Maps of contiguous words, which must outlive the struct."""
        return cls(words.data_ptr(), *words.shape[:3], channels)


class Window(ctypes.Structure):
    """``struct bsbn_window``."""

    _fields_ = (
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("stride_height", ctypes.c_int64),
        ("stride_width", ctypes.c_int64),
        ("dilation_height", ctypes.c_int64),
        ("dilation_width", ctypes.c_int64),
        ("top", ctypes.c_int64),
        ("left", ctypes.c_int64),
        ("out_height", ctypes.c_int64),
        ("out_width", ctypes.c_int64),
    )

    @classmethod
    def of(
        cls,
        kernel: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
        before: Sequence[int],
        outputs: Sequence[int],
    ) -> Window:
        """A window; each argument is down and across."""
        return cls(*kernel, *stride, *dilation, *before, *outputs)
