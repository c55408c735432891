"""The file of what was fitted to held-out rows: JSON text, which a person can read too.

Recalibrations and conformal predictors have such files, each with a name of its format.

An object with the name and version of the format, the method, the options of its constructor, the
numbers of rows and classes it was fitted to, the fitted numbers as lists, and a SHA-256 of all the
rest.  Python writes the shortest decimal that reads back as the same float64, so nothing is lost.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bayes_sbn.whole_file import write_whole

VERSION = 1
_LARGEST = 1 << 28  # bytes; that of an isotonic calibration to a million rows is a tenth


class FileKind(NamedTuple):
    """What a file holds.

    Attributes:
        format: the name that stands in the file.
        noun: what errors call it.
    """

    format: str
    noun: str


RECALIBRATION = FileKind("bayes_sbn.recalibration", "recalibration")


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a method fitted.

    Args:
        numbers: arrays by name.
        num_rows: rows that they were fitted to.
        num_classes: classes of the predictions, 0 for real targets.
    """

    numbers: Mapping[str, npt.NDArray[np.float64]]
    num_rows: int
    num_classes: int


def write_calibration(
    path: str | os.PathLike[str],
    method: str,
    options: Mapping[str, object],
    fitted: Fitted,
    kind: FileKind = RECALIBRATION,
) -> None:
    """Write the file whole or not at all.

    Args:
        path: the file.
        method: name of the class.
        options: of its constructor.
        fitted: the numbers.
        kind: what it is.
    """
    content: dict[str, object] = {
        "format": kind.format,
        "version": VERSION,
        "method": method,
        "options": dict(options),
        "rows": fitted.num_rows,
        "classes": fitted.num_classes,
        "numbers": {name: values.tolist() for name, values in fitted.numbers.items()},
    }
    content["sha256"] = _checksum(content)
    text = json.dumps(content, allow_nan=False, indent=1)
    write_whole(path, (text + "\n").encode())


def read_calibration(
    call: str, path: str | os.PathLike[str], kind: FileKind = RECALIBRATION
) -> tuple[str, dict[str, Any], Fitted]:
    """The method, the options of its constructor and the fitted numbers of a file.

    Args:
        call: the call to name in errors.
        path: the file.
        kind: what it should be.

    Raises:
        ValueError: it is damaged, of something else, or of a newer format.
    """
    source = Path(path)
    with source.open("rb") as file:  # A missing or unreadable file is its own error.
        raw = file.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise damaged(call, source, f"it has more than {_LARGEST} bytes", kind)
    try:
        content = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
        name, version = content["format"], content["version"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise damaged(call, source, f"{type(error).__name__}: {error}", kind) from error
    if name != kind.format:
        raise damaged(call, source, f"its format is {name!r}, not {kind.format!r}", kind)
    if version != VERSION:
        raise ValueError(
            f"{call}({str(source)!r}): the file has format version {version!r}; this bayes_sbn "
            f"reads version {VERSION}. Upgrade it: pip install --upgrade bayes-sbn."
        )
    try:
        if content.pop("sha256") != _checksum(content):
            raise ValueError("its checksum does not match")
        numbers = {
            str(name): np.asarray(values, dtype=np.float64)
            for name, values in content["numbers"].items()
        }
        if not all(np.isfinite(values).all() for values in numbers.values()):
            raise ValueError("some numbers are not finite")
        fitted = Fitted(numbers, _count(content["rows"]), _count(content["classes"]))
        return str(content["method"]), dict(content["options"]), fitted
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise damaged(call, source, f"{type(error).__name__}: {error}", kind) from error


def damaged(call: str, source: Path, reason: str, kind: FileKind = RECALIBRATION) -> ValueError:
    """The error for a file that is not, or no longer, what ``write_calibration`` wrote.

    Args:
        call: the call to name.
        source: the file.
        reason: what is wrong with it.
        kind: what it should be.
    """
    return ValueError(
        f"{call}({str(source)!r}): the file is damaged or holds no {kind.noun} ({reason}). "
        f"Pass a file that the save() of a {kind.noun} wrote."
    )


def _checksum(content: Mapping[str, object]) -> str:
    text = json.dumps(content, allow_nan=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
