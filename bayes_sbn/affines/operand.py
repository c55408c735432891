r"""An input or a weight of a pre-activation, with the rule by which it is differentiated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bayes_sbn.signs import FlipRule, open_sign, sign_tag
from bayes_sbn.signs_average_pooled import PooledTag, pooled_tag


@dataclass(frozen=True)
class Operand:
    """An input or a weight of an affine map, with the rule by which it is differentiated.

    Args:
        open: the tensor, in the autograd graph.
        is_sign: whether it is known to be a ±1 draw.
        flip: the flip rule, or None for ordinary derivatives.
        site: the name of its site, if it is a draw.
        pooled: if it is averages of a draw, where gradients of flips go.
        origin: the tensor that was given, of which ``open`` may be a broadcast.
    """

    open: Tensor
    is_sign: bool = False
    flip: FlipRule | None = None
    site: str = ""
    pooled: PooledTag | None = None
    origin: Tensor | None = None

    @classmethod
    def of(cls, tensor: Tensor) -> Operand:
        """The operand that a tensor is, by its tag."""
        pooled, tag = pooled_tag(tensor), sign_tag(tensor)
        if pooled is not None:
            return cls(tensor.detach(), flip=pooled.flip, site=pooled.site, pooled=pooled)
        if tag is None:
            return cls(tensor)
        given = open_sign(tensor)
        return cls(given, is_sign=True, flip=tag.flip, site=tag.site, origin=given)

    @property
    def by_flips(self) -> bool:
        """Whether gradients of this operand are exact flips."""
        differentiated = self.open if self.pooled is None else self.pooled.up
        return self.flip is not None and differentiated.requires_grad

    @property
    def ports(self) -> tuple[Tensor, ...]:
        """The tensors to which gradients of flips are handed."""
        if not self.by_flips:
            return ()
        return (self.open,) if self.pooled is None else (self.pooled.up, self.pooled.down)

    @property
    def value(self) -> Tensor:
        """The tensor as ordinary operations may use it: detached if it is to be flipped."""
        return self.open.detach() if self.by_flips else self.open

    def viewed(self, view: Callable[[Tensor], Tensor]) -> Operand:
        """The same operand with another view of its tensor."""
        pooled = self.pooled
        if pooled is not None:
            pooled = replace(pooled, up=view(pooled.up), down=view(pooled.down))
        return replace(self, open=view(self.open), pooled=pooled)

    def bits(self, value: float) -> Operand:
        """One bit of each window in place of the averages: all +1, or all -1."""
        ones = torch.full_like(self.open, value)
        return Operand(ones, is_sign=True, flip=self.flip, site=self.site)
