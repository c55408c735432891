r"""Temperature scaling: one number that makes probabilities flatter or sharper.

Probabilities are raised to the power 1/T and normalised, which divides their logits by T.  On the
mean of the draws, or on each of them:

.. math::
    \text{of="mean":}\quad \bar q_c = \frac{\bar p_c^{1/T}}{\sum_j \bar p_j^{1/T}}, \qquad
    \text{of="draws":}\quad q_{sc} = \frac{p_{sc}^{1/T}}{\sum_j p_{sj}^{1/T}}, \quad
    \bar q = \tfrac1S \sum_s q_s .

T is the one that minimises the NLL of :math:`\bar q` on the validation rows.

*On the mean* the order of the classes stays, and with it the accuracy (exact ties apart), and the
NLL is convex in 1/T.  The draws follow by the least relabelling
(:mod:`bayes_sbn.recalibration.draws_of_mean`).

*On the draws* the likelihood of each network is tempered and the disagreement among them is kept.
The accuracy of each draw stays; that of their mean may change.  A mean that is too modest because
the draws disagree cannot be sharpened this way: as T falls each draw becomes a vote for one class,
and :math:`\bar q` the share of votes, in which a label that no draw votes for has probability 0.
Take it where T comes out above 1; otherwise ``of="mean"``.

References:
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger. On calibration of modern neural networks. ICML
    2017.

    R. Rahaman, A. H. Thiery. Uncertainty quantification and deep ensembles. NeurIPS 2021, on the
    order of averaging and scaling.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from bayes_sbn.metrics.arguments import Predicted
from bayes_sbn.recalibration.arguments import (
    SMALLEST_LABEL_PROBABILITY,
    few_rows,
    warn,
)
from bayes_sbn.recalibration.calibration_file import Fitted
from bayes_sbn.recalibration.draws_of_mean import draws_of_mean
from bayes_sbn.recalibration.recalibration import ClassRecalibration

Float64 = npt.NDArray[np.float64]

LOWEST, HIGHEST = 0.01, 100.0
"""The temperatures among which the best is sought."""

_GRID = 41  # logarithmic; the NLL of several draws may have more than one minimum
_ENOUGH_ROWS = 50


class TemperatureScaling(ClassRecalibration):
    """Powers 1/T of probabilities, with the T of least NLL; T > 1 flattens, T < 1 sharpens.

    Args:
        of: ``"mean"`` to scale the mean of the draws, which keeps the accuracy; ``"draws"`` to
            scale each draw.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> p = rng.dirichlet([1.0, 1.0, 1.0], 5000)
        >>> y = (p.cumsum(-1) < rng.random((5000, 1))).sum(-1)  # labels drawn from p
        >>> overconfident = p**2 / (p**2).sum(-1, keepdims=True)
        >>> scaling = TemperatureScaling().fit(overconfident, y)
        >>> scaling
        TemperatureScaling(of='mean', temperature=1.94263, rows=5000)
        >>> overconfident[:1].round(2), scaling(overconfident[:1]).round(2), p[:1].round(2)
        (array([[0.31, 0.69, 0.  ]]), array([[0.39, 0.6 , 0.01]]), array([[0.4 , 0.59, 0.01]]))
    """

    def __init__(self, of: Literal["mean", "draws"] = "mean") -> None:
        if of not in ("mean", "draws"):
            raise ValueError(
                f"TemperatureScaling() needs of='mean' or of='draws': received {of!r}. Write "
                "TemperatureScaling() to scale the mean of the draws."
            )
        self._options = {"of": of}

    @property
    def of(self) -> str:
        """What is scaled, ``"mean"`` or ``"draws"``."""
        return str(self._options["of"])

    @property
    def temperature(self) -> float:
        """The fitted T."""
        return float(self._need("temperature").numbers["temperature"])

    def _numbers(
        self, call: str, draws: Float64, labels: npt.NDArray[np.int64]
    ) -> dict[str, Float64]:
        if len(labels) < _ENOUGH_ROWS:
            warn(few_rows(call, len(labels), _ENOUGH_ROWS, "a temperature"))
        if self.of == "mean":
            draws = draws.mean(axis=0, keepdims=True)
        of_label = draws[:, np.arange(len(labels)), labels]
        num_impossible = int((of_label.max(axis=0) == 0).sum())
        if num_impossible:
            warn(
                f"{call}: {num_impossible} validation rows have labels of probability 0, which no "
                "temperature changes; in the fit they count as "
                f"{SMALLEST_LABEL_PROBABILITY:g}. Use more draws, or BetaCalibration()."
            )
        temperature = best_temperature(draws, labels)
        if temperature in (LOWEST, HIGHEST):
            reason = (
                "no label is less probable than another class: the rows hold no error to learn from"
                if temperature == LOWEST
                else "the probabilities say nothing of these labels; see whether rows and labels "
                "are in the same order"
            )
            warn(
                f"{call}: the best temperature is at the bound {temperature:g} of what is sought; "
                f"most often {reason}."
            )
        return {"temperature": np.asarray(temperature)}

    def _draws(self, draws: Float64, fitted: Fitted) -> Float64:
        temperature = float(fitted.numbers["temperature"])
        if temperature == 1:
            return draws
        if self.of == "draws":
            return tempered(draws, temperature)
        return draws_of_mean(draws, tempered(draws.mean(axis=0), temperature))

    def _check(self, fitted: Fitted) -> None:
        temperature = fitted.numbers["temperature"]
        if temperature.shape != () or not 0 < temperature < np.inf or len(fitted.numbers) != 1:
            raise ValueError("there is no positive temperature")

    def _words(self, fitted: Fitted) -> str:
        return f"temperature={float(fitted.numbers['temperature']):.6g}"

    def _refuse(self, call: str, pred: Predicted) -> None:
        if self.of == "draws" and "frequencies_of" in getattr(pred, "attrs", {}):
            raise ValueError(
                f"{call} with of='draws' needs the probabilities of each draw: these are "
                "frequencies of sampled labels. Write TemperatureScaling(of='mean')."
            )


def tempered(probs: Float64, temperature: float) -> Float64:
    """Probabilities to the power 1 / temperature, normalised over the last axis; 0 stays 0.

    Args:
        probs: probabilities (..., classes).
        temperature: a positive number.

    Example:
        >>> tempered(np.array([0.8, 0.2, 0.0]), 0.5).round(4)
        array([0.9412, 0.0588, 0.    ])
    """
    powers = (probs / probs.max(axis=-1, keepdims=True)) ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def best_temperature(draws: Float64, labels: npt.NDArray[np.int64]) -> float:
    """The temperature of each draw that minimises the NLL of the mean of the tempered draws.

    Where all are equally good it is 1; where the best is beyond the bounds, the bound.

    Args:
        draws: probabilities (draws, rows, classes).
        labels: (rows,).
    """
    from scipy.optimize import minimize_scalar

    with np.errstate(divide="ignore"):
        logs = np.log(draws)
    top = logs.max(axis=-1)
    of_label = np.take_along_axis(logs, labels[None, :, None], axis=-1)[..., 0]
    of_label = np.maximum(of_label, np.log(SMALLEST_LABEL_PROBABILITY)) - top
    logs -= top[..., None]

    def mean_nll(log_temperature: float) -> float:
        power = np.exp(-log_temperature)
        of_mean = np.full(len(labels), -np.inf)
        for own, others in zip(of_label, logs, strict=True):
            normaliser = np.log(np.exp(power * others).sum(axis=-1))
            np.logaddexp(of_mean, power * own - normaliser, out=of_mean)
        return float(np.log(len(logs)) - of_mean.mean())

    grid = np.linspace(np.log(LOWEST), np.log(HIGHEST), _GRID)
    losses = [mean_nll(value) for value in grid]
    if max(losses) - min(losses) < 1e-12:
        return 1.0  # of certain or of uniform rows, which no temperature changes
    best = int(np.argmin(losses))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]
    found = minimize_scalar(mean_nll, bounds=(low, high), options={"xatol": 1e-12})
    if best == 0 and losses[0] <= found.fun:
        return LOWEST
    if best == _GRID - 1 and losses[-1] <= found.fun:
        return HIGHEST
    return float(np.exp(found.x))
