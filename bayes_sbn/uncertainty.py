r"""Predictive entropy split into aleatoric and epistemic parts, with finite-draw corrections.

For draws :math:`p_1, \dots, p_S` of a row's class probabilities and their mean :math:`\bar p`,

.. math::
    \underbrace{H(\bar p)}_{\text{total}} =
    \underbrace{\tfrac1S \sum_s H(p_s)}_{\text{aleatoric}} + \text{epistemic},
    \qquad H(p) = -\sum_c p_c \log p_c \text{ in nats},\ 0 \log 0 = 0 .

The epistemic part is the mutual information of the label and the draw.  The aleatoric part is an
unbiased estimate of its limit for :math:`S \to \infty`; the total, a concave function of a mean, is
biased low by O(1/S), and the epistemic part with it.  The jackknife takes the order 1/S away: with
:math:`\bar p_{-s}` the mean without draw s,

.. math::
    H_J = S\, H(\bar p) - \tfrac{S-1}{S} \sum_s H(\bar p_{-s}) .

Concavity makes :math:`H_J \ge H(\bar p)`, so a corrected epistemic part is never negative; near a
uniform mean :math:`H_J` may exceed the logarithm of the number of classes, and is left so, since
cutting it would bring back a bias.  Standard errors are jackknife ones too,
:math:`\mathrm{se}^2 = \tfrac{S-1}{S} \sum_s (\theta_{-s} - \bar\theta_{-\cdot})^2`, which for the
aleatoric part is the usual standard error of a mean.

References:
    S. Depeweg, J. M. Hernández-Lobato, F. Doshi-Velez, S. Udluft. Decomposition of uncertainty in
    Bayesian deep learning. ICML 2018.

    B. Efron, C. Stein. The jackknife estimate of variance. Annals of Statistics 9, 1981.

    S. Zahl. Jackknifing an index of diversity. Ecology 58, 1977 (the jackknife of an entropy).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Correction = Literal["jackknife"] | None
"""How the finite number of draws is corrected for."""

_TINY = np.finfo(np.float64).tiny
_BLOCK = 2**19  # entries of a block of draws, 4 MB: stays in a cache


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Entropy of each row in parts, in nats, with Monte-Carlo standard errors; arrays (rows,).

    ``aleatoric + epistemic == total`` in every bit.  A standard error says how much the number
    would move with as many other draws of the posterior; it is NaN for a single draw.

    Args:
        total: entropy of the mean probabilities, corrected as ``correction`` says.
        aleatoric: mean entropy of the draws.
        epistemic: total minus aleatoric.
        total_se: standard error of the total.
        aleatoric_se: standard error of the aleatoric part.
        epistemic_se: standard error of the epistemic part.
        correction: None for the plug-in numbers, "jackknife" for bias-corrected ones.
        num_draws: draws they were computed from.
    """

    total: npt.NDArray[np.float64]
    aleatoric: npt.NDArray[np.float64]
    epistemic: npt.NDArray[np.float64]
    total_se: npt.NDArray[np.float64]
    aleatoric_se: npt.NDArray[np.float64]
    epistemic_se: npt.NDArray[np.float64]
    correction: Correction
    num_draws: int


def entropy(probs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Entropy over the last axis in nats, with 0 log 0 = 0."""
    # p log max(p, tiny) is p log p for every normal p and 0 for p = 0: no mask, no warning.
    logarithm = np.maximum(probs, _TINY)
    np.log(logarithm, out=logarithm)
    return np.asarray(0.0 - np.einsum("...c,...c->...", probs, logarithm))


def mean_entropy(probs_per_draw: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Entropy averaged over the draws of probabilities (draws, rows, classes); (rows,)."""
    total = np.zeros(probs_per_draw.shape[1])
    for block in _blocks_of_draws(probs_per_draw):
        total += entropy(probs_per_draw[block]).sum(axis=0)
    return total / len(probs_per_draw)


def split_exactly(
    total: npt.NDArray[np.float64], aleatoric: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Aleatoric and epistemic parts whose floating-point sum is the total, in every bit.

    The difference is exact where the aleatoric part is at least half the total (Sterbenz).
    Elsewhere the rounded difference is at least half the total, so subtracting it back is exact,
    and moves the aleatoric part by less than a rounding error of the total.
    """
    # Jensen makes aleatoric <= total; only rounding, as for draws that all agree, says otherwise.
    epistemic = total - np.minimum(aleatoric, total)
    return total - epistemic, epistemic


def decompose(
    probs_per_draw: npt.NDArray[np.float64], correction: Correction = None
) -> Decomposition:
    """The decomposition of probabilities (draws, rows, classes), with standard errors.

    Costs two entropies a draw.

    Args:
        probs_per_draw: float64 probabilities, summing to 1 over the last axis.
        correction: None or "jackknife", which needs at least two draws.
    """
    num_draws, num_rows, _ = probs_per_draw.shape
    mean = probs_per_draw.mean(axis=0)
    plug_in = entropy(mean)
    if num_draws == 1:
        unknown = np.full(num_rows, np.nan)
        return Decomposition(
            plug_in, plug_in, np.zeros(num_rows), unknown, unknown, unknown, correction, 1
        )

    of_draw = np.empty((num_draws, num_rows))
    without_draw = np.empty((num_draws, num_rows))
    for block in _blocks_of_draws(probs_per_draw):
        of_draw[block] = entropy(probs_per_draw[block])
        others = probs_per_draw[block] - mean
        others *= -1 / (num_draws - 1)
        others += mean
        # Where one draw alone has any mass, rounding may leave a little less than none.
        np.maximum(others, 0, out=others)
        without_draw[block] = entropy(others)

    aleatoric = of_draw.mean(axis=0)
    total = plug_in
    if correction == "jackknife":
        # The same as S H - (S - 1) mean H_{-s}, but exactly H where the draws agree.
        total = plug_in + (num_draws - 1) * np.maximum(plug_in - without_draw.mean(axis=0), 0)
    aleatoric_without = (num_draws * aleatoric - of_draw) / (num_draws - 1)
    aleatoric, epistemic = split_exactly(total, aleatoric)
    return Decomposition(
        total,
        aleatoric,
        epistemic,
        jackknife_standard_error(without_draw),
        jackknife_standard_error(aleatoric_without),
        jackknife_standard_error(without_draw - aleatoric_without),
        correction,
        num_draws,
    )


def jackknife_standard_error(
    leave_one_out: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Standard error of a statistic from its values without each draw, (draws, ...)."""
    return np.asarray(np.sqrt(len(leave_one_out) - 1) * leave_one_out.std(axis=0))


def _blocks_of_draws(probs_per_draw: npt.NDArray[np.float64]) -> Iterator[slice]:
    num_draws = len(probs_per_draw)
    size = max(1, _BLOCK // max(1, probs_per_draw[0].size))
    for start in range(0, num_draws, size):
        yield slice(start, min(start + size, num_draws))
