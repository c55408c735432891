"""A calibrated ensemble written out in Python's integers, fractions and floats, by definition."""

import math
from fractions import Fraction

import numpy as np

from bayes_sbn.posterior import Posterior
from tests.kernels.reference import draw_oracle as oracle

Key = tuple[int, int]


def row_noise(
    key: Key, draw: int, site: int, unit: int, row: int, purposes: tuple[int, int]
) -> int:
    """The uniform of one row's activation under the given purposes."""
    o = row % 32
    words = oracle.philox(
        (4 * (row // 32) + (o >> 1 & 3), unit, draw, site << 16 | purposes[0] << 8), key
    )
    u16 = words[o >> 3] >> (16 * (o & 1)) & 0xFFFF
    low = oracle.philox((row, unit, draw, site << 16 | purposes[1] << 8), key)[0]
    return u16 * 2**32 + low


class CalibratedNetwork:
    """One draw of a posterior, with the statistics that it measures on calibration rows.

    Args:
        posterior: some of whose layers are recalibrated.
        key: of seed and stream.
        draw: the index of the draw.
        rows: calibration rows in steps of the inputs, integers.
    """

    def __init__(self, posterior: Posterior, key: Key, draw: int, rows: np.ndarray) -> None:
        self.posterior, self.key, self.draw = posterior, key, draw
        self.weights = [
            [
                [
                    1 if oracle.weight_u32(key, draw, la.site, j, k) < round(p * 2**32) else -1
                    for k, p in enumerate(unit)
                ]
                for j, unit in enumerate(la.probabilities.tolist())
            ]
            for la in posterior.layers
        ]
        self.units: list[list[tuple[float, float]]] = []
        self.statistics: list[list[tuple[Fraction, Fraction]]] = []
        calibrating = (5, 6)
        for index, layer in enumerate(posterior.layers):
            own = list(zip(layer.scale.tolist(), layer.bias.tolist(), strict=True))
            if layer.normalisation_eps is None:
                self.units.append(own)
                self.statistics.append([])
                continue
            dots = [self.dots(x, n, index, calibrating) for n, x in enumerate(rows.tolist())]
            measured, found = [], []
            step = posterior.input_scale if index == 0 else 1.0
            for j, (gain, shift) in enumerate(own):
                mean = Fraction(sum(d[j] for d in dots), len(dots))
                variance = sum((d[j] - mean) ** 2 for d in dots) / len(dots)
                found.append((mean, variance))
                spread = float(variance) * (step * step) + layer.normalisation_eps
                scale = gain / math.sqrt(spread)
                measured.append((scale, shift - scale * (float(mean) * step)))
            self.units.append(measured)
            self.statistics.append(found)

    def dots(
        self, x: list[int], row: int, until: int, purposes: tuple[int, int] | None
    ) -> list[int]:
        """The integer dots of a layer for one row; without purposes by the noise of all rows."""
        for index, layer in enumerate(self.posterior.layers):
            dots = [sum(w * v for w, v in zip(u, x, strict=True)) for u in self.weights[index]]
            if index == until:
                return dots
            x = []
            for j, dot in enumerate(dots):
                scale, bias = self.units[index][j]
                a = (scale * self.posterior.input_scale if index == 0 else scale) * dot + bias
                if purposes is None:
                    u = oracle.shared_u48(self.key, self.draw, layer.site, j)
                else:
                    u = row_noise(self.key, self.draw, layer.site, j, row, purposes)
                x.append(1 if u < oracle.threshold48(layer.noise, a, layer.noise_scale) else -1)
        raise AssertionError("there is no such layer")

    def logits(self, x: list[int], row: int, noise: str) -> list[int]:
        """The integer logits of a row."""
        last = len(self.posterior.layers) - 1
        return self.dots(x, row, last, None if noise == "shared" else (1, 2))
