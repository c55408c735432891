"""Draws of a whole network by the compiled library, from tensors.

Equal to ``bayes_sbn.kernels.reference.networks``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bayes_sbn.kernels.loader import STATUS_OUT_OF_MEMORY, NativeLibrary
from bayes_sbn.kernels.native.ensemble import LAWS, EnsembleArguments, LayerArguments, sums_fit
from bayes_sbn.philox import fold_stream


def network_dots(
    library: NativeLibrary,
    inputs: Tensor,
    hot: Sequence[Tensor],
    cold: Sequence[Tensor],
    scale: Sequence[Tensor],
    bias: Sequence[Tensor],
    units: Sequence[int],
    noise: Sequence[str],
    noise_scale: Sequence[float],
    draws: Sequence[int],
    is_shared: bool,
    seed: int,
    stream: int,
    first_row: int,
    num_threads: int | None = None,
) -> Tensor | None:
    """Integer logits; None where sums of the inputs may leave 32 bits."""
    inputs = inputs.contiguous()
    length = inputs.shape[-1]
    if not sums_fit(length, inputs.numpy()):
        return None
    key = fold_stream(seed % 2**64, stream % 2**64)
    dots = torch.empty((len(draws), *inputs.shape[:-1], units[-1]), dtype=torch.int64)
    indices = torch.tensor(list(draws), dtype=torch.int64)
    layers = (LayerArguments * len(units))()
    kept = []  # tensors that the pointers point to
    for site, number in enumerate(units):
        parts = [part.contiguous() for part in (hot[site], cold[site], scale[site], bias[site])]
        kept.append(parts)
        layers[site] = LayerArguments(
            hot=parts[0].data_ptr(),
            cold=parts[1].data_ptr(),
            words=None,
            scale=parts[2].data_ptr(),
            bias=parts[3].data_ptr(),
            has_units_of_draws=False,
            site=site,
            units=number,
            inputs=length,
            law=LAWS[noise[site]] if noise[site] else -1,
            noise_scale=noise_scale[site],
        )
        length = number
    arguments = EnsembleArguments(
        inputs=inputs.data_ptr(),
        layers=layers,
        draws=indices.data_ptr(),
        dots=dots.data_ptr(),
        num_layers=len(layers),
        num_draws=len(draws),
        rows=inputs.shape[:-1].numel(),
        first_row=first_row,
        key0=key[0],
        key1=key[1],
        is_shared=is_shared,
        num_threads=num_threads or torch.get_num_threads(),
    )
    if library.run("bsbn_ensemble", arguments, accept=(STATUS_OUT_OF_MEMORY,)):
        raise MemoryError(library.last_error)
    return dots
