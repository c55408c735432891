"""Recalibration: maps fitted to validation rows, after which probabilities come true more often.

==================  ==============================================================================
TemperatureScaling  one number T: probabilities to the power 1/T, of the mean or of each draw
load                reads the file of any fitted method
==================  ==============================================================================

A method is fitted to predictions of validation rows and their outcomes, ``.fit(pred, y)``, and then
called on other predictions.  What comes back has its draws still, so that intervals and the split
of uncertainty go on working.
"""

from bayes_sbn.recalibration.arguments import RecalibrationWarning as RecalibrationWarning
from bayes_sbn.recalibration.loading import load as load
from bayes_sbn.recalibration.recalibration import Recalibration as Recalibration
from bayes_sbn.recalibration.temperature import TemperatureScaling as TemperatureScaling

__all__ = ["Recalibration", "RecalibrationWarning", "TemperatureScaling", "load"]
