r"""MuProp: the score function, its cost less a first-order expansion about the mean.

With mu the mean of a site and c the cost downstream of it,

    h(x) = c(mu) + grad c(mu) . (x - mu),
    dE[c]/dmu_i ~ (c(x) - h(x)) d log q(x)/dmu_i + dc(mu)/dmu_i,

as ``E[h(x) d log q / dmu_i] = dc(mu)/dmu_i``, whatever numbers ``c(mu)`` and ``grad c(mu)`` are, as
long as the draw has no part in them.  Here they are the cost, and its derivative, of a run in which
the means stand in place of the draws, at the site and at every ±1 site that depends on it.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bayes_sbn.distributions import SignDistribution
from bayes_sbn.estimators.estimator import (
    Estimator,
    Rerun,
    Site,
    differentiated,
    register_estimator,
)


def mean_downstream(law: SignDistribution, uniform: Tensor) -> Tensor:
    """The mean of a site in place of its draw."""
    del uniform
    return law.mean_path()


@register_estimator("muprop")
class MuProp(Estimator):
    """Hard draw without gradient; ``log q`` weighed by what a linear cost does not explain.

    Unbiased: always.  The better the cost is explained by its expansion in the mean network, the
    smaller the variance; a cost that is linear in the bits leaves none.
    Costs: two passes, and a backward pass through the second.
    """

    unbiased: ClassVar[bool | str] = True
    passes: ClassVar[int | str] = 2
    reference: ClassVar[str] = "Gu et al. 2016"

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """The hard draw."""
        return site.fn.draw(uniform)

    def surrogate(self, site: Site, cost: Tensor, rerun: Rerun) -> Tensor | None:
        """``(c - h(x)) log q(x) + sum_i E[x_i] dc(mu)/dmu_i``."""
        path = site.fn.mean_path()
        if not path.requires_grad:
            return None
        assert site.value is not None
        mean = path.detach().expand(site.shape).clone().requires_grad_()
        at_mean = rerun.relaxed({site.name: mean}, mean_downstream)
        slope = differentiated(at_mean, mean)
        linear = slope * (site.value.detach() - mean.detach())
        event = tuple(range(-site.fn.event_dim, 0))
        expanded = at_mean.detach() + (linear.sum(event) if event else linear)
        return (cost - expanded) * site.log_prob() + site.weigh_mean(slope)
