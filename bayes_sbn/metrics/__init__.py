"""Metrics of class probabilities against labels, in float64 NumPy.

Each takes a Predictions, whose probabilities averaged over the draws it scores, or an array or
tensor of probabilities (rows, classes), and integer labels (rows,).

=====================  ===========================================================================
accuracy               share of rows whose most probable class is the label
nll                    mean negative log of the probability of the label, in nats, not clipped
brier                  squared distance from the one-hot label, summed over classes, not halved
ece, mce, rmsce        top-label calibration errors in 15 bins (a, b] of equal width
reliability_curve      the bins behind them
report                 all of these with intervals, as a table
bootstrap_interval     an interval of any metric, from resamples of the rows
compare                the difference of any metric between two predictions of the same rows
=====================  ===========================================================================
"""

from bayes_sbn.metrics.arguments import UndefinedMetricWarning as UndefinedMetricWarning
from bayes_sbn.metrics.bootstrap import Comparison as Comparison
from bayes_sbn.metrics.bootstrap import MetricInterval as MetricInterval
from bayes_sbn.metrics.bootstrap import bootstrap_interval as bootstrap_interval
from bayes_sbn.metrics.bootstrap import compare as compare
from bayes_sbn.metrics.calibration import ReliabilityCurve as ReliabilityCurve
from bayes_sbn.metrics.calibration import ece as ece
from bayes_sbn.metrics.calibration import mce as mce
from bayes_sbn.metrics.calibration import reliability_curve as reliability_curve
from bayes_sbn.metrics.calibration import rmsce as rmsce
from bayes_sbn.metrics.report import MetricRow as MetricRow
from bayes_sbn.metrics.report import Report as Report
from bayes_sbn.metrics.report import report as report
from bayes_sbn.metrics.scores import accuracy as accuracy
from bayes_sbn.metrics.scores import brier as brier
from bayes_sbn.metrics.scores import nll as nll

__all__ = [
    "Comparison",
    "MetricInterval",
    "MetricRow",
    "ReliabilityCurve",
    "Report",
    "UndefinedMetricWarning",
    "accuracy",
    "bootstrap_interval",
    "brier",
    "compare",
    "ece",
    "mce",
    "nll",
    "reliability_curve",
    "report",
    "rmsce",
]
