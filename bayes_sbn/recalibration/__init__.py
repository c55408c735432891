"""Recalibration: maps fitted to validation rows, after which probabilities come true more often.

===================  =============================================================================
TemperatureScaling   one number T: probabilities to the power 1/T, of the mean or of each draw
VectorScaling        a weight and a bias for the log probability of each class
BetaCalibration      for each class against the rest a curve of three numbers
IsotonicCalibration  for each class against the rest the nearest non-decreasing curve
HistogramBinning     for each class against the rest frequencies in bins
VarianceScaling      of real targets: a factor on the standard deviations
IsotonicQuantiles    of real targets: predicted levels become the shares found below them
load                 reads the file of any fitted method
===================  =============================================================================

A method is fitted to predictions of validation rows and their outcomes, ``.fit(pred, y)``, and then
called on other predictions.  What comes back has its draws still, so that intervals and the split
of uncertainty go on working.
"""

from bayes_sbn.recalibration.arguments import RecalibrationWarning as RecalibrationWarning
from bayes_sbn.recalibration.beta import BetaCalibration as BetaCalibration
from bayes_sbn.recalibration.histogram import HistogramBinning as HistogramBinning
from bayes_sbn.recalibration.isotonic import IsotonicCalibration as IsotonicCalibration
from bayes_sbn.recalibration.loading import load as load
from bayes_sbn.recalibration.quantiles import IsotonicQuantiles as IsotonicQuantiles
from bayes_sbn.recalibration.recalibrated_law import RecalibratedLaw as RecalibratedLaw
from bayes_sbn.recalibration.recalibration import Recalibration as Recalibration
from bayes_sbn.recalibration.temperature import TemperatureScaling as TemperatureScaling
from bayes_sbn.recalibration.variance import VarianceScaling as VarianceScaling
from bayes_sbn.recalibration.vector import VectorScaling as VectorScaling

__all__ = [
    "BetaCalibration",
    "HistogramBinning",
    "IsotonicCalibration",
    "IsotonicQuantiles",
    "RecalibratedLaw",
    "Recalibration",
    "RecalibrationWarning",
    "TemperatureScaling",
    "VarianceScaling",
    "VectorScaling",
    "load",
]
