"""A table of rows: the inputs of each, a target or none, and where in its source each row stands.

Whatever a file is, what is read from it is a :class:`Table`.  A run remembers the
:class:`Columns` of the table it was fitted to, by which later files are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.generic]
Text = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Columns:
    """The columns of a file, as they stand in it.

    Args:
        inputs: names of those that are inputs, in their order.
        target: name of the target's.
        in_file: names of all, also of those that are left out.
        are_named: whether the file itself names them; else they are called by their numbers.
    """

    inputs: tuple[str, ...]
    target: str
    in_file: tuple[str, ...]
    are_named: bool

    @classmethod
    def of_array(cls, number: int) -> Columns:
        """Those of an array of inputs that has its target beside it."""
        names = tuple(str(k + 1) for k in range(number))
        return cls(names, "y", (*names, "y"), are_named=False)


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of inputs, and of targets where there are any.

    Args:
        source: where they come from, as it was typed.
        x: inputs, (rows, columns), of any type of real numbers.
        target: numbers or text, (rows,); None without a target.
        columns: their names.
        numbers: of the rows in their source, from 1, or of the lines where it is a file of them;
            None for 1, 2, and so on.
        unit: what they number, a ``"row"`` or a ``"line"``.
        is_pixels: whether all columns are measured on one scale, as pixels are.
        is_real: whether the target is a real number; None where that has to be found out.
    """

    source: str
    x: Numbers
    target: Numbers | Text | None
    columns: Columns
    numbers: Sequence[int] | None = None
    unit: str = "row"
    is_pixels: bool = False
    is_real: bool | None = None

    def __len__(self) -> int:
        return len(self.x)

    def place(self, row: int) -> str:
        """A row in words, for messages."""
        return f"{self.unit} {row + 1 if self.numbers is None else self.numbers[row]}"

    def take(self, rows: npt.NDArray[np.int64]) -> Table:
        """The table of some rows, which keep the places that they have in the source."""
        target = None if self.target is None else self.target[rows]
        numbers = range(1, len(self) + 1) if self.numbers is None else self.numbers
        return replace(
            self, x=self.x[rows], target=target, numbers=[numbers[int(row)] for row in rows]
        )

    def digest(self) -> str:
        """SHA-256 of inputs and targets: equal for equal tables, whatever file they come from."""
        found = hashlib.sha256()
        for part in (self.x, self.target):
            if part is None:
                continue
            kind = "text" if part.dtype.kind == "U" else "numbers"
            found.update(f"{kind}{part.shape}".encode())
            if kind == "text":
                found.update("\0".join(part.tolist()).encode())
            else:
                block = max(1, 2**20 // max(1, part[:1].size))
                for start in range(0, len(part), block):  # a copy of some rows, not of all
                    found.update(np.ascontiguousarray(part[start : start + block], "<f8").data)
        return found.hexdigest()


def check_finite(table: Table) -> Table:
    """The table; raise if an input is NaN or infinite, and say where."""
    if table.x.dtype.kind != "f":
        return table
    block = max(1, 2**22 // max(1, table.x.shape[1]))
    for start in range(0, len(table.x), block):
        is_bad = ~np.isfinite(table.x[start : start + block])
        if is_bad.any():
            row, column = (int(each[0]) for each in np.nonzero(is_bad))
            value = table.x[start + row, column]
            raise ValueError(
                f"{table.source}: {table.place(start + row)}, column "
                f"{table.columns.inputs[column]!r} is {value}. Fill in such values, or leave their "
                "rows out."
            )
    return table
