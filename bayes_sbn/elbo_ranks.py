"""The processes that share a computation, and what they tell each other.

Each process is a rank of a group of ``torch.distributed``, as ``torchrun`` starts them.  Every rank
makes the same calls in the same order; what one rank alone finds wrong is told to all of them, so
that all raise and none waits.  Without an initialised group there is one rank, and nothing is sent.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

T = TypeVar("T")


class Ranks:
    """The ranks of a group of processes.

    Args:
        group: of ``torch.distributed``; None is all processes.
    """

    def __init__(self, group: Any = None) -> None:
        self.group = group
        self._is_alone = False

    @classmethod
    def alone(cls) -> Ranks:
        """This process by itself, whatever others there are."""
        ranks = cls()
        ranks._is_alone = True
        return ranks

    @property
    def size(self) -> int:
        """How many there are; 1 where ``torch.distributed`` is not in use."""
        if self._is_alone:
            return 1
        if dist.is_available() and dist.is_initialized():
            return dist.get_world_size(self.group)
        started = os.environ.get("WORLD_SIZE", "1") if "TORCHELASTIC_RUN_ID" in os.environ else "1"
        if started != "1":
            raise RuntimeError(
                f"DataParallel_ELBO: torchrun started {started} processes, but they do not know of "
                'each other. Write torch.distributed.init_process_group("gloo") first, "nccl" on '
                "GPUs."
            )
        return 1

    @property
    def rank(self) -> int:
        """Which one this process is, from 0."""
        return dist.get_rank(self.group) if self.size > 1 else 0

    def rows(self, count: int) -> tuple[int, int]:
        """The first row of this rank's share of ``count``, and the one after its last.

        Shares follow each other and differ by one row at most; of fewer rows than ranks, some are
        empty.
        """
        return count * self.rank // self.size, count * (self.rank + 1) // self.size

    def gather(self, numbers: list[int]) -> list[list[int]]:
        """The numbers of all ranks, as many of each."""
        own = torch.tensor(numbers, dtype=torch.int64, device=self.device)
        found = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(found, own, group=self.group)
        return [t.tolist() for t in found]

    def gather_values(self, value: T) -> list[T]:
        """A plain value of each rank."""
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self.group)
        return found

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over the ranks, the same bits on all of them."""
        self._reduce(tensors, dist.ReduceOp.SUM)

    def take_largest(self, tensors: Iterable[Tensor]) -> None:
        """Replace each entry by the largest of the ranks."""
        self._reduce(tensors, dist.ReduceOp.MAX)

    def by_first(self, call: Callable[[], T]) -> T:
        """What the first rank gets from a call that it alone makes; an error is raised on all."""
        if self.size == 1:
            return call()
        told: list[Any] = [None, None]
        error: Exception | None = None
        if self.rank == 0:
            try:
                told = [call(), None]
            except Exception as caught:
                error, told = caught, [None, _text(caught)]
        first = 0 if self.group is None else dist.get_global_rank(self.group, 0)
        dist.broadcast_object_list(told, src=first, group=self.group, device=self.device)
        if error is not None:
            raise error
        if told[1] is not None:
            raise RuntimeError(f"rank 0 failed, so that all ranks stop: {told[1]}")
        result: T = told[0]
        return result

    def need_same(self, call: str, values: Mapping[str, Any], remedy: str) -> None:
        """Raise on all ranks, naming the first value that is not the same on all of them."""
        if self.size == 1:
            return
        found = self.gather_values(dict(values))
        for name in sorted({name for one in found for name in one}):
            for rank, one in enumerate(found):
                if one.get(name) != found[0].get(name):
                    raise ValueError(
                        f"{call}: ranks 0 and {rank} do not agree in {name}: "
                        f"{_short(found[0].get(name))} and {_short(one.get(name))}. {remedy}"
                    )

    def raise_of_any(self, failed: list[bool], error: Exception | None) -> None:
        """Raise on all ranks if one of them failed.

        Args:
            failed: of each rank.
            error: of this one.
        """
        if not any(failed):
            return
        texts = self.gather_values(None if error is None else _text(error))
        if error is not None:
            raise error
        which = failed.index(True)
        raise RuntimeError(
            f"DataParallel_ELBO: rank {which} failed, so that all ranks stop: {texts[which]}"
        )

    @property
    def device(self) -> torch.device:
        """Where the group's backend takes small tensors."""
        if dist.get_backend(self.group) == "nccl":
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("cpu")

    def _reduce(self, tensors: Iterable[Tensor], operation: Any) -> None:
        """One message for all tensors of a type and device."""
        kinds: dict[Any, list[Tensor]] = {}
        for tensor in tensors:
            kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
        for members in kinds.values():
            flat = torch.cat([t.reshape(-1) for t in members])
            dist.all_reduce(flat, op=operation, group=self.group)
            for tensor, part in zip(members, flat.split([t.numel() for t in members]), strict=True):
                tensor.copy_(part.view_as(tensor))


def checksum(tensor: Tensor) -> int:
    """32 bits that tell the values of a tensor from others."""
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return zlib.crc32(values.numpy().data)


def checksum_of_generators() -> int:
    """32 bits that tell the states of torch's global generators from others."""
    found = checksum(torch.get_rng_state())
    if torch.cuda.is_initialized():
        found = zlib.crc32(checksum(torch.cuda.get_rng_state()).to_bytes(4, "little"), found)
    return found


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
