"""Every recalibration of classes by name, with options that differ from one another."""

from collections.abc import Callable

from bayes_sbn.recalibration import (
    BetaCalibration,
    HistogramBinning,
    IsotonicCalibration,
    TemperatureScaling,
    VectorScaling,
)
from bayes_sbn.recalibration.recalibration import ClassRecalibration

CLASS_METHODS: dict[str, Callable[[], ClassRecalibration]] = {
    "temperature of mean": TemperatureScaling,
    "temperature of draws": lambda: TemperatureScaling("draws"),
    "vector": VectorScaling,
    "vector with penalty": lambda: VectorScaling(penalty=0.01),
    "beta": BetaCalibration,
    "isotonic": IsotonicCalibration,
    "isotonic with floor": lambda: IsotonicCalibration(floor=0.01),
    "histogram": HistogramBinning,
    "histogram of equal mass": lambda: HistogramBinning(8, "equal-mass", floor=0.002),
}
