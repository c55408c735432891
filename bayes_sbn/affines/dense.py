r"""The lazy dense pre-activation ``a = s * (W x) + b`` and how it changes under single flips.

``x`` has shape (..., rows, in) or (in,), ``W`` (out, in) with optional leading batch axes
followed by one axis of size 1 for the plate of the rows, ``s`` and ``b`` broadcast against
(..., rows, out).  Each operand is differentiated by the rule that its draw carries
(:mod:`bayes_sbn.signs`): by autograd, or by exact flips.  The flips themselves are in
:mod:`bayes_sbn.affines.flips`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bayes_sbn.affines.flips import flip_unit_function
from bayes_sbn.affines.function import UnitFunction
from bayes_sbn.signs import FlipRule, open_sign, sign_tag


@dataclass(frozen=True)
class Operand:
    """An input or a weight of an affine map, with the rule by which it is differentiated.

    Args:
        open: the tensor, in the autograd graph.
        is_sign: whether it is known to be a ±1 draw.
        flip: the flip rule, or None for ordinary derivatives.
        site: the name of its site, if it is a draw.
    """

    open: Tensor
    is_sign: bool = False
    flip: FlipRule | None = None
    site: str = ""

    @classmethod
    def of(cls, tensor: Tensor) -> Operand:
        """The operand that a tensor is, by its tag."""
        tag = sign_tag(tensor)
        if tag is None:
            return cls(tensor)
        return cls(open_sign(tensor), is_sign=True, flip=tag.flip, site=tag.site)

    @property
    def by_flips(self) -> bool:
        """Whether gradients of this operand are exact flips."""
        return self.flip is not None and self.open.requires_grad

    @property
    def value(self) -> Tensor:
        """The tensor as ordinary operations may use it: detached if it is to be flipped."""
        return self.open.detach() if self.by_flips else self.open

    def with_open(self, tensor: Tensor) -> Operand:
        """The same operand with another view of its tensor."""
        return Operand(tensor, self.is_sign, self.flip, self.site)


class Affine:
    """A lazy dense pre-activation ``a = s * (W x) + b``; made by :func:`affine`.

    ``tensor`` is the pre-activation; ``through(h)`` is a function of it with the Jacobian that
    each operand's rule asks for.
    """

    event_dim = 1

    def __init__(
        self,
        inputs: Operand,
        weight: Operand,
        bias: Tensor | None,
        scale: Tensor | None,
        source: Affine | None = None,
    ) -> None:
        self.inputs = inputs
        self.weight = weight
        self.bias = bias
        self.scale = scale
        self.source = self if source is None else source
        """The affine that this one was expanded from: the same conditional."""
        self._tensors: dict[bool, Tensor] = {}  # by whether autograd recorded the evaluation

    @property
    def has_rows(self) -> bool:
        """Whether the inputs are rows of a plate, rather than one vector."""
        return self.inputs.open.dim() > 1

    @property
    def matrix(self) -> Operand:
        """The weight without the plate axis: (..., out, in)."""
        w = self.weight.open
        if w.dim() == 2 or not self.has_rows:
            return self.weight
        return self.weight.with_open(w.squeeze(-3))

    @property
    def tensor(self) -> Tensor:
        """The pre-activation ``a``; no gradient flows here to operands that are to be flipped.

        Evaluated once; once more if the first time was under ``torch.no_grad`` and this is not.
        """
        is_recorded = torch.is_grad_enabled()
        for key in (True, is_recorded):
            if key in self._tensors:
                return self._tensors[key]
        self._tensors[is_recorded] = self._evaluate()
        return self._tensors[is_recorded]

    def _evaluate(self) -> Tensor:
        x, w = self.inputs.value, self.matrix.value
        product = torch.matmul(x, w.mT) if self.has_rows else torch.matmul(w, x)
        a = product if self.scale is None else self.scale * product
        return a if self.bias is None else a + self.bias

    @property
    def unit_scale(self) -> Tensor:
        """The scale, a constant to the flips."""
        if self.scale is None:
            return torch.ones((), dtype=self.tensor.dtype, device=self.tensor.device)
        return self.scale.detach()

    @property
    def needs_flips(self) -> bool:
        """Whether any operand is differentiated by flips."""
        return self.inputs.by_flips or self.weight.by_flips

    @property
    def shape(self) -> torch.Size:
        """The shape of the pre-activation, (..., rows, out)."""
        return self.tensor.shape

    @property
    def batch_shape(self) -> torch.Size:
        """The shape without the units."""
        return self.shape[:-1]

    def through(self, h: UnitFunction) -> Tensor:
        """``h(a)``, differentiated in each operand by that operand's rule."""
        value = h.value(self.tensor)
        if not self.needs_flips:
            return value
        return value + flip_unit_function(self, h)

    def expand(self, batch_shape: torch.Size) -> Affine:
        """The same pre-activation with its batch shape broadcast."""
        batch_shape = torch.Size(batch_shape)
        if batch_shape == self.batch_shape:
            return self
        if not broadcasts_to(self.batch_shape, batch_shape):
            raise ValueError(
                f"Affine.expand({tuple(batch_shape)}): the pre-activation has batch shape "
                f"{tuple(self.batch_shape)}, which does not broadcast to it."
            )
        x, w = self.inputs, self.weight
        if self.has_rows or w.open.dim() == 2 or w.open.shape[-3] == 1:
            x = x.with_open(x.open.expand(*batch_shape, x.open.shape[-1]))
        else:  # a matrix for each place of the batch, and one vector
            w = w.with_open(w.open.expand(*batch_shape, *w.open.shape[-2:]))
        return _ExpandedAffine(x, w, self.bias, self.scale, source=self.source)

    def __repr__(self) -> str:
        kind = "±1" if self.weight.is_sign else "real"
        out, size = self.weight.open.shape[-2:]
        return f"Affine({kind} weights {out} x {size}, batch shape {tuple(self.batch_shape)})"


class _ExpandedAffine(Affine):
    """A broadcast of its source, whose pre-activation it shares."""

    def _evaluate(self) -> Tensor:
        x, w = self.inputs.open, self.weight.open
        batch = x.shape[:-1] if self.has_rows else w.shape[:-2]
        return self.source.tensor.expand(*batch, w.shape[-2])


def broadcasts_to(shape: torch.Size, wanted: torch.Size) -> bool:
    """Whether a tensor of a shape can be expanded to the wanted one."""
    pairs = zip(reversed(shape), reversed(wanted), strict=False)
    return len(shape) <= len(wanted) and all(size in (1, other) for size, other in pairs)


def affine(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    scale: Tensor | float | None = None,
) -> Affine:
    r"""The lazy pre-activation ``a = scale * (weight @ x) + bias`` of a dense layer.

    Args:
        x: inputs, (..., rows, in) or (in,): data, or the draw of a ±1 site.
        weight: (out, in), real or the draw of a ±1 site.  Weights of vectorised particles have
            shape (particles, 1, out, in), as Pyro draws them outside the plate of the rows.
        bias: broadcast against (..., rows, out).
        scale: a number, or one per unit, (out,).

    Raises:
        ValueError: shapes that do not fit, or weights that were drawn once per row.

    Example:
        >>> import torch
        >>> from bayes_sbn.affines import affine
        >>> affine(torch.ones(3), torch.ones(2, 3), torch.tensor([0.5, 0.0])).tensor
        tensor([3.5000, 3.0000])
    """
    call = "affine(x, weight, bias, scale=...)"
    for name, tensor in (("x", x), ("weight", weight)):
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{call}: {name} is a {type(tensor).__name__}; it must be a torch.Tensor. "
                f"Write torch.as_tensor({name}, dtype=torch.get_default_dtype())."
            )
    if weight.dim() < 2 or x.dim() < 1 or x.shape[-1] != weight.shape[-1]:
        raise ValueError(
            f"{call}: x has shape {tuple(x.shape)} and weight {tuple(weight.shape)}; x must end "
            "in the number of inputs and weight be (out, in) with the same number."
        )
    if not (x.is_floating_point() and weight.is_floating_point()):
        raise TypeError(
            f"{call}: x is {x.dtype} and weight {weight.dtype}; both must be floating point. "
            "Write x.to(torch.get_default_dtype())."
        )
    if x.dtype != weight.dtype:
        raise TypeError(
            f"{call}: x is {x.dtype} and weight {weight.dtype}; both must be the same. "
            "Write x.to(weight.dtype)."
        )
    if weight.dim() > 2 and x.dim() > 1 and weight.shape[-3] != 1:
        raise ValueError(
            f"{call}: weight has shape {tuple(weight.shape)}, one matrix per row of x "
            f"{tuple(x.shape)}. Weights are shared by the rows: draw them before (outside) "
            "pyro.plate, so that their shape is (out, in), or (particles, 1, out, in) under "
            "vectorised particles, whose max_plate_nesting counts the plate of the rows."
        )
    out = weight.shape[-2]
    for name, term in (("bias", bias), ("scale", scale)):
        if not isinstance(term, Tensor) or term.dim() == 0:
            continue
        if term.shape[-1] not in (1, out) or (name == "scale" and term.dim() > 1):
            raise ValueError(
                f"{call}: {name} has shape {tuple(term.shape)}; it must be a number or one per "
                f"unit, ({out},)."
            )
    if scale is not None and not isinstance(scale, Tensor):
        scale = torch.as_tensor(scale, dtype=weight.dtype, device=weight.device)
    return Affine(Operand.of(x), Operand.of(weight), bias, scale)
