"""Rows dealt into folds: at random, and with labels so that each fold has its share of every class.

Rows are shuffled, sorted by label where there are labels, and dealt one after the other to the
folds in turn.  Sizes of folds, and the numbers of a class in them, differ by one at most.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import to_numpy

Int64 = npt.NDArray[np.int64]


def assign_folds(
    call: str,
    y: npt.NDArray[np.generic],
    k: int,
    seed: int,
    stratify: bool | npt.ArrayLike | None,
) -> Int64:
    """The fold of each row, (rows,), 0 to k - 1.

    Args:
        call: the call to name in errors.
        y: targets, one a row.
        k: number of folds.
        seed: of NumPy's generator.
        stratify: labels that each fold has its share of; True for those of y, False for none, None
            for those of y where they are integers.
    """
    rows = len(y)
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 2 <= k <= rows:
        raise ValueError(
            f"{call}: k={k!r} folds of {rows} rows; k is an integer from 2 to the number of rows. "
            f"Write k=5, or k={rows} to leave out one row at a time."
        )
    order = np.random.default_rng(seed).permutation(rows)
    labels = _labels(call, y, stratify)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    folds = np.empty(rows, np.int64)
    folds[order] = np.arange(rows) % k
    return folds


def _labels(
    call: str, y: npt.NDArray[np.generic], stratify: bool | npt.ArrayLike | None
) -> npt.NDArray[np.generic] | None:
    if stratify is False or (stratify is None and y.dtype.kind not in "iub"):
        return None
    if stratify is None:
        return y
    if stratify is True:
        if y.dtype.kind == "f" and not np.array_equal(y, np.floor(y)):
            raise ValueError(
                f"{call}: stratify=True with real targets, which have no classes. Leave it out, or "
                "pass labels of your own, as in stratify=y > y.median()."
            )
        return y
    labels = to_numpy(stratify)
    if labels.shape != y.shape:
        raise ValueError(
            f"{call}: stratify has shape {labels.shape}; labels are one a row, of shape {y.shape}."
        )
    return labels
