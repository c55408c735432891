"""All single-entry changes of a ±1 array, one after another: the definition of a flip.

A discrete Jacobian is ``h(entry := +1) - h(entry := -1)``, whatever the entry was.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def forced(array: Array, index: tuple[int, ...], value: float) -> Array:
    """A copy of ``array`` with one entry, counted from the last dimensions, set to ``value``."""
    copy = np.array(array, dtype=np.float64)
    copy[(..., *index)] = value
    return copy


def literal_differences(function: Callable[[Array], Array], signs: Array) -> Array:
    """``function(entry := +1) - function(entry := -1)`` for every entry of a ±1 array.

    The shape is that of ``signs`` followed by the shape of the function's value.  The function
    may be anything: a dense layer, a convolution, a pooled sum, a loss.
    """
    differences = [
        np.asarray(function(forced(signs, index, 1.0)))
        - np.asarray(function(forced(signs, index, -1.0)))
        for index in np.ndindex(*signs.shape)
    ]
    return np.stack(differences).reshape(*signs.shape, *differences[0].shape)


def literal_flip_differences(
    h: Callable[[Array], Array], weight: Array, x: Array, scale: ArrayLike, bias: ArrayLike
) -> tuple[Array, Array]:
    """All single-entry differences of ``h(a_nj)``, ``a_nj = s_j sum_i w_ji x_ni + b_j``.

    Returns:
        ``h(a_nj | x_ni := +1) - h(a_nj | x_ni := -1)`` as (N, J, I), and
        ``h(a_nj | w_ji := +1) - h(a_nj | w_ji := -1)`` as (N, J, I).  ``h`` is elementwise.
    """
    num_data, num_units, num_inputs = len(x), *weight.shape
    s, b = np.broadcast_to(scale, num_units), np.broadcast_to(bias, num_units)
    a = {key: np.empty((num_data, num_units, num_inputs)) for key in ("x+", "x-", "w+", "w-")}
    for n in range(num_data):
        for j in range(num_units):
            for i in range(num_inputs):
                rest = sum(weight[j, k] * x[n, k] for k in range(num_inputs) if k != i)
                a["x+"][n, j, i] = s[j] * (rest + weight[j, i]) + b[j]
                a["x-"][n, j, i] = s[j] * (rest - weight[j, i]) + b[j]
                a["w+"][n, j, i] = s[j] * (rest + x[n, i]) + b[j]
                a["w-"][n, j, i] = s[j] * (rest - x[n, i]) + b[j]
    return h(a["x+"]) - h(a["x-"]), h(a["w+"]) - h(a["w-"])
