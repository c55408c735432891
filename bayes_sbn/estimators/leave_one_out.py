r"""Leave-one-out (LOO): the score function, its baseline the mean cost of the other particles.

With K independent particles of costs ``c_k``,

    grad E[c] ~ (1 / K) sum_k [c_k - mean_{l != k} c_l] grad log q(x_k)
              = (1 / (K - 1)) sum_k [c_k - mean_l c_l] grad log q(x_k).

The baseline of a particle does not depend on its draw, so that the estimate stays unbiased.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bayes_sbn.estimators.estimator import Estimator, Rerun, Site, register_estimator


@register_estimator("loo")
class LeaveOneOut(Estimator):
    """Hard draw without gradient; ``log q`` weighed by the cost less that of other particles.

    Unbiased: always.  Needs ``num_particles=K, vectorize_particles=True`` with K of at least 2.
    Costs: the one pass of every particle.
    """

    unbiased: ClassVar[bool | str] = True
    passes: ClassVar[int | str] = "1 a particle, at least 2 particles"
    reference: ClassVar[str] = "Salimans & Knowles 2014; Kool et al. 2019 (RLOO)"
    particles: ClassVar[int] = 2

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """The hard draw."""
        return site.fn.draw(uniform)

    def surrogate(self, site: Site, cost: Tensor, rerun: Rerun) -> Tensor:
        """``[c_k - mean_{l != k} c_l] log q(x_k)``."""
        del rerun
        dim = site.particle_dim
        if dim is None:
            raise ValueError(
                f'estimator "loo", site "{site.name}": the baseline of a draw is the mean cost of '
                "the other particles, and there is one particle a run. Write "
                'TraceEstimator_ELBO("loo", num_particles=2, vectorize_particles=True), or more '
                "particles."
            )
        number = cost.shape[dim]
        baseline = (cost.sum(dim, keepdim=True) - cost) / (number - 1)
        return (cost - baseline) * site.log_prob()
