"""Integer logits of draws of a network, streamed: weights are drawn where they are used, or given.

Definition in ``bayes_sbn.kernels.reference.network``; the compiled library has the same bits.  What
it reads of a layer, bit planes of the probabilities, is made once and kept as long as the layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch

from bayes_sbn.kernels import loader
from bayes_sbn.kernels.native import ensemble as native
from bayes_sbn.kernels.native.probabilities import probabilities
from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.inputs import Inputs
from bayes_sbn.kernels.reference.network import (
    DenseLayer,
    Network,
    Units,
    output_logits,
    softmax64,
)
from bayes_sbn.kernels.reference.real_weights import Int16
from bayes_sbn.kernels.reference.sampling import Int64, Key, UInt32

BACKENDS = ("auto", "reference", "native")

_PLANES: WeakKeyDictionary[DenseLayer, native.PlanesOfBlocks] = WeakKeyDictionary()


def _planes(layer: DenseLayer) -> native.PlanesOfBlocks:
    """What the library reads of a layer, made once."""
    planes = _PLANES.get(layer)
    if planes is None:
        planes = _PLANES[layer] = native.PlanesOfBlocks.of(layer)
    return planes


@dataclass(frozen=True)
class Stream:
    """A network whose draws the compiled library runs.

    Args:
        library: the compiled library.
        network: layers of ±1 weights.
    """

    library: loader.NativeLibrary
    network: Network

    def integer_logits(
        self,
        inputs: Inputs,
        *,
        key: Key,
        draws: Int64,
        is_shared: bool,
        first_row: int,
        units: Sequence[Units | None] = (),
        words: Sequence[UInt32] = (),
    ) -> Int64:
        """Integer logits, int64, shape (draws, rows, classes).

        Args:
            inputs: int16, shape (rows, in).
            key: of :func:`bayes_sbn.philox.fold_stream`.
            draws: indices of the draws.
            is_shared: whether the rows of a draw share the noise of the activations.
            first_row: index of the first row, which keys the rows' own noise.
            units: scale and bias of each draw, or None, of every layer; none for their own.
            words: packed weights of the draws, (draws, out, words), of every layer; none if they
                are to be drawn.
        """
        return native.integer_logits(
            self.library,
            self.network,
            words or [_planes(la) for la in self.network.layers if isinstance(la, DenseLayer)],
            inputs,
            key=key,
            draws=draws,
            is_shared=is_shared,
            first_row=first_row,
            num_threads=torch.get_num_threads(),
            units=units,
        )

    @property
    def draws_weights(self) -> bool:
        """Whether weights are drawn where they are used; else they are to be given."""
        return all(isinstance(layer, DenseLayer) for layer in self.network.layers)

    @property
    def row_bytes(self) -> int:
        """Working memory of a row in one thread."""
        return native.row_bytes(self.library, self.network)


def draw_network(network: Network, key: Key, draws: Int64) -> list[UInt32 | Int16]:
    """Weights of every layer: ±1 packed, (draws, out, words), or real, (draws, out, in).

    Independent ±1 weights are drawn by the compiled library where it is.
    """
    library = loader.installed_library()
    if library is None:
        return [layer.draw(key, draws) for layer in network.layers]
    return [
        native.draw_weights(library, layer, _planes(layer), key, draws, torch.get_num_threads())
        if isinstance(layer, DenseLayer)
        else layer.draw(key, draws)
        for layer in network.layers
    ]


def class_probabilities(network: Network, dots: Int64, backend: str) -> Float64:
    """Class probabilities of integer logits, float64, of the shape of the dots.

    Args:
        network: whose last layer the dots are of.
        dots: int64, shape (..., classes).
        backend: ``"reference"`` for NumPy; else the compiled library where it is, with its bits.
    """
    library = None if backend == "reference" else loader.installed_library()
    if library is None:
        return softmax64(output_logits(network, dots))
    last = len(network.layers) - 1
    scale, bias = network.scale(last), network.layers[last].bias
    return probabilities(library, dots, scale, bias, torch.get_num_threads())


def stream(call: str, network: Network, inputs: Inputs, backend: str) -> Stream | None:
    """What runs a network's draws, or None for the reference.

    Args:
        call: to name in errors.
        network: the layers.
        inputs: the rows.
        backend: ``"auto"``, ``"reference"`` or ``"native"``.

    Raises:
        RuntimeError: the compiled library is asked for and cannot run.
    """
    if backend == "reference":
        return None
    library = loader.installed_library() if backend == "native" else loader.native_library()
    if library is None:
        if backend == "native":
            info = loader.backend_info()
            raise RuntimeError(
                f"{call[:-1]}backend='native'): the compiled kernels do not run here "
                f"({info.reason}). Write backend='auto', which has the same bits."
            )
        return None
    if not native.fits(network, inputs):
        if backend == "native" or loader.is_native_forced():
            raise RuntimeError(
                f"{call}: the compiled ensemble kernel is forced, and it is for layers of "
                "±1 weights and sums of inputs that fit in 32 bits. Write "
                "backend='reference', which has the same bits, and leave BAYES_SBN_BACKEND out."
            )
        return None
    return Stream(library, network)
