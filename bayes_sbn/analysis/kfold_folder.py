"""The folder of a cross-validation: a file for each fold that is done, and whose it is.

A file is that of :mod:`bayes_sbn.predictions_file`, written whole or not at all, with the
checksums of the data and of the folds, and what tells the fit from others
(:mod:`bayes_sbn.analysis.fit_identity`), beside what was predicted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bayes_sbn.analysis.held_out import HeldOut
from bayes_sbn.predictions_file import Kind, read_predictions, write_predictions

_KIND = Kind("kfold", "bayes_sbn.kfold", ("row",), ("log_prob", "mean"))

_SAID = {
    "x": "the inputs",
    "y": "the targets",
    "folds": "the folds (k, seed or stratify)",
    "k": "k",
    "seed": "seed",
    "num_draws": "num_draws",
}


class FoldFolder:
    """Where the folds that are done are kept.

    Args:
        folder: made if it is not there.
        settings: what makes this cross-validation this one, as plain values.
        resume: whether files that are there are read.
    """

    def __init__(
        self, folder: str | os.PathLike[str], settings: Mapping[str, object], *, resume: bool
    ) -> None:
        self.folder, self.settings, self.resume = Path(folder), dict(settings), resume
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(
                f"kfold(folder={str(self.folder)!r}) is a file; it is the folder of the folds' "
                "files."
            )
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, fold: int) -> Path:
        """The file of a fold."""
        return self.folder / f"fold_{fold:04d}.npz"

    def read(self, fold: int) -> HeldOut | None:
        """What was predicted of a fold, or None if it is still to be done."""
        path = self.path(fold)
        if not self.resume or not path.exists():
            return None
        try:
            (log_prob, mean), settings = read_predictions(_KIND, path)
        except ValueError as error:
            raise ValueError(
                f"kfold(folder=...): {path} is damaged or of something else. Delete it to have the "
                f"fold done anew. ({error})"
            ) from error
        for name, now in self.settings.items():
            if settings.get(name) != now:
                raise ValueError(
                    f"kfold(folder={str(self.folder)!r}): the folds there are of another "
                    f"cross-validation: {self._difference(name, settings.get(name))}. Give another "
                    "folder, or resume=False to do all folds anew."
                )
        return HeldOut(log_prob, mean)

    def _difference(self, name: str, there: object) -> str:
        """What differs, in words."""
        if name == "fit_fn":
            return f"fit_fn, {there!r} there and {self.settings[name]!r} now, differ"
        if name == "fit_code":
            return (
                f"the code of {self.settings['fit_fn']}, or a value that it holds or reads, "
                "differs (where these change and the fit does not, write kfold(..., name='...') "
                "from the start)"
            )
        return f"{_SAID[name]} differ"

    def write(self, fold: int, result: HeldOut) -> None:
        """Keep what was predicted of a fold."""
        arrays = {"log_prob": result.log_prob, "mean": result.mean}
        write_predictions(_KIND, self.path(fold), arrays, self.settings)


def checksum(values: npt.NDArray[np.generic]) -> str:
    """Of the shape, the type and the bytes of an array."""
    array = np.ascontiguousarray(values)
    found = hashlib.sha256(f"{array.shape} {array.dtype.str}".encode())
    found.update(array.tobytes())
    return found.hexdigest()
