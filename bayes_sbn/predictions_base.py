"""What every kind of predictions is: immutable arrays over named dims, attrs, and a file."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, NoReturn, Self

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import to_numpy
from bayes_sbn.predictions_file import Kind, damaged, read_predictions, write_predictions


class PredictionsBase(ABC):
    """Arrays under the names of the kind, read-only, with the attrs that say where they come from.

    A subclass names its kind and takes the arrays, in that order, and ``attrs``.
    """

    _kind: ClassVar[Kind]

    @abstractmethod
    def __init__(self, *arrays: npt.ArrayLike, attrs: Mapping[str, object] | None = None) -> None:
        """Check the arrays, and :meth:`_hold` them."""

    def _hold(
        self,
        arrays: Mapping[str, npt.NDArray[np.float64]],
        attrs: Mapping[str, object] | None,
    ) -> None:
        """Keep checked arrays, not copied, and attrs."""
        self.__dict__["_arrays"] = {name: read_only(array.view()) for name, array in arrays.items()}
        self.__dict__["_attrs"] = self._as_json({} if attrs is None else attrs)

    @property
    def _held(self) -> dict[str, npt.NDArray[np.float64]]:
        held: dict[str, npt.NDArray[np.float64]] = self.__dict__["_arrays"]
        return held

    @property
    def attrs(self) -> Mapping[str, object]:
        """Where the predictions come from."""
        return MappingProxyType(self.__dict__["_attrs"])

    @property
    def _row_axis(self) -> int:
        return self._kind.dims.index("row")

    def __len__(self) -> int:
        """The number of rows."""
        return int(next(iter(self._held.values())).shape[self._row_axis])

    def take(self, rows: npt.ArrayLike | slice) -> Self:
        """The predictions of some rows, in that order.

        Args:
            rows: their indices, a mask of all rows, or a slice.
        """
        index = rows if isinstance(rows, slice) else np.asarray(to_numpy(rows))
        if not isinstance(index, slice):
            kind = index.dtype.kind
            is_mask = kind == "b" and index.shape == (len(self),)
            is_list = index.ndim == 1 and (kind in "iu" or not index.size)
            if not (is_mask or is_list):
                raise TypeError(
                    f"{self._kind.name}.take() needs indices of rows, a mask of {len(self)} of "
                    f"them, or a slice: received {index.dtype} of shape {index.shape}. Write "
                    "take([0, 2]) or take(y == 1)."
                )
            index = np.flatnonzero(index) if is_mask else index.astype(np.int64)
            if index.size and not -len(self) <= index.min() <= index.max() < len(self):
                raise IndexError(
                    f"{self._kind.name}.take(): there are {len(self)} rows, and indices reach from "
                    f"{index.min()} to {index.max()}."
                )
        where = (*(slice(None),) * self._row_axis, index)
        return type(self)(*(array[where] for array in self._held.values()), attrs=self.attrs)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a NumPy .npz file, without pickle: whole, or not at all.

        The file is written beside its place under a temporary name, then renamed.

        Args:
            path: the file; used as given, no suffix is added.
        """
        write_predictions(self._kind, Path(path), self._held, self.__dict__["_attrs"])

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file that :meth:`save` wrote; runs no code from it.

        Args:
            path: the file.

        Raises:
            ValueError: for a truncated, damaged or foreign file, or one of a newer format.
        """
        source = Path(path)
        arrays, attrs = read_predictions(cls._kind, source)
        try:
            return cls(*arrays, attrs=attrs)
        except (TypeError, ValueError) as error:
            raise damaged(cls._kind, source, str(error)) from error

    def __eq__(self, other: object) -> bool:
        """Whether arrays and attrs are the same, exactly."""
        if not isinstance(other, type(self)):
            return NotImplemented
        return self.attrs == other.attrs and all(
            np.array_equal(array, other._held[name]) for name, array in self._held.items()
        )

    def __repr__(self) -> str:
        shape = next(iter(self._held.values())).shape
        sizes = ", ".join(f"{dim}={size}" for dim, size in zip(self._kind.dims, shape, strict=True))
        short = {name: _shortened(value) for name, value in self.attrs.items()}
        attrs = f", attrs={short!r}" if short else ""
        return f"{self._kind.name}({sizes}{attrs})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        del value
        raise AttributeError(
            f"{self._kind.name}.{name} cannot be set: predictions are immutable. Build others with "
            f"{self._kind.name}({', '.join(self._kind.arrays)}, attrs=...)."
        )

    def _as_json(self, attrs: Mapping[str, object]) -> dict[str, object]:
        try:
            encoded: dict[str, object] = json.loads(json.dumps(dict(attrs), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{self._kind.name}() needs attrs that JSON can hold: {error}. Pass names with "
                "finite numbers, strings, booleans, None, and lists or dicts of them, as in "
                "attrs={'seed': int(seed)}."
            ) from error
        return encoded


def read_only(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The array itself, which can no longer be written to."""
    values.flags.writeable = False
    return values


def _shortened(value: object) -> object:
    """A long text, such as a digest, by its beginning."""
    return f"{value[:12]}…" if isinstance(value, str) and len(value) > 24 else value
