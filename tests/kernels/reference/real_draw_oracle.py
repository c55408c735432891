"""Real weights of an ensemble, written out one number at a time, as ``draw_oracle`` does for signs.

``tests/vectors/real_draws.txt`` is what :func:`golden_rows` says.
"""

import math
from collections.abc import Iterator

from bayes_sbn.kernels.reference import cdf64, quantile64
from tests.kernels.reference.draw_oracle import horner, key_of, philox

SEEDS = ((0, 0), (1, 0), (0x0123456789ABCDEF, 5))
PLACES = ((0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 7), (3, 1, 2, 4), (2**32 - 1, 65535, 300, 1000))
"""Draw, site, unit and weight."""

LOC, SPREAD, STEP = 0.3, 0.25, 2.0**-14
"""Of the golden steps."""


def u32(key: tuple[int, int], draw: int, site: int, unit: int, k: int) -> int:
    """The uniform of weight k of a unit."""
    return philox((k // 4, unit, draw, site << 16 | 4 << 8), key)[k % 4]


def log64(x: float) -> float:
    """The logarithm."""
    m, n = math.frexp(x)
    if m < float.fromhex("0x1.6a09e667f3bcdp-1"):
        m, n = m + m, n - 1
    s = (m - 1.0) / (m + 1.0)
    series = horner(quantile64.LOGARITHM, s * s) * s
    return (series + n * cdf64.LN2_LOW) + n * cdf64.LN2_HIGH


def quantile(p: float) -> float:
    """Q64."""
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        return q * horner(quantile64.CENTRE[0], r) / horner(quantile64.CENTRE[1], r)
    r = math.sqrt(-log64(min(p, 1.0 - p)))
    table = quantile64.TAIL if r <= 5.0 else quantile64.FAR_TAIL
    r = r - 1.6 if r <= 5.0 else r - 5.0
    z = horner(table[0], r) / horner(table[1], r)
    return -z if q < 0 else z


def steps(u: int, loc: float, spread: float, step: float) -> int:
    """A weight in whole steps."""
    return round((loc + spread * quantile((u + 0.5) * 2.0**-32)) / step)


def golden_rows() -> Iterator[str]:
    """The rows of ``tests/vectors/real_draws.txt``."""
    for seed, stream in SEEDS:
        for place in PLACES:
            u = u32(key_of(seed, stream), *place)
            z = quantile((u + 0.5) * 2.0**-32)
            name = f"{seed} {stream} {' '.join(map(str, place))}"
            yield f"real {name} {u:08x} {z.hex()} {steps(u, LOC, SPREAD, STEP)}"
    for u in (0, 1, 2**28, 2**31 - 1, 2**31, 2**32 - 1):
        p = (u + 0.5) * 2.0**-32
        yield f"quantile {u:08x} {log64(min(p, 1.0 - p)).hex()} {quantile(p).hex()}"
