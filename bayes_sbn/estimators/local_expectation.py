r"""Local expectation: every bit of a site flipped in turn, everything downstream run again.

For independent ±1 units with means ``mu_i`` and the expected cost V of what is downstream,

    dE[V]/dmu_i = E_x [V(x | x_i = +1) - V(x | x_i = -1)] / 2.

One of the two sides is the run at hand, so a bit costs one more run.  What is downstream is drawn
by the same uniforms on both sides: each side has its own law, so the difference is unbiased for V
through any number of layers, and the shared uniforms keep its variance low.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bayes_sbn.estimators.estimator import Estimator, Rerun, Site, register_estimator


@register_estimator("local")
class LocalExpectation(Estimator):
    """Hard draw without gradient; the mean weighed by exact flips, each a rerun.

    Unbiased: always.  One rerun flips the same bit in all rows of a plate and in all particles.
    Costs: one pass, and one more a bit of the site: for sites with few bits, and as a yardstick.
    """

    unbiased: ClassVar[bool | str] = True
    passes: ClassVar[int | str] = "1 + bits"
    reference: ClassVar[str] = "Titsias & Lazaro-Gredilla 2015; Tokui & Sato 2017 (RAM)"

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """The hard draw."""
        return site.fn.draw(uniform)

    def surrogate(self, site: Site, cost: Tensor, rerun: Rerun) -> Tensor | None:
        """``sum_i E[x_i] [cost(x_i = +1) - cost(x_i = -1)] / 2``."""
        assert site.value is not None
        if not site.fn.mean_path().requires_grad:
            return None
        bits = site.value.detach().reshape(*site.fn.batch_shape, -1)
        differences = torch.empty_like(bits)
        for i in range(bits.shape[-1]):
            flipped = bits.clone()
            flipped[..., i] = -bits[..., i]
            gained = cost - rerun({site.name: flipped.reshape(site.value.shape)})
            differences[..., i] = 0.5 * bits[..., i] * gained
        return site.weigh_mean(differences.reshape(site.value.shape))
