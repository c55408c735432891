"""``bayes-sbn predict``: what a run's ensemble says of rows, in a file of one line a row."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bayes_sbn.cli_arguments import (
    add_command,
    add_ensemble_options,
    add_output_options,
    level,
    progress_of,
)
from bayes_sbn.cli_data import TEST, TRAIN, add_data_options, has_test_part, read_data
from bayes_sbn.cli_data_csv import TextOptions
from bayes_sbn.cli_output import note, show
from bayes_sbn.cli_run import Run
from bayes_sbn.metrics.report_base import counted

if TYPE_CHECKING:
    from bayes_sbn.cli_arguments import Commands

SUFFIXES = (".csv", ".npz")


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "predict",
        help="probabilities, labels and uncertainties of rows, in a CSV or NPZ file",
        description="Draw an ensemble of binary networks from a run's posterior and predict every\n"
        "row of DATA, whose targets, if it has any, are not looked at.\n\n"
        "Of classes the file has the likeliest one, the probability of each, and the entropy in\n"
        "nats with its aleatoric and epistemic parts; of a real target the mean, the standard\n"
        "deviation and its two parts, and the ends of an interval.",
        examples="  bayes-sbn predict run new.csv --out predictions.csv\n"
        "  bayes-sbn predict run new.csv --out predictions.npz --draws 1000\n"
        "  bayes-sbn predict run new.csv --out p.csv --save-draws draws.npz",
    )
    parser.add_argument("run_folder", metavar="RUN", help="the folder that fit made")
    parser.add_argument("data", metavar="DATA", help="rows, with targets or without")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="what to write, a .csv or .npz file",
    )
    parser.add_argument(
        "--save-draws",
        type=Path,
        metavar="FILE",
        help="also write what every draw says, for Predictions.load of the package, an .npz file",
    )
    parser.add_argument(
        "--level",
        type=level,
        default=0.9,
        help="of the interval of a real target (0.9)",
    )
    parser.add_argument(
        "--clip",
        action="store_true",
        help="take the nearest value that the networks know for inputs far beyond the fit's",
    )
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    add_data_options(parser)
    add_ensemble_options(parser)
    add_output_options(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Predict and write."""
    _check(arguments)
    folder = Run(arguments.run_folder)
    preprocessing = folder.preprocessing()
    table = read_data(
        arguments.data,
        TextOptions(has_header=arguments.header, reads_target=False),
        like=preprocessing.columns,
        labels=arguments.labels,
        part=TEST if has_test_part(arguments.data) else TRAIN,
    )
    from bayes_sbn.cli_ensemble import Fitted
    from bayes_sbn.cli_predictions import Predicted, write

    fitted = Fitted(folder.posterior(), preprocessing)
    x, clipped = fitted.clipped(table) if arguments.clip else (fitted.inputs(table), 0)
    if clipped:
        note(arguments, f"{table.source}: inputs clipped: {clipped}")
    predicted = Predicted.of(
        fitted,
        x,
        draws=arguments.draws,
        seed=arguments.seed,
        backend=arguments.backend,
        level=arguments.level,
        progress=progress_of(arguments),
        save_draws=arguments.save_draws,
    )
    write(predicted, arguments.out)
    contents = {
        "run": arguments.run_folder,
        "data": table.source,
        "out": str(arguments.out),
        "save_draws": None if arguments.save_draws is None else str(arguments.save_draws),
        "num_rows": len(table),
        "num_draws": arguments.draws,
        "seed": arguments.seed,
        "clipped": clipped,
        "columns": list(predicted.columns),
        **predicted.summary(),
    }
    rows, networks = counted(len(table), "row"), counted(arguments.draws, "network")
    lines = [f"{rows} of {table.source} by {networks}: {arguments.out}"]
    lines += predicted.lines()
    if arguments.save_draws is not None:
        lines.append(f"draws: {arguments.save_draws}")
    show(arguments, "\n".join(lines), contents)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Exit with 2 for a file of no known kind; raise for one that can't be written."""
    fail = arguments.parser.error
    if arguments.out.suffix not in SUFFIXES:
        fail(f"--out {arguments.out}: the file is a .csv or an .npz")
    paths = [("--out", arguments.out)]
    if arguments.save_draws is not None:
        if arguments.save_draws.suffix != ".npz":
            fail(f"--save-draws {arguments.save_draws}: the file is an .npz")
        if arguments.save_draws.resolve() == arguments.out.resolve():
            fail("--out and --save-draws are one file: give two")
        paths.append(("--save-draws", arguments.save_draws))
    for option, path in paths:
        if not path.absolute().parent.is_dir():
            raise ValueError(
                f"{option} {path}: the folder {path.absolute().parent} does not exist."
            )
        if path.is_dir():
            raise ValueError(f"{option} {path} is a folder; give a file.")
        if path.exists() and not arguments.force:
            raise ValueError(f"{option} {path} exists already. --force replaces it.")
