r"""The file of a posterior or an ensemble: a preamble, a JSON header and a safetensors payload.

======  =====  ============================================================================
offset  bytes  content
======  =====  ============================================================================
0       8      magic, ``93 53 42 4E 0D 0A 1A 0A`` (as PNG's, it shows transfers as text)
8       4      format version, little-endian
12      8      bytes of the header, little-endian
20      8      bytes of the payload, little-endian
28      32     SHA-256 of everything else: the bytes before it, the header, the payload
60             header: a JSON object in UTF-8
               payload: tensors in the safetensors format
======  =====  ============================================================================

Reading checks the magic, the version, the size of the file, the checksum, and then the syntax of
both parts; nothing in a file is ever executed, and no part is a pickle.  Writing goes to a new file
beside the target, which is flushed to the disk and renamed: a reader sees the old file or the new
one, whole, whatever fails.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors_numpy

from bayes_sbn.whole_file import whole_file

MAGIC = b"\x93SBN\r\n\x1a\n"


@dataclass(frozen=True)
class Kind:
    """What a file may hold.

    Args:
        load: the call that reads it.
        save: the call that writes it, as a user types it.
        versions: of the format, in which it is written.
    """

    load: str
    save: str
    versions: tuple[int, ...]


FIRST_VERSION = 1
REAL_LAYERS_VERSION = 2
"""Version 2 has layers of real weights; in all else it is version 1."""
RECALIBRATED_VERSION = 3
"""Version 3 has layers whose statistics each draw measures; in all else it is version 2."""
COMPONENTS_VERSION = 4
"""Version 4 has several components, and weights that share factors; in all else it is version 3."""
ENSEMBLE_VERSION = 5
"""Version 5 is the first of ensembles."""
NORMAL_VERSION = 6
"""Version 6 is of posteriors of a real target; in all else it is version 4."""
REGRESSION_ENSEMBLE_VERSION = 7
"""Version 7 is the first of ensembles that predict a real target."""

POSTERIOR = Kind(
    "Posterior.load",
    "posterior.save(path)",
    (FIRST_VERSION, REAL_LAYERS_VERSION, RECALIBRATED_VERSION, COMPONENTS_VERSION, NORMAL_VERSION),
)
ENSEMBLE = Kind("Ensemble.load", "ensemble.save(path)", (ENSEMBLE_VERSION,))
REGRESSION_ENSEMBLE = Kind(
    "RegressionEnsemble.load", "ensemble.save(path)", (REGRESSION_ENSEMBLE_VERSION,)
)
KINDS = (POSTERIOR, ENSEMBLE, REGRESSION_ENSEMBLE)

T = TypeVar("T")

Array = NDArray[np.generic]
Json = dict[str, object]

_PREAMBLE = struct.Struct("<8sIQQ")
_CHECKSUM_BYTES = 32
_START = _PREAMBLE.size + _CHECKSUM_BYTES
_LARGEST_HEADER = 1 << 26  # 64 MiB of JSON; a real header has a kilobyte


def write_container(
    path: str | os.PathLike[str], header: Json, tensors: Mapping[str, Array], version: int
) -> None:
    """Write a file whole, or leave the old one as it is.

    Args:
        path: the target; a symbolic link is followed.
        header: what JSON can hold.
        tensors: arrays by name.
        version: of the format.
    """
    text = json.dumps(header, allow_nan=False, sort_keys=True).encode()
    payload = safetensors_numpy.save(dict(tensors))
    preamble = _PREAMBLE.pack(MAGIC, version, len(text), len(payload))
    with whole_file(path) as file:
        for part in (preamble, _checksum(preamble, text, payload), text, payload):
            file.write(part)
    _sync_folder(Path(os.path.realpath(path)).parent)


def read_container(kind: Kind, path: str | os.PathLike[str]) -> tuple[Json, dict[str, Array]]:
    """The header and the tensors of a file.

    Args:
        kind: what it should hold.
        path: the file.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it holds something else, or is of another format version, truncated or damaged.
    """
    with Path(path).open("rb") as file:
        start = file.read(_START)
        if start[: len(MAGIC)] != MAGIC[: len(start)] or not start:
            refuse(kind, path, "it is not a file of bayes_sbn")
        if len(start) < _START:
            refuse(kind, path, "it is truncated")
        _, version, header_bytes, payload_bytes = _PREAMBLE.unpack_from(start)
        other = next((o for o in KINDS if o != kind and version in o.versions), None)
        if other is not None:
            refuse(kind, path, f"it is one of {other.save}; read it by {other.load}(path)")
        if version not in kind.versions:
            refuse(
                kind,
                path,
                f"its format version is {version} and this package reads "
                f"{', '.join(map(str, kind.versions))}; load it with the version of bayes_sbn "
                "that wrote it",
            )
        found = os.fstat(file.fileno()).st_size
        expected = _START + header_bytes + payload_bytes
        if found != expected or header_bytes > _LARGEST_HEADER:
            refuse(kind, path, f"it is truncated or damaged: {found} bytes instead of {expected}")
        text = file.read(header_bytes)
        payload = file.read(payload_bytes)
    preamble, checksum = start[: _PREAMBLE.size], start[_PREAMBLE.size :]
    if _checksum(preamble, text, payload) != checksum:
        refuse(kind, path, "its checksum does not match: it is damaged")
    return _parse_header(kind, path, text), _parse_payload(kind, path, payload)


def refuse(kind: Kind, path: str | os.PathLike[str], reason: str) -> NoReturn:
    """Raise the error of a file that does not hold what it should.

    Args:
        kind: what it should hold.
        path: the file.
        reason: what is wrong with it, after "cannot be read:".
    """
    raise ValueError(
        f"{kind.load}({os.fspath(path)!r}) cannot read the file: {reason}. Give a file that "
        f"{kind.save} wrote, or save it again."
    )


def _checksum(preamble: bytes, text: bytes, payload: bytes) -> bytes:
    digest = hashlib.sha256(preamble)
    digest.update(text)
    digest.update(payload)
    return digest.digest()


def _parse_header(kind: Kind, path: str | os.PathLike[str], text: bytes) -> Json:
    try:
        header = json.loads(
            text.decode(), parse_constant=_no_constant, object_pairs_hook=_unique_names
        )
    except (ValueError, RecursionError) as error:
        refuse(kind, path, f"its header is not JSON ({error})")
    if not isinstance(header, dict):
        refuse(kind, path, "its header is not a JSON object")
    return header


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _unique_names(pairs: list[tuple[str, object]]) -> Json:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name stands twice in an object")
    return result


def _parse_payload(kind: Kind, path: str | os.PathLike[str], payload: bytes) -> dict[str, Array]:
    try:
        return dict(safetensors_numpy.load(payload))
    # a dtype that NumPy lacks is a KeyError or TypeError, a shape that does not fit a ValueError
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        refuse(kind, path, f"its tensors cannot be read ({error})")


def _sync_folder(folder: Path) -> None:
    """Make the renaming durable, where a system can: Windows and some network drives cannot."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def digest_of(header: Json, tensors: Mapping[str, Array]) -> str:
    """SHA-256 of a header and of the tensors with their names, types and shapes."""
    sha = hashlib.sha256(json.dumps(header, allow_nan=False, sort_keys=True).encode())
    for name in sorted(tensors):
        values = tensors[name]
        sha.update(f"{name}{values.dtype.name}{values.shape}".encode())
        sha.update(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
    return sha.hexdigest()


def json_copy(attrs: Mapping[str, object]) -> Json:
    """Attrs as JSON has them, a copy; raise if it cannot hold them."""
    try:
        copy = json.loads(json.dumps(dict(attrs), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"Posterior(attrs=...): attrs are kept as JSON, which cannot hold these ({error}). Use "
            "strings, finite numbers, lists and dicts, such as attrs={'data': 'digits'}."
        ) from error
    result: Json = copy
    return result


def typed(mapping: Mapping[str, object], name: str, kind: type[T]) -> T:
    """The entry of that name, which must be of that type (bool is no int).

    Raises:
        KeyError: there is none.
        TypeError: it has another type.
    """
    value = mapping[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} is {type(value).__name__} and not {kind.__name__}")
    return value
