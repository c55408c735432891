r"""The predictive distribution of few ±1 weights, averaged over all states of weights and units.

With states w of posterior π, and z of the last activations,

.. math::
    p(y | x) = \sum_w \pi(w) \sum_z p(z | x, w)\, p(y | z, w),

and the uncertainty of y, its entropy for labels and its variance for real targets, is the sum of
three parts: what is left given w and z (the likelihood), what z adds given w, and what w adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bayes_sbn.analysis.activation_sums import (
    Block,
    blocks,
    by_layers,
    class_probs,
    log_likelihoods,
    targets,
)
from bayes_sbn.analysis.small_network import Float64, SmallNetwork


@dataclass(frozen=True, eq=False)
class ExactParts:
    """The uncertainty of each row in three parts, (rows,) each, without Monte Carlo error.

    Args:
        total: entropy of a label in nats, or variance of a real target.
        weights: what the weights add to it.
        activations: what the activations add, given the weights.
        likelihood: what is left, given both.
    """

    total: Float64
    weights: Float64
    activations: Float64
    likelihood: Float64


class ExactPredictive:
    """The predictive distribution of rows; made by ``ExactPosterior.predictive``.

    Args:
        network: the network.
        log_probs: of every state of its weights, (states,).
        x: inputs, (rows, inputs).
    """

    def __init__(self, network: SmallNetwork, log_probs: Float64, x: npt.ArrayLike) -> None:
        self._network = network
        self._log_probs = log_probs
        self._x = network.inputs("ExactPosterior.predictive()", x)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._x)

    @property
    def mean(self) -> Float64:
        """Class probabilities, (rows, classes); or the mean of a real target, (rows,)."""
        return self._sums[0]

    @property
    def parts(self) -> ExactParts:
        """The uncertainty of each row, and what weights, activations and likelihood have in it."""
        return self._sums[1]

    def log_prob(self, y: npt.ArrayLike) -> Float64:
        """Log predictive probability, or density, of each row's target; (rows,).

        Args:
            y: labels or real targets, (rows,).
        """
        observed = targets("ExactPredictive.log_prob()", self._network, y, len(self))
        log_probs = by_layers(self._network, self._log_probs)
        found = np.full(len(self), -np.inf)
        for block in blocks(self._network, self._x):
            each = log_likelihoods(self._network, block, observed[block.rows], "bayes")
            each = each + log_probs[block.states].T[:, None, :]
            total = np.logaddexp.reduce(each, axis=(0, 2))
            found[block.rows] = np.logaddexp(found[block.rows], total)
        return found

    @cached_property
    def _sums(self) -> tuple[Float64, ExactParts]:
        if self._network.likelihood == "categorical":
            return self._of_labels()
        return self._of_targets()

    def _of_labels(self) -> tuple[Float64, ExactParts]:
        mean = np.zeros((len(self), self._network.num_outputs))
        given_weights, given_both = np.zeros(len(self)), np.zeros(len(self))
        for block, weight, mass in self._blocks():
            probs = class_probs(block)  # (last, rows or 1, activations, classes)
            each = np.einsum("brz,lrzc->brlc", mass, _for_rows(probs, mass))
            together = np.tensordot(weight, mass, (0, 0))  # (last, rows, activations)
            mean[block.rows] += np.einsum("lrz,lrzc->rc", together, _for_rows(probs, mass))
            given_weights[block.rows] += np.einsum("bl,brl->r", weight, _entropy(each))
            spread = _for_rows(_entropy(probs), mass)
            given_both[block.rows] += (together * spread).sum((0, 2))
        total = _entropy(mean)
        weights, activations = total - given_weights, given_weights - given_both
        return mean, ExactParts(total, weights, activations, given_both)

    def _of_targets(self) -> tuple[Float64, ExactParts]:
        assert self._network.sigma is not None
        # means of the target less the first of them: squares of what is small do not cancel
        centre: float | None = None
        sums = np.zeros((3, len(self)))  # of m, of (E[m | w])^2, of E[m^2 | w]
        for block, weight, mass in self._blocks():
            if centre is None:
                centre = float(block.values.flat[0])
            gap = _for_rows(block.values[..., 0] - centre, mass)  # (last, rows, activations)
            each = np.einsum("brz,lrz->brl", mass, gap)
            squares = np.einsum("brz,lrz->brl", mass, gap**2)
            terms = np.stack([each, each**2, squares])
            sums[:, block.rows] += np.einsum("bl,kbrl->kr", weight, terms)
        mean, of_means, of_squares = sums
        weights = np.maximum(of_means - mean**2, 0.0)
        activations = np.maximum(of_squares - of_means, 0.0)
        likelihood = np.full(len(self), self._network.sigma**2)
        total = weights + activations + likelihood
        return mean + (centre or 0.0), ExactParts(total, weights, activations, likelihood)

    def _blocks(self) -> Iterator[tuple[Block, Float64, Float64]]:
        """Blocks, the posterior of their states (before, last), and the activations' masses."""
        probs = by_layers(self._network, np.exp(self._log_probs))
        for block in blocks(self._network, self._x):
            yield block, probs[block.states].T, np.exp(block.log_mass)


def _for_rows(values: Float64, mass: Float64) -> Float64:
    """Values (last, rows or 1, ...), of as many rows as the masses (before, rows, ...) have."""
    return np.broadcast_to(values, (len(values), mass.shape[1], *values.shape[2:]))


def _entropy(probs: Float64) -> Float64:
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(probs > 0, probs * np.log(probs), 0.0)
    return np.asarray(-terms.sum(-1))
