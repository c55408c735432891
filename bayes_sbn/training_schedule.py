r"""Factors by epoch: of the step sizes, and of the temperature.

With f the fraction of the epochs that is done, from 0, step sizes follow

    constant  1,      linear  1 - f,      cosine  (1 + cos(pi f)) / 2,

the temperature

    constant  1,      warm_up  min(1, 2 f),      cooling  max(1, 10^(1 - 2 f)),

or any function of f.  Step sizes that fall to 0 let the noise of the draws average out.  They can
also follow the validation NLL (:class:`Plateau`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Schedule = Callable[[float], float]
"""From the fraction done, in [0, 1), to a factor."""

SCHEDULES: dict[str, Schedule] = {
    "constant": lambda _: 1.0,
    "linear": lambda fraction: 1.0 - fraction,
    "cosine": lambda fraction: 0.5 * (1 + math.cos(math.pi * fraction)),
}
"""Of step sizes."""

ANNEALINGS: dict[str, Schedule] = {
    "constant": lambda _: 1.0,
    "warm_up": lambda fraction: min(1.0, 2 * fraction),
    "cooling": lambda fraction: max(1.0, 10.0 ** (1 - 2 * fraction)),
}
"""Of the temperature."""


@dataclass(frozen=True)
class Plateau:
    """Step sizes fall where the validation NLL does: a schedule of :func:`bayes_sbn.fit`.

    All step sizes are multiplied by ``factor`` each time ``patience`` epochs have passed without a
    new smallest validation NLL.

    Args:
        factor: between 0 and 1.
        patience: epochs to wait.

    Example:
        >>> import bayes_sbn as sbn
        >>> schedule = sbn.Plateau(factor=0.5, patience=2)
        >>> [schedule.rate(losses) for losses in ([], [3, 2], [3, 2, 2], [3, 2, 2, 2.5])]
        [1.0, 1.0, 1.0, 0.5]
    """

    factor: float = 0.5
    patience: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.factor < 1:
            raise ValueError(
                f"Plateau(factor={self.factor}): what step sizes are multiplied by lies between 0 "
                "and 1."
            )
        if not isinstance(self.patience, int) or self.patience < 1:
            raise ValueError(
                f"Plateau(patience={self.patience!r}): it is a number of epochs, at least 1."
            )

    def rate(self, losses: Sequence[float]) -> float:
        """The factor of the step sizes after epochs with these validation NLL."""
        least, waited, rate = math.inf, 0, 1.0
        for loss in losses:
            if loss < least:
                least, waited = loss, 0
                continue
            waited += 1
            if waited == self.patience:
                rate, waited = rate * self.factor, 0
        return rate


def get_schedule(schedule: str | Schedule | Plateau) -> Schedule | Plateau:
    """The schedule of step sizes of that name, or the schedule itself."""
    if isinstance(schedule, Plateau) or callable(schedule):
        return schedule
    if schedule == "plateau":
        return Plateau()
    if schedule not in SCHEDULES:
        raise ValueError(
            f"fit(schedule={schedule!r}): it is one of {', '.join(sorted(SCHEDULES))}, plateau, a "
            "sbn.Plateau, or a function from the fraction of epochs done to the factor of the step "
            "sizes, such as lambda fraction: 0.1 ** fraction."
        )
    return SCHEDULES[schedule]


def get_annealing(annealing: str | Schedule) -> Schedule:
    """The course of the temperature of that name, or the function itself."""
    if callable(annealing):
        return annealing
    if annealing not in ANNEALINGS:
        raise ValueError(
            f"fit(annealing={annealing!r}): it is one of {', '.join(sorted(ANNEALINGS))}, or a "
            "function from the fraction of epochs done to the factor of the temperature, such as "
            "lambda fraction: 10 ** (1 - fraction)."
        )
    return ANNEALINGS[annealing]


def factor_of(schedule: Schedule, epoch: int, epochs: int, *, of: str = "schedule") -> float:
    """The factor during an epoch, counted from 0."""
    factor = float(schedule(epoch / epochs))
    if not (math.isfinite(factor) and factor >= 0):
        what = "step sizes" if of == "schedule" else "the temperature"
        raise ValueError(
            f"fit({of}=...): it gave {factor} at the fraction {epoch / epochs:.3f}; a factor "
            f"of {what} is a finite number of at least 0."
        )
    return factor


def described_schedule(schedule: str | Schedule | Plateau) -> str:
    """For telling one fit from another."""
    if isinstance(schedule, str):
        return schedule
    return repr(schedule) if isinstance(schedule, Plateau) else "a function"
