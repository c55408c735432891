"""Data as they are named on the command line: a set of scikit-learn's, a file, a folder of MNIST's.

What a file is follows from its content and not from its name: an NPZ archive, an IDX file, both
perhaps compressed by gzip, else text.  A folder has the four files of MNIST.
"""

from __future__ import annotations

import argparse
import gzip
import zlib
from pathlib import Path

from bayes_sbn.cli_data_arrays import SETS, is_idx, read_idx, read_npz, read_set
from bayes_sbn.cli_data_csv import TextOptions, read_text, read_text_like
from bayes_sbn.cli_table import Columns, Table

SPREADSHEETS = (".xls", ".xlsx", ".xlsm", ".ods")
"""Endings of files that hold tables in a form of their own."""

TRAIN, TEST = "train", "t10k"
"""How the names of MNIST's files begin."""


def add_data_options(parser: argparse._ActionsContainer) -> None:
    """``--labels``, ``--header`` and ``--no-header``: how files are read."""
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="the IDX file of the labels (that beside the images whose name fits)",
    )
    parser.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="the first line of a text file has the columns' names (found out)",
    )


def read_data(
    source: str,
    options: TextOptions | None = None,
    *,
    like: Columns | None = None,
    labels: str | None = None,
    part: str = TRAIN,
) -> Table:
    """The table that is meant by a name on the command line.

    Args:
        source: a data set's name, a file or a folder.
        options: which columns of a text file are what, and what is left out.
        like: or the columns of the table that one was fitted to.
        labels: the file of the labels, of an IDX file.
        part: of a folder, ``"train"`` or ``"t10k"``.
    """
    options = options or TextOptions()
    if source in SETS:
        return read_set(source)
    path = Path(source)
    if path.is_dir():
        path = _images_of(source, path, part)
    if not path.exists():
        known = ", ".join(SETS)
        raise ValueError(f"{source}: there is no such file, and the data sets by name are {known}.")
    shown = str(path)
    if path.suffix.lower() in SPREADSHEETS:
        raise ValueError(
            f"{shown} is a spreadsheet, which is not read. Save its sheet as CSV in UTF-8, and "
            "give that file."
        )
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    if is_archive:
        return read_npz(shown, path, reads_target=options.reads_target)
    if path.suffix == ".npz":
        raise ValueError(f"{shown} is not an NPZ archive, or it is truncated.")
    content = _content(path)
    if is_idx(content):
        found = _labels_of(path) if labels is None else Path(labels)
        if not options.reads_target:
            found = None
        return read_idx(shown, content, None if found is None else (str(found), _content(found)))
    if like is not None:
        return read_text_like(shown, content, like, options)
    return read_text(shown, content, options)


def has_test_part(source: str) -> bool:
    """Whether data are a folder with a test set of its own."""
    path = Path(source)
    return source not in SETS and path.is_dir() and _find(path, f"{TEST}-images") is not None


def _content(path: Path) -> bytes:
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file.")
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be decompressed ({error}).") from None


def _images_of(source: str, folder: Path, part: str) -> Path:
    found = _find(folder, f"{part}-images")
    if found is None:
        raise ValueError(
            f"{source} is a folder without {part}-images-idx3-ubyte(.gz). Give a file, or a folder "
            "with the files of MNIST."
        )
    return found


def _labels_of(images: Path) -> Path | None:
    """The file of the labels beside that of the images."""
    start = images.name.split("images")[0] if "images" in images.name else None
    return None if start is None else _find(images.parent, f"{start}labels")


def _find(folder: Path, start: str) -> Path | None:
    found = sorted(
        each for each in folder.iterdir() if each.name.startswith(start) and each.is_file()
    )
    return found[0] if found else None
