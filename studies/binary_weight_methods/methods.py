"""What is compared: how each method is fitted, and the settings among which it chooses.

All train for the same epochs on the same batches' sizes with step sizes that fall as a cosine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from studies.binary_weight_methods import ours, restarts, rivals
from studies.binary_weight_methods.data import Problem
from studies.binary_weight_methods.predictions import Pair, pooled, predicted

Options = dict[str, float]
Found = dict[str, list[Pair]]
"""Predictions for each split, by predictor."""


@dataclass(frozen=True)
class Method:
    """A method and its grid.

    Args:
        fit: of problem, activation, options and seed: predictions, and bits a weight of each split.
        grid: the settings, by activation.
        chosen_by: the predictor whose validation NLL chooses.
        settings_of: the method whose chosen settings it takes, having no grid of its own.
    """

    fit: Callable[[Problem, str, Options, int], tuple[Found, list[float] | None]]
    grid: dict[str, list[Options]] = field(default_factory=dict)
    chosen_by: str = ""
    settings_of: str | None = None


def _single(rule: str) -> Callable[..., tuple[Found, None]]:
    def fit(problem: Problem, activation: str, options: Options, seed: int) -> tuple[Found, None]:
        kept, head = rivals.train(problem, activation, rule, options, 1, seed)
        return {"network": predicted(problem, kept.final(), head)}, None

    return fit


def _deep_ensembles(
    problem: Problem, activation: str, options: Options, seed: int
) -> tuple[Found, None]:
    """The first 4, and all, of 8 networks by STE-Adam."""
    most = max(MEMBERS)
    kept, head = rivals.train(problem, activation, STE, options, most, seed)
    each = predicted(problem, kept.final(), head)
    own = [each[start : start + most] for start in range(0, len(each), most)]
    return {f"ensemble of {n}": [pooled(members[:n]) for members in own] for n in MEMBERS}, None


def _ours(problem: Problem, activation: str, options: Options, seed: int) -> Any:
    return {"relu": ours.relu, "sign": ours.sign}[activation](problem, options, seed)


def _grid(**values: list[float]) -> list[Options]:
    return [dict(zip(values, each, strict=True)) for each in product(*values.values())]


def _both(grid: list[Options]) -> dict[str, list[Options]]:
    return {"relu": grid, "sign": grid}


MEMBERS = (4, 8)
DEEP = "deep ensemble"
OURS = "ours"
RESTARTS = "ours, restarts"
STE = "ste-adam"

SHARES = [0.1, 0.5]
"""Of the epochs of a data set: the shorter training is an early stop."""

METHODS = {
    OURS: Method(
        _ours,
        {
            "relu": [
                *_grid(spread=[1.5], lr=[0.3], cold=[10, 100], epochs=[0.1]),
                *_grid(spread=[1.5], lr=[0.15], cold=[1, 3, 30], epochs=[0.1]),
                *_grid(spread=[1.5], lr=[0.15], cold=[3, 30, 100], epochs=[0.5]),
                *_grid(spread=[1.5], lr=[0.05], cold=[3, 30], epochs=[0.5]),
            ],
            "sign": _grid(spread=[1.5], lr=[0.05], cold=[100], epochs=[0.5]),
        },
        f"ensemble of {ours.DRAWS}",
    ),
    RESTARTS: Method(restarts.mixtures, settings_of=OURS),
    "bayesbinn": Method(
        _single("bayesbinn"),
        _both(
            [
                *_grid(tau=[1e-10], lr=[1e-3, 1e-2], epochs=SHARES),
                *_grid(tau=[1e-10], lr=[1e-4], epochs=[0.5]),
                *_grid(tau=[1.0], lr=[1e-2], epochs=[0.5]),
            ]
        ),
        "network",
    ),
    "bop": Method(
        _single("bop"),
        _both(_grid(threshold=[1e-5, 1e-4], gamma=[1e-3, 1e-2], epochs=SHARES)),
        "network",
    ),
    STE: Method(_single(STE), _both(_grid(lr=[1e-3, 3e-3, 1e-2], epochs=SHARES)), "network"),
    DEEP: Method(_deep_ensembles, settings_of=STE),
    "full precision": Method(
        _single("full precision"),
        _both(_grid(lr=[1e-3, 1e-2], decay=[0.0, 0.3], epochs=SHARES)),
        "network",
    ),
}
"""Restarts of ours and deep ensembles, of several trainings, have the settings chosen for one."""
