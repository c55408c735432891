r"""What every likelihood on a lazy pre-activation is: a law of the data with parameter ``a``.

It holds the :class:`~bayes_sbn.affines.PreActivation` whose value is its logits (or means), so that
the gradient of ``log p(y | a)`` reaches ±1 draws by exact flips where their estimator asks for
them.

Where an operand is known by its moments, ``a`` is taken for normal with a mean and a variance
(:mod:`bayes_sbn.affines.moments`), its units for independent, and what is scored is ``E[log p]`` or
a lower bound of it (:mod:`bayes_sbn.affines.tilted`).
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from bayes_sbn.affines import (
    PreActivation,
    UnitFunction,
    asks_for_redraws,
    summed_log_likelihood,
    units_redraw,
)
from bayes_sbn.affines.dense import Affine
from bayes_sbn.affines.moments import at_mean, dense_moments, variance
from bayes_sbn.affines.redraw import mark_drawn, refuse_drawn
from bayes_sbn.affines.tilted import Tilted
from bayes_sbn.distributions.support import check_batch

LikelihoodT = TypeVar("LikelihoodT", bound="AffineLikelihood")


class AffineLikelihood(TorchDistribution):
    """A law of the data whose parameter is a lazy affine."""

    arg_constraints: ClassVar[dict[str, Any]] = {}  # operands are checked by affine()
    target_dim = 1

    def __init__(self, affine: PreActivation, *, validate_args: bool | None = None) -> None:
        name = type(self).__name__
        if isinstance(affine, PreActivation) and affine.event_dim != 1:
            raise TypeError(
                f"{name}(affine=...): received {affine!r}; heads are dense. Write "
                f"h = bayes_sbn.flatten(h, {affine.event_dim}) for the draw h of the last "
                f"convolution, and {name}(bayes_sbn.affine(h, weight, bias))."
            )
        if not isinstance(affine, PreActivation):
            raise TypeError(
                f"{name}(affine=...): received a {type(affine).__name__}; the law holds a lazy "
                f"pre-activation. Write {name}(bayes_sbn.affine(x, weight, bias))."
            )
        self._scored = affine
        self._tilted: Tilted | None = None
        self.variance_of_affine: Tensor | None = None
        if affine.holds_moments:
            affine = dense_moments(affine, f"{name}(affine)")
            self.variance_of_affine = variance(affine)
            self._tilted = self._tilt(affine)
            affine = at_mean(affine)
            self._scored = affine if self._tilted is None else self._tilted.affine
        self.affine = affine
        shape = affine.shape
        event = shape[len(shape) - self.target_dim :] if self.target_dim else torch.Size()
        super().__init__(affine.batch_shape, event, validate_args=validate_args)

    def expand(self: LikelihoodT, batch_shape: torch.Size, _instance: Any = None) -> LikelihoodT:
        """The same law with its batch shape broadcast; keeps its structure."""
        del _instance
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        new.affine = self.affine.expand(torch.Size(batch_shape))
        new._scored = new.affine
        if self._scored is not self.affine:
            new._scored = self._scored.expand(torch.Size(batch_shape))
        new._batch_shape = torch.Size(batch_shape)
        return new

    def _affine_at(self, batch_shape: torch.Size) -> PreActivation:
        """The affine broadcast to the batch of the scored values, where flips need it."""
        batch = torch.broadcast_shapes(batch_shape, self.affine.batch_shape)
        is_flipped = self._scored.needs_flips or asks_for_redraws(self._scored)
        return self._scored.expand(batch) if is_flipped else self._scored

    def _tilt(self, affine: Affine) -> Tilted | None:
        """The bound by which a pre-activation with moments is scored, or None if it is exact."""
        del affine
        return None

    def _drawn(self, target: Tensor) -> Tensor:
        """A draw of the law, marked where it may not be scored."""
        return mark_drawn(target) if asks_for_redraws(self._scored) else target

    def _is_redrawn(self, target: Tensor) -> bool:
        """Whether the log-probability of a target is averaged over redraws of one bit."""
        if not asks_for_redraws(self._scored):
            return False
        refuse_drawn(target, f"{type(self).__name__}.log_prob(y)")
        return True

    def _sum_units(self, target: Tensor, pre: PreActivation, h: UnitFunction) -> Tensor:
        value = summed_log_likelihood(pre, h)
        return value + units_redraw(pre, h) if self._is_redrawn(target) else value

    def _check_kind(self, value: Tensor, allowed: str) -> None:
        """The target is a tensor of real numbers of the shape of a draw."""
        name = type(self).__name__
        if not isinstance(value, Tensor) or value.dtype == torch.bool or value.is_complex():
            came = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(
                f"{name}.log_prob(y): y is {came}; {allowed}. Write torch.as_tensor(y).long() "
                "for labels, or torch.as_tensor(y, dtype=torch.get_default_dtype()) for numbers."
            )
        event = self.event_shape
        if len(event) > value.dim() or value.shape[value.dim() - len(event) :] != event:
            raise ValueError(
                f"{name}.log_prob(y): y has shape {tuple(value.shape)}; it must end in the "
                f"outputs, {tuple(event)}."
            )
        check_batch(self, value, "log_prob(y)")

    def _check_target(self, value: Tensor, wrong: Tensor, allowed: str, remedy: str) -> None:
        if wrong.any():
            place = tuple(int(i) for i in wrong.nonzero()[0])
            raise ValueError(
                f"{type(self).__name__}.log_prob(y): y at {place} is {value[place].item()}; "
                f"{allowed}. {remedy}"
            )
