r"""Dots ``sum_k w_jk x_nk`` of integers by matrix products in which no rounding takes place.

By float32 where every partial sum is an integer below :math:`2^{24}`, else by float64 (below
:math:`2^{53}`), else by 64-bit integers.  The order of summation, and with it the library, the
blocks and the threads, cannot matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_sbn.kernels.reference.inputs import Inputs
from bayes_sbn.kernels.reference.real_weights import Int16

_FLOAT32_IS_EXACT_BELOW = 1 << 24
_FLOAT64_IS_EXACT_BELOW = 1 << 53

Signs = NDArray[np.float32]
Dots = NDArray[Any]  # float32, float64 or int64, whichever is narrow and exact


def exact_dots(x: Signs | Inputs, weights: Signs | Int16) -> Dots:
    """``x @ w`` for each draw, by the narrowest type in which it is exact."""
    kinds: list[type] = [np.float32, np.float64, np.int64]
    bound = _largest_sum(x) * _largest(weights)
    kind = kinds[(bound >= _FLOAT32_IS_EXACT_BELOW) + (bound >= _FLOAT64_IS_EXACT_BELOW)]
    w: Dots = weights.astype(kind, copy=False)
    dots: Dots = np.matmul(x.astype(kind, copy=False), w.swapaxes(1, 2))
    return dots


def _largest_sum(x: Signs | Inputs) -> int:
    """The largest sum of magnitudes of a row."""
    if x.dtype == np.float32:
        return int(x.shape[-1])
    return int(np.abs(x.astype(np.int64)).sum(axis=-1).max(initial=0))


def _largest(weights: Signs | Int16) -> int:
    """The largest magnitude of weights."""
    if weights.dtype == np.float32:
        return 1
    return max(int(weights.max(initial=0)), -int(weights.min(initial=0)))
