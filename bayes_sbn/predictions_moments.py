r"""PredictionMoments: what the draws say on average, summed up as they come and not kept.

For draws :math:`p_1, \dots, p_S` of a row's class probabilities, with :math:`d_s = p_s - p_1`,

.. math::
    \bar p = p_1 + \tfrac1S \sum_s d_s, \qquad
    \mathrm{var} = \tfrac1S \sum_s d_s^2 - \Big(\tfrac1S \sum_s d_s\Big)^2, \qquad
    \text{aleatoric} = \tfrac1S \sum_s H(p_s),

which take as much memory for a thousand draws as for two.  Differences from the first draw keep the
variance of probabilities that are all near 0 or 1 from cancelling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_labels
from bayes_sbn.uncertainty import entropy, split_exactly

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PredictionMoments:
    """Mean and spread of class probabilities over draws that are not kept.

    Made by :meth:`bayes_sbn.Ensemble.predict_moments`.  Its numbers are those of
    :class:`bayes_sbn.Predictions` of the same draws, up to rounding.

    Args:
        mean: mean probabilities over the draws, (rows, classes).
        std: their standard deviation, divided by the number of draws, (rows, classes).
        aleatoric: mean entropy of the draws in nats, (rows,).
        epistemic: entropy of the mean less that, (rows,).
        num_draws: how many draws there were.
        attrs: where they come from.
    """

    mean: Float64
    std: Float64
    aleatoric: Float64
    epistemic: Float64
    num_draws: int
    attrs: Mapping[str, object] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.mean)

    @cached_property
    def mode(self) -> npt.NDArray[np.int64]:
        """The most probable class of each row, the first of equals; (rows,)."""
        return np.asarray(self.mean.argmax(axis=-1), np.int64)

    @cached_property
    def entropy(self) -> Float64:
        """Entropy of the mean, the total uncertainty; plug-in, nats; (rows,)."""
        return self.aleatoric + self.epistemic

    def log_prob(self, y: npt.ArrayLike) -> Float64:
        """Log of the mean probability of each label; -inf where it is 0; (rows,).

        Args:
            y: labels (rows,), integers in 0 ... classes - 1.
        """
        labels = check_labels("PredictionMoments.log_prob()", y, *self.mean.shape)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.mean[np.arange(len(self)), labels]))

    def __repr__(self) -> str:
        rows, classes = self.mean.shape
        return f"PredictionMoments(row={rows}, class={classes}, of {self.num_draws} draws)"


class RunningMoments:
    """Sums over draws of rows' probabilities, to which blocks of draws are added in their order.

    Args:
        num_rows: number of rows.
        num_classes: number of classes.
    """

    def __init__(self, num_rows: int, num_classes: int) -> None:
        shape = (num_rows, num_classes)
        self.first = np.zeros(shape)
        self.sums, self.squares = np.zeros(shape), np.zeros(shape)
        self.entropies = np.zeros(num_rows)
        self.counts = np.zeros(num_rows, np.int64)

    def add(self, rows: slice, probs: Float64) -> None:
        """Add some draws of some rows, one draw after the other: their cut does not matter.

        Args:
            rows: which rows.
            probs: float64, shape (draws, rows, classes).
        """
        for draw in probs:
            if not self.counts[rows].any():
                self.first[rows] = draw
            gap = draw - self.first[rows]
            self.sums[rows] += gap
            self.squares[rows] += gap * gap
            self.entropies[rows] += entropy(draw)
            self.counts[rows] += 1

    def result(self, num_draws: int, attrs: Mapping[str, object]) -> PredictionMoments:
        """The moments of all draws."""
        shift = self.sums / num_draws
        variance = np.maximum(self.squares / num_draws - shift * shift, 0.0)
        mean = self.first + shift
        aleatoric, epistemic = split_exactly(entropy(mean), self.entropies / num_draws)
        return PredictionMoments(
            mean, np.sqrt(variance), aleatoric, epistemic, num_draws, dict(attrs)
        )
