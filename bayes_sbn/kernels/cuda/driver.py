"""The CUDA driver by ctypes: compiled kernels loaded and launched.

``libcuda`` comes with the driver of the GPU; memory and streams are torch's.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence

_SUCCESS = 0


def library_name() -> str:
    """What the driver's library is called."""
    return "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


class Driver:
    """The driver's library.

    Args:
        library: its name or path.

    Raises:
        RuntimeError: if it is not there.
    """

    def __init__(self, library: str) -> None:
        try:
            self._library = ctypes.CDLL(library)
        except OSError as error:
            raise RuntimeError(
                f"the CUDA driver {library} cannot be loaded ({error}). Install the driver of the "
                "NVIDIA GPU."
            ) from error
        pointer, number = ctypes.c_void_p, ctypes.c_uint
        self._library.cuModuleLoadData.argtypes = (ctypes.POINTER(pointer), ctypes.c_char_p)
        self._library.cuModuleGetFunction.argtypes = (
            ctypes.POINTER(pointer),
            pointer,
            ctypes.c_char_p,
        )
        self._library.cuLaunchKernel.argtypes = (
            pointer,
            *(number,) * 7,
            pointer,
            ctypes.POINTER(pointer),
            pointer,
        )
        self._library.cuDevicePrimaryCtxRetain.argtypes = (ctypes.POINTER(pointer), ctypes.c_int)
        self._library.cuCtxSetCurrent.argtypes = (pointer,)

    def run(self, function: str, *arguments: object) -> None:
        """Calls a function.

        Raises:
            RuntimeError: it fails; the message has the driver's words.
        """
        status = int(getattr(self._library, function)(*arguments))
        if status != _SUCCESS:
            raise RuntimeError(
                f"The CUDA driver's {function} failed: {self._words('cuGetErrorName', status)} "
                f"({status}), {self._words('cuGetErrorString', status)}."
            )

    def context(self, device: int) -> ctypes.c_void_p:
        """The context that torch uses on a device."""
        handle, context = ctypes.c_int(), ctypes.c_void_p()
        self.run("cuInit", ctypes.c_uint(0))
        self.run("cuDeviceGet", ctypes.byref(handle), ctypes.c_int(device))
        self.run("cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
        return context

    def enter(self, context: ctypes.c_void_p) -> None:
        """Makes a context that of this thread."""
        self.run("cuCtxSetCurrent", context)

    def load(self, image: bytes, functions: Sequence[str]) -> Module:
        """Compiled kernels, in the context of this thread.

        Args:
            image: what the compiler made.
            functions: names of the kernels.
        """
        module = ctypes.c_void_p()
        self.run("cuModuleLoadData", ctypes.byref(module), image)
        kernels = {}
        for name in functions:
            kernel = ctypes.c_void_p()
            self.run("cuModuleGetFunction", ctypes.byref(kernel), module, name.encode())
            kernels[name] = kernel
        return Module(self, kernels)

    def _words(self, function: str, status: int) -> str:
        """What the driver says about a status."""
        words = ctypes.c_char_p()
        if getattr(self._library, function)(ctypes.c_int(status), ctypes.byref(words)):
            return "an unknown error"
        return (words.value or b"").decode(errors="replace")


class Module:
    """Kernels that were loaded.

    Args:
        driver: by which.
        kernels: their handles by name.
    """

    def __init__(self, driver: Driver, kernels: dict[str, ctypes.c_void_p]) -> None:
        self._driver = driver
        self._kernels = kernels

    def launch(
        self,
        kernel: str,
        grid: tuple[int, int, int],
        threads: int,
        arguments: ctypes.Structure,
        stream: int,
    ) -> None:
        """Starts a kernel whose one parameter is a struct.

        Args:
            kernel: its name.
            grid: numbers of blocks.
            threads: of a block.
            arguments: the struct, which is copied.
            stream: handle of the stream in whose order it runs.
        """
        parameters = (ctypes.c_void_p * 1)(ctypes.addressof(arguments))
        self._driver.run(
            "cuLaunchKernel",
            self._kernels[kernel],
            *grid,
            *(threads, 1, 1),
            0,
            ctypes.c_void_p(stream),
            parameters,
            None,
        )
