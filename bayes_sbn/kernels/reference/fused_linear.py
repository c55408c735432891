r"""One dense layer alone: what an ensemble does between two of its layers, for one draw.

With rows ``x`` of ±1 values or of 16-bit integers, weights ``w`` of ±1, and

    ``a = scale * dot + bias``,  ``dot = sum_k w_jk x_nk``

in float64, the product rounded before the sum, dots exact,

* a stochastic layer gives ``+1 where u48 < rint(F64(a) * 2**48), else -1``, with the uniforms of
  :mod:`bayes_sbn.kernels.reference.sampling`, hence the bits of
  :mod:`bayes_sbn.kernels.reference.network`;
* a layer of signs gives ``+1 where a > 0, else -1``: the more probable state under any of the laws,
  and -1 where both are equally probable, as deterministic straight-through draws it;
* a last layer gives ``a``.

The rows of a batch are counted in row-major order of its leading dimensions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bayes_sbn.kernels.reference.cdf64 import Float64
from bayes_sbn.kernels.reference.exact_dots import Signs, exact_dots
from bayes_sbn.kernels.reference.inputs import Inputs
from bayes_sbn.kernels.reference.layers import draw_weights
from bayes_sbn.kernels.reference.network import signs_of_words
from bayes_sbn.kernels.reference.packing import pack
from bayes_sbn.kernels.reference.sampling import (
    Bool,
    Int64,
    activation_thresholds,
    draw_row_activations,
    orientation,
    shared_thresholds,
    shared_uniforms,
)
from bayes_sbn.philox import fold_stream


def stochastic_linear(
    rows: Tensor,
    weights: Tensor,
    cold: Tensor | None,
    scale: Tensor,
    bias: Tensor,
    inputs: int,
    noise: str,
    noise_scale: float,
    is_shared: bool,
    seed: int,
    stream: int,
    draw: int,
    site: int,
    first_row: int,
) -> Tensor:
    """Packed signs of ``a`` with noise, int32 words of shape (..., words of the units).

    Args:
        rows: words of ±1 rows, int32 (..., words), or numbers, int16 (..., inputs).
        weights: packed weights (units, words); or, with ``cold``, the hot planes of ``csrc/bsbn.h``
            that this draw of the weights is made of.
        cold: the cold planes.
        scale: float64, (units,).
        bias: float64, (units,).
        inputs: number of inputs.
        noise: name of the law.
        noise_scale: scale of the law.
        is_shared: whether the rows share the noise.
        seed: 64 bits, of either sign.
        stream: 64 bits, of either sign.
        draw: index of the draw.
        site: index of the layer.
        first_row: index of the first row.
    """
    key = fold_stream(seed % 2**64, stream % 2**64)
    if cold is not None:
        weights = draw_weights(weights, cold, len(scale), inputs, [draw], site, *key)[0]
    dots, bound = _dots(rows, weights, inputs)
    if not dots.size:
        return _packed(dots > 0, rows)
    units = _units(scale, bias)
    draws = np.array([draw], np.int64)
    if is_shared:
        uniforms = shared_uniforms(key, site, draws, len(scale))
        least = shared_thresholds(uniforms, *units, noise, noise_scale, bound)
        positive: Bool = dots * orientation(units[0]) >= least
    else:
        thresholds = activation_thresholds(dots[None], *units, noise, noise_scale)
        positive = draw_row_activations(key, site, draws, first_row, thresholds)[0]
    return _packed(positive, rows)


def sign_linear(rows: Tensor, weights: Tensor, scale: Tensor, bias: Tensor, inputs: int) -> Tensor:
    """Packed signs, +1 where ``a > 0``; arguments as in :func:`stochastic_linear`."""
    return _packed(_pre_activations(rows, weights, scale, bias, inputs) > 0, rows)


def linear_logits(
    rows: Tensor, weights: Tensor, scale: Tensor, bias: Tensor, inputs: int
) -> Tensor:
    """``a``, float64, (..., units); arguments as in :func:`stochastic_linear`."""
    logits = torch.from_numpy(_pre_activations(rows, weights, scale, bias, inputs))
    return logits.reshape(*rows.shape[:-1], len(weights)).to(rows.device)


def integer_linear(rows: Tensor, weights: Tensor) -> Tensor:
    """Dots of 16-bit integers, int64, (..., units)."""
    dots, _ = _dots(rows, weights, rows.shape[-1])
    return torch.from_numpy(dots).reshape(*rows.shape[:-1], len(weights)).to(rows.device)


def _pre_activations(
    rows: Tensor, weights: Tensor, scale: Tensor, bias: Tensor, inputs: int
) -> Float64:
    scales, biases = _units(scale, bias)
    with np.errstate(over="ignore"):  # an infinite product has the sign that it should have
        pre: Float64 = scales * _dots(rows, weights, inputs)[0].astype(np.float64) + biases
    return pre


def _dots(rows: Tensor, weights: Tensor, inputs: int) -> tuple[Int64, int]:
    """Dots of the rows one after the other, (rows, units), and a bound on their magnitude."""
    given = rows.reshape(rows.shape[:-1].numel(), rows.shape[-1]).cpu().numpy()
    w = signs_of_words(weights.cpu().numpy().view(np.uint32), inputs)
    x: Signs | Inputs
    if rows.dtype == torch.int16:
        x, largest = given, int(np.abs(given.astype(np.int64)).max(initial=0))
    else:
        x, largest = signs_of_words(given.view(np.uint32), inputs), 1
    return exact_dots(x, w[None])[0].astype(np.int64), inputs * largest


def _units(scale: Tensor, bias: Tensor) -> tuple[Float64, Float64]:
    return scale.cpu().numpy(), bias.cpu().numpy()


def _packed(positive: Bool, rows: Tensor) -> Tensor:
    words = pack(torch.from_numpy(positive))
    return words.reshape(*rows.shape[:-1], words.shape[-1]).to(rows.device)
