r"""Tensors by the name of a site, as a torch module: the state of estimators that have one.

Sites are met as a network runs, so the entries come then, or from a file.  Names of sites contain
dots, which torch keeps for paths; in a ``state_dict`` they are written as in a URL, ``%2E``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


class SiteTensors(torch.nn.Module):
    """A mapping from sites to tensors: buffers, or parameters.

    Args:
        trained: whether the entries are parameters.
    """

    def __init__(self, *, trained: bool = False) -> None:
        super().__init__()
        self.trained = trained

    def _entries(self) -> dict[str, Any]:
        return self._parameters if self.trained else self._buffers

    def __contains__(self, site: str) -> bool:
        return key_of_site(site) in self._entries()

    def get(self, site: str) -> Tensor | None:
        """The tensor of a site, or None."""
        value: Tensor | None = self._entries().get(key_of_site(site))
        return value

    def __getitem__(self, site: str) -> Tensor:
        value = self._entries()[key_of_site(site)]
        assert isinstance(value, Tensor)
        return value

    def __setitem__(self, site: str, value: Tensor) -> None:
        self._set(key_of_site(site), value)

    def __iter__(self) -> Iterator[str]:
        return iter([site_of_key(key) for key in self._entries()])

    def __len__(self) -> int:
        return len(self._entries())

    def _set(self, key: str, value: Tensor) -> None:
        if self.trained:
            self.register_parameter(key, torch.nn.Parameter(value.detach().clone()))
        else:
            self.register_buffer(key, value.detach())

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """As torch's, after entries have been made and dropped to be those of the file."""
        saved = {key.removeprefix(prefix): key for key in state_dict if key.startswith(prefix)}
        for key in set(self._entries()) - set(saved):
            del self._entries()[key]
        for key in set(saved) - set(self._entries()):
            self._set(key, state_dict[saved[key]].clone())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def key_of_site(site: str) -> str:
    """The name of a site as one part of a module path."""
    return site.replace("%", "%25").replace(".", "%2E")


def site_of_key(key: str) -> str:
    """The inverse of :func:`key_of_site`."""
    return key.replace("%2E", ".").replace("%25", "%")
