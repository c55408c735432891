r"""The score function (REINFORCE): unbiased for any loss, at a high variance.

Estimates

    grad_theta E_q[cost(x)] = E_q[cost(x) grad_theta log q(x)]

from one draw: the surrogate is ``cost * log q(x)`` with the cost a constant.  The cost is the one
downstream of the site and of the same batch element, so that rows of a plate do not weigh one
another's scores.

A baseline b that does not depend on the draw may be subtracted from the cost, as
``E[grad log q] = 0``.  The running one is, for each site, the mean of its costs at earlier steps
with exponentially decaying weights.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bayes_sbn.estimators.estimator import Estimator, Rerun, Site, register_estimator


@register_estimator("score")
class ScoreFunction(Estimator):
    """Hard draw without gradient; ``log q`` weighed by the downstream cost.

    Unbiased: always, with either baseline.  Costs: one forward and one backward pass.

    Args:
        baseline: None, or ``"running"``: the mean cost of each site at earlier steps, over rows
            and particles.  The first step of a site has none.  The means are the state of this
            instance, under :attr:`means`: give a fresh instance to another network.
        decay: the weight that the running mean keeps at each step, in [0, 1).
    """

    unbiased: ClassVar[bool | str] = True
    reference: ClassVar[str] = "Williams 1992"

    def __init__(self, *, baseline: str | None = None, decay: float = 0.9) -> None:
        if baseline not in (None, "running"):
            raise ValueError(
                f'ScoreFunction(baseline={baseline!r}): the baseline is None or "running".'
            )
        if not 0 <= decay < 1:
            raise ValueError(
                f"ScoreFunction(decay={decay!r}): the decay is a number in [0, 1), such as 0.9."
            )
        self.baseline = baseline
        self.decay = decay
        self.means: dict[str, Tensor] = {}
        """The running mean cost by site."""

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """The hard draw."""
        return site.fn.draw(uniform)

    def surrogate(self, site: Site, cost: Tensor, rerun: Rerun) -> Tensor:
        """``(cost - baseline) * log q(x)``."""
        del rerun
        if self.baseline is None:
            return cost * site.log_prob()
        before = self.means.get(site.name)  # of earlier steps: this draw is not in it
        now = cost.mean()
        self.means[site.name] = now if before is None else now.lerp(before, self.decay)
        return (cost if before is None else cost - before) * site.log_prob()

    def __repr__(self) -> str:
        return f"ScoreFunction(baseline={self.baseline!r}, decay={self.decay!r})"
