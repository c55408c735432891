"""Tables from text: which columns of its cells are inputs, and which is the target.

A cell is a number, or text, which only the target may be.  Whatever is wrong is an error that names
the line and the column; nothing is filled in or left out by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayes_sbn.cli_data_cells import (
    MISSING,
    MISSING_TARGETS,
    Cells,
    is_number,
    listed,
    read_cells,
)
from bayes_sbn.cli_table import Columns, Numbers, Table, Text
from bayes_sbn.metrics.report_base import counted


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


def read_text(source: str, content: bytes, options: TextOptions) -> Table:
    """A table whose target is in a column of its own.

    Args:
        source: the file, for messages.
        content: what is in it.
        options: which column is what.
    """
    cells = read_cells(source, content, options.has_header)
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
            f"The columns are {listed(cells.names)}; what parts them is commas, semicolons, tabs, "
            "bars or blanks."
        )
    if options.leave_out_missing:
        cells = _without_missing(cells, inputs, target)
    columns = Columns(
        inputs=tuple(cells.names[k] for k in inputs),
        target=cells.names[target],
        in_file=cells.names,
        are_named=cells.is_named,
    )
    return _table(cells, inputs, target, columns, _OF_FIT)


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
    cells = read_cells(source, content, options.has_header)
    if cells.is_named and columns.are_named:
        missing = [name for name in columns.inputs if name not in cells.names]
        if missing:
            raise ValueError(
                f"{source} lacks {_counted(missing)} the model was fitted to; it has "
                f"{listed(cells.names)}. Name the columns as they were named for the fit."
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
    return _table(cells, inputs, target, columns, _OF_LATER)


@dataclass(frozen=True)
class _Remedies:
    """What to do about a cell, of the rows of a fit, whose columns are chosen, or of later ones."""

    missing: str
    text: str


_OF_FIT = _Remedies(
    "Fill it in, or leave such rows out with --drop-missing.",
    "Code text as numbers, or leave the column out with --drop {name!r}.",
)
_OF_LATER = _Remedies(
    "Fill it in, or take such lines out of the file.",
    "The model was fitted to numbers there: write one, or take the line out of the file.",
)


def _table(
    cells: Cells,
    inputs: Sequence[int],
    target: int | None,
    columns: Columns,
    remedies: _Remedies,
) -> Table:
    x = _numbers(cells, inputs, remedies)
    found = None if target is None else _target(cells, target, remedies)
    return Table(cells.source, x, found, columns, numbers=cells.lines, unit="line")


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
        f"{listed(cells.names)}; a number counts them from 1, -1 is the last."
    )


def _by_place(cells: Cells, columns: Columns) -> tuple[list[int], int | None]:
    """Places of the inputs and of the target where names do not tell."""
    width, whole = len(cells.names), columns.in_file
    without = tuple(name for name in whole if name != columns.target)
    layouts = {len(columns.inputs): columns.inputs, len(without): without, len(whole): whole}
    if width not in layouts:
        raise ValueError(
            f"{cells.source} has {counted(width, 'column')}; the model was fitted to "
            f"{counted(len(columns.inputs), 'input')}, which stood in a file of {len(whole)} "
            "columns with the target."
        )
    layout = layouts[width]
    target = layout.index(columns.target) if columns.target in layout else None
    return [layout.index(name) for name in columns.inputs], target


def _numbers(cells: Cells, places: Sequence[int], remedies: _Remedies) -> Numbers:
    """The numbers in some columns, (rows, columns)."""
    found = np.empty((len(cells.rows), len(places)))
    for k, place in enumerate(places):
        column = [row[place] for row in cells.rows]
        try:
            found[:, k] = [float(cell) for cell in column]
        except ValueError:
            found[:, k] = math.nan
        if not np.isfinite(found[:, k]).all() or any("_" in cell for cell in column):
            _refuse_cell(cells, place, column, remedies)
    return found


def _refuse_cell(cells: Cells, place: int, column: Sequence[str], remedies: _Remedies) -> None:
    """Raise for the first cell that is no finite number."""
    for line, cell in zip(cells.lines, column, strict=True):
        where = f"{cells.source}: line {line}, column {cells.names[place]!r}"
        if cell.strip().lower() in MISSING:
            raise ValueError(f"{where} has no value ({cell.strip()!r}). {remedies.missing}")
        if not is_number(cell):
            remedy = remedies.text.format(name=cells.names[place])
            if is_number(cell.replace(",", "")):
                remedy = "Write numbers with a point, and with no mark between thousands."
            raise ValueError(f"{where} is {_short(cell)}, which is not a number. {remedy}")
        if not math.isfinite(float(cell)):
            raise ValueError(f"{where} is {cell.strip()}. Inputs are finite numbers.")


def _target(cells: Cells, place: int, remedies: _Remedies) -> Numbers | Text:
    """The target of each row: numbers if all are, else text."""
    column = [row[place].strip() for row in cells.rows]
    for line, cell in zip(cells.lines, column, strict=True):
        if cell.lower() in MISSING_TARGETS:
            raise ValueError(
                f"{cells.source}: line {line} has no target ({cell!r} in column "
                f"{cells.names[place]!r}). {remedies.missing}"
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


def _counted(names: Sequence[str]) -> str:
    return f"the column {names[0]!r}" if len(names) == 1 else f"the columns {listed(names)}"


def _short(cell: str) -> str:
    text = cell.strip()
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
