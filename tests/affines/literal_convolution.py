"""Convolutions in NumPy by their definition, place by place, and the operands of their tests."""

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bayes_sbn.affines import Convolution, affine_conv1d, affine_conv2d
from bayes_sbn.signs import FlipRule, tag_sign
from tests.affines.literal_affine import EXACT
from tests.oracle_flips import literal_differences

Array = NDArray[np.float64]


Places = tuple[NDArray[np.int64], ...]


@functools.cache
def taps(
    space: tuple[int, ...],
    kernel: tuple[int, ...],
    output: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> list[tuple[tuple[int, ...], Places, Places]]:
    """Every tap of a kernel, the places of the output it serves, and the pixels it meets there."""
    found = []
    for tap in itertools.product(*map(range, kernel)):
        pairs = []
        for place in itertools.product(*map(range, output)):
            steps = zip(place, stride, tap, dilation, padding, strict=True)
            pixel = tuple(y * s + k * d - p for y, s, k, d, p in steps)
            if all(0 <= i < n for i, n in zip(pixel, space, strict=True)):
                pairs.append((place, pixel))
        if pairs:
            places, pixels = (np.array(part).T for part in zip(*pairs, strict=True))
            found.append((tap, tuple(places), tuple(pixels)))
    return found


@dataclass
class Maps:
    """The operands of ``a = s conv(x, W) + b``, one dim of space or two.

    ``x`` is (..., rows, C, *space), ``w`` (O, C / groups, *kernel) or (particles, 1, ...).
    """

    x: Array
    w: Array
    scale: float | Array | None
    bias: Array | None
    dims: int
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    x_is_sign: bool = True
    w_is_sign: bool = True

    def convolve(self, x: Array, w: Array) -> Array:
        """The sum over the taps that fall into the image."""
        *_, out, per_group = w.shape[: w.ndim - self.dims]
        kernel, space = w.shape[w.ndim - self.dims :], x.shape[x.ndim - self.dims :]
        size = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(
                space, self.padding, self.dilation, kernel, self.stride, strict=True
            )
        ]
        batch = np.broadcast_shapes(
            x.shape[: x.ndim - self.dims - 1], w.shape[: w.ndim - self.dims - 2]
        )
        result = np.zeros((*batch, out, *size))
        steps = (self.stride, self.padding, self.dilation)
        for tap, places, pixels in taps(space, kernel, tuple(size), *steps):
            pixel, weight = x[(..., *pixels)], w[(..., *tap)]
            for o in range(out):
                first = o // (out // self.groups) * per_group
                met = pixel[..., first : first + per_group, :] * weight[..., o, :, None]
                result[(..., o, *places)] += met.sum(-2)
        return result

    def per_channel(self, term: float | Array) -> float | Array:
        """A number or (..., O) as a factor of the maps."""
        return term[(..., *(None,) * self.dims)] if isinstance(term, np.ndarray) else term

    def value(self, x: Array, w: Array) -> Array:
        """The pre-activation at other inputs and weights."""
        a = self.convolve(x, w) * self.per_channel(1.0 if self.scale is None else self.scale)
        return a if self.bias is None else a + self.per_channel(self.bias)

    def affine(
        self, rule: FlipRule = EXACT, dtype: torch.dtype = torch.float64
    ) -> tuple[Convolution, torch.Tensor, torch.Tensor]:
        """The package's convolution of draws that are to be flipped, and the leaves behind them."""
        leaves, tensors = [], []
        for array, is_sign in ((self.x, self.x_is_sign), (self.w, self.w_is_sign)):
            leaf = torch.tensor(array, dtype=dtype, requires_grad=is_sign)
            leaves.append(leaf)
            tensors.append(tag_sign(leaf, "site", rule) if is_sign else leaf)
        scale = torch.tensor(self.scale, dtype=dtype) if np.ndim(self.scale) else self.scale
        bias = None if self.bias is None else torch.tensor(self.bias, dtype=dtype)
        make = {1: affine_conv1d, 2: affine_conv2d}[self.dims]
        window = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        return make(*tensors, bias, scale=scale, groups=self.groups, **window), *leaves

    def flips(self, objective: Callable[[Array], Array]) -> tuple[Array, Array]:
        """Half the literal differences in x and in W, entry by entry, of a sum over units.

        ``objective`` gives the terms of the sum, each a function of its own unit.  A flip of a
        weight moves many units at once; the sum makes of that what the package should add up.
        """
        of_x = literal_differences(lambda x: objective(self.value(x, self.w)).sum(), self.x)
        of_w = literal_differences(lambda w: objective(self.value(self.x, w)).sum(), self.w)
        return 0.5 * of_x, 0.5 * of_w


def maps(
    seed: int = 0,
    *,
    space: tuple[int, ...] = (4, 5),
    kernel: tuple[int, ...] = (3, 2),
    batch: tuple[int, ...] = (2,),
    lead: tuple[int, ...] = (),
    channels: int = 2,
    out: int = 2,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
    x_is_sign: bool = True,
    w_is_sign: bool = True,
    scale: str = "unit",
    bias: tuple[int, ...] | str | None = "unit",
) -> Maps:
    """Random operands; ``scale`` is "none", "number" or "unit", ``bias`` a shape or "unit"."""
    generator = np.random.default_rng(seed)
    dims = len(space)

    def draw(shape: tuple[int, ...], is_sign: bool) -> Array:
        values = generator.normal(0.0, 1.0, shape)
        return np.where(values < 0, -1.0, 1.0) if is_sign else values

    x = draw((*batch, channels, *space), x_is_sign)
    w = draw((*lead, out, channels // groups, *kernel), w_is_sign)
    size = 1.5 / math.sqrt(w[(0,) * len(lead)][0].size)
    alternating = np.where(np.arange(out) % 2, -1.0, 1.0)
    scales = {
        "none": None,
        "number": 0.7 * size,
        "unit": size * generator.uniform(0.4, 1.0, out) * alternating,
    }
    shape = (out,) if bias == "unit" else bias
    steps = [
        (step,) * dims if isinstance(step, int) else step for step in (stride, padding, dilation)
    ]
    return Maps(
        x,
        w,
        scales[scale],
        None if shape is None else generator.normal(0.0, 0.3, shape),
        dims,
        *steps,
        groups,
        x_is_sign,
        w_is_sign,
    )
