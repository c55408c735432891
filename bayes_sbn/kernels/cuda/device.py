"""A CUDA device on which the kernels of ``csrc/cuda`` run: found, compiled for, loaded, launched.

The device, its memory and its streams are torch's; so is the choice of the device, the current one.
"""

from __future__ import annotations

import ctypes
import re
from functools import cache
from pathlib import Path

import torch

from bayes_sbn.kernels.cuda.cache import cache_key, cached
from bayes_sbn.kernels.cuda.compiler import OPTIONS, Compiler, find_compiler
from bayes_sbn.kernels.cuda.driver import Driver, library_name
from bayes_sbn.kernels.cuda.ensemble import KERNELS

MAIN = "ensemble.cu"
LEAST_CAPABILITY = (8, 0)
"""The first whose tensor cores multiply bits with ``.and.popc``."""


def sources() -> dict[str, str]:
    """The kernels' source: that of the kernels and what it includes, by name."""
    csrc = Path(__file__).parents[1] / "csrc"
    texts: dict[str, str] = {}
    waiting = [MAIN]
    while waiting:
        name = waiting.pop()
        if name not in texts:
            path = csrc / "cuda" / name
            text = (path if path.exists() else csrc / name).read_text(encoding="utf-8")
            texts[name] = text
            waiting += re.findall(r'^#include "(.+)"$', text, re.MULTILINE)
    return texts


def compiled(compiler: Compiler, architecture: str) -> bytes:
    """Machine code of the kernels, from the cache if it has it."""
    texts = sources()
    key = cache_key(texts, architecture, compiler.version, OPTIONS)
    return cached(key, lambda: compiler.compile(MAIN, texts, architecture))


class CudaDevice:
    """A device with the kernels loaded.

    Args:
        index: torch's number of it.
        driver: the driver of the device.
        image: machine code for it.
    """

    def __init__(self, index: int, driver: Driver, image: bytes) -> None:
        self.torch_device = torch.device("cuda", index)
        self.processors = int(torch.cuda.get_device_properties(index).multi_processor_count)
        self._driver = driver
        self._context = driver.context(index)
        driver.enter(self._context)
        self._module = driver.load(image, KERNELS)

    def launch(
        self, kernel: str, grid: tuple[int, int, int], threads: int, arguments: ctypes.Structure
    ) -> None:
        """Starts a kernel behind what torch's current stream does."""
        self._driver.enter(self._context)  # a thread begins without one
        stream = torch.cuda.current_stream(self.torch_device).cuda_stream
        self._module.launch(kernel, grid, threads, arguments, stream)


def current_device(call: str) -> CudaDevice:
    """Torch's current device, ready.

    Args:
        call: to name in errors.

    Raises:
        RuntimeError: there is no such device, or no compiler for it; the message says what is
            missing.
    """
    asked = f"{call[:-1]}backend='cuda')"
    instead = "write backend='auto', which has the same bits"
    if torch.version.hip is not None or not torch.cuda.is_available():
        build = f"torch {torch.__version__}"
        if torch.version.cuda is None:
            build += ", a build without CUDA,"
        raise RuntimeError(
            f"{asked}: {build} finds no CUDA device. On a machine with an NVIDIA GPU install a "
            f"CUDA build of torch; else {instead}."
        )
    index = torch.cuda.current_device()
    capability = torch.cuda.get_device_capability(index)
    if capability < LEAST_CAPABILITY:
        raise RuntimeError(
            f"{asked}: the kernels need compute capability 8.0 or more, and device {index} "
            f"({torch.cuda.get_device_name(index)}) has {capability[0]}.{capability[1]}. Choose "
            f"another by torch.cuda.set_device(), or {instead}."
        )
    try:
        return _opened(index, capability)
    except RuntimeError as error:
        raise RuntimeError(f"{asked}: {error} Or {instead}.") from error


@cache
def _opened(index: int, capability: tuple[int, int]) -> CudaDevice:
    compiler = find_compiler(torch.version.cuda)
    number = 10 * capability[0] + capability[1]
    if number not in compiler.architectures():
        raise RuntimeError(
            f"NVRTC {compiler.version} ({compiler.path}) does not know compute capability "
            f"{capability[0]}.{capability[1]}. Install a newer build of torch, or of NVRTC."
        )
    return CudaDevice(index, Driver(library_name()), compiled(compiler, f"sm_{number}"))
