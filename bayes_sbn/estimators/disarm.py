r"""DisARM, also known as U2G: one antithetic pair of draws, its own randomness averaged out.

With uniforms u the draw is ``x_i = +1 where u_i < p_i``, and its antithetic partner is
``x'_i = +1 where 1 - u_i < p_i``.  Both have the law of the site; they differ where u_i is within
``m_i = min(p_i, 1 - p_i)`` of an end of the unit interval.  With the costs c and c' of the two,

    dE[c]/dlogit_i ~ (c - c') (x_i - x'_i) / 4 * max(p_i, 1 - p_i),

whose expectation given all bits but i is ``2 m_i (c(+1) - c(-1)) max(p_i, 1 - p_i) / 2``, that is
``p_i (1 - p_i) (c(+1) - c(-1))``.  In the mean, as ``dlogit = dmu / 2 p (1 - p)``,

    dE[c]/dmu_i ~ (c - c') (x_i - x'_i) / 8 m_i.

It is ARM with the uniforms averaged out given the pair, so that its variance is never larger.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bayes_sbn.estimators.estimator import Estimator, Rerun, Site, register_estimator


def disarm_weights(site: Site, uniform: Tensor, cost: Tensor, rerun: Rerun) -> Tensor:
    """``(c - c') (x_i - x'_i) / 8 min(p_i, 1 - p_i)`` of every bit."""
    assert site.value is not None
    mirrored = site.fn.draw(1 - uniform)
    gained = site.over_event(cost - rerun({site.name: mirrored}))
    return gained * (site.value.detach() - mirrored) / (8 * site.smaller_probability())


@register_estimator("disarm")
class DisARM(Estimator):
    """Hard draw without gradient; the mean weighed by the cost difference to one antithetic rerun.

    Unbiased: always.  The whole site is mirrored at once, so the variance grows with the number of
    bits that share a cost, as the score function's does, and falls where the two costs agree.
    Costs: two passes.
    """

    unbiased: ClassVar[bool | str] = True
    passes: ClassVar[int | str] = 2
    reference: ClassVar[str] = "Dong et al. 2020 (DisARM); Yin et al. 2020 (U2G)"

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """The hard draw."""
        return site.fn.draw(uniform)

    def surrogate(self, site: Site, cost: Tensor, rerun: Rerun) -> Tensor | None:
        """``sum_i E[x_i] (c - c') (x_i - x'_i) / 8 min(p_i, 1 - p_i)``."""
        if not site.fn.mean_path().requires_grad:
            return None
        uniform = site.need_uniform("disarm")
        return site.weigh_mean(disarm_weights(site, uniform, cost, rerun))
