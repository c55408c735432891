r"""The parameters of real weights in a guide, and their laws: normal, or a point.

    normal   q(w_i) = Normal(loc_i, exp(log_spread_i)^2),      point   q(w_i) = delta(w_i - loc_i).

Locations start as a draw of the prior, which breaks the symmetry of units and gives pre-activations
the size that the prior means them to have.  Spreads start at a tenth of the prior's: a unit's
pre-activation then wavers by a tenth of its own size, so that the draw does not drown what the
locations learn, and the KL at the start (``log 10 - 0.495`` nats a weight beside the locations')
is small.  The spread is kept as its logarithm: a step changes it by a share, however small it is.
"""

from __future__ import annotations

import torch
from pyro.distributions import Delta, Distribution, Normal
from torch import Tensor

from bayes_sbn.guides.sites import base_law

INITIAL_SHARE = 0.1
"""The spread of normal laws at the start, as a share of the prior's."""

LEAST_MAGNITUDE = 0.01
"""The least magnitude that a weight's spread is a share of, in root mean squares of its layer."""

KINDS = ("normal", "point")
"""The laws of real weights: mean-field normal, or all mass in one place."""


class RealSite(torch.nn.Module):
    """The parameters of the real weights of one site.

    Args:
        kind: ``"normal"`` or ``"point"``.
        prior: their law in the model, normal.
        generator: of the initial values; None for torch's global one.
    """

    def __init__(self, kind: str, prior: Distribution, generator: torch.Generator | None) -> None:
        super().__init__()
        self.kind = kind
        base = base_law(prior)
        assert isinstance(base, Normal)
        loc, scale = (t.detach().expand(prior.shape()) for t in (base.loc, base.scale))
        noise = torch.randn(prior.shape(), generator=generator, dtype=loc.dtype).to(loc.device)
        self.prior_loc, self.prior_scale = loc.clone(), scale.clone()
        self.loc = torch.nn.Parameter(loc + scale * noise)
        if kind == "normal":
            self.log_spread = torch.nn.Parameter((INITIAL_SHARE * scale).log())

    def numbers(self) -> tuple[Tensor, Tensor]:
        """Locations and spreads, 0 of a point, in float64 on the CPU."""
        loc = self.loc.detach().to("cpu", torch.float64)
        if self.kind == "point":
            return loc, torch.zeros_like(loc)
        return loc, self.log_spread.detach().to("cpu", torch.float64).exp()

    @torch.no_grad()
    def start_from(self, weight: Tensor, share: float) -> None:
        """Start at weights, with spreads of a share of their magnitudes.

        A weight near 0 gets the spread of one of a hundredth of the layer's root mean square, or,
        where all are 0, of the prior's scale.
        """
        weight = weight.to(self.loc)
        self.loc.copy_(weight)
        if self.kind == "normal":
            mean_square = weight.square().mean().sqrt()
            prior_scale = self.prior_scale.to(weight)
            least = torch.where(mean_square > 0, LEAST_MAGNITUDE * mean_square, prior_scale)
            self.log_spread.copy_((share * weight.abs().maximum(least)).log())


def real_law(loc: Tensor, log_spread: Tensor | None, event_dim: int) -> Distribution:
    """The law of real weights; a point where there is no spread.

    Args:
        loc: locations.
        log_spread: logarithms of the standard deviations, or None.
        event_dim: of the prior, how many dims are not batch dims.
    """
    if log_spread is None:
        return Delta(loc, event_dim=event_dim)
    normal: Distribution = Normal(loc, log_spread.exp(), validate_args=False)
    return normal.to_event(event_dim) if event_dim else normal
