r"""The lazy pre-activation ``a_j = s_j x_j + b_j``, in which each unit sees one input.

It is what a skip connection adds to a layer, ``affine_conv2d(h, weight) + identity(x, 3)``.  A flip
of ``x_j`` moves its own unit alone, by ``-2 s_j x_j``, so its flips are one difference a unit,

    1/2 g_j [h(a_j | x_j = +1) - h(a_j | x_j = -1)].

**Beside a layer of the same draw**, ``W x + s x``, the bit ``x_j`` reaches unit j twice, by
``w_jj`` and by ``s_j``, and all other units once.  With ``D_j(c)`` the difference of unit j for a
coefficient c, the layer answers ``D_j(w_jj)`` there, so the identity adds the rest,
``D_j(w_jj + s_j) - D_j(w_jj)``, and the joint flips are exact.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from bayes_sbn.affines.flip_graph import Gradients
from bayes_sbn.affines.function import UnitFunction
from bayes_sbn.affines.operand import Operand
from bayes_sbn.affines.pre_activation import PreActivation, Term


class Identity(Term):
    """A lazy ``a = s * x + b``; made by :func:`identity`.

    Args:
        inputs: (..., *units).
        bias: a number, or (..., channels).
        scale: a number, or (channels,).
        event_dim: how many dims the units have; the first of them is the channels.
        source: the pre-activation that this one is a broadcast of.
    """

    def __init__(
        self,
        inputs: Operand,
        bias: Tensor | None,
        scale: Tensor | None,
        event_dim: int,
        source: PreActivation | None = None,
    ) -> None:
        one = torch.ones((), dtype=inputs.open.dtype, device=inputs.open.device)
        super().__init__(inputs, Operand(one), bias, scale, source)
        self.event_dim = event_dim
        self.layer: Term | None = None
        """A layer of the same draw in the same sum."""

    def _evaluate(self) -> Tensor:
        if self.source is not self:
            return self.source.tensor.expand(self.inputs.open.shape)
        a = self.inputs.value
        if self.scale is not None:
            a = self._per_channel(self.scale) * a
        return a if self.bias is None else a + self._per_channel(self.bias)

    def _per_channel(self, term: Tensor) -> Tensor:
        """A number or (..., channels) as a factor of the units."""
        return term.reshape(*term.shape, *(1,) * (self.event_dim - 1)) if term.dim() else term

    @property
    def unit_scale(self) -> Tensor:
        """The scale, a constant to the flips."""
        if self.scale is None:
            return self.weight.open
        return self._per_channel(self.scale.detach())

    def flip_gradients(
        self, h: UnitFunction, g: Tensor, of_inputs: bool, of_weight: bool
    ) -> Gradients:
        """Half the exact differences of h times g, of the shape of x."""
        assert not of_weight, "the weight of an identity is the number 1"
        if not of_inputs:
            return None, None
        x = self.inputs.open.detach()
        own = None if self.layer is None else self.layer.own_coefficient()
        if own is None:
            difference = h.difference(self.tensor, self.unit_scale, x)
        else:
            both = h.difference(self.tensor, own + self.unit_scale, x)
            difference = both - h.difference(self.tensor, own.expand_as(both), x)
        return (0.5 * g * difference).sum_to_size(x.shape), None

    def beside(self, other: Term) -> Identity | None:
        """This identity, flipped jointly with a layer of the same draw, arranged alike."""
        origin = self.inputs.origin
        if origin is None or other.inputs.origin is not origin or other.own_coefficient() is None:
            return None
        joint = copy.copy(self)
        joint.layer = other
        return joint

    def _expanded(self, batch_shape: torch.Size) -> Identity:
        units = self.unit_shape
        wide = self.inputs.viewed(lambda t: t.expand(*batch_shape, *units))
        return Identity(wide, self.bias, self.scale, self.event_dim, source=self.source)

    def __repr__(self) -> str:
        units = " x ".join(map(str, self.unit_shape))
        return f"Identity({units} units, batch shape {tuple(self.batch_shape)})"


def identity(
    x: Tensor,
    event_dim: int = 1,
    *,
    bias: Tensor | float | None = None,
    scale: Tensor | float | None = None,
) -> Identity:
    """The lazy pre-activation ``a = scale * x + bias``, to be added to another as a skip.

    Args:
        x: (..., rows, units), or (..., rows, C, H, W) with ``event_dim=3``: data, or the draw of a
            ±1 site.
        event_dim: how many of the last dims are units: 1 beside :func:`affine`, 2 beside
            :func:`affine_conv1d`, 3 beside :func:`affine_conv2d`.
        bias: a number, or one per unit of a vector, or per channel of a map.
        scale: a number, or one per unit of a vector, or per channel of a map.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> import torch
        >>> from bayes_sbn.affines import affine, identity
        >>> h = torch.tensor([1.0, -1.0])
        >>> (affine(torch.ones(3), torch.ones(2, 3)) + identity(h, scale=0.5)).tensor
        tensor([3.5000, 2.5000])
    """
    call = f"identity(x, event_dim={event_dim!r})"
    if not isinstance(x, Tensor) or not x.is_floating_point():
        came = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{call}: x is {came}; it must be a floating-point torch.Tensor.")
    if event_dim not in (1, 2, 3) or event_dim > x.dim():
        raise ValueError(
            f"{call}: x has shape {tuple(x.shape)}; event_dim is the number of its last dims that "
            "are units, 1, 2 or 3. Write identity(x, 3) for (..., C, H, W)."
        )
    channels = x.shape[x.dim() - event_dim]
    for name, term in (("bias", bias), ("scale", scale)):
        if not isinstance(term, Tensor) or term.dim() == 0:
            continue
        if term.shape[-1] not in (1, channels) or term.dim() > 1:
            raise ValueError(
                f"{call}: {name} has shape {tuple(term.shape)}; it must be a number or one per "
                f"channel, ({channels},)."
            )
    if scale is not None and not isinstance(scale, Tensor):
        scale = torch.as_tensor(scale, dtype=x.dtype, device=x.device)
    if bias is not None and not isinstance(bias, Tensor):
        bias = torch.as_tensor(bias, dtype=x.dtype, device=x.device)
    return Identity(Operand.of(x), bias, scale, event_dim)
