"""The three data sets, and ten splits of each into rows to learn, to choose by and to score.

Digits and breast cancer: five folds, stratified, are the test rows of seeds 0 to 4 and again of
seeds 5 to 9, so that every row is scored twice; a seed splits the other rows 3 to 1 into training
and validation rows.  That is 60/20/20.  Two moons (noise 0.25): each seed draws 200 training, 200
validation and 1000 test rows.  Inputs are standardised by the training rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, make_moons
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit
from torch import Tensor

FOLDS = 5
SEEDS = tuple(range(10))
MOONS = {"train": 200, "validation": 200, "test": 1000}


@dataclass(frozen=True)
class Rows:
    """Inputs, (rows, inputs), and integer labels, (rows,)."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Split:
    """What one seed learns, chooses by and is scored on."""

    train: Rows
    validation: Rows
    test: Rows


@dataclass(frozen=True)
class Problem:
    """The splits of some seeds, and how long they are learned.

    Args:
        name: of the data set.
        classes: number of them.
        epochs: passes over the training rows, the same for every method.
        batch_size: rows of a batch.
        seeds: of the splits.
        splits: one a seed.
    """

    name: str
    classes: int
    epochs: int
    batch_size: int
    seeds: tuple[int, ...]
    splits: tuple[Split, ...]

    @property
    def num_rows(self) -> int:
        """Training rows; where folds differ by one, the smaller number is learned."""
        return min(len(split.train.y) for split in self.splits)

    @property
    def inputs(self) -> int:
        """Number of them."""
        return self.splits[0].train.x.shape[1]


def indices(labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The rows of a seed, by what they are for."""
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    kept, test = list(folds.split(labels, labels))[seed % FOLDS]
    split = StratifiedShuffleSplit(1, test_size=0.25, random_state=seed)
    ((train, validation),) = split.split(kept, labels[kept])
    return {"train": kept[train], "validation": kept[validation], "test": test}


def _split(x: np.ndarray, y: np.ndarray, rows: dict[str, np.ndarray]) -> Split:
    mean, deviation = x[rows["train"]].mean(0), x[rows["train"]].std(0)
    x = (x - mean) / np.where(deviation > 0, deviation, 1.0)
    parts = {
        name: Rows(torch.tensor(x[chosen], dtype=torch.float32), torch.tensor(y[chosen]))
        for name, chosen in rows.items()
    }
    return Split(**parts)


def _moons(seed: int) -> Split:
    x, y = make_moons(sum(MOONS.values()), noise=0.25, random_state=seed)
    ends = np.cumsum(list(MOONS.values()))[:-1]
    return _split(x, y, dict(zip(MOONS, np.split(np.arange(len(y)), ends), strict=True)))


def load(name: str, seeds: Sequence[int] = SEEDS) -> Problem:
    """A data set by its name, split for some seeds."""
    seeds = tuple(seeds)
    if name == "moons":
        return Problem(name, 2, 400, 50, seeds, tuple(_moons(seed) for seed in seeds))
    loader, classes, batch_size = {
        "digits": (load_digits, 10, 50),
        "cancer": (load_breast_cancer, 2, 32),
    }[name]
    x, y = loader(return_X_y=True)
    splits = tuple(_split(x, y, indices(y, seed)) for seed in seeds)
    return Problem(name, classes, 150, batch_size, seeds, splits)


class Batches:
    """Mini-batches for many networks side by side, each with an order of its own.

    An epoch has every training row of a network once, but those that do not fill the last batch.

    Args:
        problem: its splits, of which network m has number ``m // members``.
        members: networks of a seed.
        generator: of the orders.
    """

    def __init__(self, problem: Problem, members: int, generator: torch.Generator) -> None:
        trains = [split.train for split in problem.splits]
        self.num_rows = problem.num_rows
        self.x = torch.stack([rows.x[: self.num_rows] for rows in trains])
        self.y = torch.stack([rows.y[: self.num_rows] for rows in trains])
        self.split = torch.arange(len(trains)).repeat_interleave(members)[:, None]
        self.batch_size = min(problem.batch_size, self.num_rows)
        self.generator = generator
        self.dataset = range(self.num_rows)

    def __len__(self) -> int:
        return self.num_rows // self.batch_size

    def __iter__(self):
        """Inputs (rows, networks, inputs) and labels (rows, networks): rows come first."""
        keys = torch.rand(len(self.split), self.num_rows, generator=self.generator)
        order = keys.argsort(1)
        for rows in order[:, : len(self) * self.batch_size].split(self.batch_size, 1):
            yield self.x[self.split, rows].transpose(0, 1), self.y[self.split, rows].T


class Flat:
    """The same for one network: inputs (rows, inputs) and labels (rows,).

    Args:
        batches: of one network.
    """

    def __init__(self, batches: Batches) -> None:
        self.batches, self.dataset, self.generator = batches, batches.dataset, batches.generator

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self):
        for x, y in self.batches:
            yield x[:, 0], y[:, 0]
