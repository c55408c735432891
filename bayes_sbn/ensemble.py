r"""Ensemble: draws of a posterior over binary networks, held packed, and what they predict.

Draw s of an ensemble is one network of ±1 weights, beside which some layers may have real weights,
16 bits each; of a posterior of several components it is a network of one of them.  Its weights and
the noise of its activations are functions of (seed, stream, draw, layer, unit, row) alone, by the
definition in ``bayes_sbn.kernels.reference``: neither the batch, the blocks, the order of rows nor
how the draws are shared out changes a bit.  A slice of an ensemble keeps the indices of its draws,
so slices computed anywhere put together are the whole.

Where layers take their statistics from data, each draw measures its own on the rows it was
calibrated with (``bayes_sbn.kernels.reference.calibration``), and is an ordinary network from then
on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike

from bayes_sbn.ensemble_activations import Int8, run_activations
from bayes_sbn.ensemble_blocks import Block, Drawn, checked_inputs, repeated_rows, run_blocks
from bayes_sbn.ensemble_labels import draw_labels
from bayes_sbn.ensemble_networks import MAX_MEMORY, EnsembleNetworks
from bayes_sbn.kernels.ensemble import class_probabilities
from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.inputs import Inputs
from bayes_sbn.kernels.reference.network import output_logits
from bayes_sbn.kernels.reference.sampling import Int64
from bayes_sbn.predictions import Predictions
from bayes_sbn.predictions_moments import PredictionMoments, RunningMoments
from bayes_sbn.predictions_nested import NestedPredictions


class Ensemble(EnsembleNetworks):
    """Binary networks drawn from a posterior; made by :meth:`bayes_sbn.Posterior.draw`.

    Compiled kernels draw its weights where they are used.  Else weights are drawn when they are
    first needed, and then kept: ±1 weights packed, one bit each, real ones as 16-bit integers.
    :meth:`save` keeps them, too.

    Args:
        mixture: the network that is drawn from, or several and their weights.
        draws: indices of the draws.
        seed: seed of every random bit, in ``[0, 2**64)``.
        stream: stream of the seed, in ``[0, 2**64)``.
        attrs: where the network comes from, handed on to the predictions.
        calibration: the rows, int16 of shape (rows, inputs), by which the draws measure the
            statistics of layers that have none; None where all layers have theirs.
        components: the network of each draw, where it is known; else it follows from the seed.
    """

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
            backend: ``"reference"``, ``"native"`` for the compiled kernels, ``"auto"`` for the
                faster one of these that can run, or ``"cuda"`` for torch's current CUDA device; all
                give the same bits.
            noise: ``"shared"``, where all rows of a draw see the same noise of the activations, so
                that a row's result does not depend on its place; or ``"independent"``, where the
                noise is keyed by the row's index.
            row_offset: index of the first row, for ``"independent"`` noise: parts of a data set get
                the results of the whole if each is given the index of its first row.
            progress: whether to show a progress bar; by default only on a terminal.
            max_memory: bound in bytes on the working memory, beside the inputs, the results and
                what compiled kernels keep of the posterior (4 bytes a weight).  It does not change
                the results.

        Raises:
            RuntimeError: the backend that is asked for cannot run here; the message says why.
            TypeError: x is not numbers.
            ValueError: a shape, value or option is not allowed; the message says what is.
        """
        inputs = self._inputs("predict()", x, backend, noise, row_offset)
        probs = np.empty((len(self), len(inputs), self.num_classes))
        for block in self._blocks(
            "predict()", inputs, backend, noise, row_offset, progress, max_memory
        ):
            found = class_probabilities(block.network, block.dots, backend)
            probs[block.positions, block.rows] = found
        return Predictions(probs, attrs=self._origin(noise, row_offset))

    def predict_moments(
        self,
        x: ArrayLike | torch.Tensor,
        *,
        backend: str = "auto",
        noise: str = "shared",
        row_offset: int = 0,
        progress: bool | None = None,
        max_memory: int = MAX_MEMORY,
    ) -> PredictionMoments:
        """Mean, spread and entropies of :meth:`predict`, in memory that any number of draws shares.

        Arguments as in :meth:`predict`, none of which changes a bit of the results.
        """
        call = "predict_moments()"
        inputs = self._inputs(call, x, backend, noise, row_offset)
        moments = RunningMoments(len(inputs), self.num_classes)
        for block in self._blocks(call, inputs, backend, noise, row_offset, progress, max_memory):
            moments.add(block.rows, class_probabilities(block.network, block.dots, backend))
        return moments.result(len(self), self._origin(noise, row_offset))

    def predict_nested(
        self,
        x: ArrayLike | torch.Tensor,
        num_activations: int = 8,
        *,
        backend: str = "auto",
        progress: bool | None = None,
        max_memory: int = MAX_MEMORY,
    ) -> NestedPredictions:
        """Class probabilities under several draws of the activations for each of the weights.

        They tell the uncertainty of the weights from that of the activations.  The draws of the
        activations are those of ``"independent"`` noise: that of place m of row n is what
        ``predict(x, noise="independent", row_offset=m * len(x))`` gives the row.

        Args:
            x: rows, shape (rows, inputs).
            num_activations: draws of the activations for each draw of the weights.
            backend: as in :meth:`predict`.
            progress: as in :meth:`predict`.
            max_memory: as in :meth:`predict`.
        """
        many = repeated_rows("predict_nested()", x, num_activations)
        pred = self.predict(
            many, backend=backend, noise="independent", progress=progress, max_memory=max_memory
        )
        num_rows = len(many) // num_activations
        shape = (len(self), num_activations, num_rows, self.num_classes)
        return NestedPredictions(pred.probs_per_draw.reshape(shape), attrs=pred.attrs)

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
        call = "integer_logits()"
        inputs = self._inputs(call, x, backend, noise, row_offset)
        dots = np.empty((len(self), len(inputs), self.num_classes), np.int64)
        for block in self._blocks(call, inputs, backend, noise, row_offset, progress, max_memory):
            dots[block.positions, block.rows] = block.dots
        return dots

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
        call = "logits()"
        inputs = self._inputs(call, x, backend, noise, row_offset)
        logits = np.empty((len(self), len(inputs), self.num_classes))
        for block in self._blocks(call, inputs, backend, noise, row_offset, progress, max_memory):
            logits[block.positions, block.rows] = output_logits(block.network, block.dots)
        return logits

    def labels(
        self,
        x: ArrayLike | torch.Tensor,
        *,
        backend: str = "auto",
        noise: str = "shared",
        row_offset: int = 0,
        progress: bool | None = None,
        max_memory: int = MAX_MEMORY,
    ) -> Int64:
        """A label of each row under each draw, int64, shape (draws, rows).

        Drawn from the class probabilities of :meth:`predict`, none of which is kept, by uniforms of
        their own for each draw and row: the posterior predictive distribution, sampled.  Arguments
        as in :meth:`predict`; they change the labels only as they change its probabilities, and
        ``row_offset`` also numbers the rows of the labels' uniforms.
        """
        call = "labels()"
        inputs = self._inputs(call, x, backend, noise, row_offset)
        labels = np.empty((len(self), len(inputs)), np.int64)
        for block in self._blocks(call, inputs, backend, noise, row_offset, progress, max_memory):
            labels[block.positions, block.rows] = draw_labels(
                self._key,
                self.draws[block.positions],
                row_offset + block.rows.start,
                class_probabilities(block.network, block.dots, backend),
            )
        return labels

    def activations(
        self,
        x: ArrayLike | torch.Tensor,
        *,
        noise: str = "shared",
        row_offset: int = 0,
        progress: bool | None = None,
        max_memory: int = MAX_MEMORY,
    ) -> list[Int8]:
        """The ±1 activations of each hidden layer, int8, shape (draws, rows, units).

        Those from which every backend gets :meth:`integer_logits`.  The compiled kernels use them
        up, so this takes the time of ``backend="reference"``.  Arguments as in :meth:`predict`.
        """
        call = "activations()"
        inputs = self._inputs(call, x, "reference", noise, row_offset)
        cells = len(self), len(inputs)
        layers = [np.empty((*cells, layer.num_units), np.int8) for layer in self._shapes[:-1]]
        for block in run_activations(
            call,
            self._parts(call, inputs, max_memory),
            inputs,
            is_shared=noise == "shared",
            row_offset=row_offset,
            progress=progress,
            max_memory=max_memory,
        ):
            layers[block.layer][block.positions, block.rows] = block.signs
        return layers

    def _inputs(
        self, call: str, x: ArrayLike | torch.Tensor, backend: str, noise: str, row_offset: int
    ) -> Inputs:
        return checked_inputs(call, self.mixture.networks[0], x, backend, noise, row_offset)

    def _blocks(
        self,
        call: str,
        inputs: Inputs,
        backend: str,
        noise: str,
        row_offset: int,
        progress: bool | None,
        max_memory: int,
    ) -> Iterator[Block]:
        """Integer logits of all draws for all rows, some at a time."""
        return run_blocks(
            call,
            self._parts(call, inputs, max_memory),
            inputs,
            backend=backend,
            is_shared=noise == "shared",
            row_offset=row_offset,
            progress=progress,
            max_memory=max_memory,
        )

    def _parts(self, call: str, inputs: Inputs, max_memory: int) -> list[Drawn]:
        """The draws of each network that occurs, calibrated if there are rows to predict."""
        parts = self._drawn()
        if not len(inputs):
            return parts
        units = self._calibrated(call, max_memory)
        return [replace(drawn, units=units) for drawn in parts]

    def _origin(self, noise: str, row_offset: int) -> dict[str, object]:
        """Where predictions come from."""
        return {
            **self.attrs,
            "seed": self.seed,
            "stream": self.stream,
            "draws": _name_of_draws(self.draws),
            "noise": noise,
            "row_offset": row_offset,
        }


def _name_of_draws(draws: Int64) -> str | list[int]:
    """``"0..199"`` for consecutive draws, else their list."""
    if (np.diff(draws) == 1).all():
        return f"{draws[0]}..{draws[-1]}"
    return [int(draw) for draw in draws]
