r"""Trapezoid straight-through: straight-through corrected to second order.

Straight-through takes the derivative of the loss at the sampled end of the interval [-1, 1] for
its difference over the interval.  The trapezoid rule takes the mean of the derivatives at both
ends, and one draw estimates it without bias once its state is weighed by its probability:

    [f(+1) - f(-1)] / 2  ~  [f'(+1) + f'(-1)] / 2  =  E[f'(x) / 2 P(x)],

so that the backward of a draw is that of its mean divided by ``2 P(x)``: ``dx/da := F'(a) / P(x)``
for a unit, and ``dx/dmu := 1 / (1 + x mu)`` for a ±1 weight of mean mu.

It is the limit of zero temperature of the Gumbel-Rao estimator (ZGR), and for two states the same
as ReinMax, which reaches it as Heun's second-order method.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bayes_sbn.distributions import SignDistribution
from bayes_sbn.estimators.estimator import Estimator, Site, register_estimator
from bayes_sbn.signs import hard_with_path


def trapezoid_straight_through(fn: SignDistribution, uniform: Tensor) -> Tensor:
    """The draw ``+1 where uniform < P(+1) else -1``, backward of the mean over ``2 P(x)``.

    Args:
        fn: the law of a ±1 site.
        uniform: of the shape of a draw.
    """
    mean = fn.mean_path()
    hard = fn.draw(uniform)
    if not mean.requires_grad:
        return hard
    with torch.no_grad():
        probability = fn.state_log_prob(hard).exp()
        # uniforms have no finer resolution, so that only forced draws are less probable than that
        factor = 0.5 / probability.clamp_min(torch.finfo(probability.dtype).eps)
    return hard_with_path(hard, mean * factor)


@register_estimator("zgr")
class TrapezoidStraightThrough(Estimator):
    """Hard draw, backward of the mean over ``2 P(x)``, derivatives in the children.

    Unbiased: one ±1 variable under a loss that is quadratic in it, and one layer of bits under a
    loss that is multilinear in them.  Biased elsewhere.
    Equal to: ReinMax, and the zero-temperature Gumbel-Rao estimator.
    Costs: one forward and one backward pass.  The variance exceeds straight-through's, without
    bound as P(x) goes to 0: by far for weights that have nearly decided.
    """

    unbiased: ClassVar[bool | str] = "one layer, loss multilinear; one bit, loss quadratic"
    reference: ClassVar[str] = "Shekhovtsov 2023 (ZGR); Liu et al. 2023 (ReinMax)"

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """See :func:`trapezoid_straight_through`."""
        return trapezoid_straight_through(site.fn, uniform)
