r"""Smooth calibration error: gaps smoothed by a Gaussian kernel, of a bandwidth that they set.

Let :math:`p_i` be the probability of an event and :math:`z_i \in \{0, 1\}` whether it came true.
For a bandwidth :math:`\sigma` the gaps are smoothed over [0, 1], and what is left is integrated,

.. math:: \mathrm{smECE}_\sigma = \int_0^1 \Bigl| \frac1N \sum_i K_\sigma(p_i, t) (p_i - z_i)
    \Bigr|\,dt, \qquad
    K_\sigma(p, t) = \sum_{m \in \mathbb Z} \phi_\sigma(t - p + 2m) + \phi_\sigma(t + p + 2m),

where :math:`\phi_\sigma` is the normal density and the kernel is reflected at 0 and 1, so that no
mass is lost.  It does not increase with :math:`\sigma`, and the smooth calibration error is where
:math:`\mathrm{smECE}_\sigma = \sigma`.  There are no bins and no bandwidth to choose, it is
continuous in the predictions, and within constant factors of the least change of the predictions
that would calibrate them (square root and multiple of it).

The reflected kernel is that of heat that flows in [0, 1] and not out of it: on the cosines
:math:`\cos k \pi t` smoothing is a product with :math:`\exp(-\sigma^2 \pi^2 k^2 / 2)`.  The gaps
are spread once over a grid by a narrow kernel of width :math:`\sigma_0`, and a larger bandwidth
costs one Fourier transform.  The integral is the sum of the antiderivative's rises and falls
between the changes of sign of the smoothed gaps.  Where these are within a cell is interpolated,
which enters by its square: the error is below 1e-7.  Gaps that are all of one sign keep
their mean at every bandwidth.  Of others a fixed point below :math:`2^{-14}` is not resolved; then
:math:`\mathrm{smECE}_\sigma` of this bandwidth is given, which is smaller than the fixed point by
less than :math:`2^{-14}`.

References:
    J. Błasiok, P. Nakkiran. Smooth ECE: principled reliability diagrams via kernel smoothing. ICLR
    2024 (their kernel without the logit scale; definitions 6 and 7).

    L. Greengard, J.-Y. Lee. Accelerating the nonuniform fast Fourier transform. SIAM Review 46,
    2004 (spreading over a grid).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import Predicted, probabilities_and_labels
from bayes_sbn.metrics.chance_alone import of_labels
from bayes_sbn.metrics.events import Kind, check_kind, events
from bayes_sbn.metrics.properties import metric_properties

Array = npt.NDArray[np.float64]

FINEST = 2.0**-14
"""The least bandwidth."""

_CELLS = 8  # of the grid, per least bandwidth
_MIN_CELLS = 1024
_SPREAD = 1.5  # sigma_0 in cells: the grid loses exp(-2 pi^2 1.5^2) = 5e-20
_REACH = 13  # cells to which a gap is spread, 8.7 sigma_0: beyond is 5e-17


@metric_properties(better="less", minimum=0, chance=of_labels)
def smooth_ece(
    pred: Predicted, y: npt.ArrayLike, *, kind: Kind = "top", bandwidth: float | None = None
) -> float:
    """Smooth calibration error: no bins, and a bandwidth that is its own value.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        kind: events of the "top" label, of each class, "classwise" (mean over the classes), or of
            all classes in one heap, "marginal".
        bandwidth: the standard deviation of the kernel, at least 2⁻¹⁴; None for the fixed point.

    Example:
        >>> round(smooth_ece([[0.75, 0.25]] * 8, [0, 0, 0, 0, 1, 1, 1, 1]), 6)
        0.25
    """
    call = "smooth_ece()"
    probs, labels = probabilities_and_labels(call, pred, y)
    sets = zip(*events(probs, labels, check_kind(call, kind, _KINDS)), strict=True)
    if bandwidth is None:
        return float(np.mean([_fixed_point(p, p - z) for p, z in sets]))
    if not FINEST <= bandwidth < math.inf:
        raise ValueError(
            f"{call} needs a bandwidth of at least {FINEST:.3g}: received {bandwidth!r}. Leave it "
            "out for the one that equals the error."
        )
    narrowest = min(bandwidth, 1.0)
    return float(np.mean([SmoothedGaps(p, p - z, narrowest).error(bandwidth) for p, z in sets]))


class SmoothedGaps:
    """Gaps of events, ready to be smoothed by every bandwidth of at least the narrowest.

    Args:
        probability: (events,).
        gap: probability minus 1 if the event came true, else minus 0; (events,).
        narrowest: the least bandwidth that will be asked for, at most 1.
    """

    def __init__(self, probability: Array, gap: Array, narrowest: float) -> None:
        cells = 2 ** math.ceil(math.log2(max(_CELLS / narrowest, _MIN_CELLS)))
        density = _spread_over_grid(probability, gap / len(gap), cells)
        even = np.concatenate([density, density[-2:0:-1]])
        self._cosines = np.fft.rfft(even).real
        self._frequency = np.pi * np.arange(cells + 1)
        self._done = (_SPREAD / cells) ** 2

    def error(self, bandwidth: float) -> float:
        """The integral of the absolute value of the smoothed gaps."""
        cells = len(self._cosines) - 1
        cosines = self._cosines * np.exp(-(bandwidth**2 - self._done) * self._frequency**2 / 2)
        sines = np.zeros(cells + 1, dtype=np.complex128)
        sines[1:-1] = -1j * cosines[1:-1] / self._frequency[1:-1]
        rising = cosines[0] / (2 * cells) * np.linspace(0, 1, cells + 1)
        smoothed = np.fft.irfft(cosines)[: cells + 1]
        return _integral_of_modulus(smoothed, rising + np.fft.irfft(sines)[: cells + 1])


def _fixed_point(probability: Array, gap: Array) -> float:
    from scipy.optimize import brentq

    if gap.min() >= 0 or gap.max() <= 0:
        return abs(float(gap.mean()))
    narrowest = max(0.25 / math.sqrt(len(gap)), FINEST)  # about a tenth of what chance makes
    smoothed = SmoothedGaps(probability, gap, narrowest)
    while smoothed.error(narrowest) <= narrowest:
        if narrowest == FINEST:
            return smoothed.error(narrowest)
        narrowest = max(narrowest / 8, FINEST)
        smoothed = SmoothedGaps(probability, gap, narrowest)
    # No gap is larger than 1, so that the error is less than a bandwidth of 2.
    return float(brentq(lambda b: smoothed.error(b) - b, narrowest, 2.0, xtol=1e-11))


def _spread_over_grid(probability: Array, mass: Array, cells: int) -> Array:
    """Density at the grid's points of masses with the kernel of sigma_0, (cells + 1,)."""
    at = probability * cells
    nearest = np.rint(at).astype(np.int64)
    offset = (at - nearest) / _SPREAD
    size = cells + 1 + 2 * _REACH
    beyond = np.zeros(size)  # the grid with _REACH points on either side
    # exp(-(x - j)^2 / 2) = exp(-x^2 / 2) exp(x)^j exp(-j^2 / 2): two exponentials a gap.
    step = np.exp(offset / _SPREAD)
    weight = mass * np.exp(-(offset**2) / 2) * step**-_REACH
    for j in range(-_REACH, _REACH + 1):
        factor = math.exp(-((j / _SPREAD) ** 2) / 2)
        beyond += factor * np.bincount(nearest + (_REACH + j), weight, size)
        weight *= step
    density = beyond[_REACH:-_REACH].copy()
    density[: _REACH + 1] += beyond[_REACH::-1]
    density[-_REACH - 1 :] += beyond[: -_REACH - 2 : -1]
    return density * (cells / (_SPREAD * math.sqrt(2 * math.pi)))


def _integral_of_modulus(value: Array, integral: Array) -> float:
    """Integral of a function's absolute value from its values and antiderivative on the grid."""
    left, right, rise = value[:-1], value[1:], np.diff(integral)
    total = np.abs(rise).sum()
    turn = np.flatnonzero(left * right < 0)
    left, right, rise = left[turn], right[turn], rise[turn]
    s = left / (left - right)
    # The antiderivative at its turn, by the cubic with its values and slopes at the cell's ends.
    width = 1 / (len(value) - 1)
    until = width * (left * s * (1 - s) ** 2 - right * s**2 * (1 - s)) + rise * (3 - 2 * s) * s**2
    return float(total + np.sum(np.abs(until) + np.abs(rise - until) - np.abs(rise)))


_KINDS: tuple[Kind, ...] = ("top", "classwise", "marginal")
