"""Rows in parts, at random by a seed: for training, for early stopping, for scores.

Of classes each part has its share of each, as nearly as whole rows allow: the shares are rounded
down and the rows that are missing go to the largest remainders.  No part takes the last row of a
class from the training rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]


def split(
    count: int, share: float, generator: np.random.Generator, labels: Int64 | None = None
) -> tuple[Int64, Int64]:
    """Places of the rows that stay and of those that are held out, each in increasing order.

    Args:
        count: rows to split.
        share: of them to hold out, from 0 to below 1; at least one row if it is above 0.
        generator: of the choice.
        labels: the classes, 0 and up, of which each part has its share; None for a real target.
    """
    number = min(count - 1, max(1, round(share * count))) if share > 0 and count > 1 else 0
    if labels is None:
        held_out = generator.permutation(count)[:number]
    else:
        groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        numbers = _shares(np.array([len(rows) for rows in groups]), number)
        held_out = np.concatenate(
            [generator.permutation(rows)[:n] for rows, n in zip(groups, numbers, strict=True)]
        )
    is_held_out = np.zeros(count, dtype=bool)
    is_held_out[held_out] = True
    return _places(~is_held_out), _places(is_held_out)


def _places(chosen: npt.NDArray[np.bool_]) -> Int64:
    return np.flatnonzero(chosen).astype(np.int64)


def _shares(sizes: Int64, number: int) -> Int64:
    """How many rows of classes of these sizes make that number, in proportion."""
    exact = sizes * number / sizes.sum()
    found: Int64 = np.minimum(np.floor(exact).astype(np.int64), sizes - 1)
    number = min(number, int((sizes - 1).sum()))
    while found.sum() < number:  # once round, unless small classes have no row to spare
        for k in np.argsort(found - exact, kind="stable"):
            if found.sum() < number and found[k] < sizes[k] - 1:
                found[k] += 1
    return found
