"""Kernels on packed ±1 values, and the uniforms of training: the same bits on every backend.

For a family of operations ``f``: ``f.py`` has the functions to call and their torch operators,
``reference/f.py`` their definition in plain torch, ``native/f.py`` the calls into the compiled
library, and ``csrc/`` its source.  :func:`backend_info` says what runs.
"""

from bayes_sbn.bits import PackedBits
from bayes_sbn.kernels.loader import BackendInfo, backend_info
from bayes_sbn.kernels.packing import pack, popcount, unpack
from bayes_sbn.kernels.uniforms import draw_uniforms, uniforms_like

__all__ = [
    "BackendInfo",
    "PackedBits",
    "backend_info",
    "draw_uniforms",
    "pack",
    "popcount",
    "uniforms_like",
    "unpack",
]
