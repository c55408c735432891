"""The data of a fit: read, told what the target is, split into parts, and centred."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayes_sbn.cli_data import TEST, has_test_part, read_data
from bayes_sbn.cli_data_csv import TextOptions
from bayes_sbn.cli_preprocessing import (
    CLASSES,
    Int64,
    Preprocessing,
    class_names,
    names_in_order,
    real_targets,
    task_of,
)
from bayes_sbn.cli_split import split
from bayes_sbn.cli_table import Table
from bayes_sbn.metrics.report_base import counted


@dataclass(frozen=True, eq=False)
class FitData:
    """All that a fit is made of.

    Args:
        table: the rows that were read.
        test: the rows for scores, where they are a table of their own.
        parts: places of the rows of ``table`` for ``train``, ``validation`` and ``test``.
        preprocessing: fitted to the rows for training.
    """

    table: Table
    test: Table | None
    parts: dict[str, Int64]
    preprocessing: Preprocessing

    @classmethod
    def read(cls, arguments: argparse.Namespace) -> FitData:
        """What the arguments of ``fit`` say."""
        options = TextOptions(
            target=arguments.target,
            drop=tuple(arguments.drop),
            has_header=arguments.header,
            leave_out_missing=arguments.drop_missing,
        )
        table = read_data(arguments.data, options, labels=arguments.labels)
        test = _test_table(arguments, table)
        task = arguments.task or task_of(table)
        classes, labels = _classes(table) if task == CLASSES else ((), None)
        share = 0.0 if test is not None else arguments.test_fraction
        generator = np.random.default_rng(arguments.seed)
        kept, for_test = split(len(table), share, generator, labels)
        inner, outer = split(
            len(kept),
            arguments.validation_fraction * len(table) / len(kept),
            generator,
            None if labels is None else labels[kept],
        )
        parts = {"train": kept[inner], "validation": kept[outer], "test": for_test}
        scaling = arguments.scaling or ("range" if table.is_pixels else "standard")
        made = Preprocessing.fitted(
            table, parts["train"], task=task, scaling=scaling, classes=classes
        )
        found = cls(table, test, parts, made)
        if test is not None:  # what does not fit is told before hours of training
            made.inputs(test)
            found.targets(test)
        return found

    def targets(self, table: Table) -> np.ndarray[Any, Any]:
        """What the network is to say of each row of a table, as it is given them."""
        if self.preprocessing.task == CLASSES:
            return self.preprocessing.labels(table)
        return self.preprocessing.standardised(real_targets(table))

    def rows_of(self, part: str) -> Table | None:
        """The table of a part, or None where it is empty."""
        if part == "test" and self.test is not None:
            return self.test
        return self.table.take(self.parts[part]) if len(self.parts[part]) else None

    def counts(self) -> dict[str, int]:
        """Numbers of rows of the parts."""
        found = {part: len(rows) for part, rows in self.parts.items()}
        return found if self.test is None else {**found, "test": len(self.test)}

    def __str__(self) -> str:
        made, counts = self.preprocessing, self.counts()
        parts = ", ".join(f"{count} for {part}" for part, count in counts.items() if count)
        inputs = len(made.columns.inputs)
        return (
            f"{self.table.source}: {counted(inputs, 'input')}, "
            f"{made.target_in_words()}; rows: {parts}"
        )


def _test_table(arguments: argparse.Namespace, table: Table) -> Table | None:
    if arguments.test is not None:
        return read_data(
            arguments.test,
            TextOptions(has_header=arguments.header, leave_out_missing=arguments.drop_missing),
            like=table.columns,
        )
    if has_test_part(arguments.data):
        return read_data(arguments.data, part=TEST)
    return None


def _classes(table: Table) -> tuple[tuple[str, ...], Int64]:
    """Names of the classes, and the number of that of each row."""
    names = class_names(table)
    classes = names_in_order(names)
    if len(classes) < 2:
        raise ValueError(
            f"{table.source}: every row has the class {classes[0]!r}, so there is nothing to "
            f"learn. Is {table.columns.target!r} the target? --target names another column."
        )
    if len(classes) == len(names) > 2:
        raise ValueError(
            f"{table.source}: each of the {len(names)} rows has a class of its own, such as "
            f"{names[0]!r}, so there is nothing to learn. Is {table.columns.target!r} the target? "
            "--target names another column, and --task real says that its numbers are no classes."
        )
    number_of = {name: k for k, name in enumerate(classes)}
    return classes, np.array([number_of[name] for name in names], dtype=np.int64)
