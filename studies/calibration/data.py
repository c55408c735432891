"""UCI tables and their splits, the same as made-up tables, and images from inside and outside.

Regression has the 20 splits that its files come with (Hernández-Lobato & Adams 2015), a tenth of
the rows for the test.  Classification has 20 stratified splits, a fifth of the rows for the test,
each made by its number as seed.  Of the rows that are learned a fifth, again by the number of the
split, chooses the settings: no test row of a split is seen before its one score.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits, make_classification, make_friedman1
from sklearn.model_selection import StratifiedShuffleSplit

from studies.mnist.data import read_idx

Array = npt.NDArray[Any]
SPLITS = 20
REGRESSION = ("concrete", "energy", "power-plant", "yacht")
CLASSIFICATION = ("banknote", "wdbc", "ionosphere", "seeds")
CHOOSING = 0.2
"""Share of the rows to be learned that chooses settings."""


@dataclass(frozen=True)
class Rows:
    """Inputs (rows, inputs) in float64 and targets (rows,): real numbers, or labels from 0."""

    x: Array
    y: Array

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Array) -> "Rows":
        """Some of them."""
        return Rows(self.x[rows], self.y[rows])


@dataclass(frozen=True)
class Split:
    """What is learned, scored, and, of what is learned, what chooses.

    Args:
        number: of the split.
        train: all rows that may be learned.
        test: rows that are scored.
        learn: part of ``train``.
        choose: another part of it.
    """

    number: int
    train: Rows
    test: Rows
    learn: Rows
    choose: Rows


@dataclass(frozen=True)
class Table:
    """A data set: all rows, and the numbers of the rows of each split.

    Args:
        name: of it.
        rows: all of them.
        classes: number of them; 0 of a real target.
        numbers: of a split, the rows to learn and those to score.
    """

    name: str
    rows: Rows
    classes: int
    numbers: Callable[[int], tuple[Array, Array]]

    def split(self, number: int, together: int = 1) -> Split:
        """A split by its number.

        Args:
            number: of it.
            together: how many splits in a row, from a multiple of it, choose together: by rows
                that all of them learn and none of them scores.
        """
        learned, scored = self.numbers(number)
        first = number - number % together
        common = learned
        if together > 1:
            common = reduce(np.intersect1d, [self.numbers(first + k)[0] for k in range(together)])
        pool = self.rows.take(common)
        order = np.random.default_rng(first).permutation(len(pool))
        chosen, rest = np.split(order, [round(CHOOSING * len(pool))])
        train, test = self.rows.take(learned), self.rows.take(scored)
        return Split(number, train, test, pool.take(rest), pool.take(chosen))


@dataclass(frozen=True)
class Scaling:
    """Mean 0 and standard deviation 1, by the rows that are learned."""

    x_mean: Array
    x_deviation: Array
    y_mean: float = 0.0
    y_deviation: float = 1.0

    @classmethod
    def of(cls, rows: Rows, *, real: bool) -> "Scaling":
        """A constant input is left as it is; labels are not scaled."""
        deviation = rows.x.std(0)
        inputs = cls(rows.x.mean(0), np.where(deviation > 0, deviation, 1.0))
        if not real:
            return inputs
        return replace(inputs, y_mean=float(rows.y.mean()), y_deviation=float(rows.y.std()))

    def inputs(self, x: Array) -> Array:
        """Inputs in units of their deviations."""
        return (x - self.x_mean) / self.x_deviation

    def targets(self, y: Array) -> Array:
        """Real targets in units of their deviation."""
        return (y - self.y_mean) / self.y_deviation


def regression(folder: Path, name: str) -> Table:
    """A table of ``uci_regression`` with its standard splits."""
    own = folder / "uci_regression" / name / "data"
    if not own.is_dir():
        raise FileNotFoundError(
            f"{own} is not there. Give --data PATH, the folder that has uci_regression, "
            "uci_classification, mnist and notmnist in it, or --quick for made-up data."
        )

    def whole(file: str) -> Array:
        return np.loadtxt(own / file, ndmin=1).astype(np.int64)

    values = np.loadtxt(own / "data.txt")
    rows = Rows(values[:, whole("index_features.txt")], values[:, whole("index_target.txt")[0]])

    def numbers(split: int) -> tuple[Array, Array]:
        return whole(f"index_train_{split}.txt"), whole(f"index_test_{split}.txt")

    return Table(name, rows, 0, numbers)


_FILES: dict[str, tuple[str, str | None, int, slice]] = {
    "banknote": ("banknote/data_banknote_authentication.txt", ",", -1, slice(0, -1)),
    "wdbc": ("breast_cancer_diagnostic/wdbc.data", ",", 1, slice(2, None)),
    "ionosphere": ("ionosphere/ionosphere.data", ",", -1, slice(0, -1)),
    "seeds": ("seeds/seeds_dataset.txt", None, -1, slice(0, -1)),
}
"""By data set: its file, what separates values, the column of labels, the columns of inputs."""


def classification(folder: Path, name: str) -> Table:
    """A table of ``uci_classification``, split by seeds."""
    file, separator, label, inputs = _FILES[name]
    lines = (folder / "uci_classification" / file).read_text("utf-8").splitlines()
    cells = [line.split(separator) for line in lines if line.strip()]
    x = np.array([row[inputs] for row in cells], float)
    classes, y = np.unique([row[label] for row in cells], return_inverse=True)
    return Table(name, Rows(x, y), len(classes), by_seed(y))


def by_seed(y: Array, test: float = 0.2) -> Callable[[int], tuple[Array, Array]]:
    """Stratified splits of these labels, each made by its number as seed."""

    def numbers(split: int) -> tuple[Array, Array]:
        splitter = StratifiedShuffleSplit(1, test_size=test, random_state=split)
        ((learned, scored),) = splitter.split(y, y)
        return learned, scored

    return numbers


def made_up(classes: int, rows: int = 150) -> Table:
    """A table that needs no files, for a look that takes seconds."""
    if classes:
        x, y = make_classification(
            rows, 6, n_informative=4, n_classes=classes, n_clusters_per_class=1, random_state=0
        )
        return Table("made up", Rows(x, y), classes, by_seed(y))
    x, y = make_friedman1(rows, 6, noise=1.0, random_state=0)
    return Table("made up", Rows(x, y), 0, by_seed(np.arange(rows) % 2))


@dataclass(frozen=True)
class Images:
    """Images in [0, 1], flattened: to learn, to choose by, to score, and from elsewhere."""

    learn: Rows
    choose: Rows
    test: Rows
    outside: Array


LEARNED, HELD_OUT = 55_000, 5_000
"""The first so many training images are learned, and the last so many choose settings."""


def images(folder: Path) -> Images:
    """MNIST, and notMNIST as what comes from elsewhere."""

    def rows(part: str) -> Rows:
        own = [
            read_idx(folder / "mnist" / f"{part}-{kind}-ubyte").numpy()
            for kind in ("images-idx3", "labels-idx1")
        ]
        return Rows(own[0].reshape(len(own[0]), -1) / 255, own[1].astype(np.int64))

    train = rows("train")
    outside = read_idx(folder / "notmnist" / "t10k-images-idx3-ubyte").numpy()
    return Images(
        train.take(np.arange(LEARNED)),
        train.take(np.arange(len(train) - HELD_OUT, len(train))),
        rows("t10k"),
        outside.reshape(len(outside), -1) / 255,
    )


def small_images() -> Images:
    """scikit-learn's digits, and from elsewhere the same with their pixels in another order."""
    x, y = load_digits(return_X_y=True)
    rows = Rows(x / 16, y)
    order = np.random.default_rng(0).permutation(len(y))
    learn, choose, test = (rows.take(part) for part in np.split(order, [1200, 1400]))
    return Images(learn, choose, test, test.x[:, np.random.default_rng(1).permutation(64)])
