r"""Draws of some rows of a batch, as they come out when the whole batch is drawn.

With u_1 ... u_B the uniforms of the B rows of a ±1 site in the plate of the data, a run on the rows
[b, e) alone takes u_b ... u_(e-1); a site outside of that plate, a weight, takes the uniforms that
it has in a run on all rows.  So the runs of several processes on their rows are together the run of
one process on the batch.  The plate of the data is told by ``subsample=``: the rows themselves.

With draws of its own, a process takes uniforms of a seed that no other process has.
"""

from __future__ import annotations

from typing import Any

import torch
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from bayes_sbn.distributions import SignDistribution
from bayes_sbn.estimators import EstimatorSet
from bayes_sbn.kernels import draw_uniforms, uniforms_like
from bayes_sbn.messenger import EstimatorMessenger, UniformSource

CALL = "DataParallel_ELBO"

SEED_STEP = 0x9E3779B97F4A7C15
"""Odd, so that the seeds of ranks differ."""


class RowsMessenger(EstimatorMessenger):
    """Draws the ±1 sites of a guide that runs on some rows of a batch.

    Args:
        estimators: with their state.
        rows: the first row and the one after the last.
        total: rows of the batch.
        own: which draws of its own a process takes; None shares those of the batch.
        copies: as of :class:`bayes_sbn.EstimatorMessenger`.
    """

    def __init__(
        self,
        estimators: EstimatorSet,
        rows: tuple[int, int],
        total: int,
        *,
        own: int | None,
        copies: int = 1,
    ) -> None:
        super().__init__(estimators, copies=copies)
        self.first, self.count, self.total = rows[0], rows[1] - rows[0], total
        self.own = own
        self.row_plates: set[str] = set()
        """Names of the plates that were given the rows."""
        self.other_plates: dict[str, int] = {}
        """Sizes of those that were not."""

    def _pyro_sample(self, msg: Any) -> None:
        if site_is_subsample(msg):
            self._meet_plate(msg)
            return
        super()._pyro_sample(msg)
        is_drawn = not msg["is_observed"] and msg["value"] is None
        if is_drawn and not isinstance(msg["fn"], SignDistribution):
            frame = self._frame(msg)
            if frame is not None and not msg["infer"].get("enumerate"):
                raise ValueError(
                    f'{CALL}: site "{msg["name"]}", a {type(msg["fn"]).__name__} in the plate '
                    f'"{frame.name}", is drawn row by row; only ±1 sites can be drawn there for '
                    "some rows of a batch. Draw it outside the plate, or fit in one process with "
                    "TraceEstimator_ELBO."
                )

    def _meet_plate(self, msg: Any) -> None:
        name, plate, given = msg["name"], msg["fn"], msg["value"]
        if given is None and plate.subsample_size is not None and plate.subsample_size < plate.size:
            raise ValueError(
                f'{CALL}: the plate "{name}" draws {plate.subsample_size} of its {plate.size} rows '
                "itself, the same ones on every rank. Draw the batch outside, give it to every "
                f'rank, and write pyro.plate("{name}", {plate.size}, subsample=x) in the model.'
            )
        if given is None or len(given) != self.count:
            self.other_plates[name] = int(plate.size)
            return
        if plate.size < self.total:
            raise ValueError(
                f'{CALL}: the plate "{name}" has size {plate.size} for {self.count} of the '
                f"{self.total} rows of a batch; its size must not follow the rows that come. Write "
                f'pyro.plate("{name}", num_data, subsample=x), num_data the rows of all data.'
            )
        self.row_plates.add(name)

    def _frame(self, msg: Any) -> Any:
        """The plate of the data that a site is in, if any."""
        found = [f for f in msg["cond_indep_stack"] if f.vectorized and f.name in self.row_plates]
        return found[0] if found else None

    def _source(self, msg: Any) -> UniformSource:
        own = self.own
        if own is not None:
            return lambda shape, like: _own_uniforms(shape, like, own)
        frame = self._frame(msg)
        if frame is None:
            return draw_uniforms
        dim = frame.dim - msg["fn"].event_dim

        def of_these_rows(shape: torch.Size, like: Tensor) -> Tensor:
            whole = list(shape)
            whole[dim] = self.total
            return draw_uniforms(torch.Size(whole), like).narrow(dim, self.first, self.count)

        return of_these_rows


def _own_uniforms(shape: torch.Size, like: Tensor, own: int) -> Tensor:
    """Uniforms that no other process has; the generator moves on as it does on all of them."""
    seed = int(torch.empty((), dtype=torch.int64).random_()) + own * SEED_STEP
    signed = (seed + 2**63) % 2**64 - 2**63
    return uniforms_like(torch.empty(shape, dtype=like.dtype, device=like.device), signed)
