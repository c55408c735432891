"""What a method is given: rows and a setting; and what it returns."""

from dataclasses import dataclass

import bayes_sbn as sbn
from studies.calibration.data import Array, Rows

Options = dict[str, float]
Predicted = sbn.Predictions | sbn.RegressionPredictions


@dataclass(frozen=True)
class Task:
    """Rows to learn, inputs to predict, a setting and a seed; classes is 0 of a real target."""

    learn: Rows
    x: Array
    classes: int
    options: Options
    seed: int


@dataclass(frozen=True)
class Effort:
    """How long methods train on a data set: the same number of steps for all that make steps.

    Args:
        steps: of the optimiser.
        batch_size: rows of a batch.
        draws: of a posterior, or of masks of dropout.
        members: of a deep ensemble.
    """

    steps: int = 600
    batch_size: int = 128
    draws: int = 100
    members: int = 5
