"""Posteriors over networks of ±1 weights and activations, by the names of ``bayes_sbn``.

A ``BinaryRegressor`` or ``BinaryMLP`` as it starts by default, a guide, ``sbn.fit`` with the
default estimator, a posterior as plain numbers, an ensemble of draws: what one does with one data
set.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

import bayes_sbn as sbn
from studies.calibration.codes import Code, as_they_are, thermometer
from studies.calibration.data import Array, Scaling
from studies.calibration.tasks import Effort, Predicted, Task

Pair = tuple[Any, Any]
"""A network and its guide."""


class Standardised:
    """What a task learns, in units of its standard deviations, its inputs coded."""

    def __init__(self, task: Task, code: Code = as_they_are) -> None:
        self.scaling = Scaling.of(task.learn, real=not task.classes)
        self.code = code(self.scaling.inputs(task.learn.x))
        self.x = torch.tensor(self.inputs(task.learn.x), dtype=torch.float32)
        self.y = torch.tensor(task.learn.y)
        if not task.classes:
            targets = self.scaling.targets(task.learn.y)
            self.y = torch.tensor(targets, dtype=torch.float32)

    def inputs(self, x: Array) -> Array:
        """Inputs as the network gets them."""
        return self.code(self.scaling.inputs(x))


def network(task: Task, inputs: int, *, real: tuple[str, ...] = ()) -> Pair:
    """A network as it starts: the package's defaults, of the widths that the setting says."""
    torch.manual_seed(task.seed)
    hidden = [int(task.options["width"])] * int(task.options["layers"])
    options: dict[str, Any] = {"num_data": len(task.learn), "real": real}
    if task.classes:
        model: Any = sbn.models.BinaryMLP(inputs, hidden, task.classes, **options)
    else:
        model = sbn.models.BinaryRegressor(inputs, hidden, **options)
    guide = (sbn.guides.AutoHybrid if real else sbn.guides.AutoSignBernoulli)(model)
    return model, guide


def settings(task: Task, pair: Pair, data: Standardised, effort: Effort) -> dict[str, Any]:
    """The arguments of a fit: a share of the rule's temperature, step sizes, epochs."""
    rule = sbn.temperature_rule(*pair, data.x[:1], data.y[:1])
    rows = len(task.learn)
    rates = {"lr": task.options["lr"], "real": ("Adam", {"lr": task.options["real_lr"]})}
    return {
        "temperature": min(1.0, task.options["factor"] * rule),
        "optim": sbn.optim.MirrorDescent(rates),
        "epochs": math.ceil(effort.steps / math.ceil(rows / min(effort.batch_size, rows))),
        "progress": False,
    }


def predicted(
    task: Task, pair: Pair, data: Standardised, effort: Effort, temperature: float
) -> Predicted:
    """What an ensemble of draws says of the rows of a task, in the units of the target."""
    x = data.inputs(task.x)
    reach = 1.01 * float(max(np.abs(x).max(), data.x.abs().max()))  # of the 16-bit grid alone
    posterior = sbn.Posterior.from_guide(*pair, temperature=temperature, input_range=reach)
    pred = posterior.draw(effort.draws, seed=task.seed).predict(x, progress=False)
    if task.classes:
        return pred
    return pred.rescaled(data.scaling.y_deviation, data.scaling.y_mean)


def binary(tasks: Sequence[Task], effort: Effort) -> list[Predicted]:
    """Fully binary networks, one after another."""
    return [alone(task, effort) for task in tasks]


def thermometers(tasks: Sequence[Task], effort: Effort) -> list[Predicted]:
    """Fully binary networks whose inputs are thermometers of 16 levels, one after another."""
    return [alone(task, effort, code=thermometer(16)) for task in tasks]


def real_first(tasks: Sequence[Task], effort: Effort) -> list[Predicted]:
    """Networks whose first layer has real weights, one after another."""
    return [alone(task, effort, real=("first",)) for task in tasks]


def alone(
    task: Task, effort: Effort, *, real: tuple[str, ...] = (), code: Code = as_they_are
) -> Predicted:
    """One network, by ``sbn.fit``."""
    data = Standardised(task, code)
    pair = network(task, data.x.shape[1], real=real)
    fit = sbn.fit(
        *pair,
        (data.x, data.y),
        batch_size=min(effort.batch_size, len(data.x)),
        **settings(task, pair, data, effort),
    )
    return predicted(task, pair, data, effort, fit.temperature)
