"""The effect handler that gives the ±1 sites of a run the states of a chunk of all joint states."""

from __future__ import annotations

from typing import Any

import torch
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from bayes_sbn.distributions import SignDistribution
from bayes_sbn.estimators import Exact
from bayes_sbn.messenger import EstimatorMessenger
from bayes_sbn.signs import tag_sign


class StatesMessenger(EstimatorMessenger):
    """Gives the latent ±1 sites of a run their states: those of a chunk, or all +1.

    Args:
        estimator: the enumeration.
        states: of every site, (number, *ones, *shape of its bits).
        rows: that plates drew in the first run.
        choice: the state of auxiliary variables, the same for all particles.
    """

    def __init__(
        self,
        estimator: Exact,
        states: dict[str, Tensor],
        rows: dict[str, Tensor],
        choice: int = 0,
    ) -> None:
        super().__init__(estimator)
        self.states, self.rows, self.choice = states, rows, choice

    def _pyro_auxiliary(self, msg: Any) -> None:
        super()._pyro_auxiliary(msg)
        msg["kwargs"]["state"] = self.choice

    def _pyro_sample(self, msg: Any) -> None:
        name, fn = msg["name"], msg["fn"]
        if msg["is_observed"] or msg["value"] is not None:
            return
        if site_is_subsample(msg):
            msg["value"] = self.rows.get(name)
        elif isinstance(fn, SignDistribution):
            like = fn.parameter
            value = self.states.get(name, torch.ones(()))
            value = value.to(like.device, like.dtype).expand(fn.shape())
            msg["value"] = fn.remembered_by(tag_sign(value, name, None))
