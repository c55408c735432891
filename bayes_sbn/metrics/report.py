"""All metrics of a prediction in one table, each with its convention and an interval.

The tables are made by :mod:`bayes_sbn.metrics.report_classification`, which says how the intervals
come about, :mod:`bayes_sbn.metrics.report_detail` and :mod:`bayes_sbn.metrics.report_regression`.
"""

from __future__ import annotations

from typing import Literal, cast, overload

import numpy.typing as npt

from bayes_sbn.metrics.arguments import Predicted
from bayes_sbn.metrics.regression_arguments import NormalMixturePrediction, is_normal_mixture
from bayes_sbn.metrics.report_classification import Report, classification_report
from bayes_sbn.metrics.report_detail import DetailedReport, detailed_report
from bayes_sbn.metrics.report_regression import RegressionReport, regression_report


@overload
def report(
    pred: NormalMixturePrediction,
    y: npt.ArrayLike,
    *,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> RegressionReport: ...


@overload
def report(
    pred: Predicted,
    y: npt.ArrayLike,
    *,
    detail: Literal[True],
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> DetailedReport: ...


@overload
def report(
    pred: Predicted,
    y: npt.ArrayLike,
    *,
    detail: bool = False,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Report: ...


def report(
    pred: Predicted | NormalMixturePrediction,
    y: npt.ArrayLike,
    *,
    detail: bool = False,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Report | RegressionReport:
    """Accuracy, nll, brier, ece, mce and rmsce with intervals; of real targets others.

    Of a RegressionPredictions or a NormalMixture it is the report of
    :mod:`bayes_sbn.metrics.report_regression`.

    The intervals describe the chance in which rows were observed; the Monte-Carlo error of a finite
    number of draws is not in them (see ``Predictions.decompose`` for that of the entropies).

    Args:
        pred: a Predictions, or probabilities (rows, classes); or a prediction of real targets.
        y: labels (rows,), integers in 0 ... classes - 1; or real targets (rows,).
        detail: of class probabilities also the spherical score, D², classwise, equal-mass, debiased
            and smooth calibration errors, the CORP parts of brier, and tests of calibration with
            p-values.  The metrics are resampled one by one, which takes seconds.
        bootstrap: resamples of the rows.
        level: level of the intervals, between 0 and 1.
        seed: seed of the resampling; the same seed gives the same report.

    Example:
        >>> print(report([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1]))  # doctest: +ELLIPSIS
        3 rows, 2 classes
        metric     value  95 % interval     convention
        accuracy  0.6667  [...]  share of rows whose most probable class is the label
        ...
    """
    if is_normal_mixture(pred):
        if detail:
            raise ValueError(
                "report() knows detail=True of class probabilities alone: received a prediction of "
                "real targets. Leave detail out: its one report has all metrics."
            )
        return regression_report(pred, y, bootstrap=bootstrap, level=level, seed=seed)
    make = detailed_report if detail else classification_report
    return make(cast(Predicted, pred), y, bootstrap=bootstrap, level=level, seed=seed)
