r"""Functions of one pre-activation and their exact differences under a flip.

A unit's conditional is a function ``h(a)`` of its own pre-activation.  If ``a`` contains the term
``c x`` with ``x`` in {-1, +1}, flipping x exactly needs

    h.difference(a, c, x) = h(a | x = +1) - h(a | x = -1) = h(a + c (1 - x)) - h(a - c (1 + x)),

of which one argument is ``a`` itself.  The functions here are everything that the flip rules know
of a distribution: the mean of a stochastic unit, its log-probability, and the log-likelihoods
that are sums over units.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bayes_sbn.noise import Evaluated, Noise


class UnitFunction:
    """A function ``h(a)`` applied to each unit's pre-activation separately."""

    def value(self, a: Tensor) -> Tensor:
        """``h(a)``, differentiable by autograd."""
        raise NotImplementedError

    def difference(self, a: Tensor, c: Tensor, x: Tensor) -> Tensor:
        """``h(a | x = +1) - h(a | x = -1)`` where ``a`` contains the term ``c x``."""
        return self.value(a + c * (1 - x)) - self.value(a - c * (1 + x))

    def half_flip_pair(self, a: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """Half the mean, and a quarter of the difference, of the values that a flip can have.

        They are ``difference(a, step, +1)`` and ``difference(a, step, -1)``: all that flips of ±1
        operands know.  Fresh tensors.
        """
        one = torch.ones((), dtype=a.dtype, device=a.device)
        up, down = self.difference(a, step, one), self.difference(a, step, -one)
        return (up + down).mul_(0.25), (up - down).mul_(0.25)

    def half_derivatives(self, a: Tensor) -> tuple[Tensor, Tensor] | None:
        """``(h' / 2, h'' / 2)``, or None if the two-term series must not be used for it.

        The second is not used again, and may be overwritten.
        """
        del a
        return None

    def for_flips(self, arrange: Callable[[Tensor], Tensor]) -> UnitFunction:
        """The function of a part of ``a``, its own tensors (of the shape of a) arranged alike."""
        del arrange
        return self


@dataclass(frozen=True)
class MeanSign(UnitFunction):
    """``h(a) = E[x | a] = 2 F(a) - 1``, the mean of a stochastic unit.

    Args:
        noise: the law of the injected noise.
        evaluated: the noise at the pre-activations that this function is for, from :meth:`at`.
    """

    noise: Noise
    evaluated: Evaluated | None = None

    def at(self, a: Tensor, *, is_for_one_pair: bool = False) -> MeanSign:
        """The same function, for these pre-activations alone, with what all its methods share."""
        evaluated = self.noise.evaluate(a)
        if evaluated is not None and is_for_one_pair:
            evaluated = replace(evaluated, is_for_one_pair=True)
        return MeanSign(self.noise, evaluated)

    def weigh_slope(self, a: Tensor, g: Tensor) -> Tensor:
        """``g h'(a) = 2 g F'(a)``."""
        weighed = self.noise.weigh_density(a, g, self.evaluated)
        return 2 * weighed if torch.is_grad_enabled() else weighed.mul_(2)

    def value(self, a: Tensor) -> Tensor:
        """``2 F(a) - 1``."""
        return self.noise.mean_sign(a)

    def difference(self, a: Tensor, c: Tensor, x: Tensor) -> Tensor:
        """Twice the difference of the cdfs, which logistic noise has in a product form."""
        return 2 * self.noise.flip_difference(a, c, x)

    def half_flip_pair(self, a: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """The pair of the cdf, which logistic noise has in closed form."""
        return self.noise.flip_pair(a, step, self.evaluated)

    def half_derivatives(self, a: Tensor) -> tuple[Tensor, Tensor] | None:
        """``(F', F'')`` where the noise is smooth."""
        if not self.noise.is_smooth:
            return None
        return self.noise.derivatives(a, self.evaluated)


@dataclass(frozen=True)
class SignLogProb(UnitFunction):
    """``h(a) = log P(x | a) = log F(x a)`` for a given ±1 state x, of the shape of ``a``."""

    noise: Noise
    state: Tensor

    def value(self, a: Tensor) -> Tensor:
        """``log F(x a)``, by the symmetry of the noise; -inf off a bounded support."""
        return self.noise.log_cdf(self.state * a)

    def difference(self, a: Tensor, c: Tensor, x: Tensor) -> Tensor:
        """By two evaluations, where log 0 is the log of the smallest normal number."""
        up, down = self.value(a + c * (1 - x)), self.value(a - c * (1 + x))
        if self.noise.is_bounded:
            low = math.log(torch.finfo(a.dtype).tiny)
            up, down = up.clamp_min(low), down.clamp_min(low)
        return up - down

    def for_flips(self, arrange: Callable[[Tensor], Tensor]) -> SignLogProb:
        """See :meth:`UnitFunction.for_flips`."""
        return SignLogProb(self.noise, arrange(self.state))


@dataclass(frozen=True)
class BernoulliLogLikelihood(UnitFunction):
    """``h(a) = y a - log(1 + e^a)`` for labels y in {0, 1}, of the shape of ``a``."""

    label: Tensor

    def value(self, a: Tensor) -> Tensor:
        """``log sigmoid(a)`` where y = 1, ``log sigmoid(-a)`` where y = 0: without cancelling."""
        log_sigmoid = torch.nn.functional.logsigmoid
        return self.label * log_sigmoid(a) + (1 - self.label) * log_sigmoid(-a)

    def for_flips(self, arrange: Callable[[Tensor], Tensor]) -> BernoulliLogLikelihood:
        """See :meth:`UnitFunction.for_flips`."""
        return BernoulliLogLikelihood(arrange(self.label))


@dataclass(frozen=True)
class NormalLogLikelihood(UnitFunction):
    """``h(a) = -(y - a)^2 / 2 sigma^2 - log sigma - log(2 pi) / 2``, y and sigma as ``a``."""

    target: Tensor
    sigma: Tensor

    def value(self, a: Tensor) -> Tensor:
        """The log-density of the target."""
        z = (self.target - a) / self.sigma
        return -0.5 * z * z - torch.log(self.sigma) - 0.5 * math.log(2 * math.pi)

    def difference(self, a: Tensor, c: Tensor, x: Tensor) -> Tensor:
        """``2 c (y - a + c x) / sigma^2``: the difference of two squares."""
        return 2 * c * (self.target - a + c * x) / self.sigma.square()

    def half_derivatives(self, a: Tensor) -> tuple[Tensor, Tensor] | None:
        """``((y - a) / 2 sigma^2, -1 / 2 sigma^2)``; the series of a quadratic ends there."""
        half_precision = 0.5 * self.sigma.detach().square().reciprocal()
        return (self.target - a) * half_precision, -half_precision

    def for_flips(self, arrange: Callable[[Tensor], Tensor]) -> NormalLogLikelihood:
        """See :meth:`UnitFunction.for_flips`; sigma is a constant to the flips."""
        return NormalLogLikelihood(arrange(self.target), arrange(self.sigma.detach()))


@dataclass(frozen=True)
class ClassLogit(UnitFunction):
    """A categorical log-likelihood as a function of the logit of one class, the others fixed.

    ``h_c(a_c) = [c = y] a_c - log(e^{a_c} + e^{o_c})`` up to terms without ``a_c``, where ``o_c``
    is the log-sum-exp of the other classes.  A flip of a weight of class c moves only ``a_c``.
    """

    is_label: Tensor
    others: Tensor

    def value(self, a: Tensor) -> Tensor:
        """``[c = y] a_c - logaddexp(a_c, o_c)``."""
        return self.is_label * a - torch.logaddexp(a, self.others)

    def for_flips(self, arrange: Callable[[Tensor], Tensor]) -> ClassLogit:
        """See :meth:`UnitFunction.for_flips`."""
        return ClassLogit(arrange(self.is_label), arrange(self.others))
