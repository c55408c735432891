r"""R-hat across restarts, of what does not depend on the order of hidden units.

Restarts that compute the same function differ in their weights, whose hidden units stand in another
order, so R-hat of weights is large and means nothing.  Here it is taken of variables with the
attribute ``invariant`` and of the log likelihood of some rows, spread evenly over the data.

Draws of a chain are independent, so the law of R-hat under agreement is known: with m half chains
of n draws its square is ``(n - 1) / n + F / n``, F of an F law with m - 1 and m (n - 1) degrees of
freedom.  The limit is 1.01, or the quantile that K variables exceed once in a hundred checks if
that is larger.  Of what no chain varies R-hat is infinite where chains differ, and says nothing
where they do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bayes_sbn.analysis.arviz_versions import arviz

if TYPE_CHECKING:
    import xarray as xr

LARGEST_RHAT = 1.01
MAX_ROWS = 20
_LEAST_DRAWS = 8


@dataclass(frozen=True)
class RestartAgreement:
    """R-hat over the chains.

    Args:
        num_chains: restarts.
        rhat: of each variable, by name.
        limit: beyond which restarts are said to differ.
        largest: the name of the variable with the largest R-hat.
        agree: whether all are within the limit.
    """

    num_chains: int
    rhat: dict[str, float]
    limit: float
    largest: str
    agree: bool


def restart_agreement(groups: Mapping[str, xr.Dataset]) -> RestartAgreement | None:
    """The agreement of the chains; None of a single one, or where no variable can tell.

    Args:
        groups: of the export.
    """
    import xarray as xr

    posterior = groups["posterior"]
    num_chains, num_draws = posterior.sizes["chain"], posterior.sizes["draw"]
    if num_chains < 2 or num_draws < _LEAST_DRAWS:
        return None
    chosen = {name: v for name, v in posterior.items() if v.attrs.get("invariant") == 1}
    log_lik = groups["log_likelihood"]["y"]
    rows = np.unique(np.linspace(0, log_lik.sizes["row"] - 1, MAX_ROWS).astype(int))
    for row in rows:
        name = f"log_likelihood of row {log_lik['row'].values[row]}"
        chosen[name] = log_lik.isel(row=row, drop=True)
    finite = {name: v for name, v in chosen.items() if np.isfinite(v.values).all()}
    varying = {name: v for name, v in finite.items() if _varies(v.values)}
    found: Any = arviz().rhat(xr.Dataset(varying)) if varying else {}
    rhat = {
        str(name): float(found[name]) if name in varying else math.inf
        for name, v in finite.items()
        if name in varying or np.ptp(v.values) > 0
    }
    if not rhat:
        return None
    largest = max(rhat, key=lambda name: rhat[name])
    limit = max(LARGEST_RHAT, _quantile(2 * num_chains, num_draws // 2, len(rhat)))
    return RestartAgreement(num_chains, rhat, limit, largest, rhat[largest] <= limit)


def _varies(values: Any) -> bool:
    """Whether the draws of some chain differ."""
    return bool((values != values[:, :1]).any())


def _quantile(num_halves: int, num_draws: int, number: int) -> float:
    from scipy.stats import f

    ratio = float(f.isf(0.01 / number, num_halves - 1, num_halves * (num_draws - 1)))
    return math.sqrt((num_draws - 1 + ratio) / num_draws)
