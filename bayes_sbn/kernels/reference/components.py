r"""Which component of a mixture of networks a draw belongs to: the definition.

Draws are stratified.  Of C components with weights pi, draw s has the place

    ``t = ((s + r) mod C) * 2**32 + v``      in ``[0, C * 2**32)``

and belongs to the component that is the number of c with ``Q_c <= t``, where ``Q_c = rint(C * 2**32
* (pi_0 + ... + pi_c))`` and the last is ``C * 2**32``.  ``v`` is output word 1 of Philox4x32-10
(purpose 7) at ``(0, 0, s, 7 << 8)``, and ``r = (w * C) >> 32`` with w output word 0 at ``(0, 0, 0,
7 << 8)``: a rotation that all draws share, uniform to :math:`C / 2^{32}`.

So a draw alone has component c with probability ``pi_c``, and C draws in a row have one place in
each of C equal strata: with equal weights they are of C different components.  A draw's component
depends on (seed, stream, draw) and the weights alone (:mod:`bayes_sbn.kernels.reference.sampling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.network import Network
from bayes_sbn.kernels.reference.sampling import Int64, Key, counter_word
from bayes_sbn.philox import philox4x32_numpy

COMPONENTS = 7
"""The purpose of the words that choose components."""

LARGEST_NUM_COMPONENTS = 1 << 16


def component_bounds(weights: Float64) -> Int64:
    """``Q_c``, int64: the first place that is beyond each component.

    Args:
        weights: of the components, not negative, of sum 1.
    """
    whole = len(weights) << 32
    bounds: Int64 = np.rint(np.cumsum(weights) * float(whole)).astype(np.int64)
    bounds[-1] = whole
    return np.minimum(bounds, whole)


def draw_components(key: Key, draws: Int64, weights: Float64) -> Int64:
    """The component of each draw, int64, shape (draws,).

    Args:
        key: of :func:`bayes_sbn.philox.fold_stream`.
        draws: indices of the draws.
        weights: of the components, float64, not negative, of sum 1.
    """
    number = len(weights)
    c3 = counter_word(0, COMPONENTS)
    rotation = (int(philox4x32_numpy(0, 0, 0, c3, *key)[0]) * number) >> 32
    within = philox4x32_numpy(0, 0, np.asarray(draws), c3, *key)[1].astype(np.int64)
    place = ((np.asarray(draws) + rotation) % number << 32) + within
    return np.searchsorted(component_bounds(weights), place, side="right").astype(np.int64)


@dataclass(frozen=True, eq=False)
class Mixture:
    """Networks of the same shape, and the probabilities that a draw is of each.

    Args:
        networks: the components.
        weights: their probabilities, of sum 1.
    """

    networks: tuple[Network, ...]
    weights: Float64

    @classmethod
    def of(cls, *networks: Network) -> Mixture:
        """Networks of equal weights."""
        return cls(networks, np.full(len(networks), 1 / len(networks)))

    def components(self, key: Key, draws: Int64) -> Int64:
        """The component of each draw."""
        return draw_components(key, draws, self.weights)

    def of_each(self, components: Int64) -> Sequence[tuple[Network, Int64]]:
        """The networks that occur, each with the positions at which it does."""
        return [
            (network, np.flatnonzero(components == index))
            for index, network in enumerate(self.networks)
            if (components == index).any()
        ]
