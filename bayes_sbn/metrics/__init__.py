"""Metrics of predictions against what was observed, in float64 NumPy.

Those of classes take a Predictions, whose probabilities averaged over the draws they score, or an
array or tensor of probabilities (rows, classes), and integer labels (rows,).

=====================  ===========================================================================
accuracy               share of rows whose most probable class is the label
nll                    mean negative log of the probability of the label, in nats, not clipped
brier                  squared distance from the one-hot label, summed over classes, not halved
spherical              probability of the label over the length of the row of probabilities
d2_nll, d2_brier       share of the loss of the class frequencies that the predictions take away
corp                   a score as miscalibration - discrimination + uncertainty
ece, mce, rmsce        calibration errors in bins: top label, classwise or marginal
debiased_rmsce         the same without the bias of chance
smooth_ece             the same without bins, by a kernel whose bandwidth it sets itself
spiegelhalter, kuiper  tests of calibration, with p-values, and kolmogorov_smirnov
reliability_curve      the bins behind them
auroc                  area under the ROC curve, each class against the rest
report                 these with intervals, as a table
bootstrap_interval     an interval of any metric, from resamples of the rows
compare                the difference of any metric between two predictions of the same rows
=====================  ===========================================================================

Those of detection take the predictions, or the scores, of rows from inside and of rows from
elsewhere; those of selective prediction refuse the most unusual rows first.

=====================  ===========================================================================
ood                    AUROC, AUPR-in, AUPR-out and FPR95 of a score at once
detection_auroc ...    each of them, of scores that are there
ood_score, flip_rate   how unusual each row is
detection_interval     an interval of any of them, from resamples of the rows of both sides
compare_detection      their difference between two scores of the same rows
risk_coverage_curve    risk of the rows accepted, for every number of rows accepted
aurc, e_aurc, augrc    areas under it
coverage_at_risk       share of rows that can be accepted at a risk
risk_at_coverage       risk of the rows accepted at a coverage
=====================  ===========================================================================

Those of regression take a RegressionPredictions, a NormalMixture, or draws of the targets (draws,
rows), and targets (rows,).

=====================  ===========================================================================
rmse, mae, r2          errors of the predicted mean, or median, and the variance it explains
nlpd                   mean negative log predictive density, in nats
crps                   continuous ranked probability score, exact for the mixture of the draws
pinball                loss of predicted quantiles, not doubled
interval_score         width of the central interval, and a penalty for missing the target
interval_coverage      share of targets in the central interval
interval_width         its mean width
sharpness              root mean predicted variance
pit, pit_test          where in its predicted law each target fell, and whether uniformly
regression_...         calibration curve, mean absolute and root mean squared calibration error
miscalibration_area    area between that curve and the diagonal
ence, uce              calibration of the predicted variances, in bins of them
=====================  ===========================================================================
"""

from bayes_sbn.metrics.arguments import UndefinedMetricWarning as UndefinedMetricWarning
from bayes_sbn.metrics.bootstrap import MetricInterval as MetricInterval
from bayes_sbn.metrics.bootstrap import bootstrap_interval as bootstrap_interval
from bayes_sbn.metrics.calibration import debiased_rmsce as debiased_rmsce
from bayes_sbn.metrics.calibration import ece as ece
from bayes_sbn.metrics.calibration import mce as mce
from bayes_sbn.metrics.calibration import rmsce as rmsce
from bayes_sbn.metrics.calibration_tests import CalibrationTest as CalibrationTest
from bayes_sbn.metrics.calibration_tests import kolmogorov_smirnov as kolmogorov_smirnov
from bayes_sbn.metrics.calibration_tests import kuiper as kuiper
from bayes_sbn.metrics.calibration_tests import spiegelhalter as spiegelhalter
from bayes_sbn.metrics.comparison import Comparison as Comparison
from bayes_sbn.metrics.comparison import compare as compare
from bayes_sbn.metrics.corp import CorpDecomposition as CorpDecomposition
from bayes_sbn.metrics.corp import CorpParts as CorpParts
from bayes_sbn.metrics.corp import corp as corp
from bayes_sbn.metrics.corp import corp_discrimination as corp_discrimination
from bayes_sbn.metrics.corp import corp_miscalibration as corp_miscalibration
from bayes_sbn.metrics.crps import crps as crps
from bayes_sbn.metrics.detection import Detection as Detection
from bayes_sbn.metrics.detection import detection_aupr as detection_aupr
from bayes_sbn.metrics.detection import detection_auroc as detection_auroc
from bayes_sbn.metrics.detection import fpr95 as fpr95
from bayes_sbn.metrics.detection import ood as ood
from bayes_sbn.metrics.detection import ood_score as ood_score
from bayes_sbn.metrics.detection_bootstrap import compare_detection as compare_detection
from bayes_sbn.metrics.detection_bootstrap import detection_interval as detection_interval
from bayes_sbn.metrics.discrimination import auroc as auroc
from bayes_sbn.metrics.intervals import interval_coverage as interval_coverage
from bayes_sbn.metrics.intervals import interval_score as interval_score
from bayes_sbn.metrics.intervals import interval_width as interval_width
from bayes_sbn.metrics.intervals import pinball as pinball
from bayes_sbn.metrics.pit import UniformityTest as UniformityTest
from bayes_sbn.metrics.pit import pit as pit
from bayes_sbn.metrics.pit import pit_test as pit_test
from bayes_sbn.metrics.regression_arguments import NormalMixture as NormalMixture
from bayes_sbn.metrics.regression_calibration import (
    RegressionCalibrationCurve as RegressionCalibrationCurve,
)
from bayes_sbn.metrics.regression_calibration import miscalibration_area as miscalibration_area
from bayes_sbn.metrics.regression_calibration import (
    regression_calibration_curve as regression_calibration_curve,
)
from bayes_sbn.metrics.regression_calibration import regression_mace as regression_mace
from bayes_sbn.metrics.regression_calibration import regression_rmsce as regression_rmsce
from bayes_sbn.metrics.regression_scores import mae as mae
from bayes_sbn.metrics.regression_scores import nlpd as nlpd
from bayes_sbn.metrics.regression_scores import r2 as r2
from bayes_sbn.metrics.regression_scores import rmse as rmse
from bayes_sbn.metrics.regression_scores import sharpness as sharpness
from bayes_sbn.metrics.reliability import ReliabilityCurve as ReliabilityCurve
from bayes_sbn.metrics.reliability import reliability_curve as reliability_curve
from bayes_sbn.metrics.report import report as report
from bayes_sbn.metrics.report_base import MetricRow as MetricRow
from bayes_sbn.metrics.report_classification import Report as Report
from bayes_sbn.metrics.report_detail import CalibrationTestRow as CalibrationTestRow
from bayes_sbn.metrics.report_detail import DetailedReport as DetailedReport
from bayes_sbn.metrics.report_regression import RegressionReport as RegressionReport
from bayes_sbn.metrics.scores import accuracy as accuracy
from bayes_sbn.metrics.scores import brier as brier
from bayes_sbn.metrics.scores import nll as nll
from bayes_sbn.metrics.scores import spherical as spherical
from bayes_sbn.metrics.selective import RiskCoverageCurve as RiskCoverageCurve
from bayes_sbn.metrics.selective import augrc as augrc
from bayes_sbn.metrics.selective import aurc as aurc
from bayes_sbn.metrics.selective import coverage_at_risk as coverage_at_risk
from bayes_sbn.metrics.selective import e_aurc as e_aurc
from bayes_sbn.metrics.selective import risk_at_coverage as risk_at_coverage
from bayes_sbn.metrics.selective import risk_coverage_curve as risk_coverage_curve
from bayes_sbn.metrics.skill import d2_brier as d2_brier
from bayes_sbn.metrics.skill import d2_nll as d2_nll
from bayes_sbn.metrics.smooth_calibration import smooth_ece as smooth_ece
from bayes_sbn.metrics.unusual import flip_rate as flip_rate
from bayes_sbn.metrics.variance_calibration import (
    VarianceCalibrationCurve as VarianceCalibrationCurve,
)
from bayes_sbn.metrics.variance_calibration import ence as ence
from bayes_sbn.metrics.variance_calibration import uce as uce
from bayes_sbn.metrics.variance_calibration import (
    variance_calibration_curve as variance_calibration_curve,
)

__all__ = [
    "CalibrationTest",
    "CalibrationTestRow",
    "Comparison",
    "CorpDecomposition",
    "CorpParts",
    "DetailedReport",
    "Detection",
    "MetricInterval",
    "MetricRow",
    "NormalMixture",
    "RegressionCalibrationCurve",
    "RegressionReport",
    "ReliabilityCurve",
    "Report",
    "RiskCoverageCurve",
    "UndefinedMetricWarning",
    "UniformityTest",
    "VarianceCalibrationCurve",
    "accuracy",
    "augrc",
    "aurc",
    "auroc",
    "bootstrap_interval",
    "brier",
    "compare",
    "compare_detection",
    "corp",
    "corp_discrimination",
    "corp_miscalibration",
    "coverage_at_risk",
    "crps",
    "d2_brier",
    "d2_nll",
    "debiased_rmsce",
    "detection_aupr",
    "detection_auroc",
    "detection_interval",
    "e_aurc",
    "ece",
    "ence",
    "flip_rate",
    "fpr95",
    "interval_coverage",
    "interval_score",
    "interval_width",
    "kolmogorov_smirnov",
    "kuiper",
    "mae",
    "mce",
    "miscalibration_area",
    "nll",
    "nlpd",
    "ood",
    "ood_score",
    "pinball",
    "pit",
    "pit_test",
    "r2",
    "regression_calibration_curve",
    "regression_mace",
    "regression_rmsce",
    "reliability_curve",
    "report",
    "risk_at_coverage",
    "risk_coverage_curve",
    "rmsce",
    "rmse",
    "sharpness",
    "smooth_ece",
    "spherical",
    "spiegelhalter",
    "uce",
    "variance_calibration_curve",
]
