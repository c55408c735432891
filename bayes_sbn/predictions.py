r"""Predictions: the class probabilities of every draw of a posterior, and what follows from them.

The one result object of prediction.  It holds probabilities :math:`p_{snc}` over the named dims
(draw, row, class) and answers from them the predictive distribution, their mean over the draws
:math:`\bar p_{nc} = \tfrac1S \sum_s p_{snc}`, the posterior of the probabilities themselves by
intervals and quantiles, and its uncertainty in parts (:mod:`bayes_sbn.predictions_uncertainty`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import check_labels, check_level, check_probabilities
from bayes_sbn.predictions_file import Kind
from bayes_sbn.predictions_samples import (
    frequencies,
    one_of,
    probabilities_of,
    site_values,
)
from bayes_sbn.predictions_uncertainty import PredictionsUncertainty

_BLOCK = 2**17  # entries of a block of rows in quantiles, 1 MB


class Predictions(PredictionsUncertainty):
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
    def shape(self) -> tuple[int, int, int]:
        """(draws, rows, classes)."""
        draws, rows, classes = self.probs_per_draw.shape
        return draws, rows, classes

    # The predictive distribution: of the mean over the draws.

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
            # Sorting runs along the memory where the draws are the last axis, in a copy, also where
            # they are the last already, or there is one.
            probs = np.array(np.moveaxis(self.probs_per_draw[:, block], 0, -1), order="C")
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
