r"""Ensemble: draws of a posterior over binary networks, held packed, and what they predict.

Draw s of an ensemble is one network of ±1 weights, beside which some layers may have real weights,
16 bits each.  Its weights and the noise of its activations
are functions of (seed, stream, draw, layer, unit, row) alone, by the definition in
``bayes_sbn.kernels.reference``: neither the batch, the blocks, the order of rows nor how the draws
are shared out changes a bit.  A slice of an ensemble keeps the indices of its draws, so slices
computed anywhere put together are the whole.

Where layers take their statistics from data, each draw measures its own on the rows it was
calibrated with (``bayes_sbn.kernels.reference.calibration``), and is an ordinary network from then
on.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bayes_sbn.bits import PackedBits
from bayes_sbn.ensemble_blocks import (
    Drawn,
    Number,
    checked_inputs,
    measured_units,
    run_blocks,
)
from bayes_sbn.kernels.reference.calibration import units_of_draws
from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.inputs import Inputs
from bayes_sbn.kernels.reference.network import (
    DenseLayer,
    Network,
    Units,
    draw_network,
    output_logits,
    softmax64,
)
from bayes_sbn.kernels.reference.real_weights import Int16, RealDenseLayer
from bayes_sbn.kernels.reference.sampling import Int64
from bayes_sbn.philox import fold_stream
from bayes_sbn.predictions import Predictions

MAX_MEMORY = 64 << 20
"""Default bound on the working memory of a prediction, in bytes: 64 MiB."""

_WEIGHTS_AT_A_TIME = 1 << 21


class Ensemble:
    """Binary networks drawn from a posterior; made by :meth:`bayes_sbn.Posterior.draw`.

    Weights are drawn when they are first needed, and then kept: ±1 weights packed, one bit each,
    real weights as 16-bit integers.

    Args:
        network: the layers that are drawn from.
        draws: indices of the draws.
        seed: seed of every random bit, in ``[0, 2**64)``.
        stream: stream of the seed, in ``[0, 2**64)``.
        attrs: where the network comes from, handed on to the predictions.
        calibration: the rows, int16 of shape (rows, inputs), by which the draws measure the
            statistics of layers that have none; None where all layers have theirs.
    """

    def __init__(
        self,
        network: Network,
        draws: Int64,
        *,
        seed: int = 0,
        stream: int = 0,
        attrs: Mapping[str, object] | None = None,
        calibration: Inputs | None = None,
    ) -> None:
        needed = any(layer.eps is not None for layer in network.layers)
        if needed != (calibration is not None):
            raise ValueError(
                "Ensemble(calibration=...): rows to calibrate with are for networks with layers "
                "whose statistics each draw measures, and needed there. Make ensembles by "
                "posterior.draw(200, seed=0), with calibrate=x where the posterior asks for it."
            )
        self.network = network
        self.calibration = calibration
        self.draws = np.array(draws, np.int64)
        self.draws.flags.writeable = False
        self.seed = operator.index(seed)
        self.stream = operator.index(stream)
        self.attrs = dict(attrs or {})
        self._key = fold_stream(self.seed, self.stream)
        self._units: tuple[Units | None, ...] | None = None

    @property
    def num_inputs(self) -> int:
        """Number of input features."""
        return self.network.layers[0].num_inputs

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.network.layers[-1].num_units

    @property
    def memory(self) -> int:
        """Bytes of the weights of all draws; real weights that all draws share count once."""
        return sum(
            layer.bytes_per_draw * (1 if _is_fixed(layer) else len(self))
            for layer in self.network.layers
        )

    @cached_property
    def weights(self) -> tuple[PackedBits | Int16, ...]:
        """The weights of each layer, shape (draws, out, in).

        ±1 weights have one bit each; real weights are int16, in steps of the layer's grid.
        """
        layers = self.network.layers
        step = max(1, _WEIGHTS_AT_A_TIME // sum(la.num_units * la.num_inputs for la in layers))
        drawn = draw_network(self.network, self._key, self.draws[:step])
        kept: list[NDArray[Any]] = [
            # a view of one copy for all draws, or room for each
            np.broadcast_to(first[:1], (len(self), *first.shape[1:]))
            if _is_fixed(layer)
            else np.empty((len(self), *first.shape[1:]), first.dtype)
            for first, layer in zip(drawn, layers, strict=True)
        ]
        for start in range(0, len(self), step):
            part = slice(start, start + step)
            if start:
                drawn = draw_network(self.network, self._key, self.draws[part])
            for room, new, layer in zip(kept, drawn, layers, strict=True):
                if not _is_fixed(layer):
                    room[part] = new
        return tuple(
            room
            if isinstance(layer, RealDenseLayer)
            else PackedBits(torch.from_numpy(room.view(np.int32)), layer.num_inputs)
            for room, layer in zip(kept, layers, strict=True)
        )

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

    def _drawn(self) -> Drawn:
        return Drawn(self.network, self._key, self.draws, self.weights)

    def __len__(self) -> int:
        """Number of draws."""
        return len(self.draws)

    def __getitem__(self, index: int | slice) -> Ensemble:
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
        part = Ensemble(
            self.network,
            self.draws[index],
            seed=self.seed,
            stream=self.stream,
            attrs=self.attrs,
            calibration=self.calibration,
        )
        if not len(part):
            raise ValueError(
                f"ensemble[{index.start}:{index.stop}:{index.step}] has no draws: the ensemble has "
                f"{len(self)}. Take at least one."
            )
        forward = index.step is None or index.step > 0  # torch has no views with negative steps
        if "weights" in self.__dict__ and forward:
            part.__dict__["weights"] = tuple(
                PackedBits(w.data[index], w.length) if isinstance(w, PackedBits) else w[index]
                for w in self.weights
            )
        if self._units is not None:
            part._units = units_of_draws(self._units, index)
        return part

    def __iter__(self) -> Iterator[Ensemble]:
        """The draws, each as an ensemble of one."""
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        sizes = [self.num_inputs, *(layer.num_units for layer in self.network.layers)]
        return (
            f"Ensemble({len(self)} draws of {'-'.join(map(str, sizes))}, seed={self.seed}, "
            f"stream={self.stream}, {self.memory:,} bytes packed)"
        )

    def predict(
        self,
        x: ArrayLike | torch.Tensor,
        *,
        backend: str = "auto",
        noise: str = "shared",
        row_offset: int = 0,
        progress: bool | None = None,
        max_memory: int = MAX_MEMORY,
    ) -> Predictions:
        """Class probabilities of each row under each draw.

        Args:
            x: rows, shape (rows, inputs).  They are rounded to the 16-bit grid of the posterior.
            backend: ``"reference"``, or ``"auto"`` for the fastest one there is; all give the same
                bits.
            noise: ``"shared"``, where all rows of a draw see the same noise of the activations, so
                that a row's result does not depend on its place; or ``"independent"``, where the
                noise is keyed by the row's index.
            row_offset: index of the first row, for ``"independent"`` noise: parts of a data set get
                the results of the whole if each is given the index of its first row.
            progress: whether to show a progress bar; by default only on a terminal.
            max_memory: bound in bytes on the working memory, beside the inputs and the results.
                It does not change the results.

        Raises:
            TypeError: x is not numbers.
            ValueError: a shape, value or option is not allowed; the message says what is.
        """

        def probabilities(dots: Int64) -> Float64:
            return softmax64(output_logits(self.network, dots))

        probs = self._run(
            "predict()", x, probabilities, backend, noise, row_offset, progress, max_memory
        )
        attrs = {
            **self.attrs,
            "seed": self.seed,
            "stream": self.stream,
            "draws": _name_of_draws(self.draws),
            "noise": noise,
            "row_offset": row_offset,
        }
        return Predictions(probs, attrs=attrs)

    def integer_logits(
        self,
        x: ArrayLike | torch.Tensor,
        *,
        backend: str = "auto",
        noise: str = "shared",
        row_offset: int = 0,
        progress: bool | None = None,
        max_memory: int = MAX_MEMORY,
    ) -> Int64:
        """The exact inner products of the last layer, int64, shape (draws, rows, classes).

        They are what every backend agrees on to the bit; the logits are ``scale * dot + bias``.
        Arguments as in :meth:`predict`.
        """

        def unchanged(dots: Int64) -> Int64:
            return dots

        return self._run(
            "integer_logits()", x, unchanged, backend, noise, row_offset, progress, max_memory
        )

    def logits(
        self,
        x: ArrayLike | torch.Tensor,
        *,
        backend: str = "auto",
        noise: str = "shared",
        row_offset: int = 0,
        progress: bool | None = None,
        max_memory: int = MAX_MEMORY,
    ) -> Float64:
        """The logits, float64, shape (draws, rows, classes).  Arguments as in :meth:`predict`."""

        def logits(dots: Int64) -> Float64:
            return output_logits(self.network, dots)

        return self._run("logits()", x, logits, backend, noise, row_offset, progress, max_memory)

    def _run(
        self,
        call: str,
        x: ArrayLike | torch.Tensor,
        finish: Callable[[Int64], NDArray[Number]],
        backend: str,
        noise: str,
        row_offset: int,
        progress: bool | None,
        max_memory: int,
    ) -> NDArray[Number]:
        """What ``finish`` makes of the integer logits, shape (draws, rows, classes)."""
        inputs = checked_inputs(call, self.network, x, backend, noise, row_offset)
        drawn = self._drawn()
        if len(inputs):
            drawn = replace(drawn, units=self._calibrated(call, max_memory))
        return run_blocks(
            call,
            drawn,
            inputs,
            finish,
            is_shared=noise == "shared",
            row_offset=row_offset,
            progress=progress,
            max_memory=max_memory,
        )


def _name_of_draws(draws: Int64) -> str | list[int]:
    """``"0..199"`` for consecutive draws, else their list."""
    if (np.diff(draws) == 1).all():
        return f"{draws[0]}..{draws[-1]}"
    return [int(draw) for draw in draws]


def _is_fixed(layer: DenseLayer | RealDenseLayer) -> bool:
    """Whether all draws see one copy of a layer's weights."""
    return isinstance(layer, RealDenseLayer) and layer.is_fixed
