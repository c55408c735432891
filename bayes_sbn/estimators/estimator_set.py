r"""The estimators of a run: the default, and those that sites chose, with their state.

A site that chooses by name keeps one instance, so that what it has learned stays.  Estimators that
are torch modules are children of the set: their tensors are in its ``state_dict``, their parameters
among its parameters.  Sites are met as a network runs; what a file says of one that has not been
met waits for it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bayes_sbn.estimators.estimator import Estimator, get_estimator
from bayes_sbn.estimators.site_tensors import key_of_site, site_of_key


class EstimatorSet(torch.nn.Module):
    """The default estimator, and one of each site that chose another.

    Args:
        default: a registered name or an instance.
    """

    def __init__(self, default: str | Estimator) -> None:
        super().__init__()
        self.default = get_estimator(default)
        self.sites = _Sites()
        self._chosen: dict[str, tuple[Any, Estimator]] = {}

    def of(self, site: str, chosen: str | Estimator | None) -> Estimator:
        """The estimator of a site that chose one, or nothing (None)."""
        if chosen is None:
            return self.default
        before = self._chosen.get(site)
        if before is not None and (before[0] is chosen or before[0] == chosen):
            return before[1]
        estimator = get_estimator(chosen)
        self._chosen[site] = (chosen, estimator)
        self.sites.meet(site, estimator)
        return estimator


class _Sites(torch.nn.Module):
    """The stateful estimators by site, and the states that wait for theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[str, dict[str, Tensor]] = {}

    def meet(self, site: str, estimator: Estimator) -> None:
        key = key_of_site(site)
        self._modules.pop(key, None)
        if isinstance(estimator, torch.nn.Module):
            self.add_module(key, estimator)
            if key in self.waiting:
                estimator.load_state_dict(self.waiting.pop(key))
        elif key in self.waiting:
            raise ValueError(
                f'site "{site}": the state that was loaded is of an estimator with state, and the '
                f"site chose {estimator!r}, which has none."
            )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        del args, kwargs
        self.waiting = {}
        for name, value in state_dict.items():
            if name.startswith(prefix):
                key, rest = name.removeprefix(prefix).split(".", 1)
                if key not in self._modules:
                    self.waiting.setdefault(key, {})[rest] = value.clone()

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for key, state in self.waiting.items():
            for rest, value in state.items():
                destination[f"{prefix}{key}.{rest}"] = value

    def __repr__(self) -> str:
        return f"{[site_of_key(key) for key in self._modules]}"
