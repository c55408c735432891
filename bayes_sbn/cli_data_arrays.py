"""Tables from arrays: NPZ archives of NumPy, IDX files as those of MNIST, scikit-learn's data sets.

An IDX file is, big-endian: two zero bytes, a byte for the type, one for the number of dims, a
32-bit size for each, then the values.  Arrays of more dims than two are rows of pixels.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bayes_sbn.cli_table import Columns, Numbers, Table, Text, check_finite

SETS = ("breast_cancer", "diabetes", "digits", "iris", "wine")
"""scikit-learn's data sets that it carries along."""

IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
"""NumPy's names of the types."""

_DAMAGE = (
    ValueError,  # also NumPy refusing a pickle
    LookupError,
    OSError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading an archive that is not what it claims to be can raise."""


def read_npz(source: str, path: Path, *, reads_target: bool = True) -> Table:
    """A table from the arrays ``x`` and ``y`` of an archive; ``y`` may be missing.

    Args:
        source: the file, for messages.
        path: where it is.
        reads_target: whether ``y`` is looked at.
    """
    found: dict[str, npt.NDArray[np.generic]] = {}
    try:
        # given a path, NumPy leaves the file open where it is no archive
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = list(archive.files)
            for name in ("x", "y") if reads_target else ("x",):
                if name in names:
                    found[name] = np.asarray(archive[name])
    except _DAMAGE as error:
        raise ValueError(
            f"{source} cannot be read as an NPZ archive of numbers ({error}). Write "
            "numpy.savez(path, x=inputs, y=targets)."
        ) from None
    if "x" not in found:
        listed = ", ".join(map(repr, names[:12])) or "none"
        raise ValueError(
            f"{source} has no array 'x'; its arrays are {listed}. Write "
            "numpy.savez(path, x=inputs, y=targets)."
        )
    x, y = found["x"], found.get("y")
    if x.dtype.kind not in "fiub" or x.ndim < 2 or 0 in x.shape:
        raise ValueError(
            f"{source}: 'x' is {x.dtype} of shape {x.shape}; it must be real numbers of shape "
            "(rows, columns) or (rows, height, width), with at least one of each."
        )
    if y is not None and (y.dtype.kind not in "fiubU" or y.ndim != 1):
        hint = " Write y.argmax(1) for columns of 0 and 1." if y.ndim == 2 else ""
        raise ValueError(
            f"{source}: 'y' is {y.dtype} of shape {y.shape}; it must be numbers or text of shape "
            f"({len(x)},).{hint}"
        )
    is_pixels = x.ndim > 2 or x.dtype == np.uint8
    return table_of_arrays(source, x, y, is_pixels=is_pixels)


def read_idx(source: str, content: bytes, labels: tuple[str, bytes] | None) -> Table:
    """A table from a file of images and one of labels, or of images alone.

    Args:
        source: the file of the images, for messages.
        content: what is in it.
        labels: name and content of the file of their labels.
    """
    x = idx_array(source, content)
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(
            f"{source} has shape {x.shape}, as labels have; give the file of the images, of shape "
            "(rows, height, width)."
        )
    y = None
    if labels is not None:
        y = idx_array(*labels)
        if y.ndim != 1:
            raise ValueError(f"{labels[0]} has shape {y.shape}; labels have one dim.")
    return table_of_arrays(source, x, y, is_pixels=True)


def idx_array(source: str, content: bytes) -> npt.NDArray[np.generic]:
    """The array of an IDX file."""
    is_idx = len(content) >= 4 and content[:2] == b"\0\0" and content[2] in IDX_TYPES
    ndim = content[3] if is_idx else 0
    if not is_idx or ndim == 0 or len(content) < 4 + 4 * ndim:
        raise ValueError(f"{source} is not an IDX file, or it is truncated in its header.")
    kind = np.dtype(IDX_TYPES[content[2]])
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", ndim, offset=4))
    size = kind.itemsize
    for number in shape:  # Python's integers do not overflow
        size *= number
    start = 4 + 4 * ndim
    if len(content) - start != size:
        raise ValueError(
            f"{source} is damaged: its header says shape {shape} of {kind.name}, {size} bytes, and "
            f"{len(content) - start} follow."
        )
    return np.frombuffer(content, kind, offset=start).reshape(shape)


def is_idx(content: bytes) -> bool:
    """Whether content begins as an IDX file does; no text begins with two zero bytes."""
    return content[:2] == b"\0\0"


def read_set(name: str) -> Table:
    """One of scikit-learn's data sets, with the names it gives to columns and classes.

    Args:
        name: one of ``SETS``.
    """
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    names = tuple(str(each) for each in bunch.feature_names)
    is_real = name == "diabetes"
    target = bunch.target
    if not is_real:
        target = np.array([str(each) for each in bunch.target_names])[bunch.target]
    columns = Columns(names, "target", (*names, "target"), are_named=True)
    return Table(name, bunch.data, target, columns, is_pixels=name == "digits", is_real=is_real)


def table_of_arrays(source: str, x: Numbers, y: Numbers | Text | None, *, is_pixels: bool) -> Table:
    """A table of rows of numbers, whatever shape a row has.

    Args:
        source: the file, for messages.
        x: inputs, rows along the first axis.
        y: targets, one a row, or None.
        is_pixels: whether all inputs are measured on one scale.
    """
    if y is not None and len(y) != len(x):
        raise ValueError(f"{source} has {len(x)} rows of inputs and {len(y)} targets.")
    flat = x.reshape(len(x), -1)
    table = check_finite(
        Table(source, flat, y, Columns.of_array(flat.shape[1]), is_pixels=is_pixels)
    )
    if y is not None and y.dtype.kind == "f" and not np.isfinite(y).all():
        row = int(np.nonzero(~np.isfinite(y))[0][0])
        raise ValueError(f"{source}: the target of {table.place(row)} is {y[row]}.")
    return table
