r"""The running mean and deviation of the costs of each site, for controls that are learned.

Costs have the unit and the size of the loss.  What is learned of them is kept in units of their
deviation at earlier steps, so that it has size 1 whatever the loss is scaled by.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_sbn.estimators.site_tensors import SiteTensors

SMALLEST_SPREAD = 0.01
"""The least deviation of costs that is divided by, relative to their root mean square."""


class RunningCosts(torch.nn.Module):
    """Exponentially weighted first and second moments by site.

    Args:
        decay: the weight that they keep at each step, in [0, 1).
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.means = SiteTensors()
        self.squares = SiteTensors()

    def deviation(self, site: str, cost: Tensor) -> Tensor | None:
        """The deviation of earlier costs, None at the first step; these are then counted."""
        mean, square = self.means.get(site), self.squares.get(site)
        now = (cost.mean(), cost.square().mean())
        if mean is None or square is None:
            self.means[site], self.squares[site] = now
            return None
        self.means[site] = now[0].lerp(mean, self.decay)
        self.squares[site] = now[1].lerp(square, self.decay)
        spread = (square - mean.square()).clamp_min(SMALLEST_SPREAD**2 * square).sqrt()
        return spread.clamp_min(torch.finfo(spread.dtype).tiny)
