"""Tables from text: cells parted by commas, semicolons, tabs or blanks, with names on top or not.

A cell is a number, or text, which only the target may be.  Whatever is wrong is an error that names
the line and the column; nothing is guessed to be a number, filled in or left out by itself.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayes_sbn.cli_table import Columns, Numbers, Table, Text

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})
"""Cells that mean that there is no value, in small letters."""

MISSING_TARGETS = MISSING - {"none"}
"""The same of a target, of which "none" is a class like others."""

DELIMITERS = (",", ";", "\t")
"""What parts cells, where the first line has it; else blanks do."""


@dataclass(frozen=True)
class TextOptions:
    """How text is to be read.

    Args:
        target: the column of the target, its name or its number from 1 (-1 is the last).
        drop: columns to leave out, likewise.
        has_header: whether the first line has names; None finds out.
        leave_out_missing: whether rows with a missing cell are left out.
        reads_target: whether the targets are looked at, where columns are found by earlier ones.
    """

    target: str = "-1"
    drop: tuple[str, ...] = ()
    has_header: bool | None = None
    leave_out_missing: bool = False
    reads_target: bool = True


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


def read_text(source: str, content: bytes, options: TextOptions) -> Table:
    """A table whose target is in a column of its own.

    Args:
        source: the file, for messages.
        content: what is in it.
        options: which column is what.
    """
    cells = _cells(source, content, options.has_header)
    target = _column(cells, options.target, "--target")
    dropped = {_column(cells, name, "--drop") for name in options.drop}
    if target in dropped:
        raise ValueError(
            f"{source}: column {cells.names[target]!r} is both the target and dropped."
        )
    inputs = [k for k in range(len(cells.names)) if k != target and k not in dropped]
    if not inputs:
        raise ValueError(
            f"{source} has no column of inputs beside the target {cells.names[target]!r}. "
            f"The columns are {_listed(cells.names)}."
        )
    if options.leave_out_missing:
        cells = _without_missing(cells, inputs, target)
    columns = Columns(
        inputs=tuple(cells.names[k] for k in inputs),
        target=cells.names[target],
        in_file=cells.names,
        are_named=cells.is_named,
    )
    return _table(cells, inputs, target, columns)


def read_text_like(
    source: str, content: bytes, columns: Columns, options: TextOptions | None = None
) -> Table:
    """A table with the columns of an earlier one, and its target where it is there.

    Columns are found by their names where both files have names, else by their places.

    Args:
        source: the file, for messages.
        content: what is in it.
        columns: those of the earlier table.
        options: of which ``target`` and ``drop`` are not looked at.
    """
    options = options or TextOptions()
    cells = _cells(source, content, options.has_header)
    if cells.is_named and columns.are_named:
        missing = [name for name in columns.inputs if name not in cells.names]
        if missing:
            raise ValueError(
                f"{source} lacks {_counted(missing)} the model was fitted to; it has "
                f"{_listed(cells.names)}."
            )
        inputs = [cells.names.index(name) for name in columns.inputs]
        has_target = columns.target in cells.names
        target = cells.names.index(columns.target) if has_target else None
    else:
        inputs, target = _by_place(cells, columns)
    if not options.reads_target:
        target = None
    if options.leave_out_missing:
        cells = _without_missing(cells, inputs, target)
    return _table(cells, inputs, target, columns)


def _table(cells: Cells, inputs: Sequence[int], target: int | None, columns: Columns) -> Table:
    x = _numbers(cells, inputs)
    found = None if target is None else _target(cells, target)
    return Table(cells.source, x, found, columns, numbers=cells.lines, unit="line")


def is_number(text: str) -> bool:
    """Whether a cell is a number: what ``float`` reads, but for ``1_000``."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _cells(source: str, content: bytes, has_header: bool | None) -> Cells:
    rows, lines = _lines(source, content)
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
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            raise ValueError(
                f"{source}: line {line} has {len(row)} cells where the first line has {width}. "
                "Every line needs as many; cells that hold the delimiter are written in quotes."
            )
    return Cells(source, names or tuple(str(k + 1) for k in range(width)), is_named, rows, lines)


def _lines(source: str, content: bytes) -> tuple[list[list[str]], list[int]]:
    """Cells and numbers of the lines that are not blank."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{source} is not text in UTF-8 (byte {error.start + 1}), nor an NPZ or IDX file. "
            "Data are CSV, NPZ or IDX files."
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
        return rows, lines
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(f"{source}: line {reader.line_num} cannot be read ({error}).") from None
    return rows, lines


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


def _column(cells: Cells, name: str, option: str) -> int:
    """The place of a column, by its name or its number from 1."""
    if cells.is_named and name in cells.names:
        return cells.names.index(name)
    width = len(cells.names)
    try:
        number = int(name)
    except ValueError:
        number = 0
    if 1 <= number <= width:
        return number - 1
    if -width <= number <= -1:
        return width + number
    what = "" if cells.is_named else " and no header"
    raise ValueError(
        f"{cells.source}: there is no column {name!r} ({option}). It has {width} columns{what}: "
        f"{_listed(cells.names)}; a number counts them from 1, -1 is the last."
    )


def _by_place(cells: Cells, columns: Columns) -> tuple[list[int], int | None]:
    """Places of the inputs and of the target where names do not tell."""
    width, whole = len(cells.names), columns.in_file
    without = tuple(name for name in whole if name != columns.target)
    layouts = {len(columns.inputs): columns.inputs, len(without): without, len(whole): whole}
    if width not in layouts:
        raise ValueError(
            f"{cells.source} has {width} columns; the model was fitted to {len(columns.inputs)} "
            f"inputs, which stood in a file of {len(whole)} columns with the target."
        )
    layout = layouts[width]
    target = layout.index(columns.target) if columns.target in layout else None
    return [layout.index(name) for name in columns.inputs], target


def _numbers(cells: Cells, places: Sequence[int]) -> Numbers:
    """The numbers in some columns, (rows, columns)."""
    found = np.empty((len(cells.rows), len(places)))
    for k, place in enumerate(places):
        column = [row[place] for row in cells.rows]
        try:
            found[:, k] = [float(cell) for cell in column]
        except ValueError:
            found[:, k] = math.nan
        if not np.isfinite(found[:, k]).all() or any("_" in cell for cell in column):
            _refuse_cell(cells, place, column)
    return found


def _refuse_cell(cells: Cells, place: int, column: Sequence[str]) -> None:
    """Raise for the first cell that is no finite number."""
    for line, cell in zip(cells.lines, column, strict=True):
        where = f"{cells.source}: line {line}, column {cells.names[place]!r}"
        if cell.strip().lower() in MISSING:
            raise ValueError(
                f"{where} has no value ({cell.strip()!r}). Fill it in, or leave such rows out with "
                "--drop-missing."
            )
        if not is_number(cell):
            raise ValueError(
                f"{where} is {_short(cell)}, which is not a number. Code text as numbers, or leave "
                f"the column out with --drop {cells.names[place]!r}."
            )
        if not math.isfinite(float(cell)):
            raise ValueError(f"{where} is {cell.strip()}. Inputs are finite numbers.")


def _target(cells: Cells, place: int) -> Numbers | Text:
    """The target of each row: numbers if all are, else text."""
    column = [row[place].strip() for row in cells.rows]
    for line, cell in zip(cells.lines, column, strict=True):
        if cell.lower() in MISSING_TARGETS:
            raise ValueError(
                f"{cells.source}: line {line} has no target ({cell!r} in column "
                f"{cells.names[place]!r}). Fill it in, or leave such rows out with --drop-missing."
            )
    if all(is_number(cell) for cell in column):
        return np.array([float(cell) for cell in column])
    return np.array(column)


def _without_missing(cells: Cells, inputs: Sequence[int], target: int | None) -> Cells:
    kept = [
        k
        for k, row in enumerate(cells.rows)
        if not any(row[place].strip().lower() in MISSING for place in inputs)
        and (target is None or row[target].strip().lower() not in MISSING_TARGETS)
    ]
    if not kept:
        raise ValueError(f"{cells.source}: every row has a missing value.")
    rows, lines = [cells.rows[k] for k in kept], [cells.lines[k] for k in kept]
    return Cells(cells.source, cells.names, cells.is_named, rows, lines)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:12]))
    return shown if len(names) <= 12 else f"{shown}, ... ({len(names)} in all)"


def _counted(names: Sequence[str]) -> str:
    return f"the column {names[0]!r}" if len(names) == 1 else f"the columns {_listed(names)}"


def _short(cell: str) -> str:
    text = cell.strip()
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
