r"""Beta calibration: the curves that are right where a class's probabilities follow beta laws.

For each class, with :math:`a, b \ge 0`,

.. math:: g(p) = \frac{1}{1 + e^{-c}\, (1 - p)^b / p^a} ,

logistic regression on :math:`\ln p` and :math:`-\ln(1 - p)` by maximum likelihood.  The identity is
among the curves (a = b = 1, c = 0), which for logistic regression on p itself it is not, and they
bend both ways.  Three numbers a class, so that it needs fewer rows than an isotonic curve, and no
probability becomes 0 or 1: logarithms are taken of p within [2^-53, 1 - 2^-53].

References:
    M. Kull, T. Silva Filho, P. Flach. Beta calibration: a well-founded and easily implemented
    improvement on logistic calibration for binary classifiers. AISTATS 2017.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayes_sbn.recalibration.calibration_file import Fitted
from bayes_sbn.recalibration.one_against_rest import OneAgainstRest, fitted_classes

Float64 = npt.NDArray[np.float64]

BOUND = 100.0
"""The largest a, b and |c| that are sought."""

_NEAREST_TO_AN_END = 2.0**-53
_NO_ERROR = 1e-6
_ENOUGH_ROWS_A_CURVE = 30


class BetaCalibration(OneAgainstRest):
    """A curve of three numbers for each class against the rest.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> y = rng.integers(2, size=4000)
        >>> p = rng.beta(2 + y, 3 - y)  # of label 1: beta(3, 2); of label 0: beta(2, 3)
        >>> calibration = BetaCalibration().fit(np.stack([1 - p, p], axis=-1), y)
        >>> calibration
        BetaCalibration(a=[0.922], b=[0.988], c=[-0.0177], rows=4000)
    """

    _parts = ("a", "b", "c")

    def __init__(self) -> None:
        self._options = {}

    def _curve(self, probs: Float64, outcomes: Float64) -> tuple[Float64, ...]:
        a, b, c = beta_curve(probs, outcomes)
        return np.asarray(a), np.asarray(b), np.asarray(c)

    def _at(self, probs: Float64, *curve: Float64) -> Float64:
        from scipy.special import expit

        a, b, c = curve
        of_one, of_zero = _features(probs)
        return np.asarray(expit(a * of_one + b * of_zero + c))

    def _check_curve(self, *curve: Float64) -> None:
        if any(number.shape != () for number in curve):
            raise ValueError("a, b and c are not numbers")
        a, b, _ = curve
        if a < 0 or b < 0:
            raise ValueError("a or b is negative")

    def _enough_rows(self, num_curves: int) -> int:
        return _ENOUGH_ROWS_A_CURVE * num_curves

    def _runaway(
        self, mean: Float64, labels: npt.NDArray[np.int64], numbers: dict[str, Float64]
    ) -> str:
        classes = []
        for c in fitted_classes(mean.shape[1]):
            curve = [numbers[f"{part}_{c}"] for part in self._parts]
            is_label = labels == c
            error = np.abs(self._at(mean[:, c], *curve) - is_label).max()
            is_at_bound = max(abs(float(number)) for number in curve) >= BOUND
            if (error < _NO_ERROR and 0 < is_label.sum() < len(labels)) or is_at_bound:
                classes.append(str(c))
        if not classes:
            return ""
        return (
            f"a, b or c of class {', '.join(classes)} ran away: in these rows the probabilities "
            "tell the class from the rest without error. Hold out more rows, or use "
            "TemperatureScaling()."
        )

    def _words(self, fitted: Fitted) -> str:
        words = []
        for part in self._parts:
            values = [v for name, v in fitted.numbers.items() if name.startswith(f"{part}_")]
            words.append(f"{part}=[{', '.join(f'{float(value):.3g}' for value in values)}]")
        return ", ".join(words)


def beta_curve(probs: Float64, outcomes: Float64) -> tuple[float, float, float]:
    """The a, b and c of greatest likelihood, within the bounds.

    Args:
        probs: (rows,).
        outcomes: 0 or 1, (rows,).
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    design = np.stack([*_features(probs), np.ones_like(probs)], axis=-1)

    def loss(numbers: Float64) -> tuple[float, Float64]:
        score = design @ numbers
        nll = np.logaddexp(0, score) - outcomes * score
        slope = design.T @ (expit(score) - outcomes)
        return float(nll.mean()), slope / len(score)

    found = minimize(
        loss,
        np.array([1.0, 1.0, 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, BOUND), (0, BOUND), (-BOUND, BOUND)],
        options={"ftol": 0, "gtol": 1e-12, "maxiter": 1000},
    )
    a, b, c = (float(value) for value in found.x)
    return a, b, c


def _features(probs: Float64) -> tuple[Float64, Float64]:
    """Ln p and -ln(1 - p)."""
    inside = np.clip(probs, _NEAREST_TO_AN_END, 1 - _NEAREST_TO_AN_END)
    return np.asarray(np.log(inside)), np.asarray(-np.log1p(-inside))
