r"""Intervals of detection metrics, and the difference of two scores, by resampling the rows.

The rows from inside and those from outside are two samples, and are resampled apart, each with
replacement and as many as there are.  Two scores, or the scores of two models, are compared on the
same resamples of the same rows, so that what makes a row hard for both cancels in the difference.
The interval is the percentile interval of :mod:`bayes_sbn.metrics.resampling`, widened to contain
the value.

What the intervals say is how far a number would move with other rows from the same two sources.
How it would change with rows from another source is not in them, and often is the larger question.

References:
    A. C. Davison, D. V. Hinkley. Bootstrap Methods and their Application. Cambridge University
    Press 1997, section 3.2 (several samples).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_level
from bayes_sbn.metrics.bootstrap import MetricInterval, usual_ends
from bayes_sbn.metrics.comparison import Better, Comparison, comparison_of, direction_of
from bayes_sbn.metrics.properties import properties_of
from bayes_sbn.metrics.resampling import rank_of_ends
from bayes_sbn.metrics.unusual import check_scores

Array = npt.NDArray[np.float64]
DetectionMetric = Callable[[npt.ArrayLike, npt.ArrayLike], float]
"""A number of the scores of rows from inside and of rows from outside."""

Scores = tuple[npt.ArrayLike, npt.ArrayLike]
"""Scores of rows from inside, and of rows from outside."""


def detection_interval(
    metric: DetectionMetric,
    score_in: npt.ArrayLike,
    score_out: npt.ArrayLike,
    *,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> MetricInterval:
    """A detection metric and an interval from resamples of the rows of both sides.

    Args:
        metric: ``detection_auroc``, ``fpr95``, ``detection_aupr`` with its options given by
            ``functools.partial``, or a function of your own of two arrays of scores.
        score_in: scores of rows from inside, (rows,); higher is more unusual.
        score_out: scores of rows from outside.
        bootstrap: resamples of the rows.
        level: level of the interval, between 0 and 1.
        seed: seed of the resampling; the same seed gives the same interval.

    Example:
        >>> from bayes_sbn.metrics import detection_auroc
        >>> print(detection_interval(detection_auroc, [0.1, 0.2, 0.3], [0.8, 0.9]))
        1.0000 [1.0000, 1.0000]
    """
    call = "detection_interval()"
    rank_of_ends(call, bootstrap, check_level(call, level))
    inside, outside = _both_sides(call, (score_in, score_out))
    value = float(metric(inside, outside))
    resampled = np.array(
        [metric(inside[a], outside[b]) for a, b in _rows(inside, outside, bootstrap, seed)]
    )
    low, high, undefined = usual_ends(
        call, value, resampled, level, properties=properties_of(metric), chance=None
    )
    return MetricInterval(value, low, high, float(level), "percentile", bootstrap, undefined, seed)


def compare_detection(
    metric: DetectionMetric,
    scores_a: Scores,
    scores_b: Scores,
    *,
    bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    better: Better | None = None,
) -> Comparison:
    """The difference of a detection metric between two scores of the same rows.

    Args:
        metric: as in :func:`detection_interval`.
        scores_a: a pair of arrays, the first scores of rows from inside and of rows from outside.
        scores_b: the second scores of the same rows, in the same order.
        bootstrap: resamples of the rows, the same for both.
        level: level of the interval, between 0 and 1.
        seed: seed of the resampling.
        better: whether "less" or "greater" is better; known of the metrics of this package.

    Example:
        >>> from bayes_sbn.metrics import fpr95
        >>> found = compare_detection(fpr95, ([0.1, 0.2], [0.8, 0.9]), ([0.1, 0.9], [0.8, 0.2]))
        >>> found.difference, found.better
        (-1.0, 'less')
    """
    call = "compare_detection()"
    rank_of_ends(call, bootstrap, check_level(call, level))
    direction = direction_of(call, metric, better)
    pairs = [_both_sides(call, scores) for scores in (scores_a, scores_b)]
    for side, first, second in zip(("inside", "outside"), *pairs, strict=True):
        if len(first) != len(second):
            raise ValueError(
                f"{call} needs two scores of the same rows: received {len(first)} and "
                f"{len(second)} scores of rows from {side}. Give both scores of every row."
            )
    values = [float(metric(*pair)) for pair in pairs]
    a, b = np.array(
        [
            [metric(inside[i], outside[o]) for inside, outside in pairs]
            for i, o in _rows(*pairs[0], bootstrap, seed)
        ]
    ).T
    return comparison_of(
        call,
        values,
        a,
        b,
        better=direction,
        level=level,
        method="percentile",
        widened=True,
        seed=seed,
    )


def _both_sides(call: str, scores: object) -> tuple[Array, Array]:
    if not isinstance(scores, tuple | list) or len(scores) != 2:
        raise TypeError(
            f"{call} needs scores of both sides: received a {type(scores).__name__}. Write "
            "(score_in, score_out)."
        )
    inside, outside = scores
    return (
        check_scores(call, "scores of rows from inside", inside),
        check_scores(call, "scores of rows from outside", outside),
    )


def _rows(
    inside: Array, outside: Array, bootstrap: int, seed: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Indices of the rows of each resample, from inside and from outside."""
    generator = np.random.default_rng(seed)
    for _ in range(bootstrap):
        yield (
            generator.integers(len(inside), size=len(inside)),
            generator.integers(len(outside), size=len(outside)),
        )
