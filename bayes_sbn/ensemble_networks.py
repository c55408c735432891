r"""The networks of an ensemble: which draws they are, their weights, their slices, their file.

What a draw is follows from (seed, stream, draw) alone, so a slice keeps the indices of its draws,
and slices computed anywhere put together are the whole.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from bayes_sbn.container import ENSEMBLE, Kind
from bayes_sbn.ensemble_blocks import Drawn, measured_units
from bayes_sbn.ensemble_file import read_ensemble, write_ensemble
from bayes_sbn.ensemble_weights import Weights, draw_weights, is_shared_by_draws, part_of
from bayes_sbn.kernels.reference.calibration import units_of_draws
from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.components import Mixture
from bayes_sbn.kernels.reference.inputs import Inputs
from bayes_sbn.kernels.reference.network import KernelLayer, Units
from bayes_sbn.kernels.reference.sampling import Int64
from bayes_sbn.philox import fold_stream

MAX_MEMORY = 64 << 20
"""Default bound on the working memory of a prediction, in bytes: 64 MiB."""


class EnsembleNetworks:
    """Draws of a posterior and their weights; the base of :class:`bayes_sbn.Ensemble`.

    Args:
        mixture: the network that is drawn from, or several and their weights.
        draws: indices of the draws.
        seed: seed of every random bit, in ``[0, 2**64)``.
        stream: stream of the seed, in ``[0, 2**64)``.
        attrs: where the network comes from, handed on to the predictions.
        calibration: the rows, int16 of shape (rows, inputs), by which the draws measure the
            statistics of layers that have none; None where all layers have theirs.
        components: the network of each draw, where it is known; else it follows from the seed.
        sigmas: of networks that predict a real target, the standard deviation of its noise by
            component, (components,); None where there are class labels.
    """

    _kind: ClassVar[Kind] = ENSEMBLE

    def __init__(
        self,
        mixture: Mixture,
        draws: Int64,
        *,
        seed: int = 0,
        stream: int = 0,
        attrs: Mapping[str, object] | None = None,
        calibration: Inputs | None = None,
        components: Int64 | None = None,
        sigmas: Float64 | None = None,
    ) -> None:
        layers = [layer for network in mixture.networks for layer in network.layers]
        needed = any(layer.eps is not None for layer in layers)
        if needed != (calibration is not None):
            raise ValueError(
                "Ensemble(calibration=...): rows to calibrate with are for networks with layers "
                "whose statistics each draw measures, and needed there. Make ensembles by "
                "posterior.draw(200, seed=0), with calibrate=x where the posterior asks for it."
            )
        self.mixture = mixture
        self.calibration = calibration
        self.draws = np.array(draws, np.int64)
        self.draws.flags.writeable = False
        self.seed = operator.index(seed)
        self.stream = operator.index(stream)
        self.attrs = dict(attrs or {})
        self._key = fold_stream(self.seed, self.stream)
        found = mixture.components(self._key, self.draws) if components is None else components
        self.components = np.array(found, np.int64)
        self.components.flags.writeable = False
        self._units: tuple[Units | None, ...] | None = None
        self.sigmas = None if sigmas is None else np.array(sigmas, np.float64)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the networks to a file, one bit a ±1 weight: whole, or not at all, whatever fails.

        What the draws measured of calibration rows is saved with them, and the rows are not.
        """
        write_ensemble(
            path,
            self.mixture,
            self.weights,
            self.units,
            self.draws,
            self.components,
            seed=self.seed,
            stream=self.stream,
            attrs=self.attrs,
            sigmas=self.sigmas,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file of :meth:`save`; runs nothing that the file contains.

        Its predictions are those of the ensemble that was saved, bit for bit.

        Raises:
            OSError: the file cannot be opened.
            ValueError: it is not an ensemble, of another format version, truncated or damaged.
        """
        stored = read_ensemble(cls._kind, path)
        ensemble = cls(
            stored.mixture,
            stored.draws,
            seed=stored.seed,
            stream=stored.stream,
            attrs=stored.attrs,
            components=stored.components,
            sigmas=stored.sigmas,
        )
        ensemble.__dict__["weights"] = stored.weights
        ensemble._units = stored.units
        return ensemble

    @property
    def num_inputs(self) -> int:
        """Number of input features."""
        return self._shapes[0].num_inputs

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self._shapes[-1].num_units

    @property
    def _shapes(self) -> tuple[KernelLayer, ...]:
        """The layers of a component, whose sizes are those of all."""
        return self.mixture.networks[0].layers

    @property
    def memory(self) -> int:
        """Bytes of the weights of all draws; real weights that all draws share count once."""
        return sum(
            layer.bytes_per_draw * (1 if is_shared_by_draws(self.mixture, site) else len(self))
            for site, layer in enumerate(self._shapes)
        )

    @cached_property
    def weights(self) -> Weights:
        """The weights of each layer, shape (draws, out, in), drawn when first asked for and kept.

        ±1 weights have one bit each; real weights are int16, in steps of the layer's grid.
        """
        return draw_weights(self.mixture, self.components, self._key, self.draws)

    @property
    def units(self) -> tuple[Units | None, ...]:
        """Scale and bias, (draws, out), of each layer that the draws calibrated; else None.

        Measured when they are first needed, and then kept.
        """
        return self._calibrated("predict()", MAX_MEMORY)

    def _calibrated(self, call: str, max_memory: int) -> tuple[Units | None, ...]:
        """The units, measured within so many bytes beside the weights."""
        if self._units is None:
            self._units = measured_units(call, self._drawn(), self.calibration, max_memory)
        return self._units

    def _drawn(self) -> list[Drawn]:
        """The draws of each network that occurs."""
        return [
            Drawn(network, positions, self._key, self.draws, lambda: self.weights)
            for network, positions in self.mixture.of_each(self.components)
        ]

    def __len__(self) -> int:
        """Number of draws."""
        return len(self.draws)

    def __getitem__(self, index: int | slice) -> Self:
        """The ensemble of one draw or of a slice of them, which keep their indices."""
        if not isinstance(index, slice):
            position = operator.index(index)
            if not -len(self) <= position < len(self):
                raise IndexError(
                    f"ensemble[{position}]: the ensemble has {len(self)} draws; index from "
                    f"{-len(self)} to {len(self) - 1}."
                )
            position %= len(self)
            index = slice(position, position + 1)
        part = type(self)(
            self.mixture,
            self.draws[index],
            seed=self.seed,
            stream=self.stream,
            attrs=self.attrs,
            calibration=self.calibration,
            components=self.components[index],
            sigmas=self.sigmas,
        )
        if not len(part):
            raise ValueError(
                f"ensemble[{index.start}:{index.stop}:{index.step}] has no draws: the ensemble has "
                f"{len(self)}. Take at least one."
            )
        if "weights" in self.__dict__:
            part.__dict__["weights"] = part_of(self.weights, index)
        if self._units is not None:
            part._units = units_of_draws(self._units, index)
        return part

    def __iter__(self) -> Iterator[Self]:
        """The draws, each as an ensemble of one."""
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        sizes = [self.num_inputs, *(layer.num_units for layer in self._shapes)]
        return (
            f"{type(self).__name__}({len(self)} draws of {'-'.join(map(str, sizes))}, "
            f"seed={self.seed}, stream={self.stream}, {self.memory:,} bytes packed)"
        )
