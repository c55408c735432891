r"""The windows of a pooling, sums over them, and the adjoint of that sum.

    (sum x)[c, Y] = sum_{0 <= k < kernel} x[c, Y stride + k - padding],   x = 0 outside the map;

the adjoint gives each cell the total of the windows that it lies in.  Only the dims of the space,
the last one or two, are touched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PoolingWindow:
    """How a window moves over a map; a tuple has one number for each dim of the space.

    Args:
        kernel: the size of a window.
        stride: the step between neighbouring windows.
        padding: how many cells stand before and after the map.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    @classmethod
    def checked(
        cls,
        call: str,
        x: Tensor,
        dims: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None,
        padding: int | Sequence[int] = 0,
    ) -> PoolingWindow:
        """The window of a call, whose arguments are those of torch.

        Raises:
            TypeError: x is no floating-point tensor.
            ValueError: sizes that are no integers, or a window that does not fit.
        """
        if not isinstance(x, Tensor) or not x.is_floating_point():
            came = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"{call}: x is {came}; it must be a floating-point torch.Tensor.")
        kernel = window_sizes(call, "kernel_size", kernel_size, dims, 1, example=2)
        steps = kernel if stride is None else window_sizes(call, "stride", stride, dims, 1)
        window = cls(kernel, steps, window_sizes(call, "padding", padding, dims, 0))
        space = "(C, L)" if dims == 1 else "(C, H, W)"
        if x.dim() < dims + 1:
            raise ValueError(
                f"{call}: x has shape {tuple(x.shape)}; it must end in {space}. "
                f"Give maps a channel axis with x.unsqueeze({-dims - 1})."
            )
        sizes = tuple(x.shape[-dims:])
        fits = all(
            k <= n + 2 * p and 2 * p <= k
            for n, k, p in zip(sizes, kernel, window.padding, strict=True)
        )
        if not fits:
            raise ValueError(
                f"{call}: windows of size {kernel} with padding {window.padding} do not fit a map "
                f"of size {sizes}; a window is no larger than the padded map, and the padding at "
                "most half of it. Use a smaller kernel_size or padding."
            )
        return window

    @property
    def cells(self) -> int:
        """How many cells a window has."""
        return torch.Size(self.kernel).numel()

    @property
    def overlaps(self) -> bool:
        """Whether a cell may lie in two windows."""
        return any(s < k for s, k in zip(self.stride, self.kernel, strict=True))

    def sums(self, x: Tensor) -> Tensor:
        """The sum over every window, differentiable by autograd."""
        total = torch.nn.functional.avg_pool2d(
            self._flat(x),
            _both(self.kernel, 1),
            _both(self.stride, 1),
            _both(self.padding, 0),
            divisor_override=1,
        )
        return self._unflat(total, x.shape)

    def largest(self, x: Tensor) -> Tensor:
        """The largest value in every window, differentiable by autograd; padding never is."""
        values = torch.nn.functional.max_pool2d(
            self._flat(x), _both(self.kernel, 1), _both(self.stride, 1), _both(self.padding, 0)
        )
        return self._unflat(values, x.shape)

    def spread(self, totals: Tensor, x: Tensor) -> Tensor:
        """The adjoint of :meth:`sums`, of the shape of x."""
        spread: Tensor = torch.ops.aten.avg_pool2d_backward(
            self._flat(totals),
            self._flat(x),
            _both(self.kernel, 1),
            _both(self.stride, 1),
            _both(self.padding, 0),
            False,
            True,
            1,
        )
        return spread.reshape(x.shape)

    def _flat(self, t: Tensor) -> Tensor:
        """The map as (number, 1, H, W)."""
        split = t.dim() - len(self.kernel)
        number = math.prod(t.shape[:split])
        return t.reshape(number, 1, *_both(tuple(t.shape[split:]), 1))

    def _unflat(self, t: Tensor, shape: torch.Size) -> Tensor:
        dims = len(self.kernel)
        return t.reshape(*shape[: len(shape) - dims], *t.shape[t.dim() - dims :])


def _both(sizes: tuple[int, ...], missing: int) -> tuple[int, ...]:
    """Sizes in two dims: a line is a map of height 1."""
    return sizes if len(sizes) == 2 else (missing, *sizes)


def window_sizes(
    call: str,
    name: str,
    value: int | Sequence[int],
    number: int,
    at_least: int,
    example: int | None = None,
) -> tuple[int, ...]:
    """An integer for each dim of the space, from one or several; raise, naming the call.

    Args:
        call: what the user wrote.
        name: of the argument.
        value: what came.
        number: of dims.
        at_least: the least integer that is allowed.
        example: what to write instead; default the least.
    """
    values = (value,) * number if isinstance(value, int) else value
    is_valid = (
        isinstance(values, Sequence)
        and not isinstance(values, str)
        and len(values) == number
        and all(isinstance(v, int) and not isinstance(v, bool) and v >= at_least for v in values)
    )
    if not is_valid:
        many = "" if number == 1 else f" or {number} of them"
        raise ValueError(
            f"{call}: {name} is {value!r}; it must be an integer of at least {at_least}{many}. "
            f"Write {name}={at_least if example is None else example}."
        )
    return tuple(values)
