r"""The expected log predictive density of new rows: leave-one-out where possible, and held out.

Leave-one-out from draws of q corrects for q being no posterior as well as for the row left out:

    ``r_sn = p(w_s) p(y | w_s) / (q(w_s) p(y_n | w_s))``,
    ``elpd = sum_n log sum_s rho_sn p(y_n | w_s)``,

rho the Pareto-smoothed ratios of row n, normalised.  It is a number only where the ratios of q
themselves and of every row have light tails; else held-out rows must say it:

    ``elpd = sum_n log 1/S sum_s p(y_n | w_s)``,    n over rows that the fit has not seen.

References:
    M. Magnusson, M. R. Andersen, J. Jonasson, A. Vehtari. Bayesian leave-one-out cross-validation
    for large data. International Conference on Machine Learning 2019.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bayes_sbn.analysis.importance_checks import ImportanceCheck, effective_sample_size, is_light
from bayes_sbn.analysis.pareto_smoothing import khat_limit, pareto_smoothed

if TYPE_CHECKING:
    import xarray as xr

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LeaveOneOut:
    """Leave-one-out of one chain.

    Args:
        chain: index of the chain.
        elpd: the sum over the rows; None where it cannot be had.
        standard_error: of the sum, from the spread over the rows; None likewise.
        num_rows: rows.
        num_heavy: rows whose ratios have a heavy tail; None where they were not looked at.
        largest_khat: of the rows; None likewise, NaN where none has a tail.
        reason: why there is a number, or none.
    """

    chain: int
    elpd: float | None
    standard_error: float | None
    num_rows: int
    num_heavy: int | None
    largest_khat: float | None
    reason: str


@dataclass(frozen=True)
class HeldOut:
    """Rows that the fit has not seen, predicted by all draws of all chains.

    Args:
        elpd: the sum over the rows.
        standard_error: of the sum, from the spread over the rows; NaN of a single one.
        num_rows: rows.
    """

    elpd: float
    standard_error: float
    num_rows: int


def leave_one_out(
    groups: Mapping[str, xr.Dataset], checks: Sequence[ImportanceCheck]
) -> tuple[LeaveOneOut, ...]:
    """Leave-one-out of each chain, by the checks of the target ``bayes``."""
    log_lik = groups["log_likelihood"]["y"].values
    stats = groups["sample_stats"]
    bayes = {check.chain: check for check in checks if check.target == "bayes"}
    found = []
    for chain, by_row in enumerate(log_lik):
        num_rows = by_row.shape[1]
        check = bayes.get(chain)
        if check is None or not check.reliable:
            why = "log q(w) is not known" if check is None else check.reason
            found.append(LeaveOneOut(chain, None, None, num_rows, None, None, why))
            continue
        ratios = (stats["lp"] - stats["log_q"]).values[chain]
        found.append(_of_chain(chain, by_row, ratios))
    return tuple(found)


def _of_chain(chain: int, log_lik: Float64, log_ratios: Float64) -> LeaveOneOut:
    num_draws, num_rows = log_lik.shape
    limit = khat_limit(num_draws)
    elpd, khats, heavy = np.empty(num_rows), np.empty(num_rows), 0
    possible = np.isfinite(log_ratios)
    for row in range(num_rows):
        left = np.where(possible, log_ratios - np.where(possible, log_lik[:, row], 0), -np.inf)
        smoothed = pareto_smoothed(left)
        khats[row] = smoothed.khat
        heavy += not is_light(smoothed.khat, limit, effective_sample_size(left), num_draws)
        elpd[row] = np.logaddexp.reduce(smoothed.log_weights + log_lik[:, row])
    largest = math.nan if np.isnan(khats).all() else float(np.nanmax(khats))
    if heavy:
        why = f"{heavy} of {num_rows} rows have ratios with a heavy tail"
        return LeaveOneOut(chain, None, None, num_rows, heavy, largest, why)
    error = sum_error(elpd)
    why = "the ratios of all rows have light tails"
    return LeaveOneOut(chain, float(elpd.sum()), error, num_rows, 0, largest, why)


def held_out(groups: Mapping[str, xr.Dataset]) -> HeldOut | None:
    """The score of held-out rows, where their labels are known."""
    if "held_out_log_likelihood" not in groups:
        return None
    log_lik = groups["held_out_log_likelihood"]["y"].values
    by_row = log_lik.reshape(-1, log_lik.shape[-1])
    if not by_row.shape[1]:
        return None
    elpd = np.logaddexp.reduce(by_row, axis=0) - math.log(len(by_row))
    return HeldOut(float(elpd.sum()), sum_error(elpd), len(elpd))


def sum_error(by_row: Float64) -> float:
    """The standard error of a sum over rows; NaN of a single one."""
    return float(np.sqrt(len(by_row) * by_row.var(ddof=1))) if len(by_row) > 1 else math.nan
