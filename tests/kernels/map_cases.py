"""Maps, kernels and windows that hurt convolutions and pooling."""

from typing import NamedTuple

import torch
from torch import Tensor

from bayes_sbn.kernels import pack
from tests.chance import numpy_generator
from tests.kernels.packing_cases import poisoned, signs

Pair = tuple[int, int]


class Case(NamedTuple):
    """A convolution: shapes, and how the kernel moves."""

    batch: int
    space: Pair
    channels: int
    units: int
    taps: Pair
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


CASES = (
    Case(1, (1, 1), 1, 1, (1, 1)),
    Case(2, (3, 3), 31, 3, (3, 3), padding=(1, 1, 1, 1)),
    Case(1, (5, 4), 33, 17, (2, 3), padding=(0, 1, 1, 1)),
    Case(3, (7, 6), 63, 16, (3, 3), (2, 2), (1, 1, 1, 1)),
    Case(2, (6, 7), 64, 15, (3, 2), (1, 3), (2, 2, 0, 0)),
    Case(4, (7, 7), 65, 32, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
    Case(2, (5, 7), 100, 33, (1, 5), (3, 1), (0, 0, 4, 4), (1, 2)),
    Case(5, (2, 2), 129, 5, (5, 5), padding=(2, 2, 2, 2)),  # larger than the map
    Case(1, (2, 3), 32, 18, (3, 3), (1, 1), (9, 8, 7, 6), (3, 3)),  # whole rows see no tap
    Case(2, (4, 4), 64, 40, (4, 4)),
    Case(3, (6, 5), 6, 4, (3, 3), padding=(1, 1, 1, 1), groups=2),
    Case(2, (4, 5), 99, 6, (2, 2), (2, 1), groups=3),  # 33 channels: groups begin inside words
    Case(2, (4, 4), 186, 40, (3, 3), padding=(1, 1, 1, 1), groups=2),
    Case(1, (5, 5), 64, 36, (3, 3), padding=(1, 1, 1, 1), groups=2),
    Case(2, (3, 4), 40, 40, (3, 3), padding=(1, 1, 1, 1), groups=40),  # a channel each
    Case(1, (3, 3), 200, 10, (1, 1), groups=5),
    Case(70, (1, 2), 40, 20, (1, 2)),
    Case(3, (9, 8), 512, 100, (3, 3), padding=(1, 1, 1, 1)),  # enough for several threads
    Case(2, (40, 3), 64, 300, (3, 3), (1, 1), (1, 1, 0, 0)),
    Case(1, (4, 4), 3000, 130, (4, 4), padding=(0, 3, 2, 0)),  # more blocks than a cache holds
    Case(0, (4, 5), 40, 6, (3, 3)),
)

WINDOWS = (
    (1, (1, 1), 1, (1, 1), (1, 1), (0, 0)),
    (2, (4, 6), 31, (2, 2), (2, 2), (0, 0)),
    (3, (7, 5), 33, (3, 3), (2, 2), (1, 1)),
    (2, (3, 7), 64, (3, 2), (1, 3), (0, 1)),
    (2, (5, 5), 65, (5, 5), (5, 5), (0, 0)),
    (1, (2, 3), 100, (4, 5), (1, 1), (2, 2)),
    (4, (30, 30), 129, (2, 3), (1, 2), (1, 1)),  # enough for several threads
    (0, (4, 4), 40, (2, 2), (2, 2), (0, 0)),
)
"""Batch, map, channels, window, stride, padding of pooling."""


def maps_and_kernels(case: Case) -> tuple[Tensor, Tensor]:
    """±1 maps (batch, height, width, channels) and kernels (units, taps, channels of a group)."""
    x = signs((case.batch, *case.space, case.channels), seed=1)
    return x, signs((case.units, *case.taps, case.channels // case.groups), seed=2)


def packed(case: Case, *, is_poisoned: bool = False) -> tuple[Tensor, Tensor]:
    """Their words; padding bits are 0, or all of them 1."""
    x, w = (pack(values) for values in maps_and_kernels(case))
    if not is_poisoned:
        return x.data, w.data
    return poisoned(x.data, x.length), poisoned(w.data, w.length)


def options(case: Case) -> tuple[int, list[int], list[int], list[int], int]:
    """Arguments of the operator after maps and kernels."""
    return case.channels, [*case.stride], [*case.padding], [*case.dilation], case.groups


def random_case(name: str) -> Case:
    """A case of small sizes, whose kernel fits."""
    g = numpy_generator(f"convolution/{name}")

    def number(least: int, most: int) -> int:
        return int(g.integers(least, most + 1))

    while True:
        groups = number(1, 4)
        case = Case(
            batch=number(1, 3),
            space=(number(1, 7), number(1, 7)),
            channels=groups * number(1, 70),
            units=groups * number(1, 20),
            taps=(number(1, 4), number(1, 4)),
            stride=(number(1, 3), number(1, 3)),
            padding=(number(0, 3), number(0, 3), number(0, 3), number(0, 3)),
            dilation=(number(1, 3), number(1, 3)),
            groups=groups,
        )
        top, bottom, left, right = case.padding
        padded = (case.space[0] + top + bottom, case.space[1] + left + right)
        if all(d * (k - 1) < n for n, k, d in zip(padded, case.taps, case.dilation, strict=True)):
            return case


def convolved_by_hand(x: Tensor, w: Tensor, case: Case) -> Tensor:
    """The definition, tap by tap and unit by unit, with Python integers."""
    top, bottom, left, right = case.padding
    height, width = (
        (n + before + after - d * (k - 1) - 1) // s + 1
        for n, before, after, k, s, d in zip(
            case.space,
            (top, left),
            (bottom, right),
            case.taps,
            case.stride,
            case.dilation,
            strict=True,
        )
    )
    of_group, units_of_group = case.channels // case.groups, case.units // case.groups
    dots = torch.zeros(case.batch, height, width, case.units, dtype=torch.int32)
    for n, y, column, unit in (tuple(place) for place in torch.ones_like(dots).nonzero().tolist()):
        first = unit // units_of_group * of_group
        total = 0
        for i in range(case.taps[0]):
            for j in range(case.taps[1]):
                row = y * case.stride[0] + i * case.dilation[0] - top
                place = column * case.stride[1] + j * case.dilation[1] - left
                if 0 <= row < case.space[0] and 0 <= place < case.space[1]:
                    cell = x[n, row, place, first : first + of_group].tolist()
                    total += sum(a * b for a, b in zip(cell, w[unit, i, j].tolist(), strict=True))
        dots[n, y, column, unit] = total
    return dots
