"""One dense layer in one pass: product, scale, bias, noise, threshold and packing, fused.

With these a forward pass of one's own stays in packed bits.  Each is one layer of an ensemble, bit
for bit: :func:`stochastic_linear` a hidden one in one draw, :func:`linear_logits` the last one;
:func:`sign_linear` is a hidden layer without noise.  Definition in
``bayes_sbn.kernels.reference.fused_linear``.

Rows are packed ±1 values or, as the inputs of an ensemble's first layer are, 16-bit integers in
steps of a grid: ``x = step * integers``, whose step belongs into the scale, ``scale * step``.
"""

from __future__ import annotations

import math

from torch import Tensor

from bayes_sbn.bits import PackedBits
from bayes_sbn.kernels import fused_linear_operators as operators
from bayes_sbn.kernels.fused_linear_arguments import (
    Rows,
    Weights,
    check_place,
    of_units,
    rows_of,
    signed,
    units_of,
)
from bayes_sbn.kernels.native.ensemble import LAWS

ROW_NOISES = ("shared", "independent")


def stochastic_linear(
    x: Rows,
    w: Weights,
    scale: Tensor | float,
    bias: Tensor | float,
    *,
    noise: str = "logistic",
    noise_scale: float = 1.0,
    row_noise: str = "shared",
    seed: int = 0,
    stream: int = 0,
    draw: int = 0,
    site: int = 0,
    row_offset: int = 0,
) -> PackedBits:
    """A hidden layer of one draw: +1 where ``scale * dot + bias`` exceeds the noise.

    Weights given as probabilities are drawn where they are used and never stored: the result is
    that of ``w.draw([draw], seed=seed, stream=stream, site=site)``.

    Args:
        x: packed ±1 rows of K values, or int16 integers, shape ``(..., K)``.
        w: packed weights of the units, shape ``(units, K)``, or their probabilities.
        scale: of each unit, shape (units,), or of all; computed with in float64, as the bias.
        bias: of each unit, or of all.
        noise: its law, "logistic", "gaussian", "laplace", "uniform" or "triangular".
        noise_scale: its scale, positive.
        row_noise: ``"shared"``, where all rows see the same noise, or ``"independent"``, where the
            noise is keyed by the row's index: row-major over the leading dimensions of x.
        seed: an integer in ``[0, 2**64)``.
        stream: an integer in ``[0, 2**64)``.
        draw: index of the draw, in ``[0, 2**32)``.
        site: index of the layer, 0 to 65535; layers of one network take different ones.
        row_offset: index of the first row, for ``"independent"`` noise: parts of a batch get the
            results of the whole if each is given the index of its first row.

    Returns:
        Bits of shape ``(..., units)``.

    Raises:
        TypeError: x or w is of another kind.
        ValueError: a shape, value or option is not allowed; the message says what is.
        RuntimeError: scale or bias requires a gradient.

    Example:
        >>> import torch
        >>> from bayes_sbn.kernels import PackedProbabilities, pack, stochastic_linear, unpack
        >>> x, p = pack(torch.ones(2, 8)), torch.tensor([[0.0] * 8, [1.0] * 8])
        >>> unpack(stochastic_linear(x, PackedProbabilities.pack(p), 10.0, 0.0), torch.int8)
        tensor([[-1,  1],
                [-1,  1]], dtype=torch.int8)
    """
    call = "stochastic_linear()"
    rows, inputs = rows_of(call, x)
    units = units_of(call, w, inputs, may_draw=True)
    words = w.data if isinstance(w, PackedBits) else w.hot
    cold = None if isinstance(w, PackedBits) else w.cold
    if noise not in LAWS:
        raise ValueError(
            f"stochastic_linear(noise={noise!r}): the noise must be one of "
            f"{', '.join(map(repr, LAWS))}."
        )
    if not 0 < noise_scale < math.inf:
        raise ValueError(
            f"stochastic_linear(noise_scale={noise_scale}): the scale of the noise is a positive "
            "number. Write sign_linear(x, w, scale, bias) for no noise."
        )
    if row_noise not in ROW_NOISES:
        raise ValueError(
            f"stochastic_linear(row_noise={row_noise!r}): the noise of rows is 'shared' or "
            "'independent'."
        )
    check_place("stochastic_linear", rows.shape[:-1].numel(), seed, stream, draw, site, row_offset)
    bits: Tensor = operators.stochastic_linear(
        rows,
        words,
        cold,
        of_units(call, "scale", scale, units, rows.device),
        of_units(call, "bias", bias, units, rows.device),
        inputs,
        noise,
        noise_scale,
        row_noise == "shared",
        signed(seed),
        signed(stream),
        draw,
        site,
        row_offset,
    )
    return PackedBits(bits, units)


def sign_linear(x: Rows, w: PackedBits, scale: Tensor | float, bias: Tensor | float) -> PackedBits:
    """A hidden layer without noise: +1 where ``scale * dot + bias > 0``, and -1 at 0 and below.

    It is the more probable state of :func:`stochastic_linear`, and where both are equally probable
    -1, as deterministic straight-through draws it.

    Args:
        x: packed ±1 rows of K values, or int16 integers, shape ``(..., K)``.
        w: packed weights of the units, shape ``(units, K)``.
        scale: of each unit, shape (units,), or of all; computed with in float64, as the bias.
        bias: of each unit, or of all.

    Returns:
        Bits of shape ``(..., units)``.

    Raises:
        TypeError: x or w is of another kind.
        ValueError: a shape or value is not allowed; the message says what is.
        RuntimeError: scale or bias requires a gradient.

    Example:
        >>> import torch
        >>> from bayes_sbn.kernels import pack, sign_linear, unpack
        >>> x, w = pack(torch.tensor([[1.0, 1.0]])), pack(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
        >>> unpack(sign_linear(x, w, 1.0, 0.0))
        tensor([[ 1., -1.]])
    """
    call = "sign_linear()"
    rows, inputs = rows_of(call, x)
    units = units_of(call, w, inputs)
    bits: Tensor = operators.sign_linear(
        rows,
        w.data,
        of_units(call, "scale", scale, units, rows.device),
        of_units(call, "bias", bias, units, rows.device),
        inputs,
    )
    return PackedBits(bits, units)


def linear_logits(x: Rows, w: PackedBits, scale: Tensor | float, bias: Tensor | float) -> Tensor:
    """A last layer: ``scale * dot + bias`` in float64, the product rounded before the sum.

    Args:
        x: packed ±1 rows of K values, or int16 integers, shape ``(..., K)``.
        w: packed weights of the units, shape ``(units, K)``.
        scale: of each unit, shape (units,), or of all.
        bias: of each unit, or of all.

    Returns:
        float64, shape ``(..., units)``.

    Raises:
        TypeError: x or w is of another kind.
        ValueError: a shape or value is not allowed; the message says what is.
        RuntimeError: scale or bias requires a gradient.

    Example:
        >>> import torch
        >>> from bayes_sbn.kernels import linear_logits, pack
        >>> x, w = pack(torch.tensor([[1.0, 1.0]])), pack(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
        >>> linear_logits(x, w, 0.5, torch.tensor([0.0, 1.0]))
        tensor([[1., 1.]], dtype=torch.float64)
    """
    call = "linear_logits()"
    rows, inputs = rows_of(call, x)
    units = units_of(call, w, inputs)
    logits: Tensor = operators.linear_logits(
        rows,
        w.data,
        of_units(call, "scale", scale, units, rows.device),
        of_units(call, "bias", bias, units, rows.device),
        inputs,
    )
    return logits


def integer_linear(x: Tensor, w: PackedBits) -> Tensor:
    """Inner products of rows of 16-bit integers with ±1 weights.

    Args:
        x: int16, shape ``(..., K)``.
        w: packed weights of the units, shape ``(units, K)``.

    Returns:
        int64, shape ``(..., units)``.

    Raises:
        TypeError: x or w is of another kind.
        ValueError: rows and weights are not of one length, or weights are no matrix.

    Example:
        >>> import torch
        >>> from bayes_sbn.kernels import integer_linear, pack
        >>> x = torch.tensor([[5, -3]], dtype=torch.int16)
        >>> integer_linear(x, pack(torch.tensor([[1.0, 1.0], [1.0, -1.0]])))
        tensor([[2, 8]])
    """
    call = "integer_linear()"
    if isinstance(x, PackedBits):
        raise TypeError(f"{call} is for int16 rows: of packed ones write xnor_linear(x, w).")
    rows, inputs = rows_of(call, x)
    units_of(call, w, inputs)
    dots: Tensor = operators.integer_linear(rows, w.data)
    return dots
