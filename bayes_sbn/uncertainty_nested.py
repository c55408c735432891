r"""Predictive uncertainty in three parts: of the weights, of the activations, of the likelihood.

Of each draw s of the weights there are M draws of the activations.  With class probabilities
:math:`p_{sm}` of a row, :math:`\bar p_s` their mean over m and :math:`\bar p` that over both,

.. math::
    \underbrace{H(\bar p)}_{\text{total}} =
    \underbrace{H(\bar p) - \tfrac1S \sum_s H(\bar p_s)}_{\text{weights}} +
    \underbrace{\tfrac1S \sum_s \bigl[H(\bar p_s) - \tfrac1M \sum_m H(p_{sm})\bigr]
    }_{\text{activations}} +
    \underbrace{\tfrac1{SM} \sum_{sm} H(p_{sm})}_{\text{likelihood}} ,

two mutual informations and an entropy.  For a real target with means :math:`m_{sm}` and variances
:math:`\sigma_{sm}^2` the same law splits the variance,

.. math::
    \operatorname{Var} y =
    \underbrace{\operatorname{Var}_s \bar m_s}_{\text{weights}} +
    \underbrace{\operatorname{E}_s \operatorname{Var}_m m_{sm}}_{\text{activations}} +
    \underbrace{\operatorname{E}_{sm} \sigma_{sm}^2}_{\text{likelihood}} .

With few draws the plug-in parts are biased, the activations' low, and the weights' low by few draws
of them and high by few of the activations, whose noise is left in :math:`\bar p_s`.  The jackknife
over m corrects :math:`H(\bar p_s)`, that over s corrects :math:`H(\bar p)`; of variances it gives
the unbiased estimates of the analysis of variance, by which the weights' part may be negative.

Standard errors are jackknife ones over s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayes_sbn.uncertainty import Correction, entropy, jackknife_standard_error, split_exactly

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ThreeParts:
    """Uncertainty of each row in three parts, with standard errors; arrays (rows,).

    ``likelihood + activations + weights == total`` in every bit, summed in that order: nats of
    entropy for class labels, variance for a real target.

    Args:
        total: entropy of the mean probabilities, or variance of the mixture.
        weights: what knowing the weights would take away.
        activations: what knowing the activations, too, would take away.
        likelihood: what is left.
        total_se: standard error of the total.
        weights_se: of the weights' part.
        activations_se: of the activations' part.
        likelihood_se: of the likelihood's part.
        correction: None for plug-in numbers, "jackknife" for bias-corrected ones.
        num_draws: draws of the weights.
        num_activations: draws of the activations for each.
    """

    total: Float64
    weights: Float64
    activations: Float64
    likelihood: Float64
    total_se: Float64
    weights_se: Float64
    activations_se: Float64
    likelihood_se: Float64
    correction: Correction
    num_draws: int
    num_activations: int


def entropy_parts(probs: Float64, correction: Correction) -> ThreeParts:
    """The parts of the entropy of class probabilities (draws, activations, rows, classes)."""
    num_draws, num_activations = probs.shape[:2]
    of_draw = probs.mean(axis=1)
    inner = np.stack([entropy(each) for each in of_draw])  # H of each draw's mean
    left = np.stack([entropy(each).mean(axis=0) for each in probs])
    if correction == "jackknife":
        for s, each in enumerate(probs):
            without = (num_activations * of_draw[s] - each) / (num_activations - 1)
            gap = inner[s] - entropy(np.maximum(without, 0)).mean(axis=0)
            inner[s] += (num_activations - 1) * np.maximum(gap, 0)
    mean = of_draw.mean(axis=0)
    total = entropy(mean)
    if num_draws == 1:
        return _parts(total, inner, left, np.full((1, len(total)), np.nan), correction, probs)
    without_draw = np.stack(
        [entropy(np.maximum((num_draws * mean - p) / (num_draws - 1), 0)) for p in of_draw]
    )
    if correction == "jackknife":
        total = total + (num_draws - 1) * np.maximum(total - without_draw.mean(axis=0), 0)
    return _parts(total, inner, left, without_draw, correction, probs)


def variance_parts(mean: Float64, scale: Float64, correction: Correction) -> ThreeParts:
    """The parts of the variance of normal laws, (draws, activations, rows)."""
    num_draws, num_activations = mean.shape[:2]
    ddof = int(correction == "jackknife")
    left = (scale**2).mean(axis=1)
    of_draw = mean.mean(axis=1)
    within = mean.var(axis=1, ddof=ddof)
    between = of_draw.var(axis=0, ddof=ddof)
    if correction == "jackknife":
        between = between - within.mean(axis=0) / num_activations
    inner = left + within
    total = inner.mean(axis=0) + between
    if num_draws == 1:
        return _parts(total, inner, left, np.full(inner.shape, np.nan), correction, mean)
    keep = ~np.eye(num_draws, dtype=bool)
    spread = np.stack([of_draw[some].var(axis=0) for some in keep])
    without_draw = spread + (num_draws * inner.mean(axis=0) - inner) / (num_draws - 1)
    return _parts(total, inner, left, without_draw, correction, mean)


def _parts(
    total: Float64,
    inner: Float64,
    left: Float64,
    without_draw: Float64,
    correction: Correction,
    draws: Float64,
) -> ThreeParts:
    """The record.

    Args:
        total: of all draws, (rows,).
        inner: what each draw of the weights leaves, (draws, rows).
        left: what its activations leave, (draws, rows).
        without_draw: the total without each draw, (draws, rows); NaN for a single draw.
        correction: of the numbers.
        draws: an array whose first axes are draws and activations.
    """
    num_draws = len(inner)
    rest = inner.mean(axis=0)
    weights = total - rest
    rest = total - weights  # so that rest + weights is the total again, up to a last bit
    likelihood, activations = split_exactly(rest, left.mean(axis=0))
    total = (likelihood + activations) + weights
    if num_draws == 1:
        total_se = weights_se = activations_se = likelihood_se = without_draw[0]
    else:
        inner_without = (num_draws * inner.mean(axis=0) - inner) / (num_draws - 1)
        left_without = (num_draws * left.mean(axis=0) - left) / (num_draws - 1)
        total_se = jackknife_standard_error(without_draw)
        weights_se = jackknife_standard_error(without_draw - inner_without)
        activations_se = jackknife_standard_error(inner_without - left_without)
        likelihood_se = jackknife_standard_error(left_without)
    return ThreeParts(
        total,
        weights,
        activations,
        likelihood,
        total_se,
        weights_se,
        activations_se,
        likelihood_se,
        correction,
        num_draws,
        draws.shape[1],
    )
