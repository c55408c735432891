"""Integer logits of draws of a network, streamed: weights are drawn where they are used, or given.

Definition in ``bayes_sbn.kernels.reference.network``; the compiled library and the kernels of a
CUDA device have the same bits.  What they read of a layer, bit planes of the probabilities, is made
once and kept as long as the layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

import torch

from bayes_sbn.kernels import loader
from bayes_sbn.kernels.cuda import ensemble as cuda
from bayes_sbn.kernels.cuda.device import current_device
from bayes_sbn.kernels.native import ensemble as native
from bayes_sbn.kernels.reference.inputs import Inputs
from bayes_sbn.kernels.reference.network import DenseLayer, Network, Units
from bayes_sbn.kernels.reference.sampling import Int64, Key, UInt32

BACKENDS = ("auto", "reference", "native", "cuda")

_PLANES: WeakKeyDictionary[DenseLayer, native.PlanesOfBlocks] = WeakKeyDictionary()
_DEVICE_PLANES: WeakKeyDictionary[DenseLayer, dict[torch.device, cuda.DevicePlanes]] = (
    WeakKeyDictionary()
)

_NATIVE_ROWS = 1 << 12  # between which weights are drawn again
_NATIVE_CELLS = 1 << 15  # of draws and rows in one call, between which a bar moves
_CUDA_ROWS = 1 << 14
_CUDA_CELLS = 1 << 19


def planes_of(layer: DenseLayer) -> native.PlanesOfBlocks:
    """What the library reads of a layer, made once."""
    planes = _PLANES.get(layer)
    if planes is None:
        planes = _PLANES[layer] = native.PlanesOfBlocks.of(layer)
    return planes


def _planes_on(device: torch.device, layer: DenseLayer) -> cuda.DevicePlanes:
    """What the CUDA kernels read of a layer, made once for a device."""
    planes = _DEVICE_PLANES.setdefault(layer, {})
    if device not in planes:
        planes[device] = cuda.DevicePlanes(planes_of(layer), device)
    return planes[device]


class Size(NamedTuple):
    """How many draws and rows run in one call."""

    draws: int
    rows: int


class Stream(Protocol):
    """A network whose draws are run without the reference."""

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

    @property
    def draws_weights(self) -> bool:
        """Whether weights are drawn where they are used; else they are to be given."""

    def block_size(self, num_rows: int, max_memory: int) -> Size:
        """What one call may take to stay within so many bytes."""


@dataclass(frozen=True)
class NativeStream:
    """By the compiled library.

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
        """As in :class:`Stream`."""
        return native.integer_logits(
            self.library,
            self.network,
            words or [planes_of(la) for la in self.network.layers if isinstance(la, DenseLayer)],
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
        """Whether all weights are independent."""
        return _draws_weights(self.network)

    def block_size(self, num_rows: int, max_memory: int) -> Size:
        """Many rows at a time, since each block of rows draws its weights again."""
        # integer logits and what is made of them take some 40 bytes a class
        per_cell = 40 * self.network.layers[-1].num_units
        threads = torch.get_num_threads()
        per_row = threads * native.row_bytes(self.library, self.network)
        rows = max(1, max_memory // (per_cell + per_row))
        rows = min(rows, num_rows, _NATIVE_ROWS)
        draws = max(1, (max_memory - per_row * rows) // (per_cell * rows))
        return Size(min(draws, max(threads, _NATIVE_CELLS // rows)), rows)


@dataclass(frozen=True)
class CudaStream:
    """By the kernels of a CUDA device.

    Args:
        device: where they run.
        network: layers of ±1 weights.
    """

    device: cuda.Device
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
        """As in :class:`Stream`."""
        where, layers = self.device.torch_device, self.network.layers
        return cuda.integer_logits(
            self.device,
            self.network,
            words or [_planes_on(where, la) for la in layers if isinstance(la, DenseLayer)],
            inputs,
            key=key,
            draws=draws,
            is_shared=is_shared,
            first_row=first_row,
            units=units,
        )

    @property
    def draws_weights(self) -> bool:
        """Whether all weights are independent."""
        return _draws_weights(self.network)

    def block_size(self, num_rows: int, max_memory: int) -> Size:
        """Memory of the device and of the host together."""
        per_row, per_cell = cuda.bytes_of_row(self.network), cuda.bytes_of_cell(self.network)
        per_draw = cuda.bytes_of_draw(self.network, draws_weights=self.draws_weights)
        rows = max(1, (max_memory - per_draw) // (per_row + per_cell))
        rows = min(rows, num_rows, _CUDA_ROWS)
        draws = max(1, (max_memory - per_row * rows) // (per_draw + per_cell * rows))
        return Size(min(draws, max(1, _CUDA_CELLS // rows), cuda.MOST_DRAWS), rows)


def _draws_weights(network: Network) -> bool:
    return all(isinstance(layer, DenseLayer) for layer in network.layers)


def stream(call: str, network: Network, inputs: Inputs, backend: str) -> Stream | None:
    """What runs a network's draws, or None for the reference.

    Args:
        call: to name in errors.
        network: the layers.
        inputs: the rows.
        backend: ``"auto"``, ``"reference"``, ``"native"`` or ``"cuda"``.

    Raises:
        RuntimeError: the compiled library or a CUDA device is asked for and cannot run.
    """
    if backend == "reference":
        return None
    if backend == "cuda":
        return _cuda_stream(call, network, inputs)
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
    return NativeStream(library, network)


def _cuda_stream(call: str, network: Network, inputs: Inputs) -> CudaStream:
    forced = loader.forced_backend()
    if forced is not None:
        raise RuntimeError(
            f"{call[:-1]}backend='cuda'): BAYES_SBN_BACKEND={forced} keeps all kernels on the CPU. "
            "Unset it, or leave backend out."
        )
    if not native.fits(network, inputs):
        raise RuntimeError(
            f"{call[:-1]}backend='cuda'): the CUDA kernels are for layers of ±1 weights and sums "
            "of inputs that fit in 32 bits. Write backend='auto', which has the same bits."
        )
    return CudaStream(current_device(call), network)
