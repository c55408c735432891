r"""Means and variances of random gradients from a few repeats, with what they are uncertain by.

R independent gradients g_r of d entries are kept as sums over J groups of repeats, J at most
:data:`NUM_GROUPS`, and as sums of squares.  With ``m`` their mean and the variance summed over the
entries, ``V = sum_r |g_r - m|^2 / (R - 1)``, these are unbiased:

    V                           for  E |g - E g|^2,
    |m|^2 - V / R               for  |E g|^2,
    m_a . m_b                   for  E g_a . E g_b             (independent draws),
    |m_a - m_b|^2 - V_a / R_a - V_b / R_b   for  |E g_a - E g_b|^2.

Standard errors are those of the jackknife that leaves out one group at a time.  A statistic of two
independent sets of draws is jackknifed in each, and the squares of the two errors are added.
Every array of replicates here holds the value of all repeats first, then those of the J subsets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

NUM_GROUPS = 20
"""Groups of the jackknife; a standard error from 20 is itself known to about 16 %."""

Array = npt.NDArray[np.float64]


class Moments:
    """The mean of some gradients and their variance, by block of parameters.

    Args:
        means: for each block, the mean over all repeats and over each subset, (1 + J, d).
        variance: V of all repeats and of each subset, (1 + J,) a block.
        count: repeats behind each replicate, (1 + J,); infinite where the mean is exact.
    """

    def __init__(self, means: Sequence[Tensor], variance: Sequence[Array], count: Array) -> None:
        self.means = list(means)
        self.variance = list(variance)
        self.count = count

    @classmethod
    def exact(cls, means: Sequence[Tensor], variance: Sequence[float]) -> Moments:
        """Of a law that was enumerated: nothing is uncertain."""
        values = [np.array([value], dtype=np.float64) for value in variance]
        return cls([mean.reshape(1, -1) for mean in means], values, np.array([math.inf]))

    @property
    def is_exact(self) -> bool:
        """Whether the mean is an expectation and no average."""
        return math.isinf(self.count[0])

    def squared_norm(self, block: int) -> Array:
        """``|E g|^2``, without bias, by replicate."""
        means = self.means[block].double()
        return _numpy((means * means).sum(1)) - self.variance[block] / self.count


class Accumulator:
    """Takes gradients one by one and gives their :class:`Moments`.

    Sums are taken of the differences from the first gradient, so that nothing cancels where the
    variance is small against the mean: that of a deterministic gradient is exactly 0.

    Args:
        repeats: how many gradients will come, at least 4.
    """

    def __init__(self, repeats: int) -> None:
        if repeats < 4:
            raise ValueError(f"Accumulator(repeats={repeats}): the jackknife needs at least 4.")
        self.repeats = repeats
        self.num_groups = min(NUM_GROUPS, repeats)
        self.added = 0
        self.first: list[Tensor] = []
        self.sums: list[Tensor] = []
        self.squares: list[Array] = []

    def add(self, gradient: Sequence[Tensor]) -> None:
        """Take the next gradient, one tensor a block."""
        if self.added == 0:
            self.first = [block.detach().reshape(-1).clone() for block in gradient]
            shape = self.num_groups
            self.sums = [torch.zeros(shape, len(b), dtype=b.dtype) for b in self.first]
            self.squares = [np.zeros(shape) for _ in self.first]
        group = self.added * self.num_groups // self.repeats
        for k, block in enumerate(gradient):
            shifted = block.detach().reshape(-1) - self.first[k]
            self.sums[k][group] += shifted.cpu()
            self.squares[k][group] += float((shifted * shifted).sum(dtype=torch.float64))
        self.added += 1

    def moments(self) -> Moments:
        """Of all gradients that were taken."""
        if self.added != self.repeats:
            raise RuntimeError(f"{self.added} gradients came, {self.repeats} were announced.")
        index = np.arange(self.repeats) * self.num_groups // self.repeats
        sizes = np.bincount(index, minlength=self.num_groups).astype(np.float64)
        count = np.concatenate([[self.repeats], self.repeats - sizes])
        means, variance = [], []
        for first, sums, squares in zip(self.first, self.sums, self.squares, strict=True):
            everything = sums.sum(0, keepdim=True)
            shifted = torch.cat([everything, everything - sums]).div_(
                torch.from_numpy(count).to(sums.dtype)[:, None]
            )
            square_sums = np.concatenate([[squares.sum()], squares.sum() - squares])
            norms = _numpy((shifted.double() ** 2).sum(1))
            variance.append(np.maximum(square_sums - count * norms, 0) / (count - 1))
            means.append(shifted.add_(first.cpu()))
        return Moments(means, variance, count)


def dots(a: Moments, b: Moments, block: int) -> tuple[Array, Array]:
    """``E g_a . E g_b``, as jackknifed in a and as jackknifed in b."""
    first, second = a.means[block].double(), b.means[block].double()
    return _numpy(first @ second[0]), _numpy(second @ first[0])


def squared_distances(a: Moments, b: Moments, block: int) -> tuple[Array, Array]:
    """``|E g_a - E g_b|^2`` without bias, as jackknifed in a and as jackknifed in b."""
    first, second = a.means[block].double(), b.means[block].double()
    noise_a, noise_b = a.variance[block] / a.count, b.variance[block] / b.count
    in_a = _numpy(((first - second[0]) ** 2).sum(1)) - noise_a - noise_b[0]
    in_b = _numpy(((second - first[0]) ** 2).sum(1)) - noise_b - noise_a[0]
    return in_a, in_b


def jackknife_error(*replicates: Array) -> float:
    """The standard error of a statistic, from its replicates in each independent set of draws.

    One set of replicates is (1 + J,); J is 0 where the set is exact.  NaN where the statistic does
    not exist for some subset.
    """
    total = 0.0
    for values in replicates:
        subsets = values[1:]
        if len(subsets):
            total += float((len(subsets) - 1) * subsets.var())
    return math.sqrt(total)


def cosine(dot: Array, norm_a: Array | float, norm_b: Array | float) -> Array:
    """``dot / sqrt(norm_a norm_b)`` of squared norms; NaN where one is not positive."""
    first, second = np.broadcast_arrays(norm_a, norm_b)
    is_there = (first > 0) & (second > 0)
    lengths = np.sqrt(np.where(is_there, first, 1.0)) * np.sqrt(np.where(is_there, second, 1.0))
    return np.asarray(np.where(is_there, dot / lengths, np.nan), dtype=np.float64)


def _numpy(values: Tensor) -> Array:
    return values.cpu().numpy().astype(np.float64)
