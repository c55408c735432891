r"""Draws that follow their mean: the least relabelling that gives them a new one.

A recalibration of the mean says what :math:`\bar p` becomes, and nothing of the draws
:math:`p_s` behind it.  Here each draw passes through one channel that relabels its classes: a label
c stays with probability :math:`k_c` and otherwise becomes a class that gains, in proportion to what
the class gains,

.. math::
    k_c = \min(1, \bar q_c / \bar p_c), \qquad
    q_{sc} = k_c\, p_{sc} + g_c \sum_j (1 - k_j)\, p_{sj}, \qquad
    g_c = \frac{(\bar q_c - \bar p_c)_+}{\sum_j (\bar q_j - \bar p_j)_+} .

It is the maximal coupling of :math:`\bar p` and :math:`\bar q`: no channel relabels less.  Hence

* the draws average to :math:`\bar q` exactly, and each is a distribution, also where probabilities
  are 0 or 1, for which shifted logits have no solution;
* where :math:`\bar q = \bar p` they stay as they are;
* the mutual information of label and draw, ``epistemic``, can only fall (data processing): a
  recalibration invents no disagreement.  The rest of the new entropy is ``aleatoric``.

References:
    T. Lindvall. Lectures on the Coupling Method. Wiley 1992, chapter I.5.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


def draws_of_mean(draws: Float64, mean: Float64) -> Float64:
    """Class probabilities of every draw, relabelled so that their mean is a given one.

    Args:
        draws: probabilities (draws, rows, classes), each row summing to 1.
        mean: the new mean (rows, classes), each row summing to 1.

    Example:
        >>> draws = np.array([[[0.9, 0.1]], [[0.7, 0.3]]])  # mean (0.8, 0.2)
        >>> draws_of_mean(draws, np.array([[0.4, 0.6]])).round(3)
        array([[[0.45, 0.55]],
        <BLANKLINE>
               [[0.35, 0.65]]])
    """
    old = draws.mean(axis=0)
    gain = np.maximum(mean - old, 0)
    total = gain.sum(axis=-1, keepdims=True)
    share = np.divide(gain, total, out=np.zeros_like(gain), where=total > 0)
    stays = np.divide(mean, old, out=np.ones_like(old), where=mean < old)
    leaves = 1 - stays
    result = np.empty_like(draws)
    for draw, new in zip(draws, result, strict=True):
        moved = np.einsum("nc,nc->n", draw, leaves)
        np.multiply(draw, stays, out=new)
        new += moved[:, None] * share
    # What rounding put beyond 1, in the last place.
    return np.minimum(result, 1, out=result)
