"""The CORP parts of the Brier score on many resamples of the rows, every class sorted only once.

On a resample an event counts as often as its row was drawn, so that isotonic regression takes
these numbers as the weights of the sorted probabilities: see :mod:`bayes_sbn.metrics.corp`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.events import events

Array = npt.NDArray[np.float64]


class ClassesInOrder:
    """The events of every class, sorted by their probability.

    Args:
        probs: class probabilities (rows, classes).
        labels: labels (rows,).
    """

    def __init__(self, probs: Array, labels: npt.NDArray[np.int64]) -> None:
        probability, outcome = events(probs, labels, "classwise")
        self._sorted = [np.unique(p, return_inverse=True) for p in probability]
        self._outcome = outcome

    def parts(self, times: Array) -> Array:
        """Miscalibration, discrimination and uncertainty, summed over the classes; (3,).

        Args:
            times: how often each row counts, (rows,).
        """
        total = np.zeros(3)
        for (values, place), outcome in zip(self._sorted, self._outcome, strict=True):
            count = np.asarray(np.bincount(place, times, len(values)), dtype=np.float64)
            hits = np.asarray(np.bincount(place, times * outcome, len(values)), dtype=np.float64)
            there = count > 0
            total += _sums(values[there], hits[there], count[there])
        return np.asarray(total / times.sum())


def _sums(values: Array, hits: Array, count: Array) -> Array:
    from scipy.optimize import isotonic_regression

    before = _squares(values, hits, count)
    after = _squares(isotonic_regression(hits / count, weights=count).x, hits, count)
    constant = _squares(hits.sum() / count.sum(), hits, count)
    return np.array([before - after, constant - after, constant])


def _squares(p: Array | float, hits: Array, count: Array) -> float:
    return float(np.sum(hits * (1 - p) ** 2 + (count - hits) * p**2))
