r"""Exact flips of the log of an average over copies, in which a flip changes one copy.

For M copies of a network with log-likelihoods ``l_m`` let ``f = log 1/M sum_m exp l_m``.  A flip of
a bit x of copy m, which moves ``l_m`` by the difference ``d = l_m(x = +1) - l_m(x = -1)``, moves f
by

    f(x = +1) - f(x = -1) = -x log(1 - r + r exp(-x d)),       r = exp(l_m) / sum_k exp(l_k),

r being the share that the copy has in the average.  The derivative of f alone would give ``r d``,
the limit of small differences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayes_sbn.affines.flip_graph import Flips, Gradients, zero_with_flips

if TYPE_CHECKING:
    from bayes_sbn.affines.function import UnitFunction
    from bayes_sbn.affines.pre_activation import PreActivation, Term


def averaged(pre: PreActivation, flips: Flips) -> Flips:
    """The flips of a head, or of the average that its copies are found to be in by backward.

    Args:
        pre: the parameters of the head; :attr:`PreActivation.share` of its source is set by who
            takes the average.
        flips: of the log-likelihood per row.
    """

    def of_the_average(term: Term, g: Tensor, of_inputs: bool, of_weight: bool) -> Gradients:
        share = pre.source.share
        if share is None:
            return flips(term, g, of_inputs, of_weight)
        x_gradient = None
        if of_inputs:
            half, _ = flips(term, torch.ones_like(g), True, False)
            assert half is not None
            x = term.inputs.open.detach()
            rows = x.shape[: half.dim() - term.event_dim]
            if rows != g.shape:
                raise ValueError(
                    f"a bound of several samples: the draw of site "
                    f'"{term.inputs.site}" has the rows {tuple(rows)}, but the '
                    f"log-likelihood {tuple(g.shape)}; draw it inside the plate of the data."
                )
            units = (1,) * term.event_dim
            log_share, log_rest = (t.expand(g.shape).reshape(*g.shape, *units) for t in share)
            change = _change_per_share(log_share, log_rest, x, half)
            x_gradient = g.reshape(*g.shape, *units) * change
        # a weight that all rows share moves all copies; its flips are added, as over places
        return x_gradient, flips(term, g, False, True)[1] if of_weight else None

    return of_the_average


def _change_per_share(log_share: Tensor, log_rest: Tensor, x: Tensor, half: Tensor) -> Tensor:
    """``-x log(1 - r + r exp(-x d)) / 2 r`` for ``d = 2 half``; d / 2 where r vanishes.

    As ``log1p`` of what is added to 1 where that is small, and else from the logs of both parts.
    """
    step = -2 * x * half
    r = log_share.exp().clamp_min(torch.finfo(log_share.dtype).tiny)
    added = r * torch.expm1(step.clamp_max(LARGEST_EXPONENT))
    is_small = (added > -0.5) & (step <= LARGEST_EXPONENT)
    change = torch.where(
        is_small,
        torch.log1p(added.clamp_min(-0.5)),
        torch.logaddexp(log_rest, log_share + step),
    )
    return -0.5 * x * change / r


def summed_log_likelihood(pre: PreActivation, h: UnitFunction) -> Tensor:
    """``sum_j h(a_j)`` per row, differentiated in each operand by that operand's rule."""
    value = h.value(pre.tensor).sum(-1)
    if not pre.needs_flips:
        return value

    def flips(term: Term, g: Tensor, of_inputs: bool, of_weight: bool) -> Gradients:
        by_unit = g.unsqueeze(-1).expand(term.shape)
        return term.flip_gradients(h, by_unit, of_inputs, of_weight)

    return value + zero_with_flips(pre, averaged(pre, flips), value.shape)


LARGEST_EXPONENT = 30.0
"""The largest step that is exponentiated, below what overflows float32."""
