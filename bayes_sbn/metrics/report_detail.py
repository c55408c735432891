"""The longer report of class probabilities: more scores, calibration of every kind, tests of it.

Rows beyond those of :mod:`bayes_sbn.metrics.report_classification`, with the intervals that
:func:`~bayes_sbn.metrics.bootstrap_interval` gives for each metric by itself.  All metrics are
computed on the same resamples of the test rows, and on the same labels drawn from the
probabilities.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from bayes_sbn.metrics.arguments import (
    Predicted,
    UndefinedMetricWarning,
    probabilities_and_labels,
)
from bayes_sbn.metrics.bootstrap import usual_ends
from bayes_sbn.metrics.calibration import debiased_rmsce, ece
from bayes_sbn.metrics.calibration_tests import kolmogorov_smirnov, kuiper, spiegelhalter
from bayes_sbn.metrics.chance_alone import labels_drawn_from, num_redraws, redraw_generator
from bayes_sbn.metrics.corp import corp_discrimination, corp_miscalibration
from bayes_sbn.metrics.corp_resampled import ClassesInOrder
from bayes_sbn.metrics.properties import Metric, properties_of
from bayes_sbn.metrics.report_base import MetricRow
from bayes_sbn.metrics.report_classification import Report, classification_report
from bayes_sbn.metrics.resampling import resampled_rows
from bayes_sbn.metrics.scores import spherical
from bayes_sbn.metrics.skill import d2_brier, d2_nll
from bayes_sbn.metrics.smooth_calibration import smooth_ece

Array = npt.NDArray[np.float64]

CONVENTIONS = {
    "spherical": "probability of the label over the length of the row, mean over rows",
    "d2_nll": "1 - nll / nll of the class frequencies of these rows",
    "d2_brier": "1 - brier / brier of the class frequencies of these rows",
    "ece_classwise": "each class against the rest, 15 equal-width bins (a, b], mean over classes",
    "ece_mass": "top label, 15 bins of equally many rows, mean |confidence - accuracy|",
    "debiased_rmsce": "top label, 15 bins of equally many rows, without the bias of chance",
    "smooth_ece": "top label, reflected Gaussian kernel whose bandwidth is the error itself",
    "corp_miscalibration": "part of brier that isotonic recalibration takes off",
    "corp_discrimination": "part of brier that the recalibrated tell beyond class frequencies",
    "corp_uncertainty": "brier of the class frequencies of these rows",
}
"""What each further row measures, in words."""

TEST_CONVENTIONS = {
    "spiegelhalter": "brier against what the probabilities claim for it, two-sided",
    "kolmogorov_smirnov": "top label, largest cumulative difference, sorted by confidence",
    "kuiper": "top label, range of the cumulative differences, sorted by confidence",
}
"""What each test compares, in words."""

_METRICS: dict[str, Metric] = {
    "spherical": spherical,
    "d2_nll": d2_nll,
    "d2_brier": d2_brier,
    "ece_classwise": partial(ece, kind="classwise"),
    "ece_mass": partial(ece, bins="mass"),
    "debiased_rmsce": debiased_rmsce,
    "smooth_ece": smooth_ece,
}

_PARTS = {
    "corp_miscalibration": properties_of(corp_miscalibration),
    "corp_discrimination": properties_of(corp_discrimination),
}

_TESTS = {
    "spiegelhalter": spiegelhalter,
    "kolmogorov_smirnov": kolmogorov_smirnov,
    "kuiper": kuiper,
}


@dataclass(frozen=True)
class CalibrationTestRow:
    """One test of calibration: its name, statistic, p-value, and what it compares in words."""

    test: str
    statistic: float
    p_value: float
    convention: str


@dataclass(frozen=True)
class DetailedReport(Report):
    """A report with more rows, and with tests of calibration.

    Args:
        tests: the tests.
    """

    tests: tuple[CalibrationTestRow, ...]

    def __str__(self) -> str:
        cells = [("test", "statistic", "p-value", "convention")]
        for row in self.tests:
            cells.append((row.test, f"{row.statistic:.3f}", f"{row.p_value:.2g}", row.convention))
        widths = [max(len(line[i]) for line in cells) for i in range(3)]
        return "\n".join(
            [
                super().__str__(),
                "",
                *(
                    f"{name:<{widths[0]}}  {value:>{widths[1]}}  {p:<{widths[2]}}  {convention}"
                    for name, value, p, convention in cells
                ),
                "Small p-values speak against calibration; they do not say how large the error is.",
            ]
        )

    def to_dict(self) -> dict[str, object]:
        """The report as plain numbers and strings, metrics and tests under their names."""
        contents = super().to_dict()
        contents["tests"] = {
            row.test: {key: value for key, value in asdict(row).items() if key != "test"}
            for row in self.tests
        }
        return contents


def detailed_report(
    pred: Predicted, y: npt.ArrayLike, *, bootstrap: int, level: float, seed: int
) -> DetailedReport:
    """The usual rows, the further ones and the tests.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        bootstrap: resamples of the rows.
        level: level of the intervals, between 0 and 1.
        seed: seed of the resampling.
    """
    usual = classification_report(pred, y, bootstrap=bootstrap, level=level, seed=seed)
    probs, labels = probabilities_and_labels("report()", pred, y)
    values = _values(probs, labels, ClassesInOrder(probs, labels), np.ones(len(labels)))
    generator = np.random.default_rng(seed)
    redraws = num_redraws(bootstrap, level)
    names = list(CONVENTIONS)
    # disable=None silences tqdm where standard error is not a terminal
    with (
        warnings.catch_warnings(),
        tqdm(total=bootstrap + redraws, desc="report()", leave=False, disable=None) as bar,
    ):
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # left out of the interval
        resampled = _on_resamples(probs, labels, bootstrap, generator, bar)
        by_chance = _by_chance(probs, redraws, seed, bar)
    # The score is unbiased, so that chance adds as much to discrimination as to miscalibration.
    by_chance[:, names.index("corp_discrimination")] = by_chance[
        :, names.index("corp_miscalibration")
    ]
    rows = tuple(
        _row(name, values[i], resampled[:, i], by_chance[:, i], level)
        for i, name in enumerate(names)
    )
    found = {name: test(probs, labels) for name, test in _TESTS.items()}
    tests = tuple(
        CalibrationTestRow(name, test.statistic, test.p_value, TEST_CONVENTIONS[name])
        for name, test in found.items()
    )
    its = {field.name: getattr(usual, field.name) for field in fields(usual)}
    return DetailedReport(**{**its, "rows": usual.rows + rows, "tests": tests})


def _values(
    probs: Array, labels: npt.NDArray[np.int64], classes: ClassesInOrder, times: Array
) -> Array:
    """Every metric, in the order of the conventions; the classes' rows count several times."""
    return np.array([*(m(probs, labels) for m in _METRICS.values()), *classes.parts(times)])


def _on_resamples(
    probs: Array,
    labels: npt.NDArray[np.int64],
    bootstrap: int,
    generator: np.random.Generator,
    bar: tqdm[Any],
) -> Array:
    """Every metric on every resample, (bootstrap, metrics)."""
    classes = ClassesInOrder(probs, labels)
    values = np.empty((bootstrap, len(CONVENTIONS)))
    for block, drawn in resampled_rows(bootstrap, len(labels), generator):
        for i, rows in zip(range(block.start, block.stop), drawn, strict=True):
            times = np.bincount(rows, minlength=len(labels)).astype(np.float64)
            values[i] = _values(probs[rows], labels[rows], classes, times)
            bar.update()
    return values


def _by_chance(probs: Array, redraws: int, seed: int, bar: tqdm[Any]) -> Array:
    """Every metric with labels drawn from the probabilities themselves, (redraws, metrics)."""
    draw, generator = labels_drawn_from(probs), redraw_generator(seed)
    values = np.empty((redraws, len(CONVENTIONS)))
    for i in range(redraws):
        labels = draw(generator)
        values[i] = _values(probs, labels, ClassesInOrder(probs, labels), np.ones(len(labels)))
        bar.update()
    return values


def _row(name: str, value: float, resampled: Array, by_chance: Array, level: float) -> MetricRow:
    known = properties_of(_METRICS[name]) if name in _METRICS else _PARTS.get(name)
    is_moved = known is not None and known.chance is not None
    low, high, _ = usual_ends(
        f"report(): {name}",
        value,
        resampled,
        level,
        properties=known,
        chance=by_chance if is_moved else None,
    )
    return MetricRow(name, float(value), low, high, CONVENTIONS[name])
