"""Reading a recalibration of whatever method."""

from __future__ import annotations

import os
from pathlib import Path

from bayes_sbn.recalibration.beta import BetaCalibration
from bayes_sbn.recalibration.calibration_file import damaged, read_calibration
from bayes_sbn.recalibration.histogram import HistogramBinning
from bayes_sbn.recalibration.isotonic import IsotonicCalibration
from bayes_sbn.recalibration.quantiles import IsotonicQuantiles
from bayes_sbn.recalibration.recalibration import Recalibration
from bayes_sbn.recalibration.temperature import TemperatureScaling
from bayes_sbn.recalibration.variance import VarianceScaling
from bayes_sbn.recalibration.vector import VectorScaling

METHODS: dict[str, type[Recalibration]] = {
    method.__name__: method
    for method in (
        BetaCalibration,
        HistogramBinning,
        IsotonicCalibration,
        IsotonicQuantiles,
        TemperatureScaling,
        VarianceScaling,
        VectorScaling,
    )
}
"""The methods by the name that stands in a file."""


def load(path: str | os.PathLike[str]) -> Recalibration:
    """Read a file that the ``save`` of a fitted recalibration wrote; runs no code from it.

    Args:
        path: the file.

    Raises:
        ValueError: for a truncated, damaged or foreign file.
    """
    call = "sbn.recalibration.load"
    method, _, _ = read_calibration(call, path)
    if method not in METHODS:
        raise damaged(call, Path(path), f"it holds the method {method!r}, which is not known")
    return METHODS[method].load(path)
