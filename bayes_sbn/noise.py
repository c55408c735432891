r"""The injected noise: five symmetric laws, each also a mirror map.

A stochastic binary unit is ``x = sign(a - Z)`` with ``Z ~ F``, so ``P(x = +1) = F(a)`` and
``E[x] = 2 F(a) - 1``.  The same law read backwards is a mirror map: a latent weight
``eta = F^{-1}(p)`` is the dual of a probability ``p`` under the potential ``psi`` with
``psi' = F^{-1}`` (logistic: the logit, and Kullback-Leibler proximal steps; uniform: ``2p - 1``,
and Euclidean ones).

Each law is a frozen dataclass with one parameter, ``scale``: the law of ``scale * Z``.  With
``z = a / scale``,

==========  ==========================================  ===========================
name        F(a)                                        support
==========  ==========================================  ===========================
logistic    1 / (1 + exp(-z))                           real line
gaussian    (1 + erf(z / sqrt 2)) / 2                   real line
laplace     exp(z) / 2 for z < 0, 1 - exp(-z) / 2 else  real line
uniform     (1 + z) / 2 clipped to [0, 1]               [-scale, scale]
triangular  (1 + z)^2 / 2 for z < 0, 1 - (1 - z)^2 / 2  [-scale, scale]
==========  ==========================================  ===========================
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from bayes_sbn.noise_law import Evaluated as Evaluated
from bayes_sbn.noise_law import Noise as Noise
from bayes_sbn.noise_law import product

LARGEST_CLOSED_STEP = 20.0
"""The largest step, in units of the scale, for which 1 / cosh^2 is a normal number in float32."""


@dataclass(frozen=True)
class Logistic(Noise):
    """``F(a) = 1 / (1 + exp(-a))``: entropic mirror descent, the logit as dual."""

    name: ClassVar[str] = "logistic"
    standard_variance: ClassVar[float] = math.pi**2 / 3
    is_smooth: ClassVar[bool] = True
    third_derivative_bound: ClassVar[float] = 0.125

    def _cdf(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z)

    def _density(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z) * torch.sigmoid(-z)

    def _log_cdf(self, z: Tensor) -> Tensor:
        return torch.nn.functional.logsigmoid(z)

    def _quantile(self, p: Tensor) -> Tensor:
        return torch.logit(p)

    def _mean_sign(self, z: Tensor) -> Tensor:
        return torch.tanh(z / 2)

    def curvature(self, a: Tensor) -> Tensor:
        """``F'' = F' (1 - 2F)``."""
        return -self.density(a) * self.mean_sign(a) / self.scale

    def evaluate(self, a: Tensor) -> Evaluated:
        """From ``F(a)`` and ``F(-a)``, neither of which cancels."""
        z = self._in_units(a)
        upper, lower = torch.sigmoid(z), torch.neg(z).sigmoid_()
        density = upper * lower
        return Evaluated(density, upper.sub_(lower), spare=lower)

    def derivatives(self, a: Tensor, evaluated: Evaluated | None = None) -> tuple[Tensor, Tensor]:
        """``F' = F (1 - F)`` and ``F'' = F' (1 - 2F)`` in units of the scale."""
        at = self.evaluate(a) if evaluated is None else evaluated
        second = torch.mul(at.density, at.difference, out=at.spare).mul_(-1 / self.scale**2)
        return at.density if self.scale == 1 else at.density / self.scale, second

    def weigh_density(self, a: Tensor, g: Tensor, evaluated: Evaluated | None = None) -> Tensor:
        """``g F'(a)``."""
        if evaluated is None and torch.is_grad_enabled():
            return g * self.density(a)
        if evaluated is None:
            z = self._in_units(a)
            weighed = product(torch.sigmoid(z).mul_(torch.neg(z).sigmoid_()), g)
        else:
            weighed = product(evaluated.spare.copy_(evaluated.density), g)
        return weighed if self.scale == 1 else weighed.div_(self.scale)

    def flip_pair(
        self, a: Tensor, step: Tensor, evaluated: Evaluated | None = None
    ) -> tuple[Tensor, Tensor]:
        r"""In closed form; with ``t = tanh step`` and ``tau = tanh(a / 2)``, in units of the scale.

        The two numbers are

            M = t 4F' / 2 (1 - t^2 tau^2),     N = M t tau,

        where ``1 - t^2 tau^2 = 1 / cosh^2 step + t^2 4F'`` does not cancel, however large the
        step.  Steps so large that both terms could underflow take the differences themselves.
        """
        size = self._in_units(step)
        if not bool((size.abs() <= LARGEST_CLOSED_STEP).all()):
            return super().flip_pair(a, step)
        t = torch.tanh(size)
        at = self.evaluate(a) if evaluated is None else evaluated
        # M divided through by 2 t, so that each entry is passed over as seldom as can be
        alone = torch.cosh(size).square().mul_(2 * t).reciprocal_()
        below = torch.addcmul(alone, 2 * t, at.density, out=at.spare)
        mean = torch.div(at.density, below, out=at.spare)
        rest = at.difference.mul_(mean) if at.is_for_one_pair else at.difference * mean
        return mean, rest.mul_(t)

    def flip_difference(self, a: Tensor, c: Tensor, x: Tensor) -> Tensor:
        r"""The product form ``F(u) - F(v) = F(u) F(-v) (1 - exp(v - u))``, a constant to autograd.

        For ``c > 0`` the arguments u and -v are ``z = x a`` and ``2c - z`` in one order or the
        other; a negative c turns both signs.  The form neither cancels nor overflows, however
        large a and c are.
        """
        sign = torch.copysign(torch.ones_like(c), c)
        step = (2 / self.scale) * c.abs()
        height = -torch.expm1(-step) * sign
        z = (x * sign) * (a / self.scale)
        # in place: these temporaries have one entry for every flip
        other = (step - z).sigmoid_()
        return z.sigmoid_().mul_(other).mul_(height)


@dataclass(frozen=True)
class Gaussian(Noise):
    """``F(a) = Phi(a)``: probit units."""

    name: ClassVar[str] = "gaussian"
    standard_variance: ClassVar[float] = 1.0
    is_smooth: ClassVar[bool] = True
    third_derivative_bound: ClassVar[float] = 1 / math.sqrt(2 * math.pi)

    def _cdf(self, z: Tensor) -> Tensor:
        probability: Tensor = torch.special.ndtr(z)
        return probability

    def _density(self, z: Tensor) -> Tensor:
        return torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)

    def _log_cdf(self, z: Tensor) -> Tensor:
        log_probability: Tensor = _LogNormalCdf.apply(z)  # type: ignore[no-untyped-call]
        return log_probability

    def _quantile(self, p: Tensor) -> Tensor:
        z: Tensor = torch.special.ndtri(p)
        return z

    def _mean_sign(self, z: Tensor) -> Tensor:
        return torch.erf(z / math.sqrt(2))

    def curvature(self, a: Tensor) -> Tensor:
        """``F'' = -z F' / scale`` with ``z = a / scale``."""
        return -a / self.scale**2 * self.density(a)


class _LogNormalCdf(torch.autograd.Function):
    """``log Phi(z)`` with a backward that does not cancel in the tail.

    ``d log Phi / dz = phi(z) / Phi(z) = sqrt(2 / pi) / erfcx(-z / sqrt 2)``; torch's own backward
    takes the exponential of the difference of two numbers of the size of ``z^2``.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        log_probability: Tensor = torch.special.log_ndtr(z)
        return log_probability

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        slope: Tensor = math.sqrt(2 / math.pi) / torch.special.erfcx(-z / math.sqrt(2))
        return gradients[0] * slope


@dataclass(frozen=True)
class Laplace(Noise):
    """Two-sided exponential noise; its density has a kink at 0.

    Both sides are written by clamps and not by ``z.abs()``, whose derivative at 0 is 0: with ±1
    operands a pre-activation of exactly 0 is common.
    """

    name: ClassVar[str] = "laplace"
    standard_variance: ClassVar[float] = 2.0

    def _cdf(self, z: Tensor) -> Tensor:
        left = 0.5 * torch.exp(z.clamp_max(0))
        right = 1 - 0.5 * torch.exp(-z.clamp_min(0))
        return torch.where(z < 0, left, right)

    def _density(self, z: Tensor) -> Tensor:
        return 0.5 * torch.exp(-z.abs())

    def _log_cdf(self, z: Tensor) -> Tensor:
        left = z.clamp_max(0) - math.log(2)
        right = torch.log1p(-0.5 * torch.exp(-z.clamp_min(0)))
        return torch.where(z < 0, left, right)

    def _quantile(self, p: Tensor) -> Tensor:
        return torch.where(p < 0.5, torch.log(2 * p), -torch.log(2 * (1 - p)))

    def _mean_sign(self, z: Tensor) -> Tensor:
        return torch.where(z < 0, torch.expm1(z.clamp_max(0)), -torch.expm1(-z.clamp_min(0)))


@dataclass(frozen=True)
class Uniform(Noise):
    """Uniform on ``[-scale, scale]``: the hard-tanh unit, and projected gradient as mirror map."""

    name: ClassVar[str] = "uniform"
    standard_variance: ClassVar[float] = 1 / 3
    is_bounded: ClassVar[bool] = True

    def _cdf(self, z: Tensor) -> Tensor:
        return (0.5 * (1 + z)).clamp(0, 1)

    def _density(self, z: Tensor) -> Tensor:
        return 0.5 * (z.abs() <= 1).to(z.dtype)

    def _log_cdf(self, z: Tensor) -> Tensor:
        return _log_of_probability(self._cdf(z))

    def _quantile(self, p: Tensor) -> Tensor:
        return 2 * p - 1

    def _mean_sign(self, z: Tensor) -> Tensor:
        return z.clamp(-1, 1)


@dataclass(frozen=True)
class Triangular(Noise):
    """Triangular on ``[-scale, scale]``, the sum of two uniform laws of half the width."""

    name: ClassVar[str] = "triangular"
    standard_variance: ClassVar[float] = 1 / 6
    is_bounded: ClassVar[bool] = True

    def _cdf(self, z: Tensor) -> Tensor:
        left = 0.5 * (1 + z).clamp(0, 1).square()
        right = 1 - 0.5 * (1 - z).clamp(0, 1).square()
        return torch.where(z < 0, left, right)

    def _density(self, z: Tensor) -> Tensor:
        return (1 - z.abs()).clamp_min(0)

    def _log_cdf(self, z: Tensor) -> Tensor:
        return _log_of_probability(self._cdf(z))

    def _quantile(self, p: Tensor) -> Tensor:
        return torch.where(p < 0.5, torch.sqrt(2 * p) - 1, 1 - torch.sqrt(2 * (1 - p)))

    def _mean_sign(self, z: Tensor) -> Tensor:
        inside = z.clamp(-1, 1)
        return inside * (2 - inside.abs())


def _log_of_probability(p: Tensor) -> Tensor:
    """``log p``; at 0 the value is -inf and the gradient 0, as the density is, not NaN."""
    tiny = torch.finfo(p.dtype).tiny
    return torch.where(p > 0, torch.log(p.clamp_min(tiny)), -math.inf)


NOISES: dict[str, type[Noise]] = {
    law.name: law for law in (Logistic, Gaussian, Laplace, Uniform, Triangular)
}
"""The known laws by name."""


def get_noise(noise: str | Noise, scale: float | None = None) -> Noise:
    """The law of that name, or the law itself.

    Args:
        noise: a name in :data:`NOISES`, or a :class:`Noise`.
        scale: the scale of a law given by name (default 1); a law given as an object has its own.

    Raises:
        ValueError: the name is not known (the message lists those that are), or the scale
            contradicts that of the object.
    """
    if isinstance(noise, Noise):
        if scale is not None and scale != noise.scale:
            raise ValueError(
                f"get_noise({noise}, scale={scale}): the law has a scale of its own; "
                f"write get_noise({noise.name!r}, scale={scale})."
            )
        return noise
    if not isinstance(noise, str) or noise not in NOISES:
        raise ValueError(
            f"noise={noise!r} is not known; it is one of {', '.join(map(repr, NOISES))}, "
            "or an object such as bayes_sbn.noise.Uniform(scale=2.0)."
        )
    return NOISES[noise](1.0 if scale is None else scale)
