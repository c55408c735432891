"""Conformal prediction: sets and intervals that hold the outcome as often as is asked for.

==================  ==============================================================================
ConformalClassifier sets of classes by LAC, APS or RAPS
ConformalRegressor  intervals of real targets by residuals, normalised ones or quantiles
set_coverage        share of rows whose set holds the label
mean_set_size       mean number of classes in a set
ConformalPredictor  what both are: options, a quantile, and a file
==================  ==============================================================================

What is promised is the share of all rows, for exchangeable rows and any model, right or wrong; not
the share within a class or a part of the inputs.
"""

from bayes_sbn.conformal_classes import ConformalClassifier as ConformalClassifier
from bayes_sbn.conformal_classes import mean_set_size as mean_set_size
from bayes_sbn.conformal_classes import set_coverage as set_coverage
from bayes_sbn.conformal_intervals import ConformalRegressor as ConformalRegressor
from bayes_sbn.conformal_predictor import ConformalPredictor as ConformalPredictor

__all__ = [
    "ConformalClassifier",
    "ConformalPredictor",
    "ConformalRegressor",
    "mean_set_size",
    "set_coverage",
]
