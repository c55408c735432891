r"""ARM (augment, REINFORCE, merge): the cost difference of a mirrored pair, weighed by uniforms.

The draw is ``x_i = +1 where u_i < p_i``, its partner ``x'_i = +1 where 1 - u_i < p_i``, both for
the whole site at once.  With their costs c and c',

    dE[c]/dlogit_i ~ (c - c') (1/2 - u_i),

as the integral of ``1/2 - u`` over either tail in which the pair differs, of width
``m = min(p, 1 - p)``, is plus or minus ``m (1 - m) / 2``.  In the mean, as
``dlogit = dmu / 2 p (1 - p)``,

    dE[c]/dmu_i ~ (c - c') (1/2 - u_i) / 2 p_i (1 - p_i).

Where the bits of a pair agree it weighs noise: DisARM is this with u averaged out given the pair.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bayes_sbn.estimators.estimator import Estimator, Rerun, Site, register_estimator


@register_estimator("arm")
class ARM(Estimator):
    """Hard draw without gradient; the mean weighed by an antithetic cost difference and uniforms.

    Unbiased: always.  DisARM has the same costs and never more variance.
    Costs: two passes.
    """

    unbiased: ClassVar[bool | str] = True
    passes: ClassVar[int | str] = 2
    reference: ClassVar[str] = "Yin & Zhou 2019"

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """The hard draw."""
        return site.fn.draw(uniform)

    def surrogate(self, site: Site, cost: Tensor, rerun: Rerun) -> Tensor | None:
        """``sum_i E[x_i] (c - c') (1/2 - u_i) / 2 p_i (1 - p_i)``."""
        if not site.fn.mean_path().requires_grad:
            return None
        uniform = site.need_uniform("arm")
        mirrored = site.fn.draw(1 - uniform)
        gained = site.over_event(cost - rerun({site.name: mirrored}))
        smaller = site.smaller_probability()
        return site.weigh_mean(gained * (0.5 - uniform) / (2 * smaller * (1 - smaller)))
