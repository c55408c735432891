"""The methods that are compared: how each is fitted, and the settings among which it chooses.

A method fits many tasks at once, one after another or side by side: a task is the rows of a split
and a setting.  It returns a prediction for each, of real targets in their own units.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from sklearn.linear_model import LogisticRegression, RidgeCV

import bayes_sbn as sbn
from studies.calibration import binary
from studies.calibration.data import Rows, Scaling
from studies.calibration.floats import Networks, Training
from studies.calibration.tasks import Effort, Options, Predicted, Task

Fit = Callable[[Sequence[Task], Effort], list[Predicted]]


@dataclass(frozen=True)
class Method:
    """A method and its settings.

    Args:
        fit: of tasks of one data set.
        regression: settings to choose among, for real targets; none if it is not for those.
        classification: the same for labels.
        at_once: how many splits it fits at a time.
        together: how many splits choose one setting, by rows that none of them scores.
    """

    fit: Fit
    regression: list[Options] = field(default_factory=lambda: [{}])
    classification: list[Options] = field(default_factory=lambda: [{}])
    at_once: int = 20
    together: int = 1


def deep_ensembles(tasks: Sequence[Task], effort: Effort) -> list[Predicted]:
    """Float networks from several starts; of a real target each has a heteroskedastic head."""
    return _floats(tasks, effort, members=effort.members, outputs=2)


def mc_dropout(tasks: Sequence[Task], effort: Effort) -> list[Predicted]:
    """One float network under many masks; of a real target with one standard deviation."""
    return _floats(tasks, effort, members=1, outputs=1)


def _floats(
    tasks: Sequence[Task], effort: Effort, *, members: int, outputs: int
) -> list[Predicted]:
    """Tasks of as many steps are trained side by side."""
    found: list[Predicted | None] = [None] * len(tasks)
    for share in sorted({task.options["steps"] for task in tasks}):
        places = [n for n, task in enumerate(tasks) if task.options["steps"] == share]
        own = [tasks[n] for n in places]
        scalings = [Scaling.of(task.learn, real=not task.classes) for task in own]
        sets = []
        for task, scaling in zip(own, scalings, strict=True):
            y = task.learn.y if task.classes else scaling.targets(task.learn.y)
            sets += [Rows(scaling.inputs(task.learn.x), y)] * members
        networks = Networks(
            sets,
            own[0].classes or outputs,
            Training(steps=math.ceil(share * effort.steps), batch_size=effort.batch_size),
            decay=[task.options["decay"] for task in own for _ in range(members)],
            dropout=[task.options.get("dropout", 0.0) for task in own for _ in range(members)],
            classes=own[0].classes,
            seed=own[0].seed,
        )
        networks.train()
        inputs = [
            scaling.inputs(task.x)
            for task, scaling in zip(own, scalings, strict=True)
            for _ in range(members)
        ]
        passes = [networks.predict(inputs) for _ in range(effort.draws if members == 1 else 1)]
        first = np.stack([a for a, _ in passes])  # (passes, networks, rows, ...)
        second = None if task.classes else np.stack([b for _, b in passes])
        for number, (place, scaling) in enumerate(zip(places, scalings, strict=True)):
            part = np.s_[:, number * members : (number + 1) * members]
            draws = first[part].reshape(-1, *first.shape[2:])
            if second is None:
                found[place] = sbn.Predictions(draws)
                continue
            pred = sbn.RegressionPredictions(draws, second[part].reshape(draws.shape))
            found[place] = pred.rescaled(scaling.y_deviation, scaling.y_mean)
    return [pred for pred in found if pred is not None]


def ridge(tasks: Sequence[Task], effort: Effort) -> list[Predicted]:
    """Ridge regression; its penalty and its one standard deviation by leave-one-out errors."""
    del effort
    found: list[Predicted] = []
    for task in tasks:
        scaling = Scaling.of(task.learn, real=True)
        model = RidgeCV(alphas=np.logspace(-3, 3, 13), store_cv_results=True)
        model.fit(scaling.inputs(task.learn.x), task.learn.y)
        place = int(np.flatnonzero(model.alphas == model.alpha_)[0])
        sigma = float(np.sqrt(model.cv_results_[:, place].mean()))
        mean = model.predict(scaling.inputs(task.x))
        found.append(sbn.RegressionPredictions(mean[None], sigma))
    return found


def logistic(tasks: Sequence[Task], effort: Effort) -> list[Predicted]:
    """Logistic regression with a squared penalty."""
    del effort
    found: list[Predicted] = []
    for task in tasks:
        scaling = Scaling.of(task.learn, real=False)
        model = LogisticRegression(C=task.options["C"], max_iter=2000)
        model.fit(scaling.inputs(task.learn.x), task.learn.y)
        found.append(sbn.Predictions(model.predict_proba(scaling.inputs(task.x))[None]))
    return found


def grid(**values: list[float]) -> list[Options]:
    """All combinations."""
    return [dict(zip(values, each, strict=True)) for each in product(*values.values())]


def _binary(width: list[float], factor: list[float]) -> list[Options]:
    return grid(layers=[2], width=width, factor=factor, lr=[0.2], real_lr=[0.1])


BINARY, ENSEMBLE, DROPOUT = "binary network", "deep ensemble of 5", "MC dropout"
REAL_FIRST = "binary network, real first layer"
THERMOMETERS = "binary network, thermometers"
BINARIES = (BINARY, THERMOMETERS, REAL_FIRST)
_OF_NUMBERS = [*_binary([100, 200], [1 / 100]), *_binary([200], [1 / 10])]
_OF_LABELS = [*_binary([50, 100], [1 / 100]), *_binary([100], [1 / 10])]
_DEEP = grid(decay=[0.1, 1.0], steps=[0.3, 1.0])
_DROPOUT = grid(dropout=[0.02, 0.1, 0.3], decay=[1.0], steps=[0.3, 1.0])

METHODS: dict[str, Method] = {
    BINARY: Method(binary.binary, _OF_NUMBERS, _OF_LABELS, at_once=5, together=5),
    THERMOMETERS: Method(binary.thermometers, _OF_NUMBERS, _OF_LABELS, at_once=5, together=5),
    REAL_FIRST: Method(binary.real_first, _OF_NUMBERS, _OF_LABELS, at_once=5, together=5),
    ENSEMBLE: Method(deep_ensembles, _DEEP, _DEEP),
    DROPOUT: Method(mc_dropout, _DROPOUT, _DROPOUT),
    "ridge": Method(ridge, classification=[]),
    "logistic regression": Method(logistic, [], grid(C=[0.01, 0.1, 1.0, 10.0, 100.0])),
}
