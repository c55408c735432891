r"""ARMS: several draws of a site that repel one another, each the baseline of the others.

For n draws ``x^1, ..., x^n`` of one bit with ``P(x = +1) = p``, exchangeable with pairwise
correlation rho, and their costs ``c_k`` with the mean ``c``,

    dE[c]/dmu ~ 1 / (n - 1)  sum_k (c_k - c) (x^k - mu) / (1 - rho) (1 - mu^2)

is unbiased: pairs of draws leave ``1 - rho`` of the variance ``1 - mu^2``.  The more negative rho,
the more the costs tell.  ARMS couples the draws by a uniform point d of the simplex: the rarer of
the two states, of probability m, is drawn by those k with ``d_k > t``, ``t = 1 - m^(1/(n-1))``. As

    P(d_k > t for all k of j given ones) = max(0, 1 - j t)^(n - 1) =: s_j,

    1 - rho = (m - s_2) / m (1 - m),

and the probability that the first k draws have the rarer state at j given places is
``S(k, j) = sum_i (-1)^i binom(k - j, i) s_(j+i)``.  The draws are made one after the other by
``P(next is rare) = S(k + 1, j + 1) / S(k, j)``, each of what its predecessor left of the uniform:
one uniform a bit gives all n draws.  For n = 2 it has the law of DisARM.
"""

from __future__ import annotations

import itertools
import math
from typing import ClassVar

import torch
from torch import Tensor

from bayes_sbn.estimators.estimator import Estimator, Rerun, Site, register_estimator
from bayes_sbn.estimators.residual_uniform import residual_uniform


@register_estimator("arms")
class ARMS(Estimator):
    """Hard draw without gradient; the mean weighed by the costs of draws that repel one another.

    Unbiased: always.  The draws beyond the first are reruns, so that the rest of the network has
    the same uniforms in all.
    Costs: as many passes as draws.

    Args:
        n_samples: how many draws of a site are compared, 2 to 16; two are as good as DisARM.
    """

    unbiased: ClassVar[bool | str] = True
    passes: ClassVar[int | str] = "n_samples (4)"
    reference: ClassVar[str] = "Dimitriev & Zhou 2021"

    def __init__(self, *, n_samples: int = 4) -> None:
        if isinstance(n_samples, bool) or n_samples not in range(2, 17):
            raise ValueError(
                f"ARMS(n_samples={n_samples!r}): it is a whole number from 2, which is DisARM, "
                "to 16."
            )
        self.n_samples = n_samples

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """The hard draw, the first of the site's."""
        return site.fn.draw(uniform)

    def surrogate(self, site: Site, cost: Tensor, rerun: Rerun) -> Tensor | None:
        """``sum_i E[x_i] sum_k (c_k - c) (x_i^k - mu_i) / (n - 1) (1 - rho_i) (1 - mu_i^2)``."""
        if not site.fn.mean_path().requires_grad:
            return None
        uniform, number = site.need_uniform("arms"), self.n_samples
        assert site.value is not None
        first, probs = site.value.detach(), site.fn.probs.detach()
        smaller = site.smaller_probability()
        rarer = torch.where(probs > 0.5, -1.0, 1.0).to(first.dtype)
        is_up = first > 0
        left = residual_uniform(uniform, is_up, torch.where(is_up, probs, 1 - probs))
        states = [
            first,
            *(rarer * s for s in repelling_signs(left, first * rarer, smaller, number)),
        ]
        costs = [cost, *(rerun({site.name: state}) for state in states[1:])]
        mean = torch.stack(costs).mean(0)
        weights = sum(
            site.over_event(c - mean) * state for c, state in zip(costs, states, strict=True)
        )
        # the mean mu drops out, as the costs' deviations sum to 0; 1 - mu^2 = 4 m (1 - m)
        independent = smaller - at_least(smaller, 2, number)
        return site.weigh_mean(weights / (4 * (number - 1) * independent))

    def __repr__(self) -> str:
        return f"ARMS(n_samples={self.n_samples})"


def at_least(smaller: Tensor, places: int, number: int) -> Tensor:
    """``s_j``: the probability that all of j given draws of n have the rarer state."""
    threshold = 1 - smaller ** (1 / (number - 1))
    return (1 - places * threshold).clamp_min(0) ** (number - 1)


def repelling_signs(left: Tensor, first: Tensor, smaller: Tensor, number: int) -> list[Tensor]:
    """Draws 2 to n of every bit, +1 for its rarer state, given the first and a free uniform.

    Args:
        left: uniforms that are independent of the first draw.
        first: that draw, +1 for the rarer state.
        smaller: the probability of the rarer state.
        number: n.
    """
    # in double precision, as alternating sums cancel
    powers = torch.stack([at_least(smaller.double(), j, number) for j in range(number + 1)])
    exactly = [torch.stack(_exactly(powers, k)) for k in range(1, number + 1)]
    count = (first > 0).long()
    signs = []
    for before, after in itertools.pairwise(exactly):
        given = before.gather(0, count.unsqueeze(0)).squeeze(0)
        both = after.gather(0, count.unsqueeze(0) + 1).squeeze(0)
        chance = (both / given.clamp_min(torch.finfo(given.dtype).tiny)).clamp_max(1)
        chance = chance.to(left.dtype)
        rare = left < chance
        left = residual_uniform(left, rare, torch.where(rare, chance, 1 - chance))
        count = count + rare.long()
        signs.append(torch.where(rare, 1.0, -1.0).to(smaller.dtype))
    return signs


def _exactly(powers: Tensor, k: int) -> list[Tensor]:
    """``S(k, j)`` for j = 0, ..., k: the rarer state at j given places of the first k."""
    sums = []
    for j in range(k + 1):
        signs = [(-1) ** i * math.comb(k - j, i) for i in range(k - j + 1)]
        terms = [sign * powers[j + i] for i, sign in enumerate(signs)]
        sums.append(torch.stack(terms).sum(0).clamp_min(0))
    return sums
