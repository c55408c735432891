"""NVRTC, NVIDIA's compiler of CUDA C++ as a library, by ctypes.

Every CUDA build of torch brings it along; it is also the package nvidia-cuda-nvrtc, and a part of
the CUDA toolkit.  It compiles for devices that are not there.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

OPTIONS = ("--std=c++17", "--fmad=false")
"""Beside the architecture: products and sums are rounded one by one, as the definition says."""

STANDARD_HEADERS = {
    "stdint.h": """#pragma once
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
""",
    "cstdint": '#pragma once\n#include "stdint.h"\n',
    "cstring": "#pragma once\nnamespace std { using ::memcpy; }\n",
}
"""What the kernels include of the standard library, which NVRTC has not."""

TOOLKIT = Path("/usr/local/cuda")
"""Where the CUDA toolkit is, unless ``CUDA_HOME`` or ``CUDA_PATH`` says so."""

_NAMES = ("libnvrtc*.so*", "nvrtc64_*.dll")
_SUCCESS = 0


class CompilationError(RuntimeError):
    """The compiler refused the source; the message has its words."""


class Compiler:
    """The library, loaded.

    Args:
        path: of libnvrtc.

    Raises:
        RuntimeError: it cannot be loaded.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        try:
            # it looks for a second library by name, which is found if it has been loaded
            for builtins in sorted(Path(path).parent.glob("libnvrtc-builtins.so.*")):
                ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
            self._library = ctypes.CDLL(str(path))
        except OSError as error:
            raise RuntimeError(f"NVRTC ({path}) cannot be loaded: {error}.") from error
        self._library.nvrtcGetErrorString.restype = ctypes.c_char_p
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._run("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        self.version = f"{major.value}.{minor.value}"

    def architectures(self) -> tuple[int, ...]:
        """What it compiles for: 90 for devices of compute capability 9.0."""
        number = ctypes.c_int()
        self._run("nvrtcGetNumSupportedArchs", ctypes.byref(number))
        found = (ctypes.c_int * number.value)()
        self._run("nvrtcGetSupportedArchs", found)
        return tuple(found)

    def compile(self, main: str, sources: Mapping[str, str], architecture: str) -> bytes:
        """Machine code (a cubin).

        Args:
            main: name of the source to compile.
            sources: texts by name, those that it includes among them.
            architecture: such as ``"sm_90"``.

        Raises:
            CompilationError: the compiler found errors.
        """
        headers = {**STANDARD_HEADERS, **sources}
        names = (ctypes.c_char_p * len(headers))(*(name.encode() for name in headers))
        texts = (ctypes.c_char_p * len(headers))(*(text.encode() for text in headers.values()))
        program = ctypes.c_void_p()
        self._run(
            "nvrtcCreateProgram",
            ctypes.byref(program),
            sources[main].encode(),
            main.encode(),
            len(headers),
            texts,
            names,
        )
        try:
            options = [
                option.encode() for option in (*OPTIONS, f"--gpu-architecture={architecture}")
            ]
            array = (ctypes.c_char_p * len(options))(*options)
            status = self._library.nvrtcCompileProgram(program, len(options), array)
            if status != _SUCCESS:
                raise CompilationError(
                    f"NVRTC {self.version} ({self.path}) cannot compile {main} for {architecture}: "
                    f"{self._library.nvrtcGetErrorString(status).decode()}\n{self._log(program)}"
                )
            return self._bytes("nvrtcGetCUBIN", program)
        finally:
            self._run("nvrtcDestroyProgram", ctypes.byref(program))

    def _log(self, program: ctypes.c_void_p) -> str:
        return self._bytes("nvrtcGetProgramLog", program).rstrip(b"\0\n").decode(errors="replace")

    def _bytes(self, function: str, program: ctypes.c_void_p) -> bytes:
        """What a pair of functions of a program gives: how many bytes, and these."""
        size = ctypes.c_size_t()
        self._run(f"{function}Size", program, ctypes.byref(size))
        found = ctypes.create_string_buffer(size.value)
        self._run(function, program, found)
        return found.raw

    def _run(self, function: str, *arguments: object) -> None:
        status = getattr(self._library, function)(*arguments)
        if status != _SUCCESS:
            words = self._library.nvrtcGetErrorString(status)
            raise RuntimeError(f"NVRTC's {function} failed: {words.decode()} ({self.path}).")


def find_compiler(cuda: str | None) -> Compiler:
    """NVRTC, from the first place that has it: torch's libraries, the toolkit, the system.

    Args:
        cuda: the version of CUDA that torch was built with, such as ``"13.0"``, whose own is
            preferred.

    Raises:
        RuntimeError: there is none, or none that can be loaded.
    """
    refused = []
    for path in _candidates(cuda):
        try:
            return Compiler(path)
        except RuntimeError as error:
            refused.append(str(error))
    major = (cuda or "13").partition(".")[0]
    package = "nvidia-cuda-nvrtc" if int(major) >= 13 else f"nvidia-cuda-nvrtc-cu{major}"
    words = (
        "the CUDA kernels are compiled when they are first used, and NVRTC, which does that, is "
        "not here.",
        *refused,
        f"Write `pip install {package}`, or install a CUDA build of torch, which brings it along.",
    )
    raise RuntimeError(" ".join(words))


def _candidates(cuda: str | None) -> Iterator[Path | str]:
    """Where NVRTC may be, the most fitting first."""
    major = None if cuda is None else cuda.partition(".")[0]
    folders = [
        folder
        for entry in sys.path
        for folder in (*Path(entry or ".").glob("nvidia/*/*"), Path(entry or ".") / "torch" / "lib")
        if folder.name in ("lib", "bin", "x86_64")
    ]
    folders += [Path(sys.prefix) / "lib", Path(sys.prefix) / "Library" / "bin"]  # conda
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    for home in (*map(Path, homes), TOOLKIT):
        folders += [home / "lib64", home / "bin"]
    found = [
        path
        for folder in folders
        for name in _NAMES
        for path in sorted(folder.glob(name))
        if "builtins" not in path.name and ".alt." not in path.name
    ]
    yield from sorted(found, key=lambda path: _major(path) != major)  # stable
    system = ctypes.util.find_library("nvrtc")
    if system is not None:
        yield system


def _major(path: Path) -> str | None:
    """The major version in a file's name: libnvrtc.so.13, libnvrtc-672ee683.so.11.2."""
    found = re.search(r"\.so\.(\d+)|nvrtc64_(\d\d)", path.name)
    return None if found is None else found[1] or found[2]
