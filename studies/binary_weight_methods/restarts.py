r"""The equal-weight mixture of several fits of ours: what a deep ensemble is to one network.

With R restarts, each with a start, orders of batches, draws, scales and biases of its own,

    p(y | x) = 1/R sum_r 1/S sum_s p(y | x, W_rs, scales_r, biases_r),    W_rs ~ q_r,

and R S = 32, so that it predicts by as many networks as the ensemble of one fit.  The entropy of
its weights lies between the mean of the components' and that plus log R, which is nothing for
thousands of weights; the mean is told.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from studies.binary_weight_methods.data import Problem
from studies.binary_weight_methods.ours import DRAWS, Found, relu, sign
from studies.binary_weight_methods.predictions import pooled

COMPONENTS = {"relu": (4, 8), "sign": (4,)}
"""Of the mixtures, by activation: the first components of the largest make the smaller ones.

With ±1 activations, one fit after another takes at least five times as long as side by side.
"""

SEEDS_APART = 100
"""A restart's seeds from the next one's: more than there are splits."""


def repeated(problem: Problem, restarts: int) -> Problem:
    """Each split as often as it is fitted, one after another, each with a seed of its own."""
    return replace(
        problem,
        seeds=tuple(own + SEEDS_APART * r for own in problem.seeds for r in range(restarts)),
        splits=tuple(split for split in problem.splits for _ in range(restarts)),
    )


def mixtures(
    problem: Problem, activation: str, options: dict[str, Any], seed: int
) -> tuple[Found, list[float]]:
    """Predictions for each split by each mixture, and mean bits of a component's weights.

    No component is the fit that chose the setting: seeds start where that one's end.
    """
    numbers = COMPONENTS[activation]
    most = max(numbers)
    fit: Callable[..., tuple[Found, list[float]]] = {"relu": relu, "sign": sign}[activation]
    sizes = tuple(DRAWS // number for number in numbers)
    each, bits = fit(repeated(problem, most), options, seed + SEEDS_APART, sizes)
    found: Found = {}
    for number, size in zip(numbers, sizes, strict=True):
        own = each[f"ensemble of {size}"]
        found[f"mixture of {number}"] = [
            pooled(own[start : start + number]) for start in range(0, len(own), most)
        ]
    return found, np.reshape(bits, (-1, most)).mean(1).tolist()
