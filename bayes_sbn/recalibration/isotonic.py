r"""Isotonic calibration: the non-decreasing curve that is nearest to the outcomes.

For each class :math:`g_c` is the non-decreasing function that minimises
:math:`\sum_n (g(\bar p_{nc}) - [y_n = c])^2`, which pool-adjacent-violators finds: a step at each
block of pooled rows, linear between blocks, constant beyond the first and the last.  It has no
shape of its own and wants many rows, some hundreds for each class.

Its first block is often exactly 0 and its last exactly 1, and a label of probability 0 makes an
infinite NLL: a floor keeps off these ends.

References:
    B. Zadrozny, C. Elkan. Transforming classifier scores into accurate multiclass probability
    estimates. KDD 2002.

    R. E. Barlow, D. J. Bartholomew, J. M. Bremner, H. D. Brunk. Statistical Inference under Order
    Restrictions. Wiley 1972.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayes_sbn.recalibration.calibration_file import Fitted
from bayes_sbn.recalibration.one_against_rest import OneAgainstRest, check_floor

Float64 = npt.NDArray[np.float64]

_ENOUGH_ROWS_A_CURVE = 100


class IsotonicCalibration(OneAgainstRest):
    """A non-decreasing curve for each class against the rest.

    Args:
        floor: what no probability falls below, in [0, 1 / classes).

    Example:
        >>> p = np.tile([0.2, 0.4, 0.6, 0.8], 50)
        >>> y = np.tile([0, 0, 1, 1, 0, 1, 0, 1], 25)  # right at 0.2 and 0.8, a toss-up between
        >>> calibration = IsotonicCalibration().fit(np.stack([1 - p, p], axis=-1), y)
        >>> calibration([[0.45, 0.55], [0.7, 0.3]])
        array([[0.5 , 0.5 ],
               [0.75, 0.25]])
    """

    _parts = ("probability", "frequency")

    def __init__(self, floor: float = 0.0) -> None:
        self._options = {"floor": check_floor("IsotonicCalibration", floor)}

    def curve(self, label: int) -> tuple[Float64, Float64]:
        """The corners of the curve of a class: probabilities, and what becomes of them.

        Args:
            label: a class whose curve was fitted: 1 of two classes, any of more.
        """
        fitted = self._need("curve()")
        if f"probability_{label}" not in fitted.numbers:
            raise ValueError(
                f"IsotonicCalibration.curve({label!r}): there is no curve of it among "
                f"{fitted.num_classes} classes; of two only class 1 has one. Write curve(1)."
            )
        probability, frequency = self._curve_of(fitted, label)
        return probability, frequency

    def _curve(self, probs: Float64, outcomes: Float64) -> tuple[Float64, ...]:
        return isotonic_curve(probs, outcomes)

    def _at(self, probs: Float64, *curve: Float64) -> Float64:
        return np.asarray(np.interp(probs, curve[0], curve[1]))

    def _check_curve(self, *curve: Float64) -> None:
        check_curve(*curve)

    def _enough_rows(self, num_curves: int) -> int:
        return _ENOUGH_ROWS_A_CURVE * num_curves

    def _words(self, fitted: Fitted) -> str:
        return f"corners={sum(a.size for a in fitted.numbers.values()) // 2}"


def isotonic_curve(x: Float64, y: Float64) -> tuple[Float64, Float64]:
    """Corners of the isotonic regression of y on x: different x, rising, and values there.

    Rows of the same x are one point, of their mean.  Of points in a row with the same value only
    the first and the last are kept: between them the curve is constant.

    Args:
        x: (rows,).
        y: (rows,).

    Example:
        >>> isotonic_curve(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 1.0, 0.0, 1.0]))
        (array([0.1, 0.2, 0.3, 0.4]), array([0. , 0.5, 0.5, 1. ]))
    """
    from scipy.optimize import isotonic_regression

    place, inverse, count = np.unique(x, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, y) / count
    values = np.asarray(isotonic_regression(means, weights=count).x, dtype=np.float64)
    is_corner = np.ones(len(values), dtype=np.bool_)
    is_corner[1:-1] = (values[1:-1] != values[:-2]) | (values[1:-1] != values[2:])
    return place[is_corner], values[is_corner]


def check_curve(x: Float64, y: Float64) -> None:
    """Raise ValueError where the arrays are not corners of a non-decreasing curve in [0, 1].

    Args:
        x: different, rising.
        y: as many.
    """
    if x.ndim != 1 or not x.size or x.shape != y.shape:
        raise ValueError(f"a curve has corners of shapes {x.shape} and {y.shape}")
    if (np.diff(x) <= 0).any() or (np.diff(y) < 0).any():
        raise ValueError("a curve does not rise")
    if min(x[0], y[0]) < 0 or max(x[-1], y[-1]) > 1:
        raise ValueError("a curve leaves [0, 1]")
