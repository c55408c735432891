"""Codes of the inputs, which give ±1 weights more to choose from.

A ±1 weight counts every input alike.  An input that stands k times has k of them, whose sum is one
of -k, -k + 2, ..., k.  A thermometer of k levels is k inputs of ±1, each of which says whether the
input is above one of its quantiles: sums of them are steps.
"""

from collections.abc import Callable

import numpy as np

from studies.calibration.data import Array

Code = Callable[[Array], Callable[[Array], Array]]
"""From the inputs that are learned, a function of inputs; both are in units of deviations."""


def as_they_are(learned: Array) -> Callable[[Array], Array]:
    """No code."""
    del learned
    return lambda x: x


def repeated(copies: int) -> Code:
    """Every input so many times."""

    def code(learned: Array) -> Callable[[Array], Array]:
        del learned
        return lambda x: np.tile(x, (1, copies))

    return code


def thermometer(levels: int) -> Code:
    """Of every input, whether it is above each of its quantiles; equal ones count once."""

    def code(learned: Array) -> Callable[[Array], Array]:
        places = (np.arange(levels) + 0.5) / levels
        cuts = [np.unique(np.quantile(column, places)) for column in learned.T]

        def coded(x: Array) -> Array:
            above = [x[:, [k]] > cut for k, cut in enumerate(cuts)]
            return np.where(np.concatenate(above, 1), 1.0, -1.0)

        return coded

    return code
