"""The folder of a fit: its checkpoint, a log of one JSON object an epoch, and whose they are.

A fit goes on from a checkpoint only if it is the same fit: the same data, parameters and settings,
which the checkpoint holds beside the state.  The log is written after the checkpoint and rewritten
when a fit goes on, so that it has each epoch of the checkpoint once, whenever a run was killed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.dual import NATURAL
from bayes_sbn.elbo_ranks import Ranks
from bayes_sbn.noise import Noise
from bayes_sbn.training_checkpoint import read_checkpoint, write_checkpoint
from bayes_sbn.training_data import Batches, TensorBatches
from bayes_sbn.training_state import State
from bayes_sbn.whole_file import write_whole

CHECKPOINT = "checkpoint.sbnfit"
LOG = "log.jsonl"


class TrainingFolder:
    """Where a fit leaves its state at the end of each epoch.

    Of several processes the first one reads and writes, and tells the others what is there.

    Args:
        folder: made if it is not there.
        settings: what makes this fit this one, as plain values.
        ranks: the processes of the fit.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: Mapping[str, Any],
        ranks: Ranks | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.settings = dict(settings)
        self.ranks = Ranks.alone() if ranks is None else ranks
        self.ranks.by_first(self._make)

    def _make(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(
                f"fit(checkpoint={str(self.folder)!r}) is a file; it is the folder of a fit's "
                "files."
            )
        self.folder.mkdir(parents=True, exist_ok=True)

    def read(self) -> State | None:
        """The state to go on from, or None if there is no checkpoint."""
        return self.ranks.by_first(self._read)

    def _read(self) -> State | None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return None
        content = read_checkpoint(path)
        self._check_same_fit(content["settings"])
        kept: State = content["kept"]
        self._write_log(kept["history"])
        return kept

    def write(self, kept: State) -> None:
        """Keep the state at the end of an epoch."""
        self.ranks.by_first(lambda: self._write(kept))

    def _write(self, kept: State) -> None:
        content = {"settings": self.settings, "kept": kept}
        write_checkpoint(self.folder / CHECKPOINT, content)
        history = kept["history"]
        if len(history) == 1:
            self._write_log(history)
            return
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(_line(history[-1]))

    def _write_log(self, history: list[dict[str, Any]]) -> None:
        write_whole(self.folder / LOG, "".join(map(_line, history)).encode())

    def _check_same_fit(self, before: Mapping[str, Any]) -> None:
        for name in sorted({*before, *self.settings}):
            was, now = before.get(name), self.settings.get(name)
            if was != now:
                raise ValueError(
                    f"fit(checkpoint={str(self.folder)!r}): the checkpoint there is of another "
                    f"fit: {name} was {_short(was)} and is {_short(now)}. Give another folder, or "
                    "resume=False to begin anew in this one."
                )


def fingerprint(batches: Batches | None) -> Any:
    """What tells data from others: shapes, types and a checksum of tensors; the loader's type."""
    if batches is None:
        return None
    if not isinstance(batches, TensorBatches):
        return [type(batches.loader).__name__, batches.num_rows]
    return [[list(t.shape), str(t.dtype), _checksum(t)] for t in batches.tensors]


def described(optim: Any) -> list[str]:
    """An optimiser as plain values: its type and the options that it keeps."""
    names = ("dual_args", "real_name", "real_args", "pt_optim_args", "pt_clip_args")
    options = {name: getattr(optim, name, None) for name in names}
    return [type(optim).__name__, repr({n: o for n, o in options.items() if not callable(o)})]


def law_of_leaves(guide: Any) -> dict[str, str]:
    """The noise law whose quantiles a guide's leaves are, where that is not the default."""
    noise = getattr(guide, "noise", None)
    if not isinstance(noise, Noise) or noise == NATURAL:
        return {}
    return {"noise of the guide": f"{type(noise).__name__}(scale={float(noise.scale)})"}


def _checksum(tensor: Tensor) -> str:
    words = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(words.numpy().data).hexdigest()


def _line(record: Mapping[str, Any]) -> str:
    plain = {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }
    return json.dumps(plain, allow_nan=False) + "\n"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
