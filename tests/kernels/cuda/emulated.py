"""A CUDA device that is not there: the kernels' own source, compiled for the CPU.

``emulator/`` has the words of CUDA C++ that the kernels use, fibers for the threads of a block, and
the driver's functions, so that all of the package's code but the allocation of memory runs as it
does on a device.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from bayes_sbn.kernels.cuda.driver import Driver
from bayes_sbn.kernels.cuda.ensemble import KERNELS, DevicePlanes, integer_logits
from bayes_sbn.kernels.native.ensemble import PlanesOfBlocks

CSRC = Path(__file__).parents[3] / "bayes_sbn" / "kernels" / "csrc"
EMULATOR = Path(__file__).parent / "emulator"
COMPILER = shutil.which(os.environ.get("CXX", "g++")) if sys.platform == "linux" else None
IMAGE = b"emulated"


def build(folder: Path, changes: Mapping[str, tuple[str, str]] | None = None, *flags: str) -> Path:
    """Compiles the emulator with the kernels.

    Args:
        folder: where everything goes.
        changes: by the name of a source file, words of it and what stands in their place.
        flags: further ones of the compiler.
    """
    source = folder / "csrc"
    shutil.copytree(CSRC, source)
    for name, (old, new) in (changes or {}).items():
        text = (source / name).read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        (source / name).write_text(text.replace(old, new))
    library = folder / "libemulated.so"
    command = [
        *(COMPILER, "-std=c++17", "-O1", "-ffp-contract=off", "-fPIC", "-shared"),
        # a fortified longjmp refuses the stacks of fibers
        *("-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=0", *flags),
        *(f"-I{EMULATOR}", f"-I{source}", f"-I{source / 'cuda'}", "-include", "device_words.h"),
        *("-o", str(library), str(EMULATOR / "driver.cpp"), str(EMULATOR / "blocks.cpp")),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return library


class EmulatedDevice:
    """What ``CudaDevice`` is, without one.

    Args:
        library: of :func:`build`.
        processors: how many it says that it has.
    """

    torch_device = torch.device("cpu")

    def __init__(self, library: Path, processors: int = 1) -> None:
        self.processors = processors
        self.driver = Driver(str(library))
        self.context = self.driver.context(0)
        self.driver.enter(self.context)
        self.module = self.driver.load(IMAGE, KERNELS)
        self.launches: list[tuple[str, tuple[int, int, int]]] = []

    def launch(
        self, kernel: str, grid: tuple[int, int, int], threads: int, arguments: ctypes.Structure
    ) -> None:
        self.launches.append((kernel, grid))
        self.module.launch(kernel, grid, threads, arguments, 0)


def by_device(device, network, inputs, *, words=None, **options):
    """Integer logits by the CUDA kernels."""
    weights = words or [
        DevicePlanes(PlanesOfBlocks.of(layer), device.torch_device) for layer in network.layers
    ]
    return integer_logits(device, network, weights, inputs, **options)
