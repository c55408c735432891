"""The log of a fit, read back: one record an epoch.

The file is written by :mod:`bayes_sbn.training_folder`; numbers that JSON has not got, of a run
that diverged, stand in it as the words ``"nan"`` and ``"inf"``.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, NoReturn

from bayes_sbn.training_folder import LOG
from bayes_sbn.training_result import EpochRecord

_FIELDS = {field.name: field for field in dataclasses.fields(EpochRecord)}
_WHOLE = ("epoch", "steps")
_MAY_BE_NONE = (
    "kl_bits_per_weight",
    "validation_nll",
    "validation_draw_nll",
    "validation_elbo",
)


def read_log(folder: str | os.PathLike[str]) -> tuple[EpochRecord, ...]:
    """The records of the fit whose folder (``sbn.fit(checkpoint=...)``) this is.

    Args:
        folder: the folder, or the log in it.

    Raises:
        OSError: there is no log.
        ValueError: a line of it is no record.
    """
    path = Path(folder)
    path = path / LOG if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(folder)!r} has no log of a fit ({LOG}). Give the folder of "
            "sbn.fit(..., checkpoint=folder)."
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    records = tuple(_record(path, n, line) for n, line in enumerate(lines, 1) if line.strip())
    if not records:
        raise ValueError(f"{str(path)!r} has no epoch: the fit has not come to the end of one.")
    return records


def _record(path: Path, number: int, line: str) -> EpochRecord:
    try:
        given = json.loads(line)
    except ValueError as error:
        _refuse(path, number, f"it is no JSON ({error})")
    if not isinstance(given, dict):
        _refuse(path, number, f"it is a {type(given).__name__} and no record")
    needed = {name for name, f in _FIELDS.items() if f.default is dataclasses.MISSING}
    missing = sorted(needed - set(given))
    unknown = sorted(set(given) - set(_FIELDS))
    if missing or unknown:
        wrong = f"lacks {missing[0]!r}" if missing else f"has {unknown[0]!r}, which is not known"
        _refuse(path, number, f"it {wrong}")
    values = {name: _value(path, number, name, value) for name, value in given.items()}
    return EpochRecord(**values)


def _value(path: Path, number: int, name: str, value: Any) -> Any:
    if value is None and name in _MAY_BE_NONE:
        return None
    try:
        if isinstance(value, bool):
            raise TypeError
        return int(value) if name in _WHOLE else float(value)
    except (TypeError, ValueError):
        _refuse(path, number, f"its {name} is {value!r}")


def _refuse(path: Path, number: int, reason: str) -> NoReturn:
    raise ValueError(
        f"{str(path)!r}, line {number}: {reason}. Give a log that sbn.fit(checkpoint=...) wrote."
    )
