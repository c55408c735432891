"""Sums of exact flips of stochastic units: the operator flip_sums.

Definition in ``bayes_sbn.kernels.reference.flips``, the formulas of the compiled code in
``csrc/bsbn.h`` and ``csrc/flip_laws.h``.  Memory is linear in arguments and result: there is no
tensor with an entry for every flip.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_sbn.kernels.native import flips as native
from bayes_sbn.kernels.operators import forbid_gradient, register
from bayes_sbn.kernels.reference import flips as reference
from bayes_sbn.noise import NOISES


def flip_sums(
    a: Tensor,
    g: Tensor,
    c: Tensor,
    x: Tensor,
    *,
    scale: Tensor | None = None,
    noise: str = "logistic",
) -> Tensor:
    """``sum_k g_rk [F(a_rk | x_ri = +1) - F(a_rk | x_ri = -1)]`` with the cdf F of the noise.

    The pre-activation ``a_rk`` contains the term ``s_r c_ki x_ri``.  Leading dims broadcast.  The
    compiled code differs from the reference by rounding: for logistic noise in float64 by about
    1e-15, in float32 by about 1e-6 of the sum of the terms' absolute values; for the others, whose
    flips are differences of cdfs, of the sum of ``|g|``.

    Args:
        a: pre-activations, ``(..., rows, terms)``.
        g: what their differences are weighted with, of the shape of ``a``.
        c: half the step of a flip, ``(..., terms, columns)``.
        x: ±1 values, ``(..., rows, columns)``.
        scale: s, a factor of the steps of each row, ``(..., rows)``; 1 if not given.
        noise: the name of a law of scale 1, a key of :data:`bayes_sbn.noise.NOISES`.

    Returns:
        The sums, ``(..., rows, columns)``.

    Raises:
        ValueError: if the shapes do not fit, or the noise is not known.
        TypeError: if the arguments are of several types, or not floating point.
        RuntimeError: if one of them requires a gradient.
    """
    scale = torch.ones(a.shape[-2:-1], dtype=a.dtype, device=a.device) if scale is None else scale
    if min(t.ndim for t in (a, c, x)) < 2 or not _fits(a, g, c, x, scale):
        shapes = ", ".join(
            f"{name} {tuple(t.shape)}"
            for name, t in {"a": a, "g": g, "c": c, "x": x, "scale": scale}.items()
        )
        raise ValueError(
            f"flip_sums() received {shapes}; they must be (..., rows, terms) twice, "
            "(..., terms, columns), (..., rows, columns) and (..., rows). Write a.unsqueeze(-2), "
            "x.unsqueeze(-2) for one row."
        )
    if len({t.dtype for t in (a, g, c, x, scale)}) > 1 or not a.is_floating_point():
        raise TypeError(
            f"flip_sums() received a {a.dtype}, g {g.dtype}, c {c.dtype}, x {x.dtype}, scale "
            f"{scale.dtype}; all must be the same floating-point type. Write x.to(a.dtype)."
        )
    if noise not in NOISES:
        raise ValueError(
            f"flip_sums(noise={noise!r}): the noise must be one of {', '.join(map(repr, NOISES))}."
        )
    batch = torch.broadcast_shapes(*(t.shape[:-2] for t in (a, c, x)), scale.shape[:-1])
    rows, terms, columns = (*a.shape[-2:], x.shape[-1])
    a, g, x = (t.expand(*batch, *t.shape[-2:]) for t in (a, g, x))
    scale = scale.expand(*batch, rows)
    if c.shape[:-2].numel() == 1:  # the same steps everywhere: the batch is more rows
        places, rows, c = 1, batch.numel() * rows, c.reshape(1, terms, columns)
    else:
        places, c = batch.numel(), c.expand(*batch, terms, columns)
        c = c.reshape(places, terms, columns)
    sums: Tensor = torch.ops.bayes_sbn.flip_sums.default(
        a.reshape(places, rows, terms),
        g.reshape(places, rows, terms),
        c,
        x.reshape(places, rows, columns),
        scale.reshape(places, rows),
        noise,
    )
    return sums.reshape(x.shape)


def _fits(a: Tensor, g: Tensor, c: Tensor, x: Tensor, scale: Tensor) -> bool:
    """Whether rows, terms and columns agree, and the leading dims broadcast."""
    if a.shape != g.shape or scale.shape[-1:] != a.shape[-2:-1]:
        return False
    if (a.shape[-2], a.shape[-1], c.shape[-1]) != (x.shape[-2], c.shape[-2], x.shape[-1]):
        return False
    leading = [t.shape[-3::-1] if t.ndim > 2 else () for t in (a, c, x)]
    if scale.ndim > 1:
        leading.append(scale.shape[-2::-1])
    sizes = [{s[dim] for s in leading if dim < len(s)} for dim in range(max(map(len, leading)))]
    return all(len(there - {1}) <= 1 for there in sizes)


def _fake(a: Tensor, g: Tensor, c: Tensor, x: Tensor, scale: Tensor, noise: str) -> Tensor:  # noqa: ARG001 - the operator's schema
    return x.new_empty(x.shape)


register(
    "flip_sums(Tensor a, Tensor g, Tensor c, Tensor x, Tensor scale, str noise) -> Tensor",
    native=native.flip_sums,
    reference=reference.flip_sums,
    fake=_fake,
)
forbid_gradient("flip_sums", "Give it detached tensors: it is itself part of a backward.")
