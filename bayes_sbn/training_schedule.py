r"""Factors of the step sizes by epoch.

With f the fraction of the epochs that is done, from 0:

    constant  1,      linear  1 - f,      cosine  (1 + cos(pi f)) / 2,

or any function of f.  Step sizes that fall to 0 let the noise of the draws average out.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[float], float]
"""From the fraction done, in [0, 1), to the factor of all step sizes."""

SCHEDULES: dict[str, Schedule] = {
    "constant": lambda _: 1.0,
    "linear": lambda fraction: 1.0 - fraction,
    "cosine": lambda fraction: 0.5 * (1 + math.cos(math.pi * fraction)),
}


def get_schedule(schedule: str | Schedule) -> Schedule:
    """The schedule of that name, or the function itself."""
    if callable(schedule):
        return schedule
    if schedule not in SCHEDULES:
        raise ValueError(
            f"fit(schedule={schedule!r}): it is one of {', '.join(sorted(SCHEDULES))}, or a "
            "function from the fraction of epochs done to the factor of the step sizes, such as "
            "lambda fraction: 0.1 ** fraction."
        )
    return SCHEDULES[schedule]


def factor_of(schedule: Schedule, epoch: int, epochs: int) -> float:
    """The factor during an epoch, counted from 0."""
    factor = float(schedule(epoch / epochs))
    if not (math.isfinite(factor) and factor >= 0):
        raise ValueError(
            f"fit(schedule=...): it gave {factor} at the fraction {epoch / epochs:.3f}; a factor "
            "of step sizes is a finite number of at least 0."
        )
    return factor
