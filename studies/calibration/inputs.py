r"""What the first layer is given decides what its ±1 weights can say.

    python -m studies.calibration.inputs --data PATH             # rows that choose, of split 0
    python -m studies.calibration.inputs --data PATH --splits 5  # of more; goes on

Inputs as they are, in two codes (``codes.py``), and a real first layer, which has numbers of its
own: all are fitted with one setting to the rows that learn and scored by log-likelihood on the rows
that choose.  No test row is seen.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyro
import torch

import bayes_sbn as sbn
from studies.calibration import data, scores
from studies.calibration.binary import alone
from studies.calibration.codes import as_they_are, repeated, thermometer
from studies.calibration.data import Table
from studies.calibration.records import RESULTS, Kept
from studies.calibration.tasks import Effort, Options, Task

SETTING: Options = {"layers": 2, "width": 200, "factor": 1 / 100, "lr": 0.2, "real_lr": 0.1}
FILE = "inputs.json"
TOGETHER = 5
"""As in the study, so many splits choose by the same rows, which none of them scores."""


WAYS: dict[str, dict[str, Any]] = {
    "as they are": {"code": as_they_are},
    "each 4 times": {"code": repeated(4)},
    "each 16 times": {"code": repeated(16)},
    "thermometer of 16": {"code": thermometer(16)},
    "real first layer": {"real": ("first",)},
}
"""What the network is given, as arguments of its fit."""


def look(
    tables: Sequence[Table],
    records: dict[str, Any],
    *,
    splits: int,
    effort: Effort,
    setting: Options,
    save: Callable[[], None],
) -> None:
    """Make every record that is not there yet, by data set, way and split."""
    for number in range(0, splits * TOGETHER, TOGETHER):
        for table in tables:
            for name, way in WAYS.items():
                kept = records.setdefault(table.name, {}).setdefault(name, {})
                if str(number) in kept:
                    continue
                started = time.process_time()
                split = table.split(number, TOGETHER)
                task = Task(split.learn, split.choose.x, 0, setting, 1000 + number)
                pred = alone(task, effort, **way)
                assert isinstance(pred, sbn.RegressionPredictions)
                found = scores.regression(pred, split.choose.y)
                kept[str(number)] = {**found, "seconds": time.process_time() - started}
                save()
                words = f"log-likelihood {found['log-likelihood']:.3f}, rmse {found['rmse']:.3f}"
                print(f"{table.name}, split {number}, {name}: {words}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--sets", nargs="+", default=data.REGRESSION, choices=data.REGRESSION)
    parser.add_argument("--splits", type=int, default=1, help="0, 5, 10, ...: so many of them")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    pyro.enable_validation(False)
    kept = Kept(options.results / FILE)
    look(
        [data.regression(options.data, name) for name in options.sets],
        kept.records,
        splits=options.splits,
        effort=Effort(),
        setting=SETTING,
        save=kept.save,
    )


if __name__ == "__main__":
    main()
