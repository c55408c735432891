r"""The score function (REINFORCE): unbiased for any loss, at a high variance.

Estimates

    grad_theta E_q[cost(x)] = E_q[cost(x) grad_theta log q(x)]

from one draw: the surrogate is ``cost * log q(x)`` with the cost a constant.  The cost is the one
downstream of the site and of the same batch element, so that rows of a plate do not weigh one
another's scores.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bayes_sbn.estimators.estimator import Estimator, Rerun, Site, register_estimator


@register_estimator("score")
class ScoreFunction(Estimator):
    """Hard draw without gradient; ``log q`` weighed by the downstream cost.

    Unbiased: always.  Costs: one forward and one backward pass.
    """

    unbiased: ClassVar[bool | str] = True
    reference: ClassVar[str] = "Williams 1992"

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """The hard draw."""
        return site.fn.draw(uniform)

    def surrogate(self, site: Site, cost: Tensor, rerun: Rerun) -> Tensor:
        """``cost * log q(x)``."""
        del rerun
        return cost * site.log_prob()
