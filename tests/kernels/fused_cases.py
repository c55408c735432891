"""Layers and rows that hurt fused kernels; their calls by the library and by the reference."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.bits import num_words
from bayes_sbn.kernels import PackedBits, PackedProbabilities
from bayes_sbn.kernels.native import fused_linear as native
from bayes_sbn.kernels.native.ensemble import LAWS
from bayes_sbn.kernels.reference import fused_linear as reference
from tests.chance import numpy_generator

SHAPES = (
    (1, 1, 1),
    (2, 31, 3),
    (33, 33, 17),
    (5, 63, 16),
    (8, 64, 15),
    (7, 65, 32),
    (3, 129, 100),
    (70, 100, 33),
    (150, 40, 48),
    (300, 1280, 40),  # enough for several threads
    (2, 16_385, 5),
    (0, 40, 3),
    (3, 40, 0),
    (3, 0, 4),
)
"""Rows, inputs, units."""

SIZES = (5e-324, 1e-310, 0.01, 1.0, 30.0, 1e20, 1e308)
KINDS = ("packed", "numbers", "two numbers")


@dataclass(frozen=True)
class Case:
    """A layer, and rows of every kind.

    Args:
        rows: by kind: words whose padding is 0, or int16.
        w: packed weights.
        probabilities: of weights, or None where there are no units or inputs.
        scale: float64.
        bias: float64.
        inputs: number of inputs.
        noise_scale: scale of the noise.
    """

    rows: dict[str, Tensor]
    w: PackedBits
    probabilities: PackedProbabilities | None
    scale: Tensor
    bias: Tensor
    inputs: int
    noise_scale: float


def random_words(label: str, rows: int, length: int) -> Tensor:
    """Packed rows, of which all bits are random and padding is 0."""
    g = numpy_generator(label)
    words = torch.from_numpy(g.integers(-(2**31), 2**31, (rows, num_words(length)))).int()
    if length % 32:
        words[:, -1] &= (1 << length % 32) - 1
    return words


def poisoned(words: Tensor, length: int) -> Tensor:
    """The same bits with padding bits of 1 in every other row."""
    result = words.clone()
    if length % 32:
        result[::2, -1] |= -1 << length % 32
    return result


def case(shape: tuple[int, int, int]) -> Case:
    """Scales from the least subnormal number to 1e308, of both signs and 0; p of 0 and 1, too."""
    rows, inputs, units = shape
    g = numpy_generator(f"fused/{shape}")
    p = g.random((units, inputs))
    p[g.random(p.shape) < 0.2] = 0.0
    p[g.random(p.shape) < 0.2] = 1.0
    p[g.random(p.shape) < 0.2] = 0.5
    scale = g.choice([-1, 1], units) * g.choice(SIZES, units)
    usual = g.random(units) < 0.5  # else hardly a bit of the noise would matter
    scale[usual] = (g.normal(size=units) / max(1, inputs) ** 0.5)[usual]
    scale[g.random(units) < 0.1] = 0.0
    bias = g.normal(size=units) * g.choice([1, 1, 1e-310, 1e20], units)
    bias[g.random(units) < 0.2] = 0.0
    scale[:1], bias[:1] = 0.0, 0.0  # a is 0 whatever the row
    return Case(
        rows={
            "packed": random_words(f"{shape}/x", rows, inputs),
            "numbers": torch.from_numpy(g.integers(-99, 100, (rows, inputs))).short(),
            "two numbers": torch.from_numpy(g.choice([-7, 7], (rows, inputs))).short(),
        },
        w=PackedBits(random_words(f"{shape}/w", units, inputs), inputs),
        probabilities=PackedProbabilities.pack(torch.from_numpy(p)) if p.size else None,
        scale=torch.from_numpy(scale),
        bias=torch.from_numpy(bias),
        inputs=inputs,
        noise_scale=float(g.choice([1.0, 0.3, 2.5])),
    )


def calls(given: Case, kind: str, *, poison: bool = False) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every call of the operators for rows of a kind: a name, and arguments."""
    x, w, units = given.rows[kind], given.w.data, (given.scale, given.bias)
    if poison:
        w = poisoned(w, given.inputs)
        x = poisoned(x, given.inputs) if kind == "packed" else x
    weights: list[tuple[Tensor, Tensor | None]] = [(w, None)]
    if given.probabilities is not None:
        weights.append((given.probabilities.hot, given.probabilities.cold))
    for planes in weights:
        for noise in LAWS:
            for is_shared in (True, False):
                key = (7 - 2**63, 3, 2**32 - 1, 65_535)
                options = (noise, given.noise_scale, is_shared, *key, 2**32 - len(x))
                yield "stochastic_linear", (x, *planes, *units, given.inputs, *options)
    yield "sign_linear", (x, w, *units, given.inputs)
    yield "linear_logits", (x, w, *units, given.inputs)
    if kind != "packed":
        yield "integer_linear", (x, w)


def by_library(library: object, name: str, arguments: tuple[Any, ...], threads: int = 1) -> Tensor:
    """The result of the compiled library."""
    result = getattr(native, name)(library, *arguments, threads)
    assert result is not None
    return result


def by_reference(name: str, arguments: tuple[Any, ...]) -> Tensor:
    """The result of the reference."""
    return getattr(reference, name)(*arguments)
