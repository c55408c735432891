"""Components and factors of draws written out one number at a time, as ``draw_oracle`` does.

``tests/vectors/mixture_draws.txt`` is what :func:`golden_rows` says.
"""

from collections.abc import Iterator
from fractions import Fraction

from tests.kernels.reference.draw_oracle import key_of, philox
from tests.kernels.reference.real_draw_oracle import SEEDS, quantile


def component(key: tuple[int, int], draw: int, weights: list[float]) -> int:
    """The component of a draw: its stratum, its place there, and whose share that is."""
    number = len(weights)
    rotation = (philox((0, 0, 0, 7 << 8), key)[0] * number) >> 32
    within = philox((0, 0, draw, 7 << 8), key)[1]
    place = ((draw + rotation) % number) * 2**32 + within
    total = 0.0
    for index, weight in enumerate(weights[:-1]):
        total += weight
        if place < round(Fraction(total * (number * 2**32))):
            return index
    return number - 1


def factors(key: tuple[int, int], draw: int, rank: int) -> list[float]:
    """The normal factors of a draw."""
    found = []
    for k in range(rank):
        word = philox((k // 4, 0, draw, 8 << 8), key)[k % 4]
        found.append(quantile((word + 0.5) / 2**32))
    return found


def golden_rows() -> Iterator[str]:
    """The rows of ``tests/vectors/mixture_draws.txt``, without its comments."""
    for weights in ((0.25, 0.25, 0.25, 0.25), (0.7, 0.1, 0.2), (0.5, 0.0, 0.5)):
        for seed, stream in SEEDS:
            key = key_of(seed, stream)
            found = "".join(str(component(key, draw, list(weights))) for draw in range(24))
            yield f"components {seed} {stream} {','.join(map(str, weights))} {found}"
    for seed, stream in SEEDS:
        for draw in (0, 1, 2**32 - 1):
            numbers = " ".join(z.hex() for z in factors(key_of(seed, stream), draw, 6))
            yield f"factors {seed} {stream} {draw} {numbers}"
