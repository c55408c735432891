"""Uniforms for training: a function of one seed, many times faster than a serial generator.

Definition in ``bayes_sbn.kernels.reference.uniforms``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_sbn.kernels.loader import NativeLibrary, installed_library
from bayes_sbn.kernels.native import uniforms as native
from bayes_sbn.kernels.operators import register
from bayes_sbn.kernels.reference import uniforms as reference


def uniforms_like(x: Tensor, seed: int) -> Tensor:
    """Uniforms in [0, 1) of the shape and dtype of a tensor, from a seed alone.

    Args:
        x: float32 or float64; its values do not matter.
        seed: an integer of 64 bits.

    Raises:
        TypeError: for another dtype.
        ValueError: for a seed of more bits.
    """
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"uniforms_like() received {x.dtype}; uniforms are torch.float32 or torch.float64. "
            "Write uniforms_like(x.to(torch.float32), seed)."
        )
    if not -(2**63) <= seed < 2**63:
        raise ValueError(
            f"uniforms_like(seed={seed}): a seed lies in [-2**63, 2**63). Write {seed} % 2**63."
        )
    values: Tensor = torch.ops.bayes_sbn.uniforms_like.default(x, seed)
    return values


def draw_uniforms(shape: torch.Size, like: Tensor) -> Tensor:
    """Uniforms of torch's global generator, with the dtype and on the device of a tensor.

    Where the compiled kernels run, the generator gives the seed of :func:`uniforms_like`;
    elsewhere (other devices and dtypes, no compiler) it gives the uniforms themselves.
    """
    library = installed_library() if like.device.type == "cpu" else None
    if library is None or like.dtype not in native.VALUE_TYPES:
        return torch.rand(shape, dtype=like.dtype, device=like.device)
    seed = int(torch.empty((), dtype=torch.int64).random_())
    return native.uniforms(library, shape, like.dtype, seed)


def _native_uniforms_like(library: NativeLibrary, x: Tensor, seed: int) -> Tensor:
    return native.uniforms(library, x.shape, x.dtype, seed)


def _fake_uniforms_like(x: Tensor, seed: int) -> Tensor:  # noqa: ARG001 - the operator's schema
    return x.new_empty(x.shape)


register(
    "uniforms_like(Tensor x, SymInt seed) -> Tensor",
    native=_native_uniforms_like,
    reference=reference.uniforms_like,
    fake=_fake_uniforms_like,
)
