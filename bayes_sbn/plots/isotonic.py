r"""The reliability curve without bins: isotonic regression, and the band of a calibrated forecast.

Let :math:`p_i` be the probabilities of an event and :math:`z_i \in \{0, 1\}` whether it came true.
The curve is the non-decreasing function r of p that is nearest to the outcomes,

.. math:: r = \arg\min_{r \text{ non-decreasing}} \sum_i (r(p_i) - z_i)^2 ,

which pool-adjacent-violators finds (the CORP reliability diagram): it has no bins to choose.  With
:math:`\bar z` the mean outcome the mean squared error :math:`\overline{(p - z)^2}` is
MCB - DSC + UNC, of which

* miscalibration :math:`\mathrm{MCB} = \overline{(p - z)^2} - \overline{(r(p) - z)^2}`;
* discrimination :math:`\mathrm{DSC} = \bar z (1 - \bar z) - \overline{(r(p) - z)^2}`;
* uncertainty :math:`\mathrm{UNC} = \bar z (1 - \bar z)`.

The consistency band says how far from the diagonal such a curve strays by chance alone: rows are
resampled, outcomes are drawn with the probabilities themselves, :math:`z^* \sim
\mathrm{Bernoulli}(p^*)`, the curve is computed again, and at each probability the middle share of
the resampled curves is shaded, each continued linearly between its points.  It holds at each
probability by itself and not for the whole curve at once.

References:
    T. Dimitriadis, T. Gneiting, A. I. Jordan. Stable reliability diagrams for probabilistic
    classifiers. PNAS 118, 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_count, check_level, probabilities_and_labels
from bayes_sbn.metrics.scores import correctness
from bayes_sbn.plots.arguments import Float64
from bayes_sbn.plots.canvas import BLUE, GREY, INK, legend_above, new_axes, open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayes_sbn.metrics.arguments import Predicted

_GRID = 201  # places at which the band is computed


@dataclass(frozen=True, eq=False)
class IsotonicCurve:
    """Frequencies of an event as a non-decreasing function of its probability.

    Args:
        probability: the different probabilities, rising; (values,).
        frequency: what isotonic regression makes of the outcomes there; (values,).
        count: rows that have the probability; (values,).
        miscalibration: MCB, a mean square.
        discrimination: DSC.
        uncertainty: UNC.
    """

    probability: Float64
    frequency: Float64
    count: npt.NDArray[np.int64]
    miscalibration: float
    discrimination: float
    uncertainty: float


def isotonic_curve(probability: Float64, outcome: npt.NDArray[np.bool_]) -> IsotonicCurve:
    """The curve of rows with these probabilities and outcomes, each (rows,)."""
    values, place, count = np.unique(probability, return_inverse=True, return_counts=True)
    successes = np.bincount(place, outcome, len(values))
    frequency = _pooled(successes, count)
    mean = float(outcome.mean())
    after = float(np.mean((frequency[place] - outcome) ** 2))
    return IsotonicCurve(
        probability=values,
        frequency=frequency,
        count=count.astype(np.int64),
        miscalibration=float(np.mean((probability - outcome) ** 2)) - after,
        discrimination=mean * (1 - mean) - after,
        uncertainty=mean * (1 - mean),
    )


def consistency_band(
    curve: IsotonicCurve, at: Float64, *, level: float, resamples: int, seed: int
) -> tuple[Float64, Float64]:
    """Between which frequencies a calibrated forecast's curve lies, by resampling; each like at.

    Args:
        curve: of the forecast; only its probabilities and counts are used.
        at: probabilities.
        level: share of the resampled curves in the band at each probability.
        resamples: how many.
        seed: of the resampling.
    """
    generator = np.random.default_rng(seed)
    num_rows = int(curve.count.sum())
    found = np.empty((resamples, len(at)))
    for i in range(resamples):
        count = generator.multinomial(num_rows, curve.count / num_rows)
        successes = generator.binomial(count, curve.probability)
        there = count > 0
        frequency = _pooled(successes[there], count[there])
        found[i] = np.interp(at, curve.probability[there], frequency)
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def isotonic_reliability(
    pred: Predicted,
    y: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    label: int | None = None,
    level: float = 0.9,
    resamples: int = 200,
    seed: int = 0,
) -> Axes:
    """How often what has a probability comes true, without bins, and the band of calibration.

    The line is the isotonic regression of the outcomes on the probabilities, with a dot at each
    block that pools rows; the shaded band is where it would lie at ``level`` of the times, at each
    probability, were the forecast calibrated.  Bars below count the rows.  MCB, DSC and UNC stand
    above: the squared error of the event is MCB - DSC + UNC.

    Args:
        pred: a Predictions, or probabilities (rows, classes).
        y: labels (rows,), integers in 0 ... classes - 1.
        ax: axes to draw in; None draws in a new figure, ``ax.figure`` of the result.
        label: None for the predicted class, whose probability is the confidence, and the event
            that it is right; a class for its probability against that of the rest, and the event
            that the label is this class.
        level: share of the resampled curves in the band.
        resamples: how many there are; 0 draws no band.
        seed: of the resampling.

    Returns:
        The axes.

    Example:
        >>> pred = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
        >>> ax = isotonic_reliability(pred, [0, 1, 1])
        >>> ax.get_xlabel()
        'confidence (probability of the predicted class)'
    """
    call = "isotonic_reliability()"
    probs, labels = probabilities_and_labels(call, pred, y)
    level = check_level(call, level)
    resamples = check_count(call, "resamples", resamples, minimum=0, usual=200)
    if label is None:
        probability, outcome = probs.max(axis=-1), correctness(probs, labels)
        words = "confidence (probability of the predicted class)", "share of right predictions"
    else:
        label = _check_class(call, label, probs.shape[1])
        probability, outcome = probs[:, label], np.asarray(labels == label)
        words = f"probability of class {label}, against the rest", f"share of class {label}"
    curve = isotonic_curve(probability, outcome)
    ax = new_axes(4.6, 4.6) if ax is None else ax
    if resamples:
        ends = curve.probability[[0, -1]]
        at = np.linspace(ends[0], ends[1], _GRID) if ends[0] < ends[1] else ends
        low, high = consistency_band(curve, at, level=level, resamples=resamples, seed=seed)
        ax.fill_between(
            at,
            low,
            high,
            color=GREY,
            alpha=0.35,
            linewidth=0,
            label=f"{100 * level:g} % if calibrated",
        )
    _draw_curve(ax, curve)
    _draw_counts(ax, probability)
    ax.set(xlim=(0, 1), ylim=(-0.12, 1.02), xlabel=words[0], ylabel=words[1])
    ax.set_yticks(np.linspace(0, 1, 6))
    open_frame(ax)
    parts = f"MCB {curve.miscalibration:.4f}, DSC {curve.discrimination:.4f}"
    legend_above(ax, 2, f"{parts}, UNC {curve.uncertainty:.4f}; {len(labels)} rows")
    return ax


def _pooled(successes: npt.NDArray[np.number], count: npt.NDArray[np.int64]) -> Float64:
    from sklearn.isotonic import isotonic_regression

    share = np.true_divide(successes, count)
    return np.asarray(isotonic_regression(share, sample_weight=count.astype(np.float64)))


def _check_class(call: str, label: object, num_classes: int) -> int:
    label = check_count(call, "label", label, minimum=0, usual=0)
    if label >= num_classes:
        raise ValueError(
            f"{call} needs label in 0 ... {num_classes - 1} for {num_classes} classes: received "
            f"{label}. Leave it out for the predicted class."
        )
    return label


def _draw_curve(ax: Axes, curve: IsotonicCurve) -> None:
    ax.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--", label="perfect calibration")
    # Only the ends of a block: between them it is level.
    step = np.diff(curve.frequency) != 0
    is_end = np.concatenate([[True], step]) | np.concatenate([step, [True]])
    x, y = curve.probability[is_end], curve.frequency[is_end]
    ax.plot(
        x,
        y,
        "o-",
        color=BLUE,
        linewidth=1.5,
        markersize=3.5,
        clip_on=False,
        zorder=3,
        label="isotonic regression",
    )


def _draw_counts(ax: Axes, probability: Float64) -> None:
    """Bars of 50 bins in the strip under 0, the highest as high as the strip."""
    count, edges = np.histogram(probability, bins=50, range=(0, 1))
    height = 0.1 * count / count.max()
    ax.bar(edges[:-1], height, 0.02, bottom=-0.12, align="edge", color=GREY)
    ax.axhline(0, color=GREY, linewidth=0.5)
