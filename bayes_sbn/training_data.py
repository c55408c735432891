"""What is fitted, batch by batch: tensors with an order of their own, or a DataLoader.

An epoch of tensors is every row once, in an order that a generator of the fit's own draws, so that
neither the draws of the network nor another part of the program changes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

Batch = tuple[Tensor, ...]
"""The tensors of some rows, in the order in which model and guide take them."""


class TensorBatches:
    """Mini-batches of tensors whose first dims are the rows.

    Args:
        tensors: of equal length.
        batch_size: rows of a batch; the last one of an epoch may have fewer.
        generator: of the order; None keeps the rows as they are.
    """

    def __init__(
        self, tensors: Batch, batch_size: int, generator: torch.Generator | None = None
    ) -> None:
        self.tensors = tensors
        self.batch_size = batch_size
        self.generator = generator
        self.num_rows: int | None = len(tensors[0])
        self.num_batches: int | None = math.ceil(len(tensors[0]) / batch_size)

    def __iter__(self) -> Iterator[Batch]:
        count = len(self.tensors[0])
        if self.generator is None:
            order = torch.arange(count)
        else:
            order = torch.randperm(count, generator=self.generator)
        for rows in order.split(self.batch_size):
            yield tuple(t[rows.to(t.device)] for t in self.tensors)

    def first(self) -> Batch:
        """The first rows, without a draw."""
        return tuple(t[: self.batch_size] for t in self.tensors)


class LoaderBatches:
    """Mini-batches of a DataLoader, or of anything that can be gone through once an epoch.

    Args:
        loader: yields tensors, or tuples or lists of tensors.
        to_device: puts a tensor where the parameters are.
        call: the argument, for messages.
    """

    def __init__(
        self, loader: Iterable[Any], to_device: Callable[[Tensor], Tensor], call: str
    ) -> None:
        self.loader = loader
        self.to_device = to_device
        self.call = call
        self.generator: torch.Generator | None = getattr(loader, "generator", None)
        dataset = getattr(loader, "dataset", None)
        self.num_rows: int | None = len(dataset) if isinstance(dataset, Sized) else None
        self.num_batches: int | None = len(loader) if isinstance(loader, Sized) else None

    def __iter__(self) -> Iterator[Batch]:
        is_empty = True
        for batch in self.loader:
            is_empty = False
            yield self._checked(batch)
        if is_empty:
            raise ValueError(f"{self.call}: it yielded no batch. Give at least one row.")

    def first(self) -> Batch:
        """A first batch, after which all generators are as before."""
        with torch.random.fork_rng(devices=[]), _put_back(self.generator):
            return next(iter(self))

    def _checked(self, batch: Any) -> Batch:
        tensors = (batch,) if isinstance(batch, Tensor) else batch
        if not isinstance(tensors, (tuple, list)) or not tensors or not _all_tensors(tensors):
            raise TypeError(
                f"{self.call}: a batch is {_described(batch)}; it must be a tensor or a tuple of "
                "tensors, the arguments of the model in their order. Convert it in the loader's "
                "collate_fn."
            )
        return tuple(self.to_device(t) for t in tensors)

    @property
    def is_reproduced(self) -> bool:
        """Whether the order of a resumed run is known to be that of an uninterrupted one."""
        sampler = getattr(self.loader, "sampler", None)
        is_in_order = isinstance(sampler, torch.utils.data.SequentialSampler)
        has_own = getattr(sampler, "generator", self.generator) is not self.generator
        return is_in_order or (self.generator is not None and not has_own)


Batches = TensorBatches | LoaderBatches


def as_batches(
    data: Any,
    batch_size: int,
    *,
    generator: torch.Generator | None,
    device: torch.device | None,
    call: str,
) -> Batches:
    """The batches of an argument of ``fit``.

    Args:
        data: a tensor, a tuple of tensors, or a DataLoader.
        batch_size: for tensors.
        generator: of the order of tensors.
        device: where the batches of a loader go; None leaves them.
        call: the argument, for messages.
    """
    if isinstance(data, Tensor):
        data = (data,)
    if isinstance(data, (tuple, list)):
        return TensorBatches(_checked_tensors(tuple(data), call), batch_size, generator)
    if isinstance(data, Iterator):
        raise TypeError(
            f"{call} is {_described(data)}, which can be gone through only once. Give what makes "
            "it, such as a DataLoader, or tensors."
        )
    if isinstance(data, torch.utils.data.Dataset):
        raise TypeError(
            f"{call} is {_described(data)}. Wrap it: torch.utils.data.DataLoader(dataset, "
            f"batch_size={batch_size}, shuffle=True, generator=torch.Generator())."
        )
    if not isinstance(data, Iterable):
        raise TypeError(f"{call} is {_described(data)}; give (x, y), tensors, or a DataLoader.")
    return LoaderBatches(data, lambda t: t if device is None else t.to(device), call)


def _checked_tensors(data: tuple[Any, ...], call: str) -> Batch:
    if not data or not _all_tensors(data):
        found = ", ".join(_described(item) for item in data) or "nothing"
        raise TypeError(
            f"{call} holds {found}; give tensors, as in (torch.as_tensor(x), torch.as_tensor(y))."
        )
    lengths = [len(t) if t.dim() else 0 for t in data]
    if len(set(lengths)) != 1:
        raise ValueError(
            f"{call}: the tensors have {lengths} rows; the first dim is the rows, as many in each."
        )
    if lengths[0] == 0:
        raise ValueError(f"{call}: the tensors have no rows. Give at least one.")
    return data


def _all_tensors(items: Iterable[Any]) -> bool:
    return all(isinstance(item, Tensor) for item in items)


def _described(item: Any) -> str:
    return f"a {type(item).__name__}"


@contextmanager
def _put_back(generator: torch.Generator | None) -> Iterator[None]:
    state = None if generator is None else generator.get_state()
    try:
        yield
    finally:
        if generator is not None and state is not None:
            generator.set_state(state)
