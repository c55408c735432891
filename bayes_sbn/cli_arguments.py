"""Arguments that several commands have, and the types that turn their text into values.

A type raises ``argparse.ArgumentTypeError``, which ends the program with exit code 2 and a line
that says what is allowed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    """What ``add_parser`` of a command is given."""

BACKENDS = ("auto", "native", "reference", "cuda")
"""What runs an ensemble; stated here too, so that help needs no torch."""


def add_command(
    commands: Commands, name: str, *, help: str, description: str, examples: str
) -> argparse.ArgumentParser:
    """A parser of a command whose help ends with examples.

    Args:
        commands: what ``add_parser`` of the command was given.
        name: of the command.
        help: a line for the list of commands.
        description: what it does.
        examples: lines to type, as they stand.
    """
    return commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """``--json`` and ``--quiet``."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object in place of a table"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars and no notes")


def add_ensemble_options(parser: argparse.ArgumentParser) -> None:
    """``--draws``, ``--seed`` and ``--backend`` of an ensemble."""
    parser.add_argument(
        "--draws", type=at_least(1), default=200, help="networks in the ensemble (200)"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the ensemble (0)")
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="auto",
        help="what runs the networks, the results are the same (auto)",
    )


def progress_of(arguments: argparse.Namespace) -> bool | None:
    """What ``progress=`` of the package's calls is told: bars, unless ``--quiet``.

    tqdm hides itself where standard error is not a terminal; None leaves that to it.
    """
    return False if arguments.quiet else None


def at_least(least: int) -> Callable[[str], int]:
    """An integer that is not smaller."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return convert


def positive(text: str) -> float:
    """A finite number above 0."""
    value = _number(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number above 0")
    return value


def fraction(text: str) -> float:
    """A number from 0 to below 1: a share of the rows that leaves some."""
    value = _number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share of the rows, from 0 to below 1")
    return value


def level(text: str) -> float:
    """A number between 0 and 1."""
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a level between 0 and 1")
    return value


def widths(text: str) -> list[int]:
    """Numbers of units, parted by commas."""
    return [at_least(1)(part) for part in text.split(",")]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
