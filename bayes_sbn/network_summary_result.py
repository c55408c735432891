"""The summary of a network: its layers in numbers, their totals, and both as a table.

A ±1 weight costs one bit, where float32 costs 32:

    bytes packed = bits / 8 + 4 reals,        bytes in float32 = 4 (bits + reals).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LayerSummary:
    """One term of a layer's pre-activation.

    Args:
        name: of the site that the layer drives.
        kind: ``dense``, ``conv`` or ``identity``.
        weight: the site of its weights, or what they are instead.
        shape: of the weights.
        units: how many.
        bits: how many ±1 weights.
        reals: how many real numbers, scales and biases included.
        xnors: products of ±1 weights with ±1 inputs, for one row.
        additions: additions of real inputs by ±1 weights, for one row.
        multiplications: products with real weights, for one row.
        entropy: of a weight, bits; None of real weights.
        divergence: of a weight from its prior, bits; None of real weights.
        certainty: the mean of ``|mu|``; None of real weights.
        spread: the mean standard deviation of real weights, 0 of points; None of ±1 weights and
            of parameters.
    """

    name: str
    kind: str
    weight: str
    shape: tuple[int, ...]
    units: int
    bits: int
    reals: int
    xnors: int
    additions: int
    multiplications: int
    entropy: float | None
    divergence: float | None
    certainty: float | None
    spread: float | None = None


@dataclass(frozen=True)
class Summary:
    """The layers of a network; prints as a table."""

    layers: tuple[LayerSummary, ...]

    @property
    def bits(self) -> int:
        """±1 weights."""
        return sum(layer.bits for layer in self.layers)

    @property
    def reals(self) -> int:
        """Real numbers: real weights, scales, biases."""
        return sum(layer.reals for layer in self.layers)

    @property
    def bytes_packed(self) -> int:
        """One network: a bit a ±1 weight, four bytes a real number."""
        return math.ceil(self.bits / 8) + 4 * self.reals

    @property
    def bytes_float(self) -> int:
        """The same in float32."""
        return 4 * (self.bits + self.reals)

    def mean(self, what: str) -> float:
        """The mean over all ±1 weights of ``entropy``, ``divergence`` or ``certainty``."""
        parts = [(layer.bits, getattr(layer, what)) for layer in self.layers if layer.bits]
        return sum(n * v for n, v in parts) / self.bits if self.bits else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {
            "layers": [asdict(layer) for layer in self.layers],
            "bits": self.bits,
            "reals": self.reals,
            "bytes_packed": self.bytes_packed,
            "bytes_float": self.bytes_float,
            **{what: self.mean(what) for what in ("entropy", "divergence", "certainty")},
        }

    def __str__(self) -> str:
        head = ["layer", "kind", "weights", "shape", "units", "XNOR", "add", "multiply"]
        last = ["spread"] if any(layer.spread is not None for layer in self.layers) else []
        rows = [[*head, "entropy", "KL", "certainty", *last]]
        for layer in self.layers:
            counts = (layer.units, layer.xnors, layer.additions, layer.multiplications)
            shape = " x ".join(map(str, layer.shape)) or "-"
            certain = [layer.entropy, layer.divergence, layer.certainty, layer.spread]
            decided = ["-" if v is None else f"{v:.3f}" for v in certain[: 3 + len(last)]]
            named = [layer.name, layer.kind, layer.weight, shape]
            rows.append([*named, *(f"{n:,}" for n in counts), *decided])
        ratio = self.bytes_float / max(1, self.bytes_packed)
        lines = [
            _table(rows),
            f"{self.bits:,} ±1 weights and {self.reals:,} real numbers: {_size(self.bytes_packed)} "
            f"a network, {_size(self.bytes_float)} in float32, {ratio:.1f} times as much.",
        ]
        if self.bits:
            lines.append(
                f"A ±1 weight has {self.mean('entropy'):.3f} bits of entropy and diverges from its "
                f"prior by {self.mean('divergence'):.3f} bits; the mean |mu| is "
                f"{self.mean('certainty'):.3f}. XNOR, add and multiply are for one row."
            )
        return "\n".join(lines)

    __repr__ = __str__


def _size(number: int) -> str:
    power = min(3, int(math.log10(max(1, number)) // 3))
    return f"{number / 1000**power:.4g} {('bytes', 'kB', 'MB', 'GB')[power]}"


def _table(rows: list[list[str]]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    names = 4  # columns of words stand left, numbers right
    lines = [
        "  ".join(
            cell.ljust(width) if k < names else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
