r"""What chance alone adds to an error, where it adds most: the error of outcomes as predicted.

A calibration error sums up absolute or squared differences.  Chance makes such differences too, so
that the error of a perfectly calibrated prediction is not 0.  How large it is by chance alone is
seen on outcomes that are drawn anew from the prediction itself, for which every difference is
chance (consistency resampling):

* labels from the class probabilities, a row at a time;
* real targets from the mixture of the draws' laws;
* for what depends on the probability integral transforms alone, targets whose transforms are
  uniform: of a normal law, whatever was predicted.

A metric names one of these by ``@metric_properties(chance=...)``
(:mod:`bayes_sbn.metrics.properties`); what is done with the values is said in
:mod:`bayes_sbn.metrics.resampling`.

References:
    J. Bröcker, L. A. Smith. Increasing the reliability of reliability diagrams. Weather and
    Forecasting 22, 2007 (labels redrawn from the forecast: consistency resampling).
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import UndefinedMetricWarning, probabilities_and_labels
from bayes_sbn.metrics.properties import Chance, Metric, OneByChance
from bayes_sbn.metrics.regression_arguments import NormalMixture, mixture_and_targets

Array = npt.NDArray[np.float64]

_CALL = "the interval of a calibration error"
_USUAL = 199  # redraws


def of_labels(metric: Metric, pred: Any, y: npt.ArrayLike) -> OneByChance:
    """A metric of class probabilities, on labels drawn from them."""
    probs, _ = probabilities_and_labels(_CALL, pred, y)
    draw = labels_drawn_from(probs)
    return lambda generator: metric(probs, draw(generator))


def of_targets(metric: Metric, pred: Any, y: npt.ArrayLike) -> OneByChance:
    """A metric of predicted laws, on targets drawn from them."""
    mixture, target = mixture_and_targets(_CALL, pred, y)
    mean, scale = mixture.mean_per_draw, mixture.scale_per_draw
    rows = np.arange(len(target))

    def one(generator: np.random.Generator) -> float:
        draw = generator.integers(len(mean), size=len(rows))
        normal = generator.standard_normal(len(rows))
        return metric(mixture, mean[draw, rows] + scale[draw, rows] * normal)

    return one


def of_transforms(metric: Metric, pred: Any, y: npt.ArrayLike) -> OneByChance:
    """A metric of probability integral transforms, on uniform ones."""
    _, target = mixture_and_targets(_CALL, pred, y)
    normal_law = NormalMixture(np.zeros(len(target)), 1.0)
    return lambda generator: metric(normal_law, generator.standard_normal(len(target)))


def labels_drawn_from(probs: Array) -> Callable[..., npt.NDArray[np.int64]]:
    """A function of a generator that draws a label from each row of probabilities.

    Of ``(generator, times)`` it gives (times, rows), the same as one after the other.
    """
    below = probs.cumsum(axis=-1)[:, :-1]

    def draw(generator: np.random.Generator, *times: int) -> npt.NDArray[np.int64]:
        return np.asarray(np.sum(generator.random((*times, len(below), 1)) >= below, axis=-1))

    return draw


def num_redraws(bootstrap: int, level: float) -> int:
    """How often outcomes are redrawn: as often as the level needs, and 199 times if allowed."""
    return min(bootstrap, max(_USUAL, math.ceil(2 / (1 - level) - 1 - 1e-6)))


def redraw_generator(seed: int) -> np.random.Generator:
    """The generator of the redraws, which is not that of the resamples."""
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])


def values_by_chance(
    chance: Chance, metric: Metric, pred: object, y: npt.ArrayLike, redraws: int, seed: int
) -> Array:
    """The metric on outcomes redrawn again and again, (redraws,)."""
    one = chance(metric, pred, y)
    generator = redraw_generator(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # its NaN is left out
        return np.array([one(generator) for _ in range(redraws)])


def with_options_of(metric: Metric, other: Metric) -> Metric:
    """Another metric with the options that ``functools.partial`` gave to the first."""
    if isinstance(metric, functools.partial):
        return functools.partial(other, *metric.args, **metric.keywords)
    return other
