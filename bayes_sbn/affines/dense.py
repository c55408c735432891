r"""The lazy dense pre-activation ``a = s * (W x) + b`` and how it changes under single flips.

``x`` has shape (..., rows, in) or (in,), ``W`` (out, in) with optional leading batch axes
followed by one axis of size 1 for the plate of the rows, ``s`` and ``b`` broadcast against
(..., rows, out).  Each operand is differentiated by the rule that its draw carries
(:mod:`bayes_sbn.signs`): by autograd, or by exact flips.  The flips themselves are in
:mod:`bayes_sbn.affines.flips`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_sbn.affines.flip_graph import Gradients
from bayes_sbn.affines.flips import flip_inputs, flip_weights, two_values
from bayes_sbn.affines.function import UnitFunction
from bayes_sbn.affines.operand import Operand
from bayes_sbn.affines.pre_activation import Term


class Affine(Term):
    """A lazy dense pre-activation ``a = s * (W x) + b``; made by :func:`affine`."""

    event_dim = 1

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
        return self.weight.viewed(lambda t: t.squeeze(-3))

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

    def own_coefficient(self) -> Tensor | None:
        """The scaled diagonal of the matrix, broadcast against ``a``."""
        w = self.matrix.open.detach()
        if w.shape[-1] != w.shape[-2]:
            return None
        diagonal = w.diagonal(dim1=-2, dim2=-1)
        if self.has_rows and w.dim() > 2:
            diagonal = diagonal.unsqueeze(-2)
        return self.unit_scale * diagonal

    def flip_gradients(
        self, h: UnitFunction, g: Tensor, of_inputs: bool, of_weight: bool
    ) -> Gradients:
        """Half the exact differences of h times g, of the shapes of x and of W."""
        values = None
        if (of_inputs and self.weight.is_sign) or (of_weight and self.inputs.is_sign):
            values = two_values(self, h, g)
        x_gradient = flip_inputs(self, h, g, values) if of_inputs else None
        w_gradient = None
        if of_weight:
            w_gradient = flip_weights(self, h, g, values).reshape(self.weight.open.shape)
        return x_gradient, w_gradient

    def _expanded(self, batch_shape: torch.Size) -> Affine:
        x, w = self.inputs, self.weight
        if self.has_rows or w.open.dim() == 2 or w.open.shape[-3] == 1:
            x = x.viewed(lambda t: t.expand(*batch_shape, t.shape[-1]))
        else:  # a matrix for each place of the batch, and one vector
            w = w.viewed(lambda t: t.expand(*batch_shape, *t.shape[-2:]))
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
