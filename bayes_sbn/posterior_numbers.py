"""What the layers of a posterior share: numbers, checked once and then immutable, and a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from bayes_sbn.container import typed
from bayes_sbn.kernels.reference.cdf64 import CDF64, Float64

_LARGEST_SITE = 0xFFFF  # a site is named by 16 bits of the counter


class LayerNumbers:
    """The checks of a frozen dataclass with a name, a site, a bias and a law of the noise."""

    TENSORS: ClassVar[dict[str, str]]
    """The arrays of a layer in a file, and their types."""

    FURTHER: ClassVar[tuple[str, ...]] = ()
    """Further numbers of an entry in a file, and"""

    OPTIONS: ClassVar[tuple[str, ...]] = ()
    """those that an entry may lack."""

    name: str
    site: int
    bias: Float64
    noise: str | None
    noise_scale: float

    @classmethod
    def from_parts(
        cls, entry: Mapping[str, object], tensors: Mapping[str, NDArray[np.generic]]
    ) -> Self:
        """The layer of an entry and tensors, neither of which is trusted.

        Raises:
            KeyError: something is missing.
            TypeError: something has the wrong type.
            ValueError: the numbers are not those of a layer.
        """
        for name, kind in cls.TENSORS.items():
            if tensors[name].dtype != kind:
                raise TypeError(f"{name} is {tensors[name].dtype} and not {kind}")
        numbers: dict[str, object] = {
            "name": typed(entry, "name", str),
            "site": typed(entry, "site", int),
            "noise": None if entry["noise"] is None else typed(entry, "noise", str),
            "noise_scale": typed(entry, "noise_scale", float),
            **{name: typed(entry, name, float) for name in cls.FURTHER},
            **{name: typed(entry, name, float) for name in cls.OPTIONS if name in entry},
        }
        return cls(**numbers, **cls._numbers_of(tensors))

    @classmethod
    def _numbers_of(cls, tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, Float64]:
        """The arrays as the layer has them."""
        return {name: tensors[name].astype(np.float64) for name in cls.TENSORS}

    def _check_site_and_noise(self) -> None:
        if not 0 <= self.site <= _LARGEST_SITE:
            raise ValueError(
                f"{self._me()} has site {self.site}: a site is an integer from 0 to "
                f"{_LARGEST_SITE}. Number the layers from 0."
            )
        if self.noise is not None and self.noise not in CDF64:
            raise ValueError(
                f"{self._me()} has noise {self.noise!r}: it is one of "
                f"{', '.join(map(repr, CDF64))}, or None for the output layer."
            )
        if not (math.isfinite(self.noise_scale) and self.noise_scale > 0):
            raise ValueError(
                f"{self._me()} has noise_scale {self.noise_scale}: it is a positive finite number."
            )
        object.__setattr__(self, "noise_scale", float(self.noise_scale))

    def _check_matrix(self, name: str, array: Float64) -> None:
        if array.ndim != 2 or 0 in array.shape:
            raise ValueError(
                f"{self._me()} has {name} of shape {array.shape}: they are those of a dense "
                "layer, of shape (out, in). Other layers cannot be exported."
            )

    def _set_for_units(self, name: str, num_units: int) -> None:
        values = self._finite(name, getattr(self, name))
        if values.shape != (num_units,):
            raise ValueError(
                f"{self._me()} has a {name} of shape {values.shape}: it has one for each of "
                f"the {num_units} units, shape ({num_units},)."
            )
        self._set(name, values)

    def _me(self) -> str:
        return f'{type(self).__name__}: layer "{self.name}"'

    def _set(self, name: str, values: Float64) -> None:
        # a copy that nothing else can write to; the dataclass is frozen to everyone but itself
        values = np.array(values, np.float64)
        values.flags.writeable = False
        object.__setattr__(self, name, values)

    def _finite(self, name: str, values: object) -> Float64:
        array: NDArray[np.float64] = np.asarray(values, np.float64)
        if not np.isfinite(array).all():
            raise ValueError(
                f"{self._me()} has {int((~np.isfinite(array)).sum())} values in {name} that are "
                "NaN or infinite: the fit has diverged. Fit again with a smaller learning rate."
            )
        return array
