"""The file of predictions: a NumPy .npz archive of float64 arrays and a header, without pickle.

``header`` is JSON text as bytes: the name and version of the format, the dims and the attrs.  The
arrays are those of the kind of predictions, such as ``probs_per_draw`` (draws, rows, classes).  The
archive carries a checksum of each array, which is verified when it is read.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bayes_sbn.whole_file import whole_file

VERSION = 1


class Kind(NamedTuple):
    """A kind of predictions.

    Attributes:
        name: of the class.
        format: its name in the file.
        dims: the names of the axes of its arrays.
        arrays: their names.
    """

    name: str
    format: str
    dims: tuple[str, ...]
    arrays: tuple[str, ...]


_DAMAGE = (
    ValueError,  # also JSON and text decoding, and NumPy refusing a pickle
    LookupError,
    TypeError,
    AttributeError,  # an entry that is no array comes as bytes
    OSError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a file that is not what it claims to be can raise."""


def write_predictions(
    kind: Kind,
    target: Path,
    arrays: Mapping[str, npt.NDArray[np.float64]],
    attrs: Mapping[str, object],
) -> None:
    """Write the file whole or not at all."""
    header = {
        "format": kind.format,
        "version": VERSION,
        "dims": list(kind.dims),
        "attrs": dict(attrs),
    }
    encoded = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    with whole_file(target) as file:
        np.savez(file, allow_pickle=False, header=encoded, **arrays)


def read_predictions(
    kind: Kind, source: Path
) -> tuple[list[npt.NDArray[np.float64]], dict[str, object]]:
    """The arrays of the kind, and the attrs, of a file.

    Raises:
        ValueError: it is damaged, of something else, or of a newer format.
    """
    with source.open("rb") as file:  # A missing or unreadable file is its own error.
        if not zipfile.is_zipfile(file):
            raise damaged(kind, source, "it is truncated or not an .npz archive")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                header = json.loads(archive["header"].tobytes())
                name, version = header["format"], header["version"]
                is_ours = name == kind.format and version == VERSION
                arrays = [archive[each] for each in kind.arrays] if is_ours else []
                attrs = dict(header["attrs"]) if is_ours else {}
        except _DAMAGE as error:
            raise damaged(kind, source, str(error)) from error
    if name != kind.format:
        raise damaged(kind, source, f"its format is {name!r}, not {kind.format!r}")
    if version != VERSION:
        raise ValueError(
            f"{kind.name}.load({str(source)!r}): the file has format version {version!r}; this "
            f"bayes_sbn reads version {VERSION}. Upgrade it: pip install --upgrade bayes-sbn."
        )
    return arrays, attrs


def damaged(kind: Kind, source: Path, reason: str) -> ValueError:
    """The error for a file that is not, or no longer, what ``write_predictions`` wrote."""
    return ValueError(
        f"{kind.name}.load({str(source)!r}): the file is damaged or holds no predictions "
        f"({reason}). Pass a file that {kind.name}.save() wrote."
    )
