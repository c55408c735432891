r"""The score function (REINFORCE): unbiased for any loss, at a high variance.

Estimates

    grad_theta E_q[cost(x)] = E_q[cost(x) grad_theta log q(x)]

from one draw: the surrogate is ``cost * log q(x)`` with the cost a constant.  The cost is the one
downstream of the site and of the same batch element, so that rows of a plate do not weigh one
another's scores.

A baseline b that does not depend on the draw may be subtracted from the cost, as
``E[grad log q] = 0``.  The *running* one is, for each site, the mean m of its costs at earlier
steps with exponentially decaying weights.  A *learned* one adds what a network c makes of the
parameters of the site's law,

    b = m + s c(a),    c trained on the square of (cost - m) / s - c(a),

with s the running deviation of the costs, so that c sees numbers of size 1 whatever the loss is
scaled by.  Neither m, s nor c knows the draw that is scored.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bayes_sbn.estimators.estimator import Estimator, Rerun, Site, register_estimator
from bayes_sbn.estimators.site_tensors import SiteTensors

SMALLEST_SPREAD = 0.01
"""The least deviation of costs that is divided by, relative to their root mean square."""


@register_estimator("score")
class ScoreFunction(Estimator, torch.nn.Module):
    """Hard draw without gradient; ``log q`` weighed by the downstream cost.

    Unbiased: always, with any baseline.  Costs: one forward and one backward pass.

    A torch module: running means are buffers, and what is learned are parameters, which
    ``TraceEstimator_ELBO`` shows to SVI.  They belong to one network: give a fresh instance to
    another.

    Args:
        baseline: None; ``"running"``: the mean cost of each site at earlier steps, over rows and
            particles; ``"learned"``: that and a learned number for each site; or a torch module,
            which is called with the parameters of the site's law (pre-activations of units,
            natural parameters of weights) of shape (*batch, number of bits), and returns one
            number a batch element, in units of the costs' deviation from their running mean.
            The first step of a site has no baseline.
        decay: the weight that the running means keep at each step, in [0, 1).
    """

    unbiased: ClassVar[bool | str] = True
    reference: ClassVar[str] = "Williams 1992; Mnih & Gregor 2014 (NVIL)"

    def __init__(
        self, *, baseline: str | torch.nn.Module | None = None, decay: float = 0.9
    ) -> None:
        is_network = isinstance(baseline, torch.nn.Module)
        if not is_network and baseline not in (None, "running", "learned"):
            raise ValueError(
                f'ScoreFunction(baseline={baseline!r}): the baseline is None, "running", "learned" '
                "or a torch module."
            )
        if not 0 <= decay < 1:
            raise ValueError(
                f"ScoreFunction(decay={decay!r}): the decay is a number in [0, 1), such as 0.9."
            )
        torch.nn.Module.__init__(self)
        self.decay = decay
        self.kind = "network" if isinstance(baseline, torch.nn.Module) else baseline
        self.means = SiteTensors()
        """The running mean cost by site."""
        self.squares = SiteTensors()
        """The running mean squared cost by site, where the baseline is learned."""
        self.levels = SiteTensors(trained=True)
        """The learned number by site, in units of the costs' deviation."""
        self.network = baseline if isinstance(baseline, torch.nn.Module) else None

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """The hard draw."""
        return site.fn.draw(uniform)

    def surrogate(self, site: Site, cost: Tensor, rerun: Rerun) -> Tensor:
        """``(cost - baseline) * log q(x)``, and the squared error of what is learned."""
        del rerun
        if self.kind is None:
            return cost * site.log_prob()
        mean = self._updated(self.means, site.name, cost.mean())  # of earlier steps
        if self.kind == "running":
            return (cost if mean is None else cost - mean) * site.log_prob()
        square = self._updated(self.squares, site.name, cost.square().mean())
        if mean is None or square is None:
            return cost * site.log_prob()
        spread = (square - mean.square()).clamp_min(SMALLEST_SPREAD**2 * square).sqrt()
        gap = (cost - mean) / spread.clamp_min(torch.finfo(spread.dtype).tiny)
        left = gap - self._predicted(site, gap)
        # half the mean squared error; the term is summed over batch elements
        error = left.square() / (2 * left.numel())
        return spread * left.detach() * site.log_prob() + error

    def _updated(self, running: SiteTensors, site: str, now: Tensor) -> Tensor | None:
        """The running mean before this step, None at the first; this step is then counted."""
        before = running.get(site)
        running[site] = now if before is None else now.lerp(before, self.decay)
        return before

    def _predicted(self, site: Site, like: Tensor) -> Tensor:
        """What is learned of the cost, in deviations from its running mean."""
        if self.network is None:
            if site.name not in self.levels:
                self.levels[site.name] = like.new_zeros(())
            return self.levels[site.name]
        batch = site.fn.batch_shape
        given = site.fn.parameter.detach().expand(site.shape).reshape(*batch, -1)
        predicted: Tensor = self.network(given)
        if predicted.shape == (*batch, 1):
            predicted = predicted.squeeze(-1)
        if predicted.shape != batch:
            raise ValueError(
                f'estimator "score", site "{site.name}": the baseline network was given '
                f"{tuple(given.shape)} and returned {tuple(predicted.shape)}; it must return "
                f"{tuple(batch)}, or that with a last dim of 1."
            )
        return predicted

    def __repr__(self) -> str:
        baseline = self.kind if self.network is None else type(self.network).__name__
        return f"ScoreFunction(baseline={baseline!r}, decay={self.decay!r})"
