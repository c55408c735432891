"""The random bits and decisions of an ensemble, written out one number at a time.

Python integers and floats only (a Python float operation is one rounded float64 operation), and no
code of the package but the constants of F64.  ``tests/vectors/draws.txt`` is what
:func:`golden_rows` says; C++ and CUDA tests read the same file.
"""

import math
from collections.abc import Iterator

from bayes_sbn.kernels.reference import cdf64

MASK = 2**32 - 1


def philox(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Philox4x32-10."""
    c, k = counter, key
    for number in range(10):
        if number > 0:
            k = ((k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK)
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = ((b >> 32) ^ c[1] ^ k[0], b & MASK, (a >> 32) ^ c[3] ^ k[1], a & MASK)
    return c


def key_of(seed: int, stream: int) -> tuple[int, int]:
    """The key of a seed and a stream."""
    key = (seed & MASK, seed >> 32)
    if stream == 0:
        return key
    words = philox((stream & MASK, stream >> 32, 0, MASK), key)
    return words[0], words[1]


def weight_u32(key: tuple[int, int], draw: int, site: int, unit: int, k: int) -> int:
    """The uniform of weight k of a unit, its 32 bits taken from 32 planes."""
    u = 0
    for plane in range(32):
        group = plane // 4
        words = philox((k // 32, unit, draw, site << 16 | 0 << 8 | group), key)
        u = 2 * u + (words[plane % 4] >> (k % 32) & 1)
    return u


def row_u48(key: tuple[int, int], draw: int, site: int, unit: int, row: int) -> int:
    """The uniform of one row's activation."""
    o = row % 32
    words = philox((4 * (row // 32) + (o >> 1 & 3), unit, draw, site << 16 | 1 << 8), key)
    u16 = words[o >> 3] >> (16 * (o & 1)) & 0xFFFF
    v32 = philox((row, unit, draw, site << 16 | 2 << 8), key)[0]
    return u16 * 2**32 + v32


def shared_u48(key: tuple[int, int], draw: int, site: int, unit: int) -> int:
    """The uniform that all rows of a draw share."""
    words = philox((0, unit, draw, site << 16 | 3 << 8), key)
    return (words[0] & 0xFFFF) * 2**32 + words[1]


def exp64(t: float) -> float:
    """The exponential of a number that is not positive."""
    t = max(t, -1000.0)
    n = round(t * cdf64.LOG2_E)  # to the nearest, ties to even
    r = (t - n * cdf64.LN2_HIGH) - n * cdf64.LN2_LOW
    return math.ldexp(horner(cdf64.EXPONENTIAL, r), n)


def horner(coefficients: tuple[float, ...], x: float) -> float:
    """A polynomial, highest power first."""
    value = coefficients[0]
    for coefficient in coefficients[1:]:
        value = value * x
        value = value + coefficient
    return value


def tail(noise: str, z: float) -> float:
    """The upper tail at z >= 0, on the grid."""
    if noise == "logistic":
        e = exp64(-z)
        return e / (1.0 + e)
    if noise == "laplace":
        return 0.5 * exp64(-z)
    if z == 0:
        return 0.5
    t = (z - 5.0) / (z + 5.0)
    return exp64(-(0.5 * (z * z))) * horner(cdf64.GAUSSIAN_TAIL, t)


def cdf(noise: str, a: float, scale: float) -> float:
    """F64."""
    z = a / scale
    if noise == "uniform":
        return max(min(0.5 * (1.0 + z), 1.0), 0.0)
    if noise == "triangular":
        r = max(1.0 - abs(z), 0.0)
        value = 0.5 * (r * r)
    else:
        y = min(abs(z), 9.0 if noise == "gaussian" else 60.0) * 2.0**26
        i = math.floor(y)
        upper, lower = tail(noise, i / 2.0**26), tail(noise, (i + 1) / 2.0**26)
        value = upper - (upper - lower) * (y - i)
    return value if z < 0 else 1.0 - value


def threshold48(noise: str, a: float, scale: float) -> int:
    """+1 is drawn where u48 is below it."""
    return round(cdf(noise, a, scale) * 2.0**48)


# The small ensemble of the golden file: 3-4-3-2, every quantity a fraction that is exact.
GOLDEN_SEED, GOLDEN_STREAM, GOLDEN_FIRST_ROW = 0x0123456789ABCDEF, 5, 30
GOLDEN_NOISES = (("logistic", 1.0), ("gaussian", 1.5), (None, 1.0))
GOLDEN_SIZES = (3, 4, 3, 2)
GOLDEN_INPUT_SCALE = 2.0**-10
GOLDEN_INPUTS = ((512, -1024, 700), (-333, 1, 2000), (0, 0, 0), (-1500, 900, -77))
GOLDEN_DRAWS = (0, 1, 77, 2**31)


def golden_probability(site: int, unit: int, k: int) -> float:
    """``P(w = +1)``, 0 and 1 included."""
    return (7 * unit + 3 * k + 5 * site) % 17 / 16


def golden_scale(site: int, unit: int) -> float:
    """The scale of a unit; that of unit 2 is negative."""
    return (-1.0 if unit == 2 else 1.0) * (unit + 3 + site) / 8


def golden_bias(site: int, unit: int) -> float:
    """The bias of a unit."""
    return (unit - 1) / 4 - site / 16


def golden_weights(key: tuple[int, int], draw: int) -> list[list[list[int]]]:
    """The ±1 weights of a draw: [layer][unit][k]."""
    return [
        [
            [
                1
                if weight_u32(key, draw, site, unit, k)
                < round(golden_probability(site, unit, k) * 2**32)
                else -1
                for k in range(GOLDEN_SIZES[site])
            ]
            for unit in range(GOLDEN_SIZES[site + 1])
        ]
        for site in range(3)
    ]


def golden_logits(key: tuple[int, int], draw: int, row: int, is_shared: bool) -> list[int]:
    """The integer logits of one row of one draw."""
    x = list(GOLDEN_INPUTS[row])
    for site, (weights, (noise, noise_scale)) in enumerate(
        zip(golden_weights(key, draw), GOLDEN_NOISES, strict=True)
    ):
        dots = [sum(w * v for w, v in zip(unit, x, strict=True)) for unit in weights]
        if noise is None:
            return dots
        x = []
        for unit, dot in enumerate(dots):
            scale = golden_scale(site, unit)
            if site == 0:
                scale = scale * GOLDEN_INPUT_SCALE
            a = scale * float(dot) + golden_bias(site, unit)
            if is_shared:
                u = shared_u48(key, draw, site, unit)
            else:
                u = row_u48(key, draw, site, unit, GOLDEN_FIRST_ROW + row)
            x.append(1 if u < threshold48(noise, a, noise_scale) else -1)
    raise AssertionError("the last layer has no noise")


COORDINATES = [
    # seed, stream, draw, site, unit, weight or row
    (0, 0, 0, 0, 0, 0),
    (0, 0, 0, 0, 0, 31),
    (0, 0, 0, 0, 0, 32),
    (1, 0, 0, 0, 0, 0),
    (0, 1, 0, 0, 0, 0),
    (0, 0, 1, 0, 0, 0),
    (0, 0, 0, 1, 0, 0),
    (0, 0, 0, 0, 1, 0),
    (0, 0, 0, 0, 0, 1),
    (0, 0, 0, 0, 0, 2),
    (0, 0, 0, 0, 0, 8),
    (2**64 - 1, 2**64 - 1, 2**32 - 1, 65535, 4095, 1023),
    (0x243F6A8885A308D3, 0x13198A2E03707344, 199, 2, 255, 100),
]


def golden_rows() -> Iterator[str]:
    """The rows of ``tests/vectors/draws.txt``."""
    for coordinates in COORDINATES:
        seed, stream, draw, site, unit, index = coordinates
        key = key_of(seed, stream)
        place = " ".join(str(c) for c in coordinates)
        yield f"weight {place} {weight_u32(key, draw, site, unit, index):08x}"
        yield f"row {place} {row_u48(key, draw, site, unit, index):012x}"
        yield f"shared {place.rsplit(' ', 1)[0]} {shared_u48(key, draw, site, unit):012x}"
    for noise in ("logistic", "gaussian", "laplace", "uniform", "triangular"):
        for scale in (1.0, 0.75):
            for a in (0.0, -0.0, 0.3, -0.3, 1 / 3, -2.5, 7.25, -8.0, -29.7, 61.0, -1e-9):
                value = cdf(noise, a, scale)
                yield (
                    f"cdf {noise} {scale.hex()} {a.hex()} {value.hex()} "
                    f"{threshold48(noise, a, scale):013x}"
                )
    key = key_of(GOLDEN_SEED, GOLDEN_STREAM)
    for draw in GOLDEN_DRAWS:
        for site, layer in enumerate(golden_weights(key, draw)):
            words = [sum((w > 0) << k for k, w in enumerate(unit)) for unit in layer]
            yield f"packed {draw} {site} {' '.join(f'{word:08x}' for word in words)}"
        for name, is_shared in (("shared", True), ("independent", False)):
            for row in range(len(GOLDEN_INPUTS)):
                dots = golden_logits(key, draw, row, is_shared)
                yield f"logits {name} {draw} {row} {' '.join(map(str, dots))}"
