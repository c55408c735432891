"""Compiled kernels on disk: each is compiled once for an architecture, a source and a compiler.

A file is written whole or not at all (a temporary name, then renamed), and begins with the checksum
of its rest; one that is damaged is compiled again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

_MAGIC = b"bayes_sbn cubin 1\n"
_CHECKSUM_BYTES = hashlib.sha256().digest_size


def cache_folder() -> Path:
    """``BAYES_SBN_CACHE``, else ``bayes_sbn`` in the user's folder of caches."""
    own = os.environ.get("BAYES_SBN_CACHE")
    if own:
        return Path(own)
    users = os.environ.get("XDG_CACHE_HOME")
    return (Path(users) if users else Path.home() / ".cache") / "bayes_sbn"


def cache_key(
    sources: Mapping[str, str], architecture: str, compiler: str, options: tuple[str, ...]
) -> str:
    """A name that changes with anything the machine code depends on."""
    digest = hashlib.sha256()
    parts = [architecture, compiler, *options]
    for name, text in sorted(sources.items()):
        parts += [name, text]
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return f"{architecture}-{digest.hexdigest()[:32]}"


def cached(key: str, compile_it: Callable[[], bytes]) -> bytes:
    """The machine code of a key, compiled if no whole file has it.

    Args:
        key: of :func:`cache_key`.
        compile_it: makes it.
    """
    path = cache_folder() / f"{key}.cubin"
    found = _read(path)
    if found is not None:
        return found
    code = compile_it()
    try:
        _write(path, code)
    except OSError as error:
        warnings.warn(
            f"bayes_sbn compiles its CUDA kernels in every process, because it cannot keep them in "
            f"{path.parent}: {error}. Name a folder that can be written to in BAYES_SBN_CACHE.",
            RuntimeWarning,
            stacklevel=2,
        )
    return code


def _read(path: Path) -> bytes | None:
    """What a file holds, or None if it is not there or not whole."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if not data.startswith(_MAGIC):
        return None
    start = len(_MAGIC) + _CHECKSUM_BYTES
    code = data[start:]
    return code if data[len(_MAGIC) : start] == hashlib.sha256(code).digest() else None


def _write(path: Path, code: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem)
    temporary = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(code).digest() + code)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
