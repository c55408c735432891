r"""Predictions: the class probabilities of every draw of a posterior, and what follows from them.

The one result object of prediction.  It holds probabilities :math:`p_{snc}` over the named dims
(draw, row, class) and answers from them the predictive distribution, their mean over the draws
:math:`\bar p_{nc} = \tfrac1S \sum_s p_{snc}`, and the posterior of the probabilities themselves:
intervals, quantiles, and the entropy of :math:`\bar p` in its aleatoric and epistemic parts
(:mod:`bayes_sbn.uncertainty`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_labels, check_level, check_probabilities
from bayes_sbn.predictions_base import PredictionsBase, read_only
from bayes_sbn.predictions_file import Kind
from bayes_sbn.predictions_samples import (
    frequencies,
    one_of,
    probabilities_of,
    site_values,
)
from bayes_sbn.uncertainty import (
    Correction,
    Decomposition,
    decompose,
    entropy,
    mean_entropy,
    split_exactly,
)

_BLOCK = 2**17  # entries of a block of rows in quantiles, 1 MB


class Predictions(PredictionsBase):
    """Class probabilities of every draw, over the dims (draw, row, class); immutable.

    A float64 array is held as it is, not copied: do not write to it afterwards.  What is computed
    from it is computed on first use, kept, and read-only.

    Args:
        probs_per_draw: probabilities (draws, rows, classes), an array or tensor, each in [0, 1] and
            summing to 1 over the classes within 1e-6.
        attrs: where they come from, such as ``{"seed": 0}``: names and values that JSON can hold,
            kept as JSON gives them back (a tuple becomes a list).

    Example:
        >>> pred = Predictions([[[0.9, 0.1]], [[0.5, 0.5]]])
        >>> pred.mean
        array([[0.7, 0.3]])
        >>> pred
        Predictions(draw=2, row=1, class=2)
    """

    dims: ClassVar[tuple[str, str, str]] = ("draw", "row", "class")
    """The names of the axes of ``probs_per_draw``."""

    _kind = Kind("Predictions", "bayes_sbn.predictions", dims, ("probs_per_draw",))

    def __init__(
        self, probs_per_draw: npt.ArrayLike, *, attrs: Mapping[str, object] | None = None
    ) -> None:
        probs = check_probabilities(
            "Predictions()", probs_per_draw, self.dims, may_have_no_rows=True
        )
        self._hold({"probs_per_draw": probs}, attrs)

    @classmethod
    def from_predictive(
        cls,
        samples: Mapping[str, npt.ArrayLike],
        *,
        probs: str | None = None,
        logits: str | None = None,
        labels: str | None = None,
        num_classes: int | None = None,
        attrs: Mapping[str, object] | None = None,
    ) -> Predictions:
        """From what ``pyro.infer.Predictive`` returned: a dict of samples by site.

        Axes of size 1 that ``Predictive`` puts between draws and rows are taken out.  Of sampled
        labels only the frequencies over the draws are known, which are the predictive distribution
        and do not tell aleatoric from epistemic uncertainty: they make one draw, whose ``attrs``
        have ``"frequencies_of"``, and questions about the spread over draws are errors.

        Args:
            samples: values by name, arrays or tensors, draws along the first axis.
            probs: the site that holds class probabilities, (draws, rows, classes), such as a
                ``pyro.deterministic`` one.
            logits: or the site that holds their logarithms up to a constant.
            labels: or the site of sampled labels, (draws, rows).
            num_classes: with ``labels``, the number of classes.
            attrs: as for the class.

        Example:
            >>> samples = {"y": [[0, 1], [0, 0], [1, 1], [0, 1]]}  # 4 draws of 2 rows
            >>> Predictions.from_predictive(samples, labels="y", num_classes=2).mean
            array([[0.75, 0.25],
                   [0.25, 0.75]])
        """
        call = "Predictions.from_predictive()"
        given = {"probs": probs, "logits": logits, "labels": labels}
        kind, site = one_of(call, given, samples)
        if kind != "labels":
            values = site_values(call, samples, site, ("draw", "row", "class"))
            return cls(probabilities_of(call, values, is_logits=kind == "logits"), attrs=attrs)
        values = site_values(call, samples, site, ("draw", "row"))
        counts = frequencies(call, values, num_classes)
        return cls(counts[None], attrs={**(attrs or {}), "frequencies_of": len(values)})

    @property
    def probs_per_draw(self) -> npt.NDArray[np.float64]:
        """Probabilities of every draw; (draws, rows, classes)."""
        return self._held["probs_per_draw"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(draws, rows, classes)."""
        draws, rows, classes = self.probs_per_draw.shape
        return draws, rows, classes

    # The predictive distribution: the mean over the draws.

    @cached_property
    def mean(self) -> npt.NDArray[np.float64]:
        """The predictive probabilities: the average over the draws; (rows, classes)."""
        return read_only(self.probs_per_draw.mean(axis=0))

    @cached_property
    def mode(self) -> npt.NDArray[np.int64]:
        """The most probable class of the mean, the lowest winning a tie; (rows,)."""
        mode = np.asarray(self.mean.argmax(axis=-1), dtype=np.int64)
        mode.flags.writeable = False
        return mode

    def log_prob(self, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Log of the predictive probability of each label; -inf where it is 0; (rows,).

        Args:
            y: labels (rows,), integers in 0 ... classes - 1.
        """
        labels = check_labels("Predictions.log_prob()", y, *self.mean.shape)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.take_along_axis(self.mean, labels[:, None], axis=-1)[:, 0]))

    def credible_set(self, level: float = 0.9) -> npt.NDArray[np.bool_]:
        """The fewest classes whose predictive probabilities reach the level; (rows, classes).

        Classes enter in the order of their probability, the lowest of equal ones first; a class of
        probability 0 never does.

        Args:
            level: probability to reach, in (0, 1].
        """
        if level != 1:
            level = check_level("Predictions.credible_set()", level)
        order = np.argsort(-self.mean, axis=-1, kind="stable")
        reached = np.cumsum(np.take_along_axis(self.mean, order, axis=-1), axis=-1)
        # A class is needed where those before it fall short.  The slack is for the rounding of the
        # sum: 0.87 + 0.06 reaches 0.93.
        needed = np.ones(reached.shape, dtype=np.bool_)
        needed[:, 1:] = reached[:, :-1] < level * reached[:, -1:] - 1e-12
        members = np.empty_like(needed)
        np.put_along_axis(members, order, needed, axis=-1)
        return members

    # The posterior of the probabilities: their spread over the draws.

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

    def quantile(self, q: float | npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Quantiles of each probability over the draws, interpolated linearly.

        Args:
            q: one level in [0, 1], or several.

        Returns:
            (rows, classes) for one level, (levels, rows, classes) for several.
        """
        self._need_draws("quantile()")
        levels = np.asarray(q, dtype=np.float64)
        if levels.ndim > 1 or not np.all((levels >= 0) & (levels <= 1)):
            raise ValueError(
                f"Predictions.quantile() needs levels in [0, 1], one or a list: received {q!r}. "
                "Write quantile(0.5) for the median."
            )
        draws, rows, classes = self.shape
        quantiles = np.empty((*levels.shape, rows, classes))
        size = max(1, _BLOCK // (draws * classes))
        for start in range(0, rows, size):
            block = slice(start, start + size)
            # Sorting runs along the memory where the draws are the last axis.
            probs = np.ascontiguousarray(np.moveaxis(self.probs_per_draw[:, block], 0, -1))
            quantiles[..., block, :] = np.quantile(probs, levels, axis=-1, overwrite_input=True)
        return quantiles

    def interval(
        self, level: float = 0.9
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Ends of the equal-tailed interval of each probability over the draws.

        Args:
            level: share of the draws between the ends, in (0, 1).

        Returns:
            Low and high, each (rows, classes).
        """
        tail = (1 - check_level("Predictions.interval()", level)) / 2
        low, high = self.quantile([tail, 1 - tail])
        return low, high

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
