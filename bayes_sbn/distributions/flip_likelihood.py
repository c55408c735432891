r"""A likelihood of any form on a ±1 draw: ``p(y | h)`` is a law that a function of h returns.

    log p(y | h) = law_of(h).log_prob(y),

differentiated in h by exact flips where the estimator of the draw asks for them, in the parameters
that ``law_of`` closes over by autograd (:mod:`bayes_sbn.signs_flipped`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import Distribution

from bayes_sbn.affines.redraw import mark_drawn, refuse_drawn
from bayes_sbn.signs import sign_tag
from bayes_sbn.signs_flipped import ENTRIES_PER_CHUNK, add_flips, by_flips, fits, state
from bayes_sbn.signs_rearranged import rearranged


class FlipLikelihood(TorchDistribution):
    """The law ``law_of(h)`` of data, whose log-probability is differentiated in h by exact flips.

    Args:
        law_of: from states, (*lead, *batch, *event), to a law of torch or Pyro with batch shape
            (*lead, *batch).  Rows must not influence each other; read parameters outside of it.
        h: the draw of a ±1 site, (*batch, *event), or any tensor of -1 and +1.
        event_dim: how many dims of h are units.
        chunk_entries: as in :func:`bayes_sbn.exact_flips`.
        validate_args: whether the law checks the values that are scored; None is its own choice.

    Example:
        >>> import pyro.distributions as dist, torch
        >>> from bayes_sbn.distributions import FlipLikelihood
        >>> w, h = torch.randn(3, 4), torch.ones(5, 4)
        >>> FlipLikelihood(lambda h: dist.Poisson((h @ w.mT).exp()).to_event(1), h)
        FlipLikelihood(Independent, batch shape (5,), event shape (3,))
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}  # law_of checks its own

    def __init__(
        self,
        law_of: Callable[[Tensor], Distribution],
        h: Tensor,
        *,
        event_dim: int = 1,
        chunk_entries: int = ENTRIES_PER_CHUNK,
        validate_args: bool | None = None,
    ) -> None:
        self.law_of, self.h = law_of, h
        self.unit_dims, self.chunk_entries = event_dim, chunk_entries
        self._scores_checked = validate_args
        self.law = self._law(state(h, event_dim, "FlipLikelihood(law_of, h)"))
        """The law at h; its own methods know nothing of flips."""
        self.has_enumerate_support = getattr(self.law, "has_enumerate_support", False)
        super().__init__(self.law.batch_shape, self.law.event_shape, validate_args=False)

    def _law(self, h: Tensor) -> Distribution:
        law = self.law_of(h)
        call = "FlipLikelihood(law_of, h)"
        if not isinstance(law, Distribution):
            raise TypeError(
                f"{call}: law_of(h) returned a {type(law).__name__}; it must return a distribution "
                "of torch or Pyro. For a function that returns log-probabilities write "
                'pyro.factor("y", bayes_sbn.exact_flips(function, h)).'
            )
        batch = h.shape[: h.dim() - self.unit_dims]
        if not fits(law.batch_shape, h, self.unit_dims):
            raise ValueError(
                f"{call}: law_of(h) has batch shape {tuple(law.batch_shape)} for h of shape "
                f"{tuple(h.shape)}; it must be that of the rows, {tuple(batch)}, whatever dims "
                "stand to the left. Turn outputs into event dims with .to_event(1), and count "
                "dims from the right."
            )
        if self._scores_checked is not None:
            law._validate_args = self._scores_checked
        return law

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> FlipLikelihood:
        """The same law with its batch shape broadcast."""
        del _instance
        batch_shape = torch.Size(batch_shape)
        if batch_shape == self.batch_shape:
            return self
        units = self.h.shape[self.h.dim() - self.unit_dims :]
        return FlipLikelihood(
            self.law_of,
            rearranged(self.h, lambda t: t.expand(*batch_shape, *units)),
            event_dim=self.unit_dims,
            chunk_entries=self.chunk_entries,
            validate_args=self._scores_checked,
        )

    @property
    def is_flipped(self) -> bool:
        """Whether the draw that it is a function of is differentiated by exact flips."""
        return by_flips(self.h)

    @property
    def support(self) -> Any:
        """That of the law."""
        return self.law.support

    @property
    def mean(self) -> Tensor:
        """That of the law."""
        return self.law.mean

    @property
    def variance(self) -> Tensor:
        """That of the law."""
        return self.law.variance

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """A draw of the law, without gradient."""
        with torch.no_grad():
            target: Tensor = self.law.sample(torch.Size(sample_shape))
        return mark_drawn(target) if self._is_redrawn() else target

    def _is_redrawn(self) -> bool:
        """Whether the log-probability is averaged over redraws of one bit."""
        tag = sign_tag(self.h)
        return tag is not None and tag.flip is not None and tag.flip.rao_blackwell

    def log_prob(self, value: Tensor) -> Tensor:
        """``law_of(h).log_prob(y)``, differentiated in h by exact flips if its rule asks for them.

        Args:
            value: the data, (*batch, *event_shape), broadcast against the batch shape.
        """
        if self._is_redrawn():
            refuse_drawn(value, "FlipLikelihood(law_of, h).log_prob(y)")
        batch = torch.broadcast_shapes(
            value.shape[: value.dim() - self.event_dim], self.batch_shape
        )
        if batch != self.batch_shape:
            return self.expand(batch).log_prob(value)
        return add_flips(
            self.law.log_prob(value),
            lambda h: self._law(h).log_prob(value),
            self.h,
            self.unit_dims,
            self.chunk_entries,
            "FlipLikelihood(law_of, h).log_prob(y)",
        )

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """That of the law."""
        return self.law.enumerate_support(expand=expand)

    def __repr__(self) -> str:
        shapes = f"batch shape {tuple(self.batch_shape)}, event shape {tuple(self.event_shape)}"
        return f"FlipLikelihood({type(self.law).__name__}, {shapes})"
