r"""The uncertainty of class probabilities over draws, in its aleatoric and epistemic parts.

With probabilities :math:`p_{snc}` and their mean :math:`\bar p_{nc}` over the draws,

.. math::

    \bar p (1 - \bar p) &= \tfrac1S \sum_s p_s (1 - p_s) + \tfrac1S \sum_s (p_s - \bar p)^2, \\
    H(\bar p) &= \tfrac1S \sum_s H(p_s) + I,

the variance of a class's indicator and the entropy of the label (:mod:`bayes_sbn.uncertainty`):
what each draw says itself, and what the draws do not agree in.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from bayes_sbn.predictions_base import PredictionsBase, read_only
from bayes_sbn.uncertainty import (
    Correction,
    Decomposition,
    decompose,
    entropy,
    mean_entropy,
    split_exactly,
)


class PredictionsUncertainty(PredictionsBase):
    """Probabilities (draws, rows, classes), their mean and spread, and the parts of both."""

    @property
    def probs_per_draw(self) -> npt.NDArray[np.float64]:
        """Probabilities of every draw; (draws, rows, classes)."""
        return self._held["probs_per_draw"]

    @cached_property
    def mean(self) -> npt.NDArray[np.float64]:
        """The predictive probabilities: the average over the draws; (rows, classes)."""
        return read_only(self.probs_per_draw.mean(axis=0))

    @cached_property
    def std(self) -> npt.NDArray[np.float64]:
        """Standard deviation of each probability over the draws; (rows, classes).

        Divided by the number of draws, not by one less, as the laws of total variance and total
        entropy need; 0 for a single draw.
        """
        self._need_draws("std")
        squares = np.zeros_like(self.mean)
        gap = np.empty_like(self.mean)
        for probs in self.probs_per_draw:
            np.subtract(probs, self.mean, out=gap)
            gap *= gap
            squares += gap
        return read_only(np.sqrt(squares / len(self.probs_per_draw)))

    # Variance of the indicator of each class: aleatoric + epistemic, by the law of total variance.

    @cached_property
    def variance(self) -> npt.NDArray[np.float64]:
        """Variance of the indicator that a class is the label, ``p (1 - p)``; (rows, classes)."""
        return read_only(self.mean * (1 - self.mean))

    @property
    def aleatoric_variance(self) -> npt.NDArray[np.float64]:
        """Mean over the draws of their ``p (1 - p)``: ``variance - std**2``; (rows, classes)."""
        return self._variance_parts[0]

    @property
    def epistemic_variance(self) -> npt.NDArray[np.float64]:
        """Variance of ``p`` over the draws, ``std**2``; (rows, classes)."""
        return self._variance_parts[1]

    @cached_property
    def _variance_parts(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        spread = np.minimum(self.std**2, self.variance)  # more only by rounding
        aleatoric, epistemic = split_exactly(self.variance, self.variance - spread)
        return read_only(aleatoric), read_only(epistemic)

    # Entropies, in nats: aleatoric + epistemic == entropy in every bit.

    @cached_property
    def entropy(self) -> npt.NDArray[np.float64]:
        """Entropy of the mean, the total uncertainty; plug-in, nats; (rows,)."""
        return read_only(entropy(self.mean))

    @property
    def aleatoric(self) -> npt.NDArray[np.float64]:
        """Mean entropy of the draws; nats; (rows,)."""
        return self._parts[0]

    @property
    def epistemic(self) -> npt.NDArray[np.float64]:
        """Entropy minus aleatoric: mutual information of label and draw; plug-in, nats; (rows,).

        Never negative; 0 for a single draw.  Biased low for few draws: see :meth:`decompose`.
        """
        return self._parts[1]

    @cached_property
    def _parts(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        self._need_draws("aleatoric and epistemic")
        if len(self.probs_per_draw) == 1:
            return self.entropy, read_only(np.zeros(len(self)))
        aleatoric, epistemic = split_exactly(self.entropy, mean_entropy(self.probs_per_draw))
        return read_only(aleatoric), read_only(epistemic)

    def decompose(self, correction: Correction = None) -> Decomposition:
        """Entropy in parts with Monte-Carlo standard errors, corrected for few draws on request.

        Args:
            correction: None for the plug-in numbers, those of ``entropy``, ``aleatoric`` and
                ``epistemic``; "jackknife" to remove their bias of order 1/draws.

        Returns:
            A record of total, aleatoric, epistemic and their standard errors, each (rows,).  For a
            single draw the standard errors are NaN: one draw says nothing of its spread.

        Raises:
            ValueError: for the jackknife of a single draw, which is not defined.
        """
        if correction not in (None, "jackknife"):
            raise ValueError(
                f"Predictions.decompose() needs correction=None or correction='jackknife': "
                f"received {correction!r}. Write decompose(correction='jackknife')."
            )
        if correction == "jackknife" and len(self.probs_per_draw) == 1:
            raise ValueError(
                "Predictions.decompose(correction='jackknife') needs at least 2 draws: received 1. "
                "Predict with more draws, or write decompose() for the plug-in numbers."
            )
        self._need_draws("decompose()")
        return decompose(self.probs_per_draw, correction)

    def _need_draws(self, what: str) -> None:
        """Raise where the probabilities are frequencies of labels."""
        if "frequencies_of" in self.attrs:
            raise ValueError(
                f"Predictions.{what}: these probabilities are frequencies of sampled labels, which "
                "say nothing of the spread over draws. Give the class probabilities of each draw, "
                'as in Predictions.from_predictive(samples, probs="probs") of a '
                "pyro.deterministic site."
            )
