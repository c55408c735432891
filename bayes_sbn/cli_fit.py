"""``bayes-sbn fit``: from a file to a posterior over binary networks, in a folder."""

from __future__ import annotations

import argparse
import math
import sys
import time
from typing import TYPE_CHECKING

from bayes_sbn import __version__
from bayes_sbn.cli_arguments import (
    add_command,
    add_output_options,
    at_least,
    fraction,
    positive,
    progress_of,
    widths,
)
from bayes_sbn.cli_data import add_data_options
from bayes_sbn.cli_output import note, show
from bayes_sbn.cli_preprocessing import CLASSES, REAL, SCALINGS
from bayes_sbn.cli_run import PREPROCESSING, Run

if TYPE_CHECKING:
    from bayes_sbn.cli_arguments import Commands

STEPS = 1000
"""Steps of a fit whose epochs were not given, nearly."""

FEWEST_EPOCHS, MOST_EPOCHS = 20, 500
"""Bounds on their number then."""

SMALL_BATCH, LARGE_BATCH, FEW_ROWS = 32, 128, 1000
"""Rows of a step, up to so many rows for training and beyond."""

PATIENCE = 20
"""Epochs to wait for a smaller validation NLL, where there are rows for it."""

SETTINGS = (
    "target",
    "drop",
    "header",
    "drop_missing",
    "labels",
    "task",
    "scaling",
    "test",
    "test_fraction",
    "validation_fraction",
    "hidden",
    "noise",
    "real",
    "estimator",
    "temperature",
    "epochs",
    "batch_size",
    "lr",
    "real_lr",
    "schedule",
    "patience",
    "seed",
)
"""Arguments that make a fit what it is."""


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "fit",
        help="fit a posterior over binary networks to a file or a data set",
        description="Fit a network of ±1 weights and ±1 activations to data, write its posterior\n"
        "with all that predictions need to a folder, and print scores of held-out rows.\n\n"
        "DATA is a CSV, NPZ (arrays x and y) or IDX file, a folder with the files of MNIST, or\n"
        "breast_cancer, diabetes, digits, iris or wine, which come with scikit-learn.",
        examples="  bayes-sbn fit iris --out run\n"
        "  bayes-sbn fit houses.csv --target price --drop id --out houses\n"
        "  bayes-sbn fit train.csv --test test.csv --validation-fraction 0.1 --out run\n"
        "  bayes-sbn fit mnist/ --hidden 512,512 --epochs 30 --out mnist_run\n"
        "  bayes-sbn fit iris --out run --resume   (goes on with an interrupted fit)",
    )
    parser.add_argument("data", metavar="DATA", help="what to fit")
    parser.add_argument("--out", required=True, metavar="RUN", help="the folder to make")
    parser.add_argument("--force", action="store_true", help="replace the run that is there")
    parser.add_argument("--resume", action="store_true", help="go on with the fit that is there")
    _add_columns(parser)
    _add_parts(parser)
    _add_network(parser)
    _add_training(parser)
    add_output_options(parser)
    parser.set_defaults(run=run, parser=parser)


def _add_columns(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("columns")
    group.add_argument(
        "--target",
        default="-1",
        metavar="COLUMN",
        help="name, or number from 1, of the target's column in a CSV file (-1, the last)",
    )
    group.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="COLUMN",
        help="leave a column out; may be given several times",
    )
    group.add_argument(
        "--drop-missing", action="store_true", help="leave out rows with a missing value"
    )
    add_data_options(group)
    group.add_argument(
        "--task",
        choices=(CLASSES, REAL),
        help="what the target is (classes if it is text or at most 20 different whole numbers)",
    )
    group.add_argument(
        "--scaling",
        choices=SCALINGS,
        help="of the inputs: each column by its mean and standard deviation, all by one range, "
        "or none (range for images, else standard)",
    )


def _add_parts(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("held-out rows")
    group.add_argument("--test", metavar="FILE", help="rows for scores, in a file of their own")
    group.add_argument(
        "--test-fraction",
        type=fraction,
        default=0.2,
        metavar="SHARE",
        help="or the share of the rows of DATA, the same of each class (0.2)",
    )
    group.add_argument(
        "--validation-fraction",
        type=fraction,
        default=0.0,
        metavar="SHARE",
        help="share of the rows of DATA that say when to stop (0: all epochs are done)",
    )


def _add_network(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("network")
    group.add_argument(
        "--hidden",
        type=widths,
        default=[128, 128],
        metavar="WIDTHS",
        help="units of the hidden layers (128,128)",
    )
    group.add_argument(
        "--noise", default="logistic", help="law of the activations' noise (logistic)"
    )
    group.add_argument(
        "--real",
        type=lambda text: text.split(","),
        default=[],
        metavar="LAYERS",
        help="layers with real weights: first, last or first,last (none)",
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    group.add_argument("--estimator", default="psa", help="gradient estimator (psa)")
    group.add_argument(
        "--temperature",
        type=lambda text: text if text == "auto" else positive(text),
        default="auto",
        help="what a nat of KL costs (auto)",
    )
    group.add_argument(
        "--epochs",
        type=at_least(1),
        help=f"passes over the data (as many as make about {STEPS} steps)",
    )
    group.add_argument(
        "--batch-size", type=at_least(1), help="rows of a step (32 up to 1000 rows, else 128)"
    )
    group.add_argument(
        "--lr", type=positive, default=0.05, help="step size of the ±1 weights (0.05)"
    )
    group.add_argument(
        "--real-lr", type=positive, default=0.01, help="of scales, biases, real weights (0.01)"
    )
    group.add_argument(
        "--schedule",
        choices=("cosine", "linear", "constant"),
        default="cosine",
        help="how step sizes fall (cosine)",
    )
    group.add_argument(
        "--patience",
        type=at_least(1),
        metavar="EPOCHS",
        help="stop when the validation NLL has not fallen for so long (20 with validation rows)",
    )
    group.add_argument("--seed", type=at_least(0), default=0, help="of everything random (0)")


def run(arguments: argparse.Namespace) -> int:
    """Fit, save, score."""
    _check(arguments)
    from bayes_sbn.cli_fit_data import FitData
    from bayes_sbn.cli_fit_network import check_names, fit_network, keep

    check_names(arguments)

    data = FitData.read(arguments)
    rows = data.counts()["train"]
    _fill_in(arguments, rows)
    if sys.stderr.isatty():
        note(arguments, str(data))
    settings = {
        "data": arguments.data,
        "data_digest": data.table.digest(),
        "test_digest": None if data.test is None else data.test.digest(),
        "rows": data.counts(),
        "options": {name: getattr(arguments, name) for name in SETTINGS},
        "package_version": __version__,
    }
    folder = Run(arguments.out)
    folder.begin(settings, resume=arguments.resume, force=arguments.force)
    folder.write_json(PREPROCESSING, data.preprocessing.to_dict())
    folder.write_split(data.parts)
    started = time.perf_counter()
    fitted = fit_network(arguments, data, folder)
    if fitted.fit.stopped == "interrupted":
        done = len(fitted.fit.history)
        print(
            f"bayes-sbn: interrupted after epoch {done} of {arguments.epochs}; the same command "
            "with --resume goes on",
            file=sys.stderr,
        )
        return 130
    text, contents = keep(
        data,
        folder,
        fitted,
        share=arguments.test_fraction,
        progress=progress_of(arguments),
    )
    contents["fit"]["seconds"] = time.perf_counter() - started
    show(arguments, text, {"run": arguments.out, **settings, **contents})
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Exit with 2 for arguments that do not go together."""
    fail = arguments.parser.error
    if arguments.resume and arguments.force:
        fail("--resume goes on with a run and --force replaces it: give one of them")
    if arguments.patience is not None and not arguments.validation_fraction:
        fail("--patience needs rows that say when to stop: --validation-fraction 0.1")
    if arguments.test_fraction + arguments.validation_fraction >= 1:
        fail("--test-fraction and --validation-fraction leave no rows to train")


def _fill_in(arguments: argparse.Namespace, rows: int) -> None:
    """What follows from the number of rows, where it was not given."""
    if arguments.batch_size is None:
        arguments.batch_size = SMALL_BATCH if rows <= FEW_ROWS else LARGE_BATCH
    if arguments.epochs is None:
        epochs = round(STEPS / math.ceil(rows / arguments.batch_size))
        arguments.epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, epochs))
    if arguments.patience is None and arguments.validation_fraction:
        arguments.patience = PATIENCE
