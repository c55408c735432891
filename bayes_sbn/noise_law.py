r"""What every law of injected noise is: a symmetric F of a given scale, and its flips.

With ``Z ~ F`` symmetric, ``F(-a) = 1 - F(a)``, a unit ``x = sign(a - Z)`` has ``P(x = +1) = F(a)``
and ``E[x] = 2 F(a) - 1``; a flip of a ±1 operand that adds ``c x`` to a changes F by

    F(a | x = +1) - F(a | x = -1) = F(a + c (1 - x)) - F(a - c (1 + x)).

The five laws are in :mod:`bayes_sbn.noise`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class Evaluated:
    """What flips and derivatives of F at given pre-activations are made of.

    Args:
        density: ``F'(a)``, in units of the scale.
        difference: ``F(a) - F(-a)``.
        spare: a buffer of their shape, which every method may overwrite and return: fresh memory
            costs more than the arithmetic.
        is_for_one_pair: whether :meth:`Noise.flip_pair` is called once, so that it may overwrite
            the difference as well.
    """

    density: Tensor
    difference: Tensor
    spare: Tensor
    is_for_one_pair: bool = False


@dataclass(frozen=True)
class Noise:
    """A symmetric law on the real line, of a given ``scale``.

    Args:
        scale: the law is that of ``scale * Z``, with ``Z`` the standard member; positive.
    """

    scale: float = 1.0

    name: ClassVar[str] = ""
    """The name under which :func:`get_noise` finds the law."""
    is_bounded: ClassVar[bool] = False
    """Whether the support is ``[-scale, scale]``."""
    is_smooth: ClassVar[bool] = False
    """Whether the density has no kink, so that F has a Taylor series everywhere."""
    third_derivative_bound: ClassVar[float] = math.inf
    """The largest ``|F'''|`` of the standard member (infinite for the laws with kinks)."""

    standard_variance: ClassVar[float] = math.nan
    """The variance of the standard member."""

    def __post_init__(self) -> None:
        call = f"{type(self).__name__}(scale={self.scale!r})"
        remedy = f"a positive finite number; write {type(self).__name__}(scale=1.0)."
        if not isinstance(self.scale, Real):
            raise TypeError(f"{call}: the scale of a noise is {remedy}")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"{call}: the scale of a noise is {remedy}")

    @property
    def variance(self) -> float:
        """The variance of Z."""
        return self.standard_variance * self.scale**2

    def cdf(self, a: Tensor) -> Tensor:
        """``F(a) = P(x = +1)``."""
        return self._cdf(self._in_units(a))

    def density(self, a: Tensor) -> Tensor:
        """``F'(a)``; at the edge of a bounded support the value inside."""
        density = self._density(self._in_units(a))
        return density if self.scale == 1 else density / self.scale

    def log_cdf(self, a: Tensor) -> Tensor:
        """``log F(a)``, finite far in the tails of unbounded laws, else -inf off the support."""
        return self._log_cdf(self._in_units(a))

    def quantile(self, p: Tensor) -> Tensor:
        """``F^{-1}(p)``, the derivative of the potential whose mirror map this law is."""
        return self._quantile(p) * self.scale

    def mean_sign(self, a: Tensor) -> Tensor:
        """``2 F(a) - 1 = E[x]``, without cancellation near zero."""
        return self._mean_sign(self._in_units(a))

    def curvature(self, a: Tensor) -> Tensor:
        """``F''(a)``, where the law is smooth."""
        del a
        raise TypeError(
            f"{type(self).__name__}.curvature: the density of {self.name} noise has kinks, so F "
            "has no second derivative; use exact flips (real_inputs='exact')."
        )

    def flip_difference(self, a: Tensor, c: Tensor, x: Tensor) -> Tensor:
        r"""``F(a | x = +1) - F(a | x = -1)`` where ``a`` contains the term ``c x`` and x is ±1.

        The two arguments are ``a + c (1 - x)`` and ``a - c (1 + x)``; one of them is ``a``.
        """
        return self.cdf(a + c * (1 - x)) - self.cdf(a - c * (1 + x))

    def flip_pair(
        self, a: Tensor, step: Tensor, evaluated: Evaluated | None = None
    ) -> tuple[Tensor, Tensor]:
        """The mean and half the difference of the two values that a flip of ±1 operands can have.

        They are ``F(a) - F(a - 2 step)`` and ``F(a + 2 step) - F(a)``.

        Args:
            a: pre-activations.
            step: what a ±1 operand adds to them; broadcast.
            evaluated: what :meth:`evaluate` gave; the result is then good until its next use.
        """
        del evaluated
        one = torch.ones((), dtype=a.dtype, device=a.device)
        up, down = self.flip_difference(a, step, one), self.flip_difference(a, step, -one)
        return 0.5 * (up + down), 0.5 * (up - down)

    def derivatives(self, a: Tensor, evaluated: Evaluated | None = None) -> tuple[Tensor, Tensor]:
        """``F'(a)`` and ``F''(a)``, where the law is smooth; as in :meth:`flip_pair`."""
        del evaluated
        return self.density(a), self.curvature(a)

    def evaluate(self, a: Tensor) -> Evaluated | None:
        """What flips and derivatives at ``a`` share, without gradient; None if it is nothing."""
        del a
        return None

    def weigh_density(self, a: Tensor, g: Tensor, evaluated: Evaluated | None = None) -> Tensor:
        """``g F'(a)``, differentiable where nothing was evaluated before."""
        del evaluated
        return g * self.density(a)

    def _in_units(self, a: Tensor) -> Tensor:
        """``a / scale``."""
        return a if self.scale == 1 else a / self.scale

    def _cdf(self, z: Tensor) -> Tensor:
        raise NotImplementedError

    def _density(self, z: Tensor) -> Tensor:
        raise NotImplementedError

    def _log_cdf(self, z: Tensor) -> Tensor:
        raise NotImplementedError

    def _quantile(self, p: Tensor) -> Tensor:
        raise NotImplementedError

    def _mean_sign(self, z: Tensor) -> Tensor:
        raise NotImplementedError


def product(values: Tensor, g: Tensor) -> Tensor:
    """``values g``, in the memory of the values where they have the dims of g."""
    try:
        return values.mul_(g)
    except RuntimeError:  # they are broadcast, or under vmap g has a dim that they have not
        return values * g
