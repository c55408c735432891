r"""A point mass on the signs of real parameters: the law of the weights of a deterministic network.

    x_i = +1 where v_i >= 0 else -1,      log q(x) = 0,      KL(q || p) = -log p(x).

The divergence is that of discrete laws: a point mass has entropy 0.  Nothing depends smoothly on v,
and no other state is ever seen; the gradient in v is by convention the one in x (straight-through),
where ``-log p`` has the derivative of its multilinear extension, ``-(log p(+1) - log p(-1)) / 2``.
Estimators that need the law to be spread out are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import register_kl

from bayes_sbn.distributions.sign_bernoulli import SignBernoulli
from bayes_sbn.distributions.support import sum_rightmost
from bayes_sbn.signs import open_sign


class SignDelta(SignBernoulli):
    """±1 variables that are surely the signs of real parameters, +1 at 0.

    It draws by itself, with the straight-through gradient, and by the path estimators that see both
    states of a bit or none (``"st"``, ``"psa"``, ``"local"``, ``"bitflip1"``, ``"exact"``).

    Args:
        latent: the real parameters v; their gradient is the one in the states.

    Example:
        >>> import torch
        >>> from bayes_sbn.distributions import SignDelta
        >>> SignDelta(torch.tensor([0.3, -2.0])).sample()
        tensor([ 1., -1.])
    """

    has_rsample = True
    has_enumerate_support = False  # there is nothing to sum over

    def __init__(self, latent: Tensor) -> None:
        is_up = latent.detach() >= 0
        probs = is_up.to(latent.dtype)
        # by choice: torch's logarithm of many zeros takes longer than the rest of a step
        natural = torch.full_like(probs, torch.inf).copysign_(probs - 0.5)
        self._set(natural, latent, True, latent.shape, 0)
        self._probs = probs
        super(SignBernoulli, self).__init__(latent.shape, torch.Size(), validate_args=False)

    @property
    def states(self) -> Tensor:
        """The signs, with the straight-through gradient."""
        return self.mean_path()

    @property
    def argument(self) -> Tensor:
        """Refused: there is no noise to compare with."""
        raise self._refusal("noise that could have been another")

    def relaxed_path(self, injected: Sequence[Tensor], temperature: float) -> Tensor:
        """Refused: the smooth step of a point mass has slope 0."""
        del injected, temperature
        raise self._refusal("slope of a smooth step")

    def state_log_prob(self, x: Tensor) -> Tensor:
        """Refused: every other state has probability 0."""
        del x
        raise self._refusal("state of a probability between 0 and 1")

    def half_log_odds(self) -> Tensor:
        """0 by convention: the law is not spread out, so that it has no slope."""
        return torch.zeros_like(self.natural)

    def log_prob(self, value: Tensor) -> Tensor:
        """0 for the signs and -inf for all else, without gradient."""
        if self._slopes_in_mean() and not self.has_rsample:
            raise self._refusal("score")
        if self._validate_args:
            self._validate_sample(value)
        x = open_sign(value).detach()
        each = torch.zeros_like(x).masked_fill(x != self.mean.detach(), -torch.inf)
        return sum_rightmost(each, self.event_dim)

    def entropy(self) -> Tensor:
        """0."""
        return sum_rightmost(torch.zeros_like(self.natural), self.event_dim)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """The signs with the straight-through gradient, or by the estimator's rule."""
        if self._rule is not None:
            return super().rsample(sample_shape)
        return self.states.expand(torch.Size(sample_shape) + self._full_shape)

    def _refusal(self, what: str) -> TypeError:
        return TypeError(
            f"SignDelta: a point mass on ±1 weights has no {what}, which this estimator asks for. "
            'Use an estimator that sees both states of a bit, or none: "psa", "st", "local", '
            '"bitflip1" or "exact".'
        )


@register_kl(SignDelta, SignBernoulli)  # type: ignore[untyped-decorator]
def _kl_sign_delta(q: SignDelta, p: SignBernoulli) -> Tensor:
    """``-log p`` of the signs."""
    if isinstance(p, SignDelta):
        raise TypeError("KL of SignDelta: the prior is a point mass; give it probabilities.")
    return -p.log_prob(q.states)
