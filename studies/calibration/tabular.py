"""The two parts with tables: settings are chosen split by split, and the best is fitted anew.

A method fits each of its settings to the rows that learn, and is scored on the rows that choose, by
their log-likelihood.  The best setting is fitted to all training rows of the split, and its
prediction of the test rows is scored once.  A method whose fits are slow chooses for several splits
together.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import bayes_sbn as sbn
from studies.calibration import scores
from studies.calibration.data import Split, Table
from studies.calibration.methods import METHODS, Method
from studies.calibration.tasks import Effort, Options, Predicted, Task

Record = dict[str, Any]


def methods_of(table: Table) -> list[str]:
    """The methods that have settings for its kind of target."""
    return [name for name, method in METHODS.items() if settings_of(method, table)]


def settings_of(method: Method, table: Table) -> list[Options]:
    """Those for its kind of target."""
    return method.classification if table.classes else method.regression


def named(options: Options) -> str:
    """A setting in words."""
    return ", ".join(f"{name} {value:g}" for name, value in options.items())


def fitted(
    method: Method, table: Table, splits: Sequence[Split], effort: Effort, settings: list[Options]
) -> list[Record]:
    """A record of each split: scores, the chosen setting, and what the choice saw."""
    started = time.process_time()
    chosen = [settings[0]] * len(splits)
    seen: list[dict[str, float]] = [{} for _ in splits]
    if len(settings) > 1:
        choosing = splits[:: method.together]
        tasks = [
            Task(split.learn, split.choose.x, table.classes, options, 1000 + split.number)
            for split in choosing
            for options in settings
        ]
        predicted = iter(method.fit(tasks, effort))
        for start, split in enumerate(choosing):
            losses = [_loss(next(predicted), split.choose.y) for _ in settings]
            for place in range(start * method.together, (start + 1) * method.together):
                if place < len(splits):
                    chosen[place] = settings[int(np.argmin(losses))]
                    seen[place] = dict(zip(map(named, settings), losses, strict=True))
    tasks = [
        Task(split.train, split.test.x, table.classes, options, split.number)
        for split, options in zip(splits, chosen, strict=True)
    ]
    found = method.fit(tasks, effort)
    seconds = (time.process_time() - started) / len(splits)
    score = scores.classification if table.classes else scores.regression
    return [
        {
            **score(pred, split.test.y),
            "setting": named(options),
            "choosing": losses,
            "seconds": seconds,
        }
        for pred, split, options, losses in zip(found, splits, chosen, seen, strict=True)
    ]


def _loss(pred: Predicted, y: Any) -> float:
    """Negative log-likelihood a row."""
    if isinstance(pred, sbn.RegressionPredictions):
        return float(sbn.metrics.nlpd(pred, y))
    return float(sbn.metrics.nll(pred, y))


def study(
    tables: Sequence[Table],
    results: dict[str, Any],
    *,
    efforts: dict[str, Effort],
    splits: int,
    methods: Sequence[str] | None = None,
    most_settings: int | None = None,
    save: Callable[[], None],
) -> None:
    """Make every record that is not there yet, by data set, method and split.

    Args:
        tables: data sets.
        results: records so far, which grow.
        efforts: how long methods train, by data set; ``""`` for those not named.
        splits: how many.
        methods: some of them, or all.
        most_settings: of each grid, from its start.
        save: called when there is a new record.
    """
    for name in METHODS:
        for table in tables:
            if name not in methods_of(table) or (methods and name not in methods):
                continue
            method = METHODS[name]
            kept = results.setdefault(table.name, {}).setdefault(name, {})
            missing = [number for number in range(splits) if str(number) not in kept]
            for first in range(0, splits, method.at_once):
                numbers = [n for n in missing if first <= n < first + method.at_once]
                if not numbers:
                    continue
                records = fitted(
                    method,
                    table,
                    [table.split(number, method.together) for number in numbers],
                    efforts.get(table.name, efforts[""]),
                    settings_of(method, table)[:most_settings],
                )
                kept.update({str(n): record for n, record in zip(numbers, records, strict=True)})
                save()
                print(_line(table, name, numbers, records), flush=True)


def _line(table: Table, name: str, numbers: list[int], records: list[Record]) -> str:
    columns = scores.CLASSIFICATION if table.classes else scores.REGRESSION
    means = ", ".join(f"{c} {np.mean([r[c] for r in records]):.4g}" for c in columns)
    some = f"split {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} splits"
    return f"{table.name}, {name}, {some}: {means}; {records[0]['seconds']:.1f} s each"
