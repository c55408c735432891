"""Kernels on packed ±1 values, products, convolutions, draws, sums of flips, and uniforms.

Bits and uniforms are the same on every backend, sums are so up to rounding.  For a family of
operations ``f``: ``f.py`` has the functions to call and their torch operators, ``reference/f.py``
their definition in plain torch, ``native/f.py`` the calls into the compiled library, and ``csrc/``
its source; ``cuda/`` compiles and runs kernels of ensembles on a CUDA device.  :func:`backend_info`
says what runs on the CPU.
"""

from bayes_sbn.bits import PackedBits
from bayes_sbn.kernels.convolutions import xnor_conv2d
from bayes_sbn.kernels.flips import flip_sums
from bayes_sbn.kernels.fused_linear import (
    integer_linear,
    linear_logits,
    sign_linear,
    stochastic_linear,
)
from bayes_sbn.kernels.layers import PackedProbabilities, xnor_linear
from bayes_sbn.kernels.loader import BackendInfo, backend_info
from bayes_sbn.kernels.networks import PackedLayer, network_logits
from bayes_sbn.kernels.packing import pack, popcount, unpack
from bayes_sbn.kernels.pooling import max_pool2d, sum_pool2d
from bayes_sbn.kernels.uniforms import draw_uniforms, uniforms_like

__all__ = [
    "BackendInfo",
    "PackedBits",
    "PackedLayer",
    "PackedProbabilities",
    "backend_info",
    "draw_uniforms",
    "flip_sums",
    "integer_linear",
    "linear_logits",
    "max_pool2d",
    "network_logits",
    "pack",
    "popcount",
    "sign_linear",
    "stochastic_linear",
    "sum_pool2d",
    "uniforms_like",
    "unpack",
    "xnor_conv2d",
    "xnor_linear",
]
