r"""What is done to a table before a network sees it, fitted on training rows and kept with the run.

Inputs become

    (x - shift) / scale,

column by column the mean and the standard deviation of the training rows (``"standard"``), or one
middle and one half-range of all columns (``"range"``, for pixels, which become [-1, 1]), or nothing
(``"none"``).  Classes are numbered in the order of their names; a real target is standardised.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.cli_table import Columns, Numbers, Table, Text

FORMAT = "bayes_sbn.preprocessing"
VERSION = 1
CLASSES, REAL = "classes", "real"
SCALINGS = ("standard", "range", "none")
MANY_CLASSES = 20
"""Whole numbers with more different values than this are taken for a real target."""

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """From a table to what a network is given, and back to names and units.

    Args:
        task: ``"classes"`` or ``"real"``.
        columns: of the table that was fitted.
        scaling: which of ``SCALINGS`` made shift and scale.
        shift: of each input.
        scale: of each input, above 0.
        classes: their names, in the order of their numbers; empty for a real target.
        target_shift: mean of a real target.
        target_scale: its standard deviation.
    """

    task: str
    columns: Columns
    scaling: str
    shift: Float64
    scale: Float64
    classes: tuple[str, ...] = ()
    target_shift: float = 0.0
    target_scale: float = 1.0

    @classmethod
    def fitted(
        cls, table: Table, rows: Int64, *, task: str, scaling: str, classes: tuple[str, ...]
    ) -> Preprocessing:
        """That of some rows of a table.

        Args:
            table: all rows.
            rows: those for training.
            task: ``"classes"`` or ``"real"``.
            scaling: of the inputs.
            classes: names of the classes of the whole table.
        """
        number = table.x.shape[1]
        shift, scale = np.zeros(number), np.ones(number)
        if scaling != "none":
            find = _standard if scaling == "standard" else _common
            with np.errstate(over="ignore", invalid="ignore"):
                shift, scale = find(table.x, rows)
        if not (np.isfinite(shift) & np.isfinite(scale)).all():
            worst = int(np.flatnonzero(~(np.isfinite(shift) & np.isfinite(scale)))[0])
            raise ValueError(
                f"{table.source}: column {table.columns.inputs[worst]!r} has numbers too large to "
                "be standardised. Give it in larger units."
            )
        mean, spread = 0.0, 1.0
        if task == REAL:
            target = real_targets(table)[rows]
            mean, spread = float(target.mean()), float(target.std())
            if not spread > 0:
                raise ValueError(
                    f"{table.source}: the target is {mean:g} in every training row, so there is "
                    "nothing to learn."
                )
        return cls(task, table.columns, scaling, shift, scale, classes, mean, spread)

    def inputs(self, table: Table) -> Float32:
        """What the network sees of the rows, (rows, inputs)."""
        if table.x.shape[1] != len(self.shift):
            raise ValueError(
                f"{table.source} has {table.x.shape[1]} inputs a row; the model was fitted to "
                f"{len(self.shift)}."
            )
        found = np.empty(table.x.shape, np.float32)
        block = max(1, 2**20 // max(1, len(self.shift)))
        for start in range(0, len(found), block):
            rows = slice(start, start + block)
            found[rows] = (table.x[rows].astype(np.float64) - self.shift) / self.scale
        return found

    def labels(self, table: Table) -> Int64:
        """Numbers of the classes of the rows."""
        names = class_names(table)
        number_of = {name: k for k, name in enumerate(self.classes)}
        unknown = [row for row, name in enumerate(names) if name not in number_of]
        if unknown:
            known = ", ".join(self.classes[:12]) + (", ..." if len(self.classes) > 12 else "")
            raise ValueError(
                f"{table.source}: {table.place(unknown[0])} has the class "
                f"{names[unknown[0]]!r}; the model knows {known}."
            )
        return np.array([number_of[name] for name in names], dtype=np.int64)

    def target_in_words(self) -> str:
        """What the target is."""
        if self.task == REAL:
            return f"a real target ({self.columns.target})"
        shown = ", ".join(self.classes[:10]) + ", ..." * (len(self.classes) > 10)
        return f"{len(self.classes)} classes ({shown})"

    def standardised(self, targets: Float64) -> Float32:
        """Real targets in the units of the network."""
        return ((targets - self.target_shift) / self.target_scale).astype(np.float32)

    # Its file.

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        contents = asdict(self)
        contents["shift"], contents["scale"] = self.shift.tolist(), self.scale.tolist()
        return {"format": FORMAT, "version": VERSION, **contents}

    @classmethod
    def load(cls, path: Path) -> Preprocessing:
        """Read a file that has :meth:`to_dict` as JSON.

        Raises:
            OSError: the file cannot be opened.
            ValueError: it is damaged, or of something else.
        """
        text = path.read_bytes()
        try:
            found = json.loads(text)
            if (found["format"], found["version"]) != (FORMAT, VERSION):
                raise ValueError(
                    f"its format is {found['format']!r}, version {found['version']!r}, and this "
                    f"package reads {FORMAT!r}, version {VERSION}"
                )
            return cls._checked(found)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{path} is damaged or no preprocessing of a run ({error}). Fit again."
            ) from None

    @classmethod
    def _checked(cls, found: dict[str, Any]) -> Preprocessing:
        columns = found["columns"]
        names = {key: tuple(map(str, columns[key])) for key in ("inputs", "in_file")}
        made = cls(
            task=found["task"],
            columns=Columns(
                names["inputs"], str(columns["target"]), names["in_file"], columns["are_named"]
            ),
            scaling=found["scaling"],
            shift=np.array(found["shift"], np.float64),
            scale=np.array(found["scale"], np.float64),
            classes=tuple(map(str, found["classes"])),
            target_shift=float(found["target_shift"]),
            target_scale=float(found["target_scale"]),
        )
        count = len(made.columns.inputs)
        numbers = [*made.shift, *made.scale, made.target_shift, made.target_scale]
        is_whole = (
            made.task in (CLASSES, REAL)
            and made.shift.shape == made.scale.shape == (count,)
            and all(map(math.isfinite, numbers))
            and bool((made.scale > 0).all())
            and made.target_scale > 0
            and (made.task == REAL or len(set(made.classes)) == len(made.classes) >= 2)
        )
        if not is_whole:
            raise ValueError("its parts do not fit together")
        return made


def task_of(table: Table) -> str:
    """What a target is, where that is not said: text and few whole numbers are classes."""
    target = _needed(table)
    if table.is_real is not None:
        return REAL if table.is_real else CLASSES
    if target.dtype.kind in "Ub":
        return CLASSES
    numbers = target.astype(np.float64)
    if not (numbers == np.floor(numbers)).all():
        return REAL
    return CLASSES if len(np.unique(numbers)) <= MANY_CLASSES else REAL


def class_names(table: Table) -> list[str]:
    """The class of each row by its name; whole numbers are written without a point."""
    target = _needed(table)
    if target.dtype.kind == "U":
        return [str(each) for each in target]
    numbers = target.astype(np.float64)
    is_whole = numbers == np.floor(numbers)
    if not is_whole.all():
        row = int(np.flatnonzero(~is_whole)[0])
        raise ValueError(
            f"{table.source}: the target of {table.place(row)} is {numbers[row]:g}; classes are "
            "text or whole numbers. For a real target write --task real."
        )
    return [str(int(number)) for number in numbers]


def names_in_order(names: list[str]) -> tuple[str, ...]:
    """The different names: numbers by size, else by the alphabet."""
    different = sorted(set(names))
    try:
        return tuple(sorted(different, key=int))
    except ValueError:
        return tuple(different)


def real_targets(table: Table) -> Float64:
    """The targets as real numbers."""
    target = _needed(table)
    if target.dtype.kind == "U":
        raise ValueError(
            f"{table.source}: the target {table.columns.target!r} is text ({str(target[0])!r} in "
            f"{table.place(0)}), and the task is a real number."
        )
    numbers = target.astype(np.float64)
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise ValueError(f"{table.source}: the target of {table.place(row)} is {numbers[row]}.")
    return numbers


def _needed(table: Table) -> Numbers | Text:
    if table.target is None:
        what = "array 'y' (NPZ) or file of labels (IDX, named by --labels)"
        if table.unit == "line":
            what = f"column {table.columns.target!r}"
        raise ValueError(
            f"{table.source} has no targets: no {what}. A fit and scores need them; bayes-sbn "
            "predict does not."
        )
    return table.target


def _standard(x: Numbers, rows: Int64) -> tuple[Float64, Float64]:
    """Mean and standard deviation of each column; the scale of a column without spread is 1."""
    shift, scale = np.empty(x.shape[1]), np.empty(x.shape[1])
    block = max(1, 2**22 // max(1, len(rows)))
    for start in range(0, x.shape[1], block):
        some = slice(start, start + block)
        part = x[rows, some].astype(np.float64)
        shift[some], scale[some] = part.mean(0), part.std(0)
    # rounding leaves constant columns a spread of about 1e-16 of their value
    scale[scale <= 1e-12 * np.abs(shift)] = 1.0
    return shift, scale


def _common(x: Numbers, rows: Int64) -> tuple[Float64, Float64]:
    """Middle and half-range of all inputs, the same for each column."""
    ends = [(float(x[row].min()), float(x[row].max())) for row in rows]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    half = (high - low) / 2
    number = x.shape[1]
    return np.full(number, (low + high) / 2), np.full(number, half if half > 0 else 1.0)
