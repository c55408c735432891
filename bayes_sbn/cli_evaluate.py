"""``bayes-sbn evaluate``: scores of a run's ensemble on rows with targets."""

from __future__ import annotations

import argparse
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
from bayes_sbn.cli_run import PARTS, Run

if TYPE_CHECKING:
    from bayes_sbn.cli_arguments import Commands
    from bayes_sbn.cli_table import Table

ALL = "all"


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "evaluate",
        help="scores of a run's ensemble on rows with targets",
        description="Draw an ensemble of binary networks from a run's posterior, predict rows and\n"
        "score the predictions, with intervals from resampled rows.\n\n"
        "Without DATA these are the rows that the fit held out for scores. Of the data that the\n"
        "fit has seen, its held-out rows are taken, unless --part says otherwise.",
        examples="  bayes-sbn evaluate run\n"
        "  bayes-sbn evaluate run new.csv --draws 500 --json\n"
        "  bayes-sbn evaluate run --part train",
    )
    parser.add_argument("run_folder", metavar="RUN", help="the folder that fit made")
    parser.add_argument("data", metavar="DATA", nargs="?", help="rows with targets")
    parser.add_argument(
        "--part",
        choices=(*PARTS, ALL),
        help="which rows of the data of the fit (test), all of others",
    )
    parser.add_argument(
        "--clip",
        action="store_true",
        help="take the nearest value that the networks know for inputs far beyond the fit's",
    )
    parser.add_argument(
        "--level", type=level, default=0.95, help="level of the scores' intervals (0.95)"
    )
    parser.add_argument(
        "--detail",
        action="store_true",
        help="more scores of class probabilities, and tests of calibration; takes seconds longer",
    )
    add_data_options(parser)
    add_ensemble_options(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Predict and score."""
    folder = Run(arguments.run_folder)
    preprocessing = folder.preprocessing()
    from bayes_sbn.cli_ensemble import Fitted

    fitted = Fitted(folder.posterior(), preprocessing)
    table, part = rows_to_score(arguments, folder)
    clipped = 0
    if arguments.clip:
        x, clipped = fitted.clipped(table)
        if clipped:
            note(arguments, f"{table.source}: inputs clipped: {clipped}")
    else:
        x = fitted.inputs(table)
    found = fitted.scores(
        x,
        table,
        draws=arguments.draws,
        seed=arguments.seed,
        level=arguments.level,
        detail=arguments.detail,
        backend=arguments.backend,
        progress=progress_of(arguments),
    )
    which = "all rows" if part == ALL else f"{part} rows"
    show(
        arguments,
        f"{which} of {table.source}:\n{found}",
        {
            "run": arguments.run_folder,
            "data": table.source,
            "part": part,
            "clipped": clipped,
            **found.to_dict(),
        },
    )
    return 0


def rows_to_score(arguments: argparse.Namespace, folder: Run) -> tuple[Table, str]:
    """The rows to score, and which part of the data of the fit they are."""
    settings, part = folder.settings(), arguments.part or "test"
    fitted = settings["options"]
    is_own = arguments.data is None
    source = arguments.data
    if is_own:
        source = fitted["test"] if part == "test" and fitted["test"] else settings["data"]
    table = read_data(
        source,
        TextOptions(
            has_header=fitted["header"] if is_own else arguments.header,
            leave_out_missing=fitted["drop_missing"],
        ),
        like=folder.preprocessing().columns,
        labels=arguments.labels or (fitted["labels"] if is_own else None),
        part=TEST if part == "test" and has_test_part(source) else TRAIN,
    )
    digest = table.digest()
    if digest == settings["data_digest"] and part != ALL:
        rows = folder.split()[part]
        if not len(rows):
            raise ValueError(
                f"{source} is what the run was fitted to, and no row of it was held out for "
                f"{part}. Name other data, or write --part train for scores of the fit's own rows."
            )
        return table.take(rows), part
    if digest == settings["test_digest"] and part == "test":
        return table, part
    if is_own and digest not in (settings["data_digest"], settings["test_digest"]):
        raise ValueError(
            f"{source} is not what it was when the run was fitted. Name it as DATA to score all "
            "of its rows."
        )
    if not is_own and arguments.part not in (None, ALL):
        raise ValueError(
            f"--part {part}: {source} is not the data of the fit, so its rows are in no part. "
            "Leave --part out."
        )
    return table, ALL
