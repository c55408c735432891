"""The file of a Predictions: a NumPy .npz archive of two arrays, without pickle.

``header`` is JSON text as bytes: the name and version of the format, the dims and the attrs.
``probs_per_draw`` are the probabilities, float64 (draws, rows, classes).  The archive carries a
checksum of each array, which is verified when it is read.
"""

from __future__ import annotations

import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

FORMAT = "bayes_sbn.predictions"
VERSION = 1

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
    target: Path, probs_per_draw: npt.NDArray[np.float64], attrs: Mapping[str, object]
) -> None:
    """Write the file whole or not at all: under a temporary name beside its place, then renamed."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "dims": ["draw", "row", "class"],
        "attrs": dict(attrs),
    }
    encoded = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    target = Path(os.path.realpath(target))  # A symbolic link keeps pointing where it does.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            np.savez(file, allow_pickle=False, header=encoded, probs_per_draw=probs_per_draw)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def read_predictions(source: Path) -> tuple[npt.NDArray[np.float64], dict[str, object]]:
    """Probabilities and attrs of a file; a damaged, foreign or newer one is an error."""
    with source.open("rb") as file:  # A missing or unreadable file is its own error.
        if not zipfile.is_zipfile(file):
            raise damaged(source, "it is truncated or not an .npz archive")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                header = json.loads(archive["header"].tobytes())
                name, version = header["format"], header["version"]
                is_ours = name == FORMAT and version == VERSION
                probs = archive["probs_per_draw"] if is_ours else np.empty((0, 0, 0))
                attrs = dict(header["attrs"]) if is_ours else {}
        except _DAMAGE as error:
            raise damaged(source, str(error)) from error
    if name != FORMAT:
        raise damaged(source, f"its format is {name!r}, not {FORMAT!r}")
    if version != VERSION:
        raise ValueError(
            f"Predictions.load({str(source)!r}): the file has format version {version!r}; this "
            f"bayes_sbn reads version {VERSION}. Upgrade it: pip install --upgrade bayes-sbn."
        )
    return probs, attrs


def damaged(source: Path, reason: str) -> ValueError:
    """The error for a file that is not, or no longer, what ``write_predictions`` wrote."""
    return ValueError(
        f"Predictions.load({str(source)!r}): the file is damaged or holds no predictions "
        f"({reason}). Pass a file that Predictions.save() wrote."
    )
