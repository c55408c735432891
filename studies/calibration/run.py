r"""What binary networks know of what they don't know, beside float baselines on the same splits.

    python -m studies.calibration.run --data PATH                        # all, into results/
    python -m studies.calibration.run --data PATH --part uci-regression  # one part
    python -m studies.calibration.run --quick                            # made-up data, not kept
    python -m studies.calibration.tables --write                         # the README's tables

PATH has ``uci_regression``, ``uci_classification``, ``mnist`` and ``notmnist`` in it.  A record
that results/ has is not made again, so that a killed run goes on.  The last line is one JSON
object.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch

from studies.calibration import data, outside, tabular
from studies.calibration.methods import BINARY, METHODS
from studies.calibration.records import RESULTS, Kept
from studies.calibration.tasks import Effort
from studies.speed.measure import last_line

REGRESSION, CLASSIFICATION, IMAGES = PARTS = ("uci-regression", "uci-classification", "mnist")

EFFORTS: dict[str, dict[str, Effort]] = {
    REGRESSION: {"": Effort()},
    CLASSIFICATION: {"": Effort(steps=400, batch_size=64)},
}
"""By part and data set; ``""`` for those not named."""

QUICK = {"": Effort(steps=12, batch_size=32, draws=8, members=2)}
QUICK_SIZE = outside.Size(
    (16, 16), epochs=2, batch_size=128, draws=8, flip_rows=50, seeds=2, most_settings=1
)


def tables_of(part: str, folder: Path | None) -> list[data.Table]:
    """The data sets of a part; made up where no folder is given."""
    if folder is None:
        return [data.made_up(0 if part == REGRESSION else 3)]
    if part == REGRESSION:
        return [data.regression(folder, name) for name in data.REGRESSION]
    return [data.classification(folder, name) for name in data.CLASSIFICATION]


def compared(records: dict[str, Any], score: str, *, most: bool) -> dict[str, int]:
    """On how many data sets the binary network's mean is ahead of a rival's, or level with it."""
    ahead: dict[str, int] = {}
    for methods in records.values():
        own = np.mean([each[score] for each in methods[BINARY].values()])
        for name in methods:
            rival = np.mean([each[score] for each in methods[name].values()])
            if name != BINARY:
                ahead[name] = ahead.get(name, 0) + int(own >= rival if most else own <= rival)
    return ahead


def summary(part: str, records: dict[str, Any]) -> dict[str, float]:
    """A few numbers for the last line."""
    if part == IMAGES:
        best = {name: each[outside.chosen(each)] for name, each in records.items()}
        return {
            f"{part}, {name}, {score}": float(np.mean([own[score] for own in each.values()]))
            for name, each in best.items()
            for score in ("nll", "AUROC entropy")
        }
    score, most = ("log-likelihood", True) if part == REGRESSION else ("nll", False)
    return {
        f"{part}, data sets of {len(records)} no worse than {name} by {score}": float(count)
        for name, count in compared(records, score, most=most).items()
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="some of the methods")
    parser.add_argument("--sets", nargs="+", help="some of the UCI data sets")
    parser.add_argument("--splits", type=int, default=data.SPLITS, help="the first so many")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    parser.add_argument("--quick", action="store_true", help="made-up data, nothing kept")
    options = parser.parse_args(arguments)
    if options.data is None and not options.quick:
        parser.error("give --data PATH, the folder of the data, or --quick")
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    pyro.enable_validation(False)
    metrics: dict[str, float] = {}
    folder = None if options.quick else options.data
    for part in options.part:
        kept = Kept(None if options.quick else options.results / f"{part}.json")
        if part == IMAGES:
            given = data.small_images() if folder is None else data.images(folder)
            size = QUICK_SIZE if options.quick else outside.Size()
            outside.study(given, kept.records, size=size, methods=options.methods, save=kept.save)
        else:
            wanted = [
                table
                for table in tables_of(part, folder)
                if options.sets is None or table.name in options.sets
            ]
            tabular.study(
                wanted,
                kept.records,
                efforts=QUICK if options.quick else EFFORTS[part],
                splits=2 if options.quick else options.splits,
                methods=options.methods,
                most_settings=2 if options.quick else None,
                save=kept.save,
            )
        if options.methods is None and options.sets is None:
            metrics |= summary(part, kept.records)
    print(last_line("calibration", metrics, {}))


if __name__ == "__main__":
    main()
