r"""bitflip-1: one bit of a site, chosen at random, is flipped, and the others wait.

For a site of n bits, an index j drawn uniformly and independently of the draw x, and the costs of x
and of x with bit j flipped,

    dE[c]/dmu_j ~ n x_j (c(x) - c(flipped)) / 2,      and 0 for the other bits,

which is the local expectation of bit j, times n as often as its turn comes.  The index is
``j = floor(n t)`` for what the uniform of the first bit has left once it has decided that bit
(``residual_uniform``), so that no chance but the site's uniforms is used.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bayes_sbn.estimators.estimator import Estimator, Rerun, Site, register_estimator
from bayes_sbn.estimators.residual_uniform import residual_uniform


def bitflip_weights(site: Site, uniform: Tensor, cost: Tensor, rerun: Rerun) -> Tensor:
    """``n x_j (c(x) - c(flipped)) / 2`` at the chosen bit of every batch element, 0 elsewhere."""
    assert site.value is not None
    batch = site.fn.batch_shape
    value, probs, uniform = (
        t.detach().reshape(*batch, -1) for t in (site.value, site.fn.probs, uniform)
    )
    number = value.shape[-1]
    is_up, first = value[..., :1] > 0, probs[..., :1]
    left = residual_uniform(uniform[..., :1], is_up, torch.where(is_up, first, 1 - first))
    index = (left * number).long().clamp_max(number - 1)
    chosen = value.gather(-1, index)
    flipped = value.scatter(-1, index, -chosen)
    gained = (cost - rerun({site.name: flipped.reshape(site.shape)})).expand(batch).unsqueeze(-1)
    weights = torch.zeros_like(value).scatter(-1, index, 0.5 * number * chosen * gained)
    return weights.reshape(site.shape)


@register_estimator("bitflip1")
class BitFlip1(Estimator):
    """Hard draw without gradient; the mean of one bit, chosen at random, weighed by its flip.

    Unbiased: always.  Each batch element chooses its own bit; the factor n is the variance.  It
    does not grow as bits become certain, where the score function's and DisARM's do.
    Costs: two passes.
    """

    unbiased: ClassVar[bool | str] = True
    passes: ClassVar[int | str] = 2
    reference: ClassVar[str] = "Kunes et al. 2023"

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """The hard draw."""
        return site.fn.draw(uniform)

    def surrogate(self, site: Site, cost: Tensor, rerun: Rerun) -> Tensor | None:
        """``n E[x_j] x_j (c(x) - c(flipped)) / 2`` for the chosen bit j."""
        if not site.fn.mean_path().requires_grad:
            return None
        return site.weigh_mean(bitflip_weights(site, site.need_uniform("bitflip1"), cost, rerun))
