"""Finding the compiled kernel library, and choosing what runs.

The library lies beside this file, put there by the build.  Two variables of the environment, read
when the first kernel runs, force a path:

=================  =============================  ==============================================
variable           values                         meaning of ``auto``, the default
=================  =============================  ==============================================
BAYES_SBN_BACKEND  auto, reference, native        native where the library is installed, else
                                                  the reference, with a warning
BAYES_SBN_ISA      auto, portable, avx2, avx512,  the widest that the processor has
                   amx
=================  =============================  ==============================================

Every path gives the same bits and uniforms, and sums that differ by rounding.  A forced path that
cannot run is an error, and so is a library built for another version of this package.
"""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ABI_VERSION = 7  # BSBN_ABI_VERSION of csrc/bsbn.h
STATUS_OK = 0
STATUS_NOT_A_SIGN = 2
STATUS_OUT_OF_MEMORY = 4
STATUS_SUMS_TOO_LARGE = 5
STATUS_NOT_FINITE = 6
ISAS = ("portable", "avx2", "avx512", "amx")  # at the place of their codes
BACKENDS = ("auto", "reference", "native")


class NativeLibrary:
    """The compiled library, loaded and checked.

    Args:
        path: the shared object.

    Raises:
        OSError: if it cannot be loaded.
        RuntimeError: if it was built for another version of this package.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._library = ctypes.CDLL(
            str(path.resolve())
        )  # a bare name would be searched for elsewhere
        self._library.bsbn_abi_version.restype = ctypes.c_int64
        self._library.bsbn_last_error.restype = ctypes.c_char_p
        self._library.bsbn_isa.restype = ctypes.c_int64
        self._library.bsbn_isa_is_available.restype = ctypes.c_int64
        self._library.bsbn_isa_is_available.argtypes = (ctypes.c_int64,)
        self._library.bsbn_set_isa.argtypes = (ctypes.c_int64,)
        self.abi_version = int(self._library.bsbn_abi_version())
        if self.abi_version != ABI_VERSION:
            raise RuntimeError(
                f"The kernel library {path} has interface {self.abi_version}, this package needs "
                f"{ABI_VERSION}: it is left over from another version. Build it again with "
                f"`pip install .`, or delete it."
            )

    @property
    def available_isas(self) -> tuple[str, ...]:
        """Instruction sets that both this build and this processor have, narrowest first."""
        codes = range(len(ISAS))
        return tuple(ISAS[c] for c in codes if self._library.bsbn_isa_is_available(c))

    @property
    def isa(self) -> str:
        """The instruction set in use."""
        return ISAS[self._library.bsbn_isa()]

    def set_isa(self, isa: str) -> None:
        """Changes the instruction set, for the whole process.

        Raises:
            RuntimeError: if the build or the processor lacks it.
        """
        if self._library.bsbn_set_isa(ISAS.index(isa)) != STATUS_OK:
            raise RuntimeError(
                f"The instruction set {isa} cannot run here: the kernel library and this processor "
                f"share {', '.join(self.available_isas)}. Choose one of these."
            )

    @property
    def last_error(self) -> str:
        """What the last failing call of this thread complained about."""
        return str(self._library.bsbn_last_error().decode())

    def run(self, function: str, arguments: ctypes.Structure, accept: tuple[int, ...] = ()) -> int:
        """Calls a function of the C interface, without the interpreter's lock.

        Args:
            function: its name.
            arguments: its struct, of which it may fill in the results.
            accept: statuses that the caller handles, beside success.

        Returns:
            The status.

        Raises:
            RuntimeError: on any other status, with the library's own words.
        """
        status = int(getattr(self._library, function)(ctypes.byref(arguments)))
        if status != STATUS_OK and status not in accept:
            raise RuntimeError(self.last_error)
        return status


@dataclass(frozen=True)
class BackendInfo:
    """What the kernels run on, and why.

    Args:
        backend: ``"native"`` (the compiled library) or ``"reference"`` (torch).
        isa: the instruction set in use; None for the reference.
        available_isas: those that could be chosen with BAYES_SBN_ISA.
        library: the file of the compiled library; None for the reference.
        reason: why this backend was chosen.
    """

    backend: str
    isa: str | None
    available_isas: tuple[str, ...]
    library: Path | None
    reason: str


def backend_info() -> BackendInfo:
    """Says which backend and which instruction set the kernels run on CPU tensors, and why.

    Tensors on other devices are handled by the reference, which is written in torch.
    """
    library, reason = _choose()
    if library is None:
        return BackendInfo("reference", None, (), None, reason)
    return BackendInfo("native", library.isa, library.available_isas, library.path, reason)


def native_library() -> NativeLibrary | None:
    """The library to run on CPU tensors, or None for the reference.

    Warns, once in a process, if the reference runs only because there is no library.
    """
    library, reason = _choose()
    if library is None and _from_environment("BAYES_SBN_BACKEND", BACKENDS) == "auto":
        _warn_once(reason)
    return library


def installed_library() -> NativeLibrary | None:
    """The library to run on CPU tensors where another way is as good; None without a warning."""
    return _choose()[0]


def is_native_forced() -> bool:
    """Whether the environment forces the compiled library."""
    return forced_backend() == "native"


def forced_backend() -> str | None:
    """The backend that the environment forces, or None."""
    backend = _from_environment("BAYES_SBN_BACKEND", BACKENDS)
    return None if backend == "auto" else backend


def check_device_is_not_forced(call: str, device: str) -> None:
    """Raises if the compiled library is forced for a tensor that is not on the CPU."""
    if is_native_forced():
        raise RuntimeError(
            f"{call} received a tensor on {device}, but BAYES_SBN_BACKEND=native and the compiled "
            f"library works on the CPU. Move the tensor with .cpu(), or unset BAYES_SBN_BACKEND."
        )


def library_path() -> Path:
    """Where the build puts the library, whether or not it is there."""
    names = {"darwin": "libbsbn.dylib", "win32": "bsbn.dll"}
    return Path(__file__).parent / names.get(sys.platform, "libbsbn.so")


@cache
def _choose() -> tuple[NativeLibrary | None, str]:
    """The library to run, or None for the reference; and the reason."""
    backend = _from_environment("BAYES_SBN_BACKEND", BACKENDS)
    isa = _from_environment("BAYES_SBN_ISA", ("auto", *ISAS))
    if backend == "reference":
        if isa != "auto":
            raise ValueError(
                f"BAYES_SBN_ISA={isa} chooses among compiled kernels, but "
                f"BAYES_SBN_BACKEND=reference runs none of them. Unset one of the two."
            )
        return None, "BAYES_SBN_BACKEND=reference"
    try:
        library = _load()
    except OSError as error:
        if backend == "native" or isa != "auto":
            forced = "BAYES_SBN_BACKEND=native" if backend == "native" else f"BAYES_SBN_ISA={isa}"
            raise RuntimeError(
                f"{forced} needs the compiled kernel library: {error}. Build it with a C++ "
                f"compiler and `pip install .`, or unset the variable to run the reference."
            ) from error
        return None, str(error)
    if isa != "auto":
        library.set_isa(isa)
        return library, f"BAYES_SBN_ISA={isa}"
    return library, "the compiled library is installed"


def _load() -> NativeLibrary:
    path = library_path()
    if not path.exists():
        raise FileNotFoundError(f"there is no {path.name} in {path.parent}")
    return NativeLibrary(path)


@cache
def _warn_once(reason: str) -> None:
    warnings.warn(
        f"bayes_sbn runs without its compiled kernels, with the same results but slowly: {reason}. "
        f"Install a C++ compiler and reinstall, or set BAYES_SBN_BACKEND=reference to accept this.",
        RuntimeWarning,
        stacklevel=2,
    )


def _from_environment(name: str, allowed: tuple[str, ...]) -> str:
    value = os.environ.get(name, "auto")
    if value not in allowed:
        raise ValueError(
            f"{name}={value!r} is not known: choose {', '.join(allowed[:-1])} or {allowed[-1]}, "
            f"or unset it."
        )
    return value
