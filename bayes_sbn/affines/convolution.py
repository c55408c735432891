r"""The lazy pre-activation of a convolution, ``a = s_c * conv(x, W) + b_c``.

``x`` has shape (..., rows, C, *space), ``W`` (O, C / groups, *kernel) with optional leading axes
for particles followed by one axis of size 1 for the plate of the rows; scale and bias belong to
output channels.  The units are the output channels and places, (O, *space), and all of them are
event dims.  Each operand is differentiated by the rule that its draw carries: by autograd, or by
exact flips (:mod:`bayes_sbn.affines.convolution_flips`).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType

import torch
from torch import Tensor

from bayes_sbn.affines.convolution_flips import flip_inputs, flip_weights, shared_values
from bayes_sbn.affines.flip_graph import Gradients
from bayes_sbn.affines.function import UnitFunction
from bayes_sbn.affines.operand import Operand
from bayes_sbn.affines.pre_activation import PreActivation, Term
from bayes_sbn.affines.window import Window
from bayes_sbn.signs_pooling_window import window_sizes


class Convolution(Term):
    """A lazy convolution; made by :func:`affine_conv1d` and :func:`affine_conv2d`.

    Args:
        inputs: maps, (..., rows, C, *space).
        weight: kernels, (O, C / groups, *kernel), or (particles, 1, O, C / groups, *kernel).
        bias: a number, or (..., O).
        scale: a number, or (O,).
        window: stride, padding, dilation, groups.
        source: the convolution that this one is a broadcast of.
    """

    def __init__(
        self,
        inputs: Operand,
        weight: Operand,
        bias: Tensor | None,
        scale: Tensor | None,
        window: Window,
        source: PreActivation | None = None,
    ) -> None:
        super().__init__(inputs, weight, bias, scale, source)
        self.window = window
        self.event_dim = window.dims + 1

    def _evaluate(self) -> Tensor:
        a = self.window.convolve(self.inputs.value, self.weight.value)
        if self.scale is not None:
            a = self._per_channel(self.scale) * a
        return a if self.bias is None else a + self._per_channel(self.bias)

    def _per_channel(self, term: Tensor) -> Tensor:
        """A number or (..., O) as a factor of the maps."""
        return term.reshape(*term.shape, *(1,) * self.window.dims) if term.dim() else term

    @property
    def unit_scale(self) -> Tensor:
        """The scale, a constant to the flips, (O, 1, ...) or a number."""
        if self.scale is None:
            return torch.ones((), dtype=self.tensor.dtype, device=self.tensor.device)
        return self._per_channel(self.scale.detach())

    def own_coefficient(self) -> Tensor | None:
        """The scaled weights by which each channel and place sees itself, broadcast against ``a``.

        With a stride of 1 that is one tap, ``padding / dilation``, where the kernel has it.
        """
        window, w, dims = self.window, self.weight.open.detach(), self.window.dims
        channels = w.shape[w.dim() - dims - 2]
        if channels != w.shape[w.dim() - dims - 1] * window.groups or set(window.stride) != {1}:
            return None
        kernel = w.shape[w.dim() - dims :]
        taps = list(zip(window.padding, window.dilation, kernel, strict=True))
        if any(pad % step or pad // step >= size for pad, step, size in taps):
            return torch.zeros_like(self.unit_scale)
        tap: tuple[EllipsisType | int, ...] = (..., *(pad // step for pad, step, _ in taps))
        at_tap = w[tap]  # (..., O, C / groups)
        each = torch.arange(channels, device=w.device)
        own = at_tap[..., each, each % at_tap.shape[-1]]
        return self.unit_scale * self._per_channel(own)

    def flip_gradients(
        self, h: UnitFunction, g: Tensor, of_inputs: bool, of_weight: bool
    ) -> Gradients:
        """Half the exact differences of h times g, of the shapes of x and of W."""
        values = self.once("values", lambda: shared_values(self, h, g, of_inputs, of_weight))
        return (
            flip_inputs(self, h, g, values) if of_inputs else None,
            flip_weights(self, h, g, values) if of_weight else None,
        )

    def _expanded(self, batch_shape: torch.Size) -> Convolution:
        wide = self.inputs.viewed(
            lambda t: t.expand(*batch_shape, *t.shape[t.dim() - self.event_dim :])
        )
        return _ExpandedConvolution(
            wide, self.weight, self.bias, self.scale, self.window, source=self.source
        )

    def __repr__(self) -> str:
        kind = "±1" if self.weight.is_sign else "real"
        w = self.weight.open
        sizes = " x ".join(map(str, w.shape[w.dim() - self.event_dim - 1 :]))
        return f"Convolution({kind} weights {sizes}, batch shape {tuple(self.batch_shape)})"


class _ExpandedConvolution(Convolution):
    """A broadcast of its source, whose pre-activation it shares."""

    def _evaluate(self) -> Tensor:
        x, a = self.inputs.open, self.source.tensor
        return a.expand(*x.shape[: x.dim() - self.event_dim], *a.shape[a.dim() - self.event_dim :])


def affine_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    scale: Tensor | float | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Convolution:
    """The lazy pre-activation of a 1-D convolution; its units (O, L) are two event dims.

    Args:
        x: (..., rows, C, L): data, or the draw of a ±1 site.
        weight: (O, C / groups, k), or (particles, 1, O, C / groups, k): real, or a ±1 draw.
        bias: a number, or one per output channel, (O,).
        scale: a number, or one per output channel, (O,).
        stride: as in :func:`torch.nn.functional.conv1d`.
        padding: zeros before and after; as in torch, but not a word.
        dilation: as in torch.
        groups: as in torch.

    Raises:
        ValueError: shapes that do not fit, or weights that were drawn once per row.
    """
    return _affine_conv(1, x, weight, bias, scale, (stride, padding, dilation), groups)


def affine_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    scale: Tensor | float | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Convolution:
    """The lazy pre-activation of a 2-D convolution; its units (O, H, W) are three event dims.

    Args:
        x: (..., rows, C, H, W): data, or the draw of a ±1 site.
        weight: (O, C / groups, kh, kw), or (particles, 1, O, C / groups, kh, kw): real, or a ±1
            draw.
        bias: a number, or one per output channel, (O,).
        scale: a number, or one per output channel, (O,).
        stride: as in :func:`torch.nn.functional.conv2d`.
        padding: zeros on either side; as in torch, but not a word.
        dilation: as in torch.
        groups: as in torch.

    Raises:
        ValueError: shapes that do not fit, or weights that were drawn once per row.

    Example:
        >>> import torch
        >>> from bayes_sbn.affines import affine_conv2d
        >>> affine_conv2d(torch.ones(1, 3, 3), torch.ones(1, 1, 2, 2), scale=0.5).tensor
        tensor([[[2., 2.],
                 [2., 2.]]])
    """
    return _affine_conv(2, x, weight, bias, scale, (stride, padding, dilation), groups)


_SPACE = {1: "L", 2: "H, W"}
_KERNEL = {1: "k", 2: "kh, kw"}


def _affine_conv(
    dims: int,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scale: Tensor | float | None,
    steps: tuple[int | Sequence[int], int | Sequence[int], int | Sequence[int]],
    groups: int,
) -> Convolution:
    call = f"affine_conv{dims}d(x, weight, bias, scale=...)"
    for name, tensor in (("x", x), ("weight", weight)):
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{call}: {name} is a {type(tensor).__name__}; it must be a torch.Tensor. "
                f"Write torch.as_tensor({name}, dtype=torch.get_default_dtype())."
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
    stride, padding, dilation = (
        window_sizes(call, name, step, dims, at_least)
        for name, step, at_least in zip(
            ("stride", "padding", "dilation"), steps, (1, 0, 1), strict=True
        )
    )
    (groups,) = window_sizes(call, "groups", groups, 1, 1)
    window = Window(stride, padding, dilation, groups)
    _check_shapes(call, x, weight, window)
    out = weight.shape[weight.dim() - dims - 2]
    for name, term in (("bias", bias), ("scale", scale)):
        if not isinstance(term, Tensor) or term.dim() == 0:
            continue
        if term.shape[-1] not in (1, out) or (name == "scale" and term.dim() > 1):
            raise ValueError(
                f"{call}: {name} has shape {tuple(term.shape)}; it must be a number or one per "
                f"output channel, ({out},)."
            )
    if scale is not None and not isinstance(scale, Tensor):
        scale = torch.as_tensor(scale, dtype=weight.dtype, device=weight.device)
    inputs = Operand.of(x)
    if bias is not None and bias.dim() > 1:  # rows or particles by the bias
        split = x.dim() - dims - 1
        batch = torch.broadcast_shapes(x.shape[:split], bias.shape[:-1])
        inputs = inputs.viewed(lambda t: t.expand(*batch, *x.shape[split:]))
    return Convolution(inputs, Operand.of(weight), bias, scale, window)


def _check_shapes(call: str, x: Tensor, weight: Tensor, window: Window) -> None:
    dims, groups = window.dims, window.groups
    came = f"{call}: x has shape {tuple(x.shape)} and weight {tuple(weight.shape)}"
    if x.dim() < dims + 1 or weight.dim() < dims + 2:
        raise ValueError(
            f"{came}; x must end in (C, {_SPACE[dims]}) and weight in (O, C / groups, "
            f"{_KERNEL[dims]}). Give maps a channel axis with x.unsqueeze({-dims - 1})."
        )
    out, inputs = weight.shape[weight.dim() - dims - 2 : weight.dim() - dims]
    channels = x.shape[x.dim() - dims - 1]
    if channels != inputs * groups or out % groups:
        raise ValueError(
            f"{came} with groups={groups}; x must have C = {inputs} * {groups} channels, those of "
            f"the weight times the groups, and the {out} output channels fall into {groups} groups."
        )
    lead = weight.shape[: weight.dim() - dims - 2]
    if lead and lead[-1] != 1:
        raise ValueError(
            f"{came}, one kernel per row of x. Weights are shared by the rows: draw them before "
            "(outside) pyro.plate, so that their shape is (O, C / groups, "
            f"{_KERNEL[dims]}), or (particles, 1, O, C / groups, {_KERNEL[dims]}) under vectorised "
            "particles, whose max_plate_nesting counts the plate of the rows."
        )
    size = window.output_size(tuple(x.shape[x.dim() - dims :]), tuple(weight.shape[-dims:]))
    if min(size) < 1:
        raise ValueError(
            f"{came}; the kernel does not fit into the map of size {tuple(x.shape[-dims:])} with "
            f"padding {window.padding} and dilation {window.dilation}. Use a smaller kernel or "
            "more padding."
        )
