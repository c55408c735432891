"""The draws of the weights themselves: ±1 weights one bit each, real ones as 16-bit steps.

A row of ±1 weights, those into one unit, is a row of bytes, bit 1 for +1, the first weight the
highest bit of the first byte (``numpy.packbits``).  The attributes of a variable say along which
dim it is packed (``packed_dim``) and how many weights there are (``packed_len``), so that the file
is understood without this package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.analysis.arviz_names import Names
from bayes_sbn.analysis.arviz_versions import groups_of
from bayes_sbn.analysis.weight_densities import weights_in_parts

if TYPE_CHECKING:
    import xarray as xr

    from bayes_sbn.ensemble import Ensemble
    from bayes_sbn.posterior import Posterior

Array = npt.NDArray[Any]
Variables = dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]]

_GROUP = "posterior_packed"


def packed_weights(
    chains: Sequence[Posterior], ensembles: Sequence[Ensemble], names: Names
) -> Variables:
    """The variables of the group ``posterior_packed``, one a layer."""
    by_chain = [_of_chain(ensemble) for ensemble in ensembles]
    found: Variables = {}
    layers = chains[0].components[0].layers
    for index, (name, (out, inputs), layer) in enumerate(
        zip(names.layers, names.dims, layers, strict=True)
    ):
        values = np.stack([chain[index] for chain in by_chain])
        if layer.num_real_weights:
            known: Any = layer
            steps = np.array(
                [[_step(c.layers[index]) for c in chain.components] for chain in chains]
            )
            if (steps != known.step).any():  # one grid for each chain: the steps are then numbers
                of_draw = [steps[c][e.components] for c, e in enumerate(ensembles)]
                values = values * np.stack(of_draw)[:, :, None, None]
                about: dict[str, Any] = {"step": 1.0}
            else:
                about = {"step": float(known.step)}
            found[f"{name}.weight"] = (("chain", "draw", out, inputs), values, about)
            continue
        about = {"packed_dim": inputs, "packed_len": layer.num_inputs, "bitorder": "big"}
        found[f"{name}.weight"] = (("chain", "draw", out, f"{name}.byte"), values, about)
    return found


def _step(layer: Any) -> float:
    return float(layer.step)


def _of_chain(ensemble: Ensemble) -> list[Array]:
    parts: list[list[Array]] = []
    for _, weights in weights_in_parts(ensemble):
        parts.append(
            [np.packbits(w > 0, axis=-1) if w.dtype == np.int8 else w.copy() for w in weights]
        )
    return [np.concatenate(layer) for layer in zip(*parts, strict=True)]


def unpack(idata: Any, layer: str, *, draws: slice | int | None = None) -> xr.DataArray:
    """The weights of a layer under each draw, of an export with ``packed=True``.

    Args:
        idata: an InferenceData or DataTree, or the path of a NetCDF file or Zarr store.
        layer: name of the layer, as in the group ``posterior_packed``.
        draws: which draws of each chain; by default all.

    Returns:
        ±1 weights as int8, real ones as float64, over the dims (chain, draw, out, in).

    Raises:
        ValueError: there are no packed draws, or no such layer.

    Example:
        >>> unpack(idata, "hidden.0", draws=slice(10)).shape  # doctest: +SKIP
        (1, 10, 256, 64)
    """
    import xarray as xr

    groups = groups_of("unpack()", idata)
    packed = _found(groups, layer)
    chosen = slice(None) if draws is None else draws
    if not isinstance(chosen, slice):
        chosen = slice(chosen, chosen + 1 or None)
    packed = packed.isel(draw=chosen)
    if "packed_len" not in packed.attrs:
        weights = packed.astype(np.float64) * float(packed.attrs["step"])
        weights.attrs = {}
        return weights
    length = int(packed.attrs["packed_len"])
    bits = np.unpackbits(packed.values, axis=-1, count=length)
    *lead, _ = packed.dims
    dim = str(packed.attrs["packed_dim"])
    coords = {name: packed.coords[name] for name in lead if name in packed.coords}
    law = groups.get("variational")
    if law is not None and dim in law.coords:
        coords[dim] = law.coords[dim]
    return xr.DataArray(
        2 * bits.astype(np.int8) - 1, dims=(*lead, dim), coords=coords, name=packed.name
    )


def _found(groups: Mapping[str, xr.Dataset], layer: str) -> xr.DataArray:
    if _GROUP not in groups:
        raise ValueError(
            f"unpack(idata, {layer!r}): there is no group {_GROUP}. Export the draws of the "
            "weights too, with to_arviz(posterior, x, y, packed=True)."
        )
    group = groups[_GROUP]
    name = f"{layer}.weight"
    if name not in group:
        there = ", ".join(repr(str(each).removesuffix(".weight")) for each in group)
        raise ValueError(f"unpack(idata, {layer!r}): there is no such layer; there are {there}.")
    return group[name]
