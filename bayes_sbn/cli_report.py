"""``bayes-sbn report``: what a run's networks know, and how well, as one HTML file."""

from __future__ import annotations

import argparse
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayes_sbn.cli_arguments import (
    add_command,
    add_ensemble_options,
    add_output_options,
    level,
    progress_of,
)
from bayes_sbn.cli_data import add_data_options, read_data
from bayes_sbn.cli_data_csv import TextOptions
from bayes_sbn.cli_evaluate import ALL, rows_to_score
from bayes_sbn.cli_output import note, show
from bayes_sbn.cli_preprocessing import CLASSES, Float32, real_targets
from bayes_sbn.cli_run import FIT, PARTS, Run

if TYPE_CHECKING:
    from bayes_sbn.cli_arguments import Commands
    from bayes_sbn.cli_ensemble import Fitted
    from bayes_sbn.cli_table import Table


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "report",
        help="one HTML file: scores, calibration, rows to look at, the network and its fit",
        description="Predict rows with a run's ensemble, judge the predictions, and write all of\n"
        "it as one HTML file, which needs no other file and no network.\n\n"
        "Which rows these are is as for evaluate: without DATA those that the fit held out.",
        examples="  bayes-sbn report run --out report.html\n"
        "  bayes-sbn report run new.csv --out new.html --draws 500\n"
        "  bayes-sbn report mnist_run --ood notmnist/t10k-images-idx3-ubyte.gz",
    )
    parser.add_argument("run_folder", metavar="RUN", help="the folder that fit made")
    parser.add_argument("data", metavar="DATA", nargs="?", help="rows with targets")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="what to write (report.html)",
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument(
        "--part",
        choices=(*PARTS, ALL),
        help="which rows of the data of the fit (test), all of others",
    )
    parser.add_argument(
        "--ood", metavar="FILE", help="rows from elsewhere, of which the networks should be unsure"
    )
    parser.add_argument(
        "--image-shape",
        type=_image_shape,
        metavar="HEIGHT,WIDTH",
        help="draw inputs as images (where they are pixels of a square: as such)",
    )
    parser.add_argument("--title", help="of the page")
    parser.add_argument(
        "--clip",
        action="store_true",
        help="take the nearest value that the networks know for inputs far beyond the fit's",
    )
    parser.add_argument(
        "--level", type=level, default=0.95, help="level of the scores' intervals (0.95)"
    )
    parser.add_argument(
        "--no-detail",
        dest="detail",
        action="store_false",
        help="leave out the longer list of scores, which takes its time of many rows",
    )
    parser.add_argument(
        "--no-diagnosis",
        dest="diagnosis",
        action="store_false",
        help="leave out the diagnosis of the posterior, which predicts the training rows",
    )
    add_data_options(parser)
    add_ensemble_options(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Predict, judge, write."""
    _check_out(arguments.out, is_forced=arguments.force)
    folder = Run(arguments.run_folder)
    preprocessing = folder.preprocessing()
    from bayes_sbn.cli_ensemble import Fitted
    from bayes_sbn.html_report import report

    fitted = Fitted(folder.posterior(), preprocessing)
    table, part = rows_to_score(arguments, folder)
    y = _targets(fitted, table)
    is_classes = preprocessing.task == CLASSES
    columns = preprocessing.columns
    settings = folder.settings()
    x, clipped = _inputs(arguments, fitted, table)
    made = report(
        fitted.posterior,
        x,
        y,
        arguments.out,
        draws=arguments.draws,
        seed=arguments.seed,
        fit=folder.folder if folder.log() else None,
        train=_trained(arguments, fitted, folder),
        ood=_elsewhere(arguments, fitted),
        class_names=preprocessing.classes if is_classes else None,
        feature_names=columns.inputs if columns.are_named else None,
        image_shape=_shape(arguments.image_shape, table),
        row_names=[table.place(row) for row in range(len(table))],
        rescale=None if is_classes else (preprocessing.target_scale, preprocessing.target_shift),
        rescale_inputs=(preprocessing.scale, preprocessing.shift),
        title=arguments.title or f"{Path(settings['data']).name}: what the network knows",
        level=arguments.level,
        detail=arguments.detail,
        diagnosis=arguments.diagnosis,
        call=_typed(arguments),
        notes=_notes(folder, table, part, clipped),
        backend=arguments.backend,
        progress=progress_of(arguments),
    )
    which = "all rows" if part == ALL else f"{part} rows"
    size = made.path.stat().st_size
    lines = [f"{which} of {table.source}: {made.path} ({size / 1000:,.0f} kB)", *made.cautions]
    contents = {
        "run": arguments.run_folder,
        "data": table.source,
        "part": part,
        "out": str(made.path),
        "cautions": list(made.cautions),
        "sections": made.to_dict()["sections"],
    }
    show(arguments, "\n".join(lines), contents)
    return 0


def _targets(fitted: Fitted, table: Table) -> Any:
    if fitted.preprocessing.task == CLASSES or table.target is None:
        return fitted.preprocessing.labels(table)  # says what is missing, if it is
    return real_targets(table)


def _inputs(arguments: argparse.Namespace, fitted: Fitted, table: Table) -> tuple[Float32, int]:
    """What the networks see, and how many inputs were clipped for it."""
    if not arguments.clip:
        return fitted.inputs(table), 0
    x, clipped = fitted.clipped(table)
    if clipped:
        note(arguments, f"{table.source}: inputs clipped: {clipped}")
    return x, clipped


def _trained(arguments: argparse.Namespace, fitted: Fitted, folder: Run) -> tuple[Any, Any] | None:
    """The rows that were fitted, if their file is still there and the same."""
    settings = folder.settings()
    options = settings["options"]
    try:
        table = read_data(
            settings["data"],
            TextOptions(has_header=options["header"], leave_out_missing=options["drop_missing"]),
            like=fitted.preprocessing.columns,
            labels=options["labels"],
        )
    except (ValueError, OSError):
        table = None
    if table is None or table.digest() != settings["data_digest"]:
        note(
            arguments,
            f"{settings['data']} is not there as it was when it was fitted: the report leaves out "
            "what it would say of the training rows",
        )
        return None
    rows = table.take(folder.split()["train"])
    return fitted.clipped(rows)[0], _targets(fitted, rows)


def _elsewhere(arguments: argparse.Namespace, fitted: Fitted) -> Float32 | None:
    if arguments.ood is None:
        return None
    table = read_data(
        arguments.ood,
        TextOptions(has_header=arguments.header, reads_target=False),
        like=fitted.preprocessing.columns,
    )
    # Rows from elsewhere may lie anywhere: the networks see the nearest that they know.
    x, clipped = fitted.clipped(table)
    if clipped:
        note(arguments, f"{table.source}: inputs clipped: {clipped}")
    return x


def _check_out(path: Path, *, is_forced: bool) -> None:
    """Raise where the file can't be written."""
    if path.is_dir():
        raise ValueError(f"--out {path} is a folder. Write --out {path / 'report.html'}.")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--out {path}: the folder {path.absolute().parent} does not exist.")
    if path.exists() and not is_forced:
        raise ValueError(f"--out {path} exists already. --force replaces it.")


def _shape(given: tuple[int, ...] | None, table: Table) -> tuple[int, ...] | None:
    """The sides of an image: those given, or of a square one whose pixels the inputs are."""
    inputs = table.x.shape[1]
    if given is not None:
        if math.prod(given) != inputs:
            text = ",".join(map(str, given))
            raise ValueError(
                f"--image-shape {text} is an image of {math.prod(given)} values, and a row of "
                f"{table.source} has {inputs}. Leave it out where inputs are no images."
            )
        return given
    side = math.isqrt(inputs)
    is_square = table.is_pixels and side > 1 and side * side == table.x.shape[1]
    return (side, side) if is_square else None


def _notes(folder: Run, table: Table, part: str, clipped: int) -> dict[str, object]:
    """What was fitted, how, and which rows were judged."""
    settings = folder.settings()
    rows = ", ".join(f"{count} {name}" for name, count in settings["rows"].items() if count)
    options = {
        name: value for name, value in settings["options"].items() if value not in (None, [], False)
    }
    words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in options.items())
    judged = f"{'all' if part == ALL else part} of {table.source}"
    if clipped:
        judged += f"; {clipped} of their inputs, far beyond the rows of the fit, were clipped"
    ended = folder.read_json(FIT) if folder.path(FIT).exists() else None
    kept = {} if ended is None else {"parameters": f"of epoch {ended['epoch']} of the fit"}
    return {
        "rows judged": judged,
        **kept,
        "data of the fit": f"{settings['data']} ({rows})",
        "settings of the fit": words,
    }


def _typed(arguments: argparse.Namespace) -> str:
    """The command, with the options that it was given."""
    words = ["bayes-sbn", "report", arguments.run_folder]
    words += [] if arguments.data is None else [arguments.data]
    for option in ("out", "part", "ood", "title", "labels"):
        value = getattr(arguments, option)
        words += [] if value is None else [f"--{option}", str(value)]
    if arguments.image_shape is not None:
        words += ["--image-shape", ",".join(map(str, arguments.image_shape))]
    if arguments.header is not None:
        words.append("--header" if arguments.header else "--no-header")
    words += [f"--{option}" for option in ("clip", "force") if getattr(arguments, option)]
    words += [
        f"--no-{option}" for option in ("detail", "diagnosis") if not getattr(arguments, option)
    ]
    for option in ("draws", "seed", "backend", "level"):
        words += [f"--{option}", str(getattr(arguments, option))]
    return shlex.join(words)


def _image_shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(map(int, text.split(",")))
    except ValueError:
        shape = ()
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHT,WIDTH, such as 28,28")
    return shape
