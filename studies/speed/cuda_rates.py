"""Rates of the operations that the CUDA kernels consist of, in one clock of a multiprocessor.

The source is ``cuda_rates.cu``; it includes that of the kernels, and is compiled with them.
"""

import ctypes
from pathlib import Path

import torch

from bayes_sbn.kernels.cuda.compiler import Compiler
from bayes_sbn.kernels.cuda.device import sources
from bayes_sbn.kernels.cuda.driver import Module
from bayes_sbn.kernels.cuda.ensemble import DevicePlanes, LayerArguments

SOURCE = Path(__file__).parent / "cuda_rates.cu"
KERNELS = ("rate_products", "rate_popcounts", "rate_random_words", "rate_weights")
THREADS = 1024
WARPS = THREADS // 32

EACH_TURN = {
    "bit multiplications": ("rate_products", WARPS * 2 * 16 * 8 * 256),
    "popcounts of words": ("rate_popcounts", THREADS * 8),
    "random bits": ("rate_random_words", THREADS * 8 * 32),
    "weights drawn": ("rate_weights", THREADS * 32),
}
"""What is counted: by which kernel, and how many a block does in a turn."""


class RateArguments(ctypes.Structure):
    """``struct RateArguments``."""

    _fields_ = (
        ("clocks", ctypes.c_void_p),
        ("sink", ctypes.c_void_p),
        ("turns", ctypes.c_int64),
        ("layer", LayerArguments),
    )


def compiled_rates(compiler: Compiler, architecture: str) -> bytes:
    """Machine code of the kernels of this file."""
    texts = {**sources(), SOURCE.name: SOURCE.read_text(encoding="utf-8")}
    return compiler.compile(SOURCE.name, texts, architecture)


def rates(
    module: Module,
    planes: DevicePlanes,
    units: int,
    inputs: int,
    *,
    device: torch.device,
    blocks: int,
    turns: int,
    stream: int,
) -> dict[str, float]:
    """How many a multiprocessor does in a clock, by name; the median over the blocks.

    Args:
        module: the kernels, loaded.
        planes: of a layer, whose weights are drawn.
        units: of the layer.
        inputs: of the layer.
        device: where the planes are.
        blocks: as many as there are multiprocessors.
        turns: how often each thing is done.
        stream: in whose order.
    """
    clocks = torch.zeros(blocks, dtype=torch.int64, device=device)
    sink = torch.zeros(blocks * THREADS, dtype=torch.int32, device=device)
    layer = LayerArguments(
        hot=planes.hot.data_ptr(), cold=planes.cold.data_ptr(), units=units, inputs=inputs, key0=1
    )
    arguments = RateArguments(clocks.data_ptr(), sink.data_ptr(), turns, layer)
    found = {}
    for name, (kernel, number) in EACH_TURN.items():
        for _ in range(2):  # the first time warms up
            module.launch(kernel, (blocks, 1, 1), THREADS, arguments, stream)
        found[name] = number * turns / float(clocks.to(torch.float64).median())
    return found
