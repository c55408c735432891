r"""A ±1 variable with ``P(x = +1) = p``: the law of stochastic weights.

With natural parameter ``lam = logit(p) / 2`` and mean ``mu = 2p - 1 = tanh(lam)``,

    log P(x) = log sigmoid(2 lam x),
    KL(q || q0) = sum_x q(x) [log q(x) - log q0(x)]
                = mu (lam - lam0) - log cosh lam + log cosh lam0.

``log_prob`` has that value and, as a function of a differentiable x, the derivative of its
multilinear extension, ``(log P(+1) - log P(-1)) / 2 = lam``.

A law given by ``logits`` is differentiated in ``lam``; one given by ``probs``, ``mean``,
:meth:`SignBernoulli.from_natural` or :meth:`SignBernoulli.from_latent` in its mean
(:mod:`bayes_sbn.distributions.sign_coordinates`), by

    d log P(x) / dmu = x / 2 P(x),     dKL/dmu = lam - lam0,
    dKL/dmu0 = -(q(+1) / p0(+1) - q(-1) / p0(-1)) / 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor

from bayes_sbn.affines import broadcasts_to, relaxed_mean_and_slope
from bayes_sbn.distributions.sign_coordinates import SignCoordinates, zero_with_slope
from bayes_sbn.distributions.sign_divergence import (
    CERTAIN,
    expected_log_prob,
    finite,
)
from bayes_sbn.distributions.sign_parameter import check_gradient, check_parameter
from bayes_sbn.distributions.support import (
    enumerate_signs,
    signs,
    sum_rightmost,
)
from bayes_sbn.dual import NATURAL, natural_of
from bayes_sbn.noise import Logistic, Noise

_ONE_PARAMETER = "SignBernoulli takes exactly one of logits=, probs=, mean="


class SignBernoulli(SignCoordinates):
    """Independent ±1 variables, ``P(x = +1) = sigmoid(logits) = probs = (1 + mean) / 2``.

    Args:
        logits: log-odds of +1.
        probs: probabilities of +1.
        mean: expectations, in [-1, 1].
        validate_args: check the parameter and the values that are scored.

    Example:
        >>> import torch
        >>> from bayes_sbn import SignBernoulli
        >>> law = SignBernoulli(logits=torch.zeros(3, 2)).to_event(2)
        >>> law.log_prob(torch.ones(3, 2))
        tensor(-4.1589)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}  # __init__ checks the one parameter, by its name
    has_enumerate_support = True
    noise = Logistic()

    def __init__(
        self,
        logits: Tensor | float | None = None,
        *,
        probs: Tensor | float | None = None,
        mean: Tensor | float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        given = {"logits": logits, "probs": probs, "mean": mean}
        chosen = [(name, value) for name, value in given.items() if value is not None]
        if len(chosen) != 1:
            raise ValueError(
                f"{_ONE_PARAMETER}, but {len(chosen)} were given; write "
                "SignBernoulli(logits=torch.zeros(out, inputs))."
            )
        name, parameter = chosen[0]
        if isinstance(parameter, Tensor):
            value = parameter
        else:
            value = torch.as_tensor(parameter, dtype=torch.get_default_dtype())
        if self._validate_args if validate_args is None else validate_args:
            check_parameter(name, value)
        if name == "logits":
            self._set(value / 2, torch.tanh(value / 2), False, value.shape, 0)
        elif name == "probs":
            self._set(torch.logit(value) / 2, 2 * value - 1, True, value.shape, 0)
        else:
            self._set(torch.atanh(value), value, True, value.shape, 0)
        super().__init__(value.shape, torch.Size(), validate_args=validate_args)

    @classmethod
    def from_natural(cls, natural: Tensor, *, gradient: str = "natural") -> SignBernoulli:
        """The law with natural parameter ``lam = logit(p) / 2``, as guides hold it.

        Args:
            natural: the leaf ``lam``.
            gradient: ``"natural"``: the gradient of the leaf is that in the mean (the mirror
                descent of :mod:`bayes_sbn.dual`); ``"euclidean"``: that in ``lam``.
        """
        check_gradient(gradient)
        if gradient == "euclidean":
            return cls(logits=2 * natural, validate_args=False)
        new = cls.__new__(cls)
        probs = natural.detach().mul(2).sigmoid_()
        new._set(natural.detach(), natural, True, natural.shape, 0)
        new._probs = probs
        super(SignBernoulli, new).__init__(natural.shape, torch.Size(), validate_args=False)
        return new

    @classmethod
    def from_latent(
        cls, latent: Tensor, noise: Noise, *, gradient: str = "natural"
    ) -> SignBernoulli:
        """The law of ``sign(latent - Z)`` with ``Z ~ F``, that is ``P(x = +1) = F(latent)``.

        Args:
            latent: the leaf ``eta = F^{-1}(p)``, which may lie off a bounded support.
            noise: the law F.
            gradient: ``"natural"``: the gradient of the leaf is that in the mean (the mirror
                descent of :mod:`bayes_sbn.dual`); ``"euclidean"``: that in ``eta``, which is 0 off
                a bounded support.

        Example:
            >>> import torch
            >>> from bayes_sbn import SignBernoulli, noise
            >>> SignBernoulli.from_latent(torch.tensor([0.5, -3.0]), noise.Uniform()).mean
            tensor([ 0.5000, -1.0000])
        """
        if noise == NATURAL:
            return cls.from_natural(latent, gradient=gradient)
        check_gradient(gradient)
        new = cls.__new__(cls)
        lam = natural_of(latent, noise)
        if gradient == "euclidean":
            new._set(lam, noise.mean_sign(latent), True, latent.shape, 0)
        else:
            new._set(lam, latent, True, latent.shape, 0)
            new._probs = noise.cdf(latent.detach())
        super(SignBernoulli, new).__init__(latent.shape, torch.Size(), validate_args=False)
        return new

    def _like(self, shape: torch.Size, event_dim: int) -> SignBernoulli:
        new = type(self).__new__(type(self))
        new._set(self._natural, self._node, self._in_mean, shape, event_dim)
        new._probs = self._probs
        new._copy_rule(self)
        split = len(shape) - event_dim
        super(SignBernoulli, new).__init__(shape[:split], shape[split:], validate_args=False)
        new._validate_args = self._validate_args
        return new

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> SignBernoulli:
        """The same law with its batch shape broadcast; keeps its type and its rule."""
        del _instance
        shape = torch.Size(batch_shape) + self.event_shape
        if not broadcasts_to(self._full_shape, shape):
            raise ValueError(
                f"SignBernoulli.expand({tuple(batch_shape)}): the law has batch shape "
                f"{tuple(self.batch_shape)}, which does not broadcast to it."
            )
        return self._like(shape, self._event_dim)

    def to_event(self, reinterpreted_batch_ndims: int | None = None) -> SignBernoulli:
        """Turn rightmost batch dims into event dims; the result is a SignBernoulli again."""
        number = reinterpreted_batch_ndims
        if number is None:
            number = len(self.batch_shape)
        if not 0 <= number <= len(self.batch_shape):
            raise ValueError(
                f"SignBernoulli.to_event({number}): the law has batch shape "
                f"{tuple(self.batch_shape)}; at most {len(self.batch_shape)} dims can become "
                "event dims."
            )
        return self._like(self._full_shape, self._event_dim + number)

    @property
    def support(self) -> Any:
        """±1 in every place."""
        return dist.constraints.independent(signs, self.event_dim) if self.event_dim else signs

    @property
    def argument(self) -> Tensor:
        """``2 lam``, a constant: ``x = sign(2 lam - Z)`` with logistic Z."""
        return 2 * self.natural.detach()

    def relaxed_path(self, injected: Sequence[Tensor], temperature: float) -> Tensor:
        """See :meth:`SignDistribution.relaxed_path`; a slope in mu is that in lam over 1 - mu^2."""
        with torch.no_grad():
            value, slope = relaxed_mean_and_slope(self.argument, tuple(injected), temperature)
            slope = 2 * slope  # in lam
            if self._in_mean:
                # the variance as a product of probabilities, which does not cancel
                rest = 4 * torch.sigmoid(self.argument) * torch.sigmoid(-self.argument)
                limits = torch.finfo(rest.dtype)
                slope = (slope / rest.clamp_min(limits.tiny)).clamp_max(limits.max)
        parameter = self._mean_node() if self._in_mean else self._natural
        if not (parameter.requires_grad and torch.is_grad_enabled()):
            return value
        return value + zero_with_slope(parameter, slope)

    def state_log_prob(self, x: Tensor) -> Tensor:
        """``log P(x)`` of every single variable at hard states, as a function of the mean."""
        argument = 2 * self._lam() * x
        value = torch.nn.functional.logsigmoid(argument)
        if self._slopes_in_mean():
            tiny = torch.finfo(value.dtype).tiny
            value = value + zero_with_slope(
                self._mean_node(), x / (2 * torch.sigmoid(argument).clamp_min(tiny))
            )
        return value.expand(torch.broadcast_shapes(x.shape, self._full_shape))

    def half_log_odds(self) -> Tensor:
        """``(log P(+1) - log P(-1)) / 2``, the derivative of ``log_prob`` in x; finite."""
        return finite(self.natural.detach())

    def entropy(self) -> Tensor:
        """In nats, summed over event dims."""
        lam = self._lam()
        value = -expected_log_prob(self._constant_mean(), lam.clamp(-CERTAIN, CERTAIN))
        if self._slopes_in_mean():
            value = value + zero_with_slope(self._mean_node(), -finite(lam))
        return sum_rightmost(value.expand(self._full_shape), self.event_dim)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All joint states of the event, (2^n, *batch, *event); n at most 16."""
        return enumerate_signs(self, self._natural, expand)
