r"""UGC (unbiased gradient variance clipping): DisARM where bits are undecided, else bitflip-1.

DisARM's weight ``(c - c') (x_i - x'_i) / 8 m_i`` is rare and large where the smaller probability
``m_i = min(p_i, 1 - p_i)`` is small; bitflip-1's does not know m.  So bit i is weighed by

    bitflip-1  if  m_i < 1 / 2n,      else DisARM.

The choice depends on p alone, so that every coordinate stays unbiased.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bayes_sbn.estimators.bitflip import bitflip_weights
from bayes_sbn.estimators.disarm import disarm_weights
from bayes_sbn.estimators.estimator import Estimator, Rerun, Site, register_estimator


@register_estimator("ugc")
class UGC(Estimator):
    """Hard draw without gradient; every bit weighed by the better of DisARM and bitflip-1.

    Unbiased: always.
    Costs: three passes.
    """

    unbiased: ClassVar[bool | str] = True
    passes: ClassVar[int | str] = 3
    reference: ClassVar[str] = "Kunes et al. 2023"

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """The hard draw."""
        return site.fn.draw(uniform)

    def surrogate(self, site: Site, cost: Tensor, rerun: Rerun) -> Tensor | None:
        """``sum_i E[x_i] w_i`` with the weights of bitflip-1 where ``m_i < 1 / 2n``."""
        if not site.fn.mean_path().requires_grad:
            return None
        uniform = site.need_uniform("ugc")
        is_decided = site.smaller_probability() < 0.5 / site.fn.event_shape.numel()
        flips = bitflip_weights(site, uniform, cost, rerun)
        pairs = disarm_weights(site, uniform, cost, rerun)
        return site.weigh_mean(torch.where(is_decided, flips, pairs))
