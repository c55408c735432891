"""The parts of a binary layer: packed products, and packed weights drawn from probabilities.

Definition in ``bayes_sbn.kernels.reference.layers``.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bayes_sbn.bits import PackedBits, num_words
from bayes_sbn.kernels.native import layers as native
from bayes_sbn.kernels.native.ensemble import HOT_PLANES, LANES, PlanesOfBlocks
from bayes_sbn.kernels.operators import register
from bayes_sbn.kernels.reference import layers as reference
from bayes_sbn.kernels.reference.sampling import (
    PLANES,
    UInt32,
    probability_thresholds,
    threshold_planes,
)
from bayes_sbn.philox import fold_stream

_LARGEST_LENGTH = 2**31 - 1
_LARGEST_SITE = 0xFFFF


def xnor_linear(x: PackedBits, w: PackedBits) -> Tensor:
    """Inner products of ±1 rows with ±1 weights, by XNOR and popcount.

    Args:
        x: rows of K values, shape ``(..., K)``.
        w: weights of the units, shape ``(units, K)``.

    Returns:
        int32, shape ``(..., units)``.

    Raises:
        ValueError: rows and weights are not of one length, or weights are no matrix.

    Example:
        >>> from bayes_sbn.kernels import pack, xnor_linear
        >>> x = torch.tensor([[1.0, -1.0, 1.0]])
        >>> xnor_linear(pack(x), pack(torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])))
        tensor([[1, 3]], dtype=torch.int32)
    """
    if x.length != w.length:
        raise ValueError(
            f"xnor_linear(x, w): rows have {x.length} values and weights {w.length}. Give both "
            "with the same last dimension."
        )
    if w.data.ndim != 2:
        raise ValueError(
            f"xnor_linear(x, w): the weights have shape {tuple(w.shape)}; they are a matrix "
            "(units, inputs). Write one call for each draw of an ensemble."
        )
    if x.length > _LARGEST_LENGTH:
        raise ValueError(f"xnor_linear(x, w): rows have {x.length} values; products have 32 bits.")
    dots: Tensor = torch.ops.bayes_sbn.xnor_linear.default(x.data, w.data, x.length)
    return dots


@dataclass(frozen=True, eq=False)
class PackedProbabilities:
    """Probabilities of ±1 weights as bit planes, to draw weights from; made by :meth:`pack`.

    Args:
        hot: int32 planes of the leading bits, (blocks of 16 units, words, 9, 16).
        cold: int32 planes of the others, (blocks, words, 16, 24).
        units: number of output units.
        inputs: number of inputs.
    """

    hot: Tensor
    cold: Tensor
    units: int
    inputs: int

    @classmethod
    def pack(cls, p: Tensor) -> PackedProbabilities:
        """Planes of ``P(w = +1)``, rounded to multiples of ``2**-32``; 0 and 1 are exact.

        Args:
            p: shape (units, inputs).

        Raises:
            ValueError: they are no matrix of probabilities.
        """
        values = p.detach().to("cpu", torch.float64).numpy()
        if values.ndim != 2 or not values.size:
            raise ValueError(
                f"PackedProbabilities.pack(p): received shape {tuple(p.shape)}; it is (units, "
                "inputs), of at least one of each."
            )
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(
                "PackedProbabilities.pack(p): probabilities P(w = +1) lie in [0, 1]. A mean mu of "
                "±1 weights is (1 + mu) / 2."
            )
        planes = PlanesOfBlocks.of_planes(threshold_planes(probability_thresholds(values)))
        return cls(_tensor(planes.hot), _tensor(planes.cold), *values.shape)

    def __post_init__(self) -> None:
        blocks, words = -(-self.units // LANES), num_words(self.inputs)
        shapes = {
            "hot": (blocks, words, HOT_PLANES, LANES),
            "cold": (blocks, words, LANES, PLANES + 1 - HOT_PLANES),
        }
        for name, shape in shapes.items():
            tensor = getattr(self, name)
            if tensor.dtype != torch.int32 or tuple(tensor.shape) != shape:
                raise ValueError(
                    f"PackedProbabilities({name}): received {tensor.dtype} of shape "
                    f"{tuple(tensor.shape)}; they are torch.int32 of shape {shape}. Make them by "
                    "PackedProbabilities.pack(p)."
                )

    def draw(
        self, draws: int | Sequence[int], *, seed: int = 0, stream: int = 0, site: int = 0
    ) -> PackedBits:
        """Packed ±1 weights, functions of (seed, stream, draw, site, unit) alone.

        Args:
            draws: how many, from draw 0 on; or the indices of the draws, in ``[0, 2**32)``.
            seed: an integer in ``[0, 2**64)``.
            stream: an integer in ``[0, 2**64)``.
            site: index of the layer, 0 to 65535.

        Returns:
            Bits of shape (draws, units, inputs).

        Raises:
            ValueError: a number is not allowed.
        """
        indices = list(range(draws)) if isinstance(draws, int) else [*map(operator.index, draws)]
        are_indices = all(0 <= index < 1 << 32 for index in indices)
        is_number = not isinstance(draws, int) or draws >= 0
        if not (are_indices and is_number and 0 <= site <= _LARGEST_SITE):
            raise ValueError(
                f"PackedProbabilities.draw({draws}, site={site}): a number of draws is not "
                f"negative, indices of draws lie in [0, 2**32) and a site in [0, {_LARGEST_SITE}]. "
                "Write draw(10), or draw([0, 3])."
            )
        key = fold_stream(seed, stream)
        words: Tensor = torch.ops.bayes_sbn.draw_weights.default(
            self.hot, self.cold, self.units, self.inputs, indices, site, *key
        )
        return PackedBits(words, self.inputs)


def _tensor(words: UInt32) -> Tensor:
    return torch.from_numpy(words.view(np.int32))


def _fake_xnor_linear(rows: Tensor, weights: Tensor, length: int) -> Tensor:  # noqa: ARG001
    return rows.new_empty((*rows.shape[:-1], weights.shape[0]), dtype=torch.int32)


def _fake_draw_weights(
    hot: Tensor,
    cold: Tensor,  # noqa: ARG001 - the operator's schema
    units: int,
    inputs: int,
    draws: list[int],
    *_: int,
) -> Tensor:
    return hot.new_empty((len(draws), units, (inputs + 31) // 32), dtype=torch.int32)


register(
    "xnor_linear(Tensor rows, Tensor weights, SymInt length) -> Tensor",
    native=native.xnor_linear,
    reference=reference.xnor_linear,
    fake=_fake_xnor_linear,
)
register(
    "draw_weights(Tensor hot, Tensor cold, SymInt units, SymInt inputs, SymInt[] draws, "
    "SymInt site, SymInt key0, SymInt key1) -> Tensor",
    native=native.draw_weights,
    reference=reference.draw_weights,
    fake=_fake_draw_weights,
)
