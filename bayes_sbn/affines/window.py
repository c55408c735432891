r"""The sliding window of a convolution with its two adjoints; particles may differ in the weights.

    a[o, Y] = sum_{i, k} w[o, i, k] x[g I + i, Y stride + k dilation - padding],

where x is 0 outside the map, g is the group of the output channel o and I the number of inputs of a
group.  Maps are (..., rows, channels, *space), weights (out, in / groups, *kernel) with optional
leading axes for particles followed by one of size 1 for the plate of the rows.  Weights that differ
by particle become one convolution with particles x groups groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """How a kernel moves over a map; a tuple has one number for each dim of the space.

    Args:
        stride: the step between neighbouring outputs.
        padding: how many zeros stand before and after the map.
        dilation: the distance of neighbouring entries of the kernel.
        groups: into how many groups the channels fall.
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    @property
    def dims(self) -> int:
        """How many dims the space has."""
        return len(self.stride)

    def output_size(self, space: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
        """The size of the output map; not positive if the kernel does not fit."""
        sizes = zip(space, kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)

    def convolve(self, x: Tensor, w: Tensor) -> Tensor:
        """The output maps, differentiable by autograd."""
        fold = self._fold(x.shape, w.shape)
        result = torch.convolution(
            fold.maps(x),
            fold.kernels(w),
            None,
            self.stride,
            self.padding,
            self.dilation,
            False,
            (0,) * self.dims,
            fold.particles * self.groups,
        )
        return fold.unfold_maps(result)

    def input_gradient(self, g: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """The adjoint in x (a transposed convolution of g by w), of the shape of x."""
        of_x, _ = self._backward(g, x, w, (True, False))
        assert of_x is not None
        return of_x

    def weight_gradient(self, g: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """The adjoint in w (a correlation of x with g), of the shape of w."""
        _, of_w = self._backward(g, x, w, (False, True))
        assert of_w is not None
        return of_w

    def gradients(self, g: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Both adjoints, which share their preparations."""
        of_x, of_w = self._backward(g, x, w, (True, True))
        assert of_x is not None
        assert of_w is not None
        return of_x, of_w

    def _backward(
        self, g: Tensor, x: Tensor, w: Tensor, wanted: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        batch = torch.broadcast_shapes(
            x.shape[: x.dim() - self.dims - 1], g.shape[: -self.dims - 1]
        )
        fold = self._fold(torch.Size((*batch, *x.shape[x.dim() - self.dims - 1 :])), w.shape)
        input_gradient, weight_gradient, _ = torch.ops.aten.convolution_backward(
            fold.maps(g),
            fold.maps(x),
            fold.kernels(w),
            None,
            self.stride,
            self.padding,
            self.dilation,
            False,
            (0,) * self.dims,
            fold.particles * self.groups,
            (*wanted, False),
        )
        of_inputs, of_weight = wanted
        return (
            fold.unfold_maps(input_gradient).sum_to_size(x.shape) if of_inputs else None,
            fold.unfold_kernels(weight_gradient, w.shape) if of_weight else None,
        )

    def _fold(self, x_shape: torch.Size, w_shape: torch.Size) -> _Fold:
        events = self.dims + 1
        lead = w_shape[: len(w_shape) - events - 1]
        batch = torch.broadcast_shapes(x_shape[: len(x_shape) - events], lead)
        return _Fold(batch, is_shared=math.prod(lead) == 1, dims=self.dims)


@dataclass(frozen=True)
class _Fold:
    """Batch dims to and from the one that a convolution has.

    Args:
        batch: (..., rows), or () for a single map.
        is_shared: whether one kernel serves the whole batch.
        dims: how many dims the space has.
    """

    batch: torch.Size
    is_shared: bool
    dims: int

    @property
    def particles(self) -> int:
        """How many kernels there are."""
        return 1 if self.is_shared else self.batch[:-1].numel()

    def maps(self, t: Tensor) -> Tensor:
        """(..., rows, channels, *space) to (rows, particles channels, *space)."""
        event = t.shape[t.dim() - self.dims - 1 :]
        t = t.expand(*self.batch, *event)
        if self.is_shared:
            return t.reshape(self.batch.numel(), *event)
        rows = self.batch[-1]
        t = t.reshape(self.particles, rows, *event).transpose(0, 1)
        return t.reshape(rows, self.particles * event[0], *event[1:])

    def unfold_maps(self, t: Tensor) -> Tensor:
        """The inverse of :meth:`maps`."""
        event = (t.shape[1] // max(1, self.particles), *t.shape[2:])
        if not self.is_shared:
            t = t.reshape(t.shape[0], self.particles, *event).transpose(0, 1)
        return t.reshape(*self.batch, *event)

    def kernels(self, w: Tensor) -> Tensor:
        """(..., 1, out, in, *kernel) to (particles out, in, *kernel)."""
        event = w.shape[w.dim() - self.dims - 2 :]
        if not self.is_shared:
            w = w.expand(*self.batch[:-1], 1, *event)
        return w.reshape(self.particles * event[0], *event[1:])

    def unfold_kernels(self, w: Tensor, shape: torch.Size) -> Tensor:
        """The inverse of :meth:`kernels`, added over the particles that share a kernel."""
        if self.is_shared:
            return w.reshape(shape)
        event = shape[len(shape) - self.dims - 2 :]
        return w.reshape(*self.batch[:-1], 1, *event).sum_to_size(shape)
