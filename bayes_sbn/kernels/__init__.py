"""Kernels on packed ±1 values, products, draws, sums of flips, and the uniforms of training.

Bits and uniforms are the same on every backend, sums are so up to rounding.  For a family of
operations ``f``: ``f.py`` has the functions to call and their torch operators, ``reference/f.py``
their definition in plain torch, ``native/f.py`` the calls into the compiled library, and ``csrc/``
its source; ``cuda/`` compiles and runs kernels of ensembles on a CUDA device.  :func:`backend_info`
says what runs on the CPU.
"""

from bayes_sbn.bits import PackedBits
from bayes_sbn.kernels.flips import flip_sums
from bayes_sbn.kernels.layers import PackedProbabilities, xnor_linear
from bayes_sbn.kernels.loader import BackendInfo, backend_info
from bayes_sbn.kernels.packing import pack, popcount, unpack
from bayes_sbn.kernels.uniforms import draw_uniforms, uniforms_like

__all__ = [
    "BackendInfo",
    "PackedBits",
    "PackedProbabilities",
    "backend_info",
    "draw_uniforms",
    "flip_sums",
    "pack",
    "popcount",
    "uniforms_like",
    "unpack",
    "xnor_linear",
]
