"""The cells of a text file, parted by commas, semicolons, tabs, bars or blanks, and their names.

What a cell is, a number, text or nothing, is said here too; nothing is guessed to be a number.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from bayes_sbn.metrics.report_base import counted

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})
"""Cells that mean that there is no value, in small letters."""

MISSING_TARGETS = MISSING - {"none"}
"""The same of a target, of which "none" is a class like others."""

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""What parts cells, where the first line has it; else blanks do."""


@dataclass(frozen=True)
class Cells:
    """What stands in a file.

    Args:
        source: as it was typed.
        names: of the columns, their numbers where the file has no header.
        is_named: whether it has one.
        rows: the cells of each line.
        lines: the number of each line.
    """

    source: str
    names: tuple[str, ...]
    is_named: bool
    rows: list[list[str]]
    lines: list[int]


def is_number(text: str) -> bool:
    """Whether a cell is a number: what ``float`` reads, but for ``1_000``."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def read_cells(source: str, content: bytes, has_header: bool | None) -> Cells:
    """The cells of a file.

    Args:
        source: the file, for messages.
        content: what is in it.
        has_header: whether the first line has names; None finds out.
    """
    rows, lines, parted = _lines(source, content)
    if not rows:
        raise ValueError(f"{source} is empty: there is no line with cells in it.")
    is_named = _has_names(rows) if has_header is None else has_header
    width = len(rows[0])
    names = tuple(cell.strip() for cell in rows[0]) if is_named else ()
    if is_named:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{source}: the header has {twice[0]!r} more than once. Rename one.")
        first, rows, lines = lines[0], rows[1:], lines[1:]
        if not rows:
            raise ValueError(f"{source} has a header in line {first} and no rows below it.")
        _refuse_nameless(source, names, rows)
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            raise ValueError(
                f"{source}: line {line} has {counted(len(row), 'cell')} where the first line has "
                f"{width}, parted by {parted}. Every line needs as many: write cells that hold the "
                "delimiter in quotes, and take lines of comment out."
            )
    return Cells(source, names or tuple(str(k + 1) for k in range(width)), is_named, rows, lines)


def _refuse_nameless(source: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Raise for a column without name and values, as lines with a comma at their end make."""
    for k, name in enumerate(names):
        if not name and not any(row[k].strip() for row in rows if k < len(row)):
            where = "last column" if k == len(names) - 1 else f"column {k + 1}"
            raise ValueError(
                f"{source}: the {where} has neither a name nor a value, as when every line ends "
                "with a delimiter. Take it out of the file."
            )


def _lines(source: str, content: bytes) -> tuple[list[list[str]], list[int], str]:
    """Cells and numbers of the lines that are not blank, and what parts the cells."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{source} is not text in UTF-8 (byte {error.start + 1}), nor an NPZ or IDX file. Save "
            "a table as CSV in UTF-8, and arrays by numpy.savez(path, x=inputs, y=targets)."
        ) from None
    first = next((line for line in text.splitlines() if line.strip()), "")
    counts = {delimiter: first.count(delimiter) for delimiter in DELIMITERS}
    delimiter = max(counts, key=counts.__getitem__)
    rows, lines = [], []
    if not counts[delimiter] and len(first.split()) > 1:
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                rows.append(line.split())
                lines.append(number)
        return rows, lines, "blanks"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(f"{source}: line {reader.line_num} cannot be read ({error}).") from None
    return rows, lines, DELIMITERS[delimiter]


def _has_names(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first line is a header.

    It is if no cell of it is a number or missing, or if some column has text in it and only numbers
    below.
    """
    first, below = rows[0], rows[1:]
    kinds = [_is_value(cell) for cell in first]
    if not any(kinds) and all(cell.strip() for cell in first):
        # a table of text alone still has a header: a row without a number is no row of data
        return True
    return any(
        not is_value and below and all(k < len(row) and is_number(row[k]) for row in below)
        for k, is_value in enumerate(kinds)
    )


def _is_value(cell: str) -> bool:
    return is_number(cell) or cell.strip().lower() in MISSING


def listed(names: Sequence[str]) -> str:
    """The first names of a list, and how many there are."""
    shown = ", ".join(map(repr, names[:12]))
    return shown if len(names) <= 12 else f"{shown}, ... ({len(names)} in all)"
