r"""The proximal step with the exact KL, for the divergence of any noise law.

    argmin_mu <g, mu> + T KL(q || p0) + (1 / eps) D_Psi(mu, mu_t)

with ``Psi'(mu) = F^{-1}((1 + mu) / 2)`` is stationary where, with lam the natural parameter and eta
the leaf of mu,

    g + T (lam - lam_0) + (eta - eta_t) / eps = 0.

For logistic noise of scale s, ``eta = 2 s lam``, the equation is linear.  For the others it is one
equation a weight, ``T lam + eta(lam) / eps = c`` with ``c = T lam_0 - g + eta_t / eps``, whose left
side is odd and increasing in lam with slope at least T.  Its root lies between 0 and ``c / T``, and
eta between 0 and ``eps c``, which brackets it; Newton's method finds it, and bisection where a step
of Newton leaves the bracket.  For T > 0 the root is inside a bounded support, whatever eta_t is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_sbn.dual import LeftKL, natural_of
from bayes_sbn.noise import Logistic, Noise

_STEPS = 60
"""Newton needs about five; sixty halvings of the widest bracket are 1e-15."""

_TOLERANCE = 1e-9
"""The last change of lam: one step of Newton later the error is about its square."""

_LARGEST_NATURAL = 340.0
"""|lam| at which P is about 1e-295: smaller probabilities have no quantile in float64."""


def proximal_step(
    leaf: Tensor, average: Tensor, size: float | Tensor, left: LeftKL, noise: Noise
) -> None:
    """Step a leaf in place.

    Args:
        leaf: ``eta_t``.
        average: ``g``, the gradient in the mean without the KL.
        size: ``eps``, of each coordinate or of all.
        left: the KL, ``T`` and ``T lam_0``.
        noise: the law F of the leaf.
    """
    if type(noise) is Logistic:
        leaf.add_(size * (left.pull - average)).div_(1 + size * left.weight / (2 * noise.scale))
        return
    eta, g, pull = (t.to(torch.float64) for t in (leaf, average, left.pull))
    eps = torch.as_tensor(size, dtype=torch.float64, device=leaf.device)
    # the equation times eps: a step of nothing changes nothing, whatever the rest is
    target = eta + eps * (pull - g)
    cost = (eps * left.weight.to(torch.float64)).expand_as(target)
    start = torch.copysign(natural_of(eta, noise), eta * target)
    root = _root(start, target.abs(), cost.clamp_min(torch.finfo(cost.dtype).tiny), noise)
    leaf.copy_(torch.where(cost > 0, torch.copysign(root, target), target))


def _root(start: Tensor, target: Tensor, cost: Tensor, noise: Noise) -> Tensor:
    """The eta of ``cost lam(eta) + eta = target``, for targets of at least 0.

    Args:
        start: the lam from which Newton's method starts.
        target: right-hand sides.
        cost: positive.
        noise: the law F.
    """
    edge = noise.scale if noise.is_bounded else torch.inf
    low = ((target - edge) / cost).clamp(0, _LARGEST_NATURAL)
    high = torch.minimum(target / cost, natural_of(target.clamp_max(edge), noise))
    high = high.clamp_max(_LARGEST_NATURAL)
    lam = torch.where((start > low) & (start < high), start, 0.5 * (low + high))
    shape, found = lam.shape, torch.empty_like(lam).flatten()
    # those that are not found yet, and their places: few take more than five steps
    active = tuple(t.flatten() for t in (lam, low, high, target, cost))
    places = torch.arange(found.numel(), device=lam.device)
    tiny = torch.finfo(lam.dtype).tiny
    for _ in range(_STEPS):
        lam, low, high, target, cost = active
        rest = torch.sigmoid(-2 * lam)  # 1 - p
        eta = -noise.quantile(rest)
        excess = torch.addcmul(eta - target, cost, lam)
        above = excess > 0
        high, low = torch.where(above, lam, high), torch.where(above, low, lam)
        # d eta / d lam = (1 - mu^2) / 2 F', 0 where both vanish
        slope = 2 * rest * (1 - rest) / noise.density(eta).clamp_min(tiny)
        new = lam - excess / (cost + slope)
        new = torch.where((new >= low) & (new <= high), new, 0.5 * (low + high))
        going = (new - lam).abs_() > _TOLERANCE * (1 + new)
        found[places] = new
        if not bool(going.any()):
            break
        active = tuple(t[going] for t in (new, low, high, target, cost))
        places = places[going]
    return -noise.quantile(torch.sigmoid(-2 * found)).reshape(shape)
