r"""What all laws of ±1 variables share: the support, joint enumeration, scoring, and the draw.

Their log-probability is the multilinear extension

    log_prob(x) = log P(x)  with  d log_prob / d x_i = (log P(x_i = +1) - log P(x_i = -1)) / 2,

selected and not summed, so that a state of probability 0 scores -inf and not NaN.  That
derivative is exactly the difference that path estimators need, so that even the Monte Carlo KL
of Pyro's ``Trace_ELBO`` keeps their gradients right.

A draw is ``+1 where u < P(x = +1) else -1``.  An estimator may attach its own rule to a copy of
the law (:meth:`SignDistribution.with_rule`); drawing then applies it.

Every such law is that of ``sign(argument - Z)`` with noise ``Z = F^{-1}(u)``: a unit's own noise
and pre-activation, or, for a variable of natural parameter lam, logistic noise and ``2 lam``.
Relaxations are functions of the argument for given noise.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from bayes_sbn.noise import Noise
from bayes_sbn.signs import hard_with_path, no_state, open_sign

MAX_ENUMERATED_BITS = 16
"""Joint supports hold 2^n states; more bits than this are refused."""


class Rule(Protocol):
    """How an estimator draws a site: from its law, and uniforms if they are given."""

    def __call__(self, fn: SignDistribution, uniform: Tensor | None = None) -> Tensor:
        """The value of the site; may mark the law as having a path (``has_rsample``)."""
        ...


SignDistributionT = TypeVar("SignDistributionT", bound="SignDistribution")


class _Signs(constraints.Constraint):
    """±1, the values of a sign."""

    is_discrete = True
    event_dim = 0

    def check(self, value: Tensor) -> Tensor:
        """Where the values are exactly -1 or +1."""
        return (value == 1) | (value == -1)


signs = _Signs()
"""The constraint ``x in {-1, +1}``."""


class SignDistribution(TorchDistribution):
    """A law of ±1 variables, independent given its parameters."""

    has_rsample = False
    noise: Noise
    """The law F of the noise Z in ``x = sign(argument - Z)``."""
    _rule: Rule | None = None

    @property
    def probs(self) -> Tensor:
        """``P(x = +1)``, of the shape of a draw."""
        raise NotImplementedError

    @property
    def parameter(self) -> Tensor:
        """A tensor of the dtype and on the device of a draw."""
        raise NotImplementedError

    def mean_path(self) -> Tensor:
        """``E[x]``, differentiable by the rules of the law's operands."""
        raise NotImplementedError

    def with_path(self, hard: Tensor) -> Tensor:
        """The states ``hard`` with the backward of the mean, by the rules of the operands."""
        return hard_with_path(hard, self.mean_path())

    def state_log_prob(self, x: Tensor) -> Tensor:
        """``log P(x)`` of every single variable at hard states."""
        raise NotImplementedError

    def half_log_odds(self) -> Tensor:
        """``(log P(+1) - log P(-1)) / 2`` of every variable, finite, a constant."""
        raise NotImplementedError

    @property
    def argument(self) -> Tensor:
        """``F^{-1}(P(x = +1))``, what the noise is compared with; a constant."""
        raise NotImplementedError

    def relaxed_path(self, injected: Sequence[Tensor], temperature: float) -> Tensor:
        """The mean over given noise of ``tanh((argument - Z) / 2 s temperature)``.

        Differentiable as :meth:`mean_path` is; s is the scale of the noise.

        Args:
            injected: values of Z, each of the shape of a draw.
            temperature: positive; at 0 this would be the draw itself.
        """
        raise NotImplementedError

    def with_rule(self: SignDistributionT, rule: Rule) -> SignDistributionT:
        """A copy that draws by an estimator's rule, perhaps after having been expanded."""
        new: SignDistributionT = self.expand(self.batch_shape)
        new._rule = rule
        return new

    def remembered_by(self, value: Tensor) -> Tensor:
        """The same draw; one of weights remembers the mean of its law."""
        return value

    def _copy_rule(self, other: SignDistribution) -> None:
        self._rule = other._rule
        self.has_rsample = other.has_rsample

    @property
    def rule(self) -> Rule | None:
        """The estimator's rule, if the law has one."""
        return self._rule

    def draw(self, uniform: Tensor) -> Tensor:
        """``+1 where uniform < P(x = +1) else -1``, without gradient."""
        with torch.no_grad():
            probs = self.probs
            shape = uniform.shape
            if shape != probs.shape:
                shape = torch.broadcast_shapes(shape, probs.shape)
            # compared straight into floats, which is much cheaper than torch.where on a CPU
            below = torch.empty(shape, dtype=probs.dtype, device=probs.device)
            return torch.lt(uniform, probs, out=below).mul_(2).sub_(1)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """A draw, by the law's rule if it has one, without gradient."""
        if self._rule is not None and not sample_shape:
            return self._rule(self)
        with torch.no_grad():
            probs = self.probs
            shape = torch.Size(sample_shape) + probs.shape
            value = self.draw(torch.rand(shape, dtype=probs.dtype, device=probs.device))
            return self.remembered_by(value)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """A draw with the gradient of the estimator whose rule the law has."""
        if self._rule is None or not self.has_rsample:
            raise TypeError(
                f"{type(self).__name__}.rsample: a ±1 variable has no reparametrised draw of its "
                'own; use bayes_sbn.TraceEstimator_ELBO("psa"), or "st", which give it one.'
            )
        if sample_shape:
            raise ValueError(
                f"{type(self).__name__}.rsample({tuple(sample_shape)}): a site is drawn once; "
                "expand the law, or use vectorised particles."
            )
        return self._rule(self)

    def log_prob(self, value: Tensor) -> Tensor:
        """``log P(x)`` summed over the event dims; differentiable in x as the module says."""
        _refuse_no_state(self, value)
        if self._validate_args:
            self._validate_sample(value)
        x = open_sign(value)
        if not x.requires_grad:
            return sum_rightmost(self.state_log_prob(value), self.event_dim)
        hard = x.detach()
        scored = self.state_log_prob(hard) + (x - hard) * self.half_log_odds()
        return sum_rightmost(scored, self.event_dim)

    def _validate_sample(self, value: Tensor) -> None:
        check_signs(value, f"{type(self).__name__}.log_prob(value)")
        event = self.event_shape
        if len(event) > value.dim() or value.shape[value.dim() - len(event) :] != event:
            raise ValueError(
                f"{type(self).__name__}.log_prob(value): the value has shape "
                f"{tuple(value.shape)}; it must end in the event shape {tuple(event)}."
            )
        check_batch(self, value, "log_prob(value)")


def _refuse_no_state(law: SignDistribution, value: Tensor) -> None:
    """Raise, naming the site, for what stands in place of a state and has no probability."""
    what = no_state(value)
    if what is None:
        return
    raise ValueError(
        f"{type(law).__name__}.log_prob(value): the value is {what}, which is no ±1 state and has "
        "no probability. bayes_sbn.TraceEstimator_ELBO does not score ±1 weights and activations "
        "that follow the model; elsewhere, and under other ELBOs, give the site "
        'infer={"estimator": "gumbel_st"}, whose draws are ±1.'
    )


def check_signs(value: Tensor, call: str) -> None:
    """Raise, naming the call, unless every value is -1 or +1."""
    wrong = ~signs.check(value)
    if not wrong.any():
        return
    first = value[wrong].flatten()[0].item()
    zero_one = bool(((value == 0) | (value == 1)).all())
    came = "values in {0, 1}" if zero_one else f"the value {first}"
    remedy = (
        "Map them with 2 * x - 1." if zero_one else "Map them with torch.where(x > 0, 1.0, -1.0)."
    )
    raise ValueError(f"{call}: received {came}; the states are exactly -1 and +1. {remedy}")


def check_batch(law: TorchDistribution, value: Tensor, call: str) -> None:
    """Raise unless the batch dims of a value can be broadcast against those of its law."""
    batch = value.shape[: value.dim() - law.event_dim]
    pairs = zip(reversed(batch), reversed(law.batch_shape), strict=False)
    if all(size == other or 1 in (size, other) for size, other in pairs):
        return
    raise ValueError(
        f"{type(law).__name__}.{call}: the value has shape {tuple(value.shape)}, which cannot be "
        f"broadcast to the batch shape {tuple(law.batch_shape)} followed by the event shape "
        f"{tuple(law.event_shape)}. Give it that shape."
    )


def sum_rightmost(value: Tensor, number: int) -> Tensor:
    """The sum over that many rightmost dims."""
    return value.sum(tuple(range(-number, 0))) if number else value


def enumerate_signs(law: TorchDistribution, like: Tensor, expand: bool) -> Tensor:
    """All joint states of the event of a law, (2^n, *batch or ones, *event).

    Raises:
        ValueError: more than 16 variables in the event.
    """
    number = law.event_shape.numel()
    if number > MAX_ENUMERATED_BITS:
        raise ValueError(
            f"{type(law).__name__}.enumerate_support(): the event {tuple(law.event_shape)} has "
            f"{number} variables, 2^{number} joint states; at most {MAX_ENUMERATED_BITS} are "
            "enumerated. Use a smaller layer, or an estimator such as 'psa'."
        )
    states: list[tuple[Any, ...]] = list(itertools.product((-1.0, 1.0), repeat=number))
    ones = torch.Size([1] * len(law.batch_shape))
    support = torch.tensor(states, dtype=like.dtype, device=like.device)
    support = support.reshape(len(states), *ones, *law.event_shape)
    if expand:
        support = support.expand(len(states), *law.batch_shape, *law.event_shape)
    return support
