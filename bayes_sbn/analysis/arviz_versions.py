"""ArviZ 0.x and 1.x behind the few things that differ: the import, and what groups are held in.

A group is an ``xarray.Dataset`` in both.  ArviZ 0.x holds groups in an ``InferenceData``, 1.x in an
``xarray.DataTree``; files of either are read by both.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr


def arviz() -> Any:
    """The ArviZ module, imported when first asked for.

    ArviZ 0.23 announces its successor at the first import of a day and notes the day in the user's
    cache folder.  The announcement is no warning about what the caller did, and a folder that
    cannot be written to is no reason to fail, so the first is muted and the second worked around.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing", FutureWarning)
        try:
            return importlib.import_module("arviz")
        except OSError:
            with _another_cache():
                return importlib.import_module("arviz")


@contextmanager
def _another_cache() -> Iterator[None]:
    """A cache folder that can be written to, for as long as an import takes."""
    before = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["XDG_CACHE_HOME"]
            else:
                os.environ["XDG_CACHE_HOME"] = before


def holds_trees() -> bool:
    """Whether this ArviZ works on DataTree (1.x) and not on InferenceData (0.x)."""
    return int(arviz().__version__.partition(".")[0]) >= 1


def in_one_object(
    groups: Mapping[str, xr.Dataset], attrs: Mapping[str, object], *, as_tree: bool
) -> Any:
    """The groups as an InferenceData, or as a DataTree.

    Args:
        groups: by name.
        attrs: of the whole.
        as_tree: whether it is a DataTree.
    """
    import xarray as xr

    if as_tree:
        return xr.DataTree.from_dict({"/": xr.Dataset(attrs=dict(attrs)), **groups})
    return arviz().InferenceData(**groups, attrs=dict(attrs))


def groups_of(call: str, data: object) -> dict[str, xr.Dataset]:
    """The groups of an InferenceData, of a DataTree, or of a NetCDF file or Zarr store of either.

    Args:
        call: the call to name in errors.
        data: what was given; of a file or store its path.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: it is a Zarr store, and zarr is not installed.
        TypeError: it is none of these.
    """
    import xarray as xr

    if isinstance(data, str | os.PathLike):
        return _read(call, Path(data))
    if isinstance(data, xr.DataTree):
        return {name: node.to_dataset() for name, node in data.children.items()}
    if type(data).__name__ == "InferenceData":
        named: Any = data
        return {name: named[name] for name in named.groups()}
    raise TypeError(
        f"{call} needs an InferenceData or DataTree, or the path of a NetCDF file or Zarr store: "
        f"received {type(data).__name__}. Write idata = bayes_sbn.to_arviz(posterior, x, y) first."
    )


def _read(call: str, path: Path) -> dict[str, xr.Dataset]:
    """The groups of a NetCDF file, or of a Zarr store, which is a folder."""
    import xarray as xr

    if not path.exists():
        raise FileNotFoundError(
            f"{call}: there is no file {str(path)!r}. Give an InferenceData, a DataTree, or the "
            "path of what idata.to_netcdf(path) or tree.to_zarr(path) wrote."
        )
    options: dict[str, Any] = {"engine": "h5netcdf"}
    if path.is_dir():
        if importlib.util.find_spec("zarr") is None:
            raise ImportError(
                f"{call}: {str(path)!r} is a folder, and reading a Zarr store needs zarr. Install "
                'it: pip install "bayes-sbn[zarr]".'
            )
        # each group by its own metadata, which stores of every format have
        options = {"engine": "zarr", "consolidated": False}
    with xr.open_datatree(path, **options) as tree:
        return {name: node.to_dataset().load() for name, node in tree.children.items()}
