r"""Do data drawn from the fitted model look like those that it was fitted to?

Of a statistic T the check is the two-sided p-value of the observed T among S replicated ones,

    ``p = 2 (min(#{T_rep < T}, #{T_rep > T}) + #{T_rep = T} / 2 + 1) / (S + 1)``, at most 1,

ties being shared by both sides.  The 1 is the data's own: no p of S draws is below 2 / (S + 1),
the chance that data which are one more draw lie beyond all of them.

Of class labels the statistics are the number of rows in each class, of real targets their mean,
standard deviation, least and largest value.  Both have ``log_lik``, which compares
``log p(y | w_s)`` with that of data drawn from the same w_s: small where the network claims more
than it knows, or where it knows more than it claims, as ``side`` says.

The data are used twice, by the fit and by the check, so that p-values are nearer to 1/2 than
uniform: a small one counts, a large one says little.

References:
    A. Gelman, X.-L. Meng, H. Stern. Posterior predictive assessment of model fitness via realized
    discrepancies. Statistica Sinica 6, 1996.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import xarray as xr

LEVEL = 0.05
"""Of the smallest p-value of a kind of statistic, times their number."""


def draws_to_flag(number: int) -> int:
    """The draws that it takes to flag one of so many statistics: ``2 number / (S + 1) < LEVEL``."""
    return round(2 * number / LEVEL)


@dataclass(frozen=True)
class PredictiveCheck:
    """One statistic.

    Args:
        statistic: its name.
        observed: of the data; of ``log_lik`` the mean over the draws.
        replicated: mean over the replicated data.
        p: two-sided p-value.
        side: whether what was observed lies ``"below"`` or ``"above"`` what is replicated.
        flagged: whether p, times the number of statistics of its kind, is below the level.
    """

    statistic: str
    observed: float
    replicated: float
    p: float
    side: str
    flagged: bool


def predictive_checks(
    groups: Mapping[str, xr.Dataset], likelihood: str
) -> tuple[PredictiveCheck, ...]:
    """The checks of all draws of all chains.

    Args:
        groups: of the export.
        likelihood: ``"categorical"`` or ``"normal"``.
    """
    observed = groups["observed_data"]["y"].values
    replicated = groups["posterior_predictive"]["y"].values
    replicated = replicated.reshape(-1, replicated.shape[-1])
    found = []
    if likelihood == "categorical":
        names = _class_names(groups, observed, replicated)
        for number, name in enumerate(names):
            counts = (replicated == number).sum(axis=1)
            found.append(_check(f"count of {name}", (observed == number).sum(), counts, len(names)))
    else:
        for name, statistic in _OF_REALS.items():
            found.append(
                _check(name, statistic(observed), statistic(replicated, axis=1), len(_OF_REALS))
            )
    stats = groups["sample_stats"]
    if "log_lik_replicated" in stats:
        own = stats["log_lik"].values.ravel()
        found.append(_check("log_lik", own, stats["log_lik_replicated"].values.ravel(), 1))
    return tuple(found)


_OF_REALS: dict[str, Any] = {"mean": np.mean, "std": np.std, "min": np.min, "max": np.max}


def _class_names(
    groups: Mapping[str, xr.Dataset], *labels: npt.NDArray[Any]
) -> npt.NDArray[np.str_]:
    law = groups.get("variational")
    if law is not None and "class" in law.coords:
        return np.asarray(law["class"].values).astype(str)
    return np.arange(max(int(each.max()) for each in labels) + 1).astype(str)


def _check(name: str, observed: Any, replicated: Any, number: int) -> PredictiveCheck:
    below, above = int((replicated < observed).sum()), int((replicated > observed).sum())
    draws = len(replicated)
    tied = draws - below - above
    p = min(1.0, 2 * (min(below, above) + tied / 2 + 1) / (draws + 1))
    return PredictiveCheck(
        statistic=name,
        observed=float(np.mean(observed)),
        replicated=float(np.mean(replicated)),
        p=p,
        side="below" if below < above else "above",
        flagged=p * number < LEVEL,
    )
