r"""What a cross-validation found: rows predicted by fits that had not seen them, and their scores.

Two models are compared row by row: with :math:`d_n` the difference of their summands,

.. math::
    \Delta = \sum_n d_n, \qquad
    \mathrm{se} = \sqrt{N \, \tfrac{1}{N - 1} \sum_n (d_n - \bar d)^2},

in which what makes a row hard for both cancels.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import UndefinedMetricWarning

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Difference:
    """By how much the elpd of one model exceeds that of another; nats.

    Args:
        elpd: the difference, positive where the first is better.
        standard_error: of it, rows taken as independent; too small for few rows.
        per_row: its summands, (rows,).
    """

    elpd: float
    standard_error: float
    per_row: Float64

    def __str__(self) -> str:
        return f"elpd difference {self.elpd:.2f} ± {self.standard_error:.2f}"


@dataclass(frozen=True, eq=False, repr=False)
class KFold:
    """Every row, predicted by a fit that has not seen it; made by :func:`kfold`.

    ``mean`` and ``y`` can be given to every metric: ``sbn.metrics.report(found.mean, found.y)``.

    Args:
        y: the targets, (rows,).
        folds: the fold of each row, (rows,).
        elpd_per_row: log predictive probability, or density, of each target, (rows,).
        mean: class probabilities (rows, classes), or means of real targets (rows,).
    """

    y: npt.NDArray[np.generic]
    folds: npt.NDArray[np.int64]
    elpd_per_row: Float64
    mean: Float64

    @property
    def num_folds(self) -> int:
        """Number of folds."""
        return int(self.folds.max()) + 1

    @property
    def is_classification(self) -> bool:
        """Whether targets are labels of classes; else they are real."""
        return self.mean.ndim == 2

    @property
    def elpd(self) -> float:
        """Expected log predictive density of as many new rows, in nats; more is better."""
        return float(self.elpd_per_row.sum())

    @property
    def elpd_se(self) -> float:
        """Standard error of :attr:`elpd`."""
        return standard_error("KFold.elpd_se", self.elpd_per_row)

    @property
    def elpd_per_fold(self) -> Float64:
        """Its mean over the rows of each fold, (folds,)."""
        each = [self.elpd_per_row[self.folds == fold] for fold in range(self.num_folds)]
        return np.array([rows.mean() for rows in each])

    @property
    def nll(self) -> float:
        """Mean negative log probability of a target: ``-elpd / rows``."""
        return -self.elpd / len(self.y)

    @property
    def nll_se(self) -> float:
        """Standard error of :attr:`nll`."""
        return self.elpd_se / len(self.y)

    @property
    def accuracy(self) -> float:
        """Share of rows whose most probable class is the label."""
        if not self.is_classification:
            raise AttributeError("KFold.accuracy is of class labels; these targets are real: rmse.")
        return float((self.mean.argmax(-1) == self.y).mean())

    @property
    def rmse(self) -> float:
        """Root of the mean squared distance of targets from the predictive means."""
        if self.is_classification:
            raise AttributeError("KFold.rmse is of real targets; these are class labels: accuracy.")
        return math.sqrt(float(np.mean((self.mean - self.y.astype(np.float64)) ** 2)))

    def compare(self, other: KFold) -> Difference:
        """By how much this elpd exceeds that of another model, from the same rows and folds.

        Args:
            other: the cross-validation of the other model.
        """
        if not isinstance(other, KFold):
            raise TypeError(
                f"KFold.compare() needs another cross-validation: received a "
                f"{type(other).__name__}. Write kfold(fit_a, data).compare(kfold(fit_b, data))."
            )
        for name, advice in (("y", "data"), ("folds", "k, seed and stratify")):
            if not np.array_equal(getattr(self, name), getattr(other, name)):
                raise ValueError(
                    f"KFold.compare(): the two have different {name}, so that their rows make no "
                    f"pairs. Give kfold() the same {advice} for both."
                )
        per_row = self.elpd_per_row - other.elpd_per_row
        return Difference(float(per_row.sum()), standard_error("KFold.compare()", per_row), per_row)

    def __repr__(self) -> str:
        rows, folds = len(self.y), self.num_folds
        score = (
            f"accuracy {self.accuracy:.4f}" if self.is_classification else f"rmse {self.rmse:.4g}"
        )
        error = f" ± {self.elpd_se:.2f}" if np.isfinite(self.elpd_per_row).all() else ""
        return (
            f"KFold({rows} rows in {folds} folds, elpd {self.elpd:.2f}{error}, nll {self.nll:.4f}, "
            f"{score})"
        )


def standard_error(call: str, per_row: Float64) -> float:
    """Of a sum over rows; NaN, with a warning, where a summand is not finite."""
    if not np.isfinite(per_row).all():
        warnings.warn(
            f"{call}: the standard error is not defined, since the log probability of "
            f"{int((~np.isfinite(per_row)).sum())} rows is not finite: a target of probability 0.",
            UndefinedMetricWarning,
            stacklevel=3,
        )
        return math.nan
    return math.sqrt(len(per_row) * float(np.var(per_row, ddof=1)))
