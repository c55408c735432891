"""The folder of a run: the files that ``fit`` leaves and the other commands read.

    posterior.sbn        the fitted posterior, written last
    preprocessing.json   columns, classes and centring
    settings.json        what was asked for, and of which data
    split.npz            which rows were for training, early stopping and scores
    fit.json             how the fit ended, and the epoch whose parameters were kept
    network.json         layers, bits, operations and how decided the weights are
    scores.json          scores of the held-out rows, where there are any
    log.jsonl            a line an epoch
    checkpoint.sbnfit    the state at the end of the last epoch, from which --resume goes on

Each is written whole or not at all.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bayes_sbn.cli_output import to_json
from bayes_sbn.cli_preprocessing import Int64, Preprocessing
from bayes_sbn.whole_file import write_whole

if TYPE_CHECKING:
    from bayes_sbn.posterior import Posterior

POSTERIOR = "posterior.sbn"
PREPROCESSING = "preprocessing.json"
SETTINGS = "settings.json"
SPLIT = "split.npz"
FIT = "fit.json"
NETWORK = "network.json"
SCORES = "scores.json"
LOG = "log.jsonl"
CHECKPOINT = "checkpoint.sbnfit"
FILES = (POSTERIOR, PREPROCESSING, SETTINGS, SPLIT, FIT, NETWORK, SCORES, LOG, CHECKPOINT)
PARTS = ("train", "validation", "test")


class Run:
    """The folder of a run.

    Args:
        folder: as it was typed.
    """

    def __init__(self, folder: str) -> None:
        self.name = folder
        self.folder = Path(folder)

    # What fit does with it.

    def begin(self, settings: Mapping[str, Any], *, resume: bool, force: bool) -> None:
        """Make the folder ready for a fit.

        Args:
            settings: of the fit, which a fit that goes on must share.
            resume: go on with the fit that is there.
            force: replace it.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"--out {self.name} is a file; give a folder, which is made.")
        if resume:
            self._check_same(settings)
            return
        there = [name for name in FILES if (self.folder / name).exists()]
        kept = [name for name in there if name in (POSTERIOR, CHECKPOINT)]
        if kept and not force:
            raise ValueError(
                f"--out {self.name} holds a run already ({kept[0]}). Give another folder, "
                "--resume to go on with it, or --force to replace it."
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"--out {self.name}: the folder cannot be made ({error.strerror}). Give another."
            ) from None
        for name in there:
            (self.folder / name).unlink()
        self.write_json(SETTINGS, settings)

    def write_json(self, name: str, contents: Mapping[str, Any]) -> None:
        """Write a file of plain values."""
        self._write(name, (to_json(contents) + "\n").encode())

    def write_split(self, split: Mapping[str, Int64]) -> None:
        """Write which rows are for what."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **split)
        self._write(SPLIT, buffer.getvalue())

    def path(self, name: str) -> Path:
        """Where a file of the run is."""
        return self.folder / name

    def _write(self, name: str, content: bytes) -> None:
        write_whole(self.folder / name, content)

    def _check_same(self, settings: Mapping[str, Any]) -> None:
        before = self.settings()
        for key in sorted({*before, *settings}):
            was, now = before.get(key), json.loads(to_json({key: settings.get(key)}))[key]
            if was == now:
                continue
            if isinstance(was, dict) and isinstance(now, dict):
                key, was, now = next(
                    (f"{key}: {k}", was.get(k), now.get(k))
                    for k in sorted({*was, *now})
                    if was.get(k) != now.get(k)
                )
            raise ValueError(
                f"--resume: the fit in {self.name} is another one: {key} was {_short(was)} and is "
                f"{_short(now)}. Type its command again, or --force to begin anew."
            )

    # What the other commands read.

    def posterior(self) -> Posterior:
        """The fitted posterior."""
        from bayes_sbn.posterior import Posterior

        self._need(POSTERIOR)
        return Posterior.load(self.folder / POSTERIOR)

    def preprocessing(self) -> Preprocessing:
        """What is done to a table."""
        self._need(PREPROCESSING)
        return Preprocessing.load(self.folder / PREPROCESSING)

    def settings(self) -> dict[str, Any]:
        """What was asked for."""
        return self.read_json(SETTINGS)

    def read_json(self, name: str) -> dict[str, Any]:
        """The contents of a file of plain values."""
        self._need(name)
        try:
            found = json.loads((self.folder / name).read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.folder / name} is damaged ({error}). Fit again.") from None
        if not isinstance(found, dict):
            raise ValueError(f"{self.folder / name} is damaged: it is no object. Fit again.")
        return found

    def split(self) -> dict[str, Int64]:
        """Which rows were for what."""
        self._need(SPLIT)
        try:
            with np.load(self.folder / SPLIT, allow_pickle=False) as archive:
                return {name: np.asarray(archive[name], np.int64) for name in PARTS}
        except Exception as error:  # NumPy raises many kinds for a damaged archive
            raise ValueError(f"{self.folder / SPLIT} is damaged ({error}). Fit again.") from None

    def log(self) -> list[dict[str, Any]]:
        """The records of the epochs."""
        path = self.folder / LOG
        if not path.exists():
            return []
        try:
            return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}).") from None

    def _need(self, name: str) -> None:
        if (self.folder / name).is_file():
            return
        if not self.folder.exists():
            raise ValueError(
                f"{self.name}: there is no such folder. Make it with bayes-sbn fit DATA --out "
                f"{self.name}."
            )
        if name == POSTERIOR and (self.folder / CHECKPOINT).exists():
            raise ValueError(
                f"{self.name} holds a fit that has not ended. Type its command again with --resume."
            )
        raise ValueError(f"{self.name} is not the folder of a run: it has no {name}.")


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
