"""The buffers of modules that a step changes, where each process sees some of the rows only.

A buffer that is the largest value so far can be had of all rows: it is the largest of those of the
ranks.  Any other one must come out the same on all ranks.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.elbo_ranks import checksum


class Buffers:
    """The buffers of modules, and which of them a run changes.

    A module's ``running_maxima`` names the buffers that are the largest values so far: those of all
    rows are the largest of all ranks.
    """

    def __init__(self, *modules: Any) -> None:
        self.owners = [
            owner for m in modules if isinstance(m, torch.nn.Module) for owner in m.modules()
        ]
        self.before = {
            (id(owner), name): (buffer, buffer._version)
            for owner, name, buffer in self._all(maxima=False)
        }

    def maxima(self) -> list[Tensor]:
        """Those that are the largest values so far."""
        return [buffer for _, _, buffer in self._all(maxima=True)]

    def checksum_of_changed(self) -> int:
        """32 bits that tell the other ones' values, where they changed, from others."""
        found = 0
        for owner, name, buffer in self._all(maxima=False):
            before = self.before.get((id(owner), name))
            if before is None or before[0] is not buffer or before[1] != buffer._version:
                found = zlib.crc32(checksum(buffer).to_bytes(4, "little"), found)
        return found

    def _all(self, *, maxima: bool) -> Iterator[tuple[torch.nn.Module, str, Tensor]]:
        for owner in self.owners:
            for name, buffer in owner._buffers.items():
                if buffer is not None and (name in getattr(owner, "running_maxima", ())) == maxima:
                    yield owner, name, buffer
