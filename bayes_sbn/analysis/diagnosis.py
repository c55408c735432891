r"""diagnose: what can be relied upon in a fitted posterior, from the arrays of an export alone.

Nothing is fitted and no network is run, so a file of years ago will do.  Each part is a module that
states its formulas: :mod:`bayes_sbn.analysis.importance_checks`,
:mod:`bayes_sbn.analysis.leave_one_out`, :mod:`bayes_sbn.analysis.predictive_checks`,
:mod:`bayes_sbn.analysis.restart_agreement` and :mod:`bayes_sbn.analysis.weight_certainty`.

A variational posterior over thousands of weights seldom is the exact one, and k-hat says so.  That
forbids reweighting its draws and leave-one-out by importance sampling; whether it predicts well is
another question, which held-out rows answer.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bayes_sbn.analysis.arviz_versions import groups_of
from bayes_sbn.analysis.diagnosis_words import flags_of, words_of
from bayes_sbn.analysis.importance_checks import ImportanceCheck, importance_checks
from bayes_sbn.analysis.leave_one_out import HeldOut, LeaveOneOut, held_out, leave_one_out
from bayes_sbn.analysis.predictive_checks import PredictiveCheck, predictive_checks
from bayes_sbn.analysis.restart_agreement import RestartAgreement, restart_agreement
from bayes_sbn.analysis.weight_certainty import LayerCertainty, weight_certainty

if TYPE_CHECKING:
    import xarray as xr

_NEEDED = {
    "posterior": (),
    "posterior_predictive": ("y",),
    "log_likelihood": ("y",),
    "sample_stats": ("lp", "log_lik"),
    "observed_data": ("y",),
    "variational": (),
}
"""Groups and variables without which there is nothing to diagnose."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found; ``print`` says it in words.

    Args:
        likelihood: ``"categorical"`` or ``"normal"``.
        num_chains: restarts.
        num_draws: draws of each.
        num_rows: rows of data.
        importance: the ratios of each target and chain; empty where ``log q`` is not known.
        loo: leave-one-out of each chain, a number or why there is none.
        held_out: the score of held-out rows; None without any.
        predictive: posterior predictive checks.
        restarts: R-hat over restarts; None of a single one.
        layers: how decided the weights are.
    """

    likelihood: str
    num_chains: int
    num_draws: int
    num_rows: int
    importance: tuple[ImportanceCheck, ...]
    loo: tuple[LeaveOneOut, ...]
    held_out: HeldOut | None
    predictive: tuple[PredictiveCheck, ...]
    restarts: RestartAgreement | None
    layers: tuple[LayerCertainty, ...]

    @property
    def flags(self) -> tuple[str, ...]:
        """What should not be relied upon, a sentence each; empty if nothing was found."""
        return flags_of(self)

    @property
    def elpd(self) -> float | None:
        """Expected log predictive density: leave-one-out of a single chain, else held out."""
        if self.num_chains == 1 and self.loo[0].elpd is not None:
            return self.loo[0].elpd
        return None if self.held_out is None else self.held_out.elpd

    def __str__(self) -> str:
        return words_of(self)

    def to_dict(self) -> dict[str, Any]:
        """All numbers and reasons as plain Python, and the flags."""
        return {**asdict(self), "flags": list(self.flags)}

    def to_json(self) -> str:
        """The same as JSON text; numbers that JSON lacks are strings, NaN null."""
        return json.dumps(_for_json(self.to_dict()), indent=2, allow_nan=False, ensure_ascii=False)


def diagnose(idata: Any) -> Diagnosis:
    """Diagnose a posterior from what :func:`bayes_sbn.to_arviz` made of it.

    Args:
        idata: an InferenceData or DataTree, or the path of a NetCDF file or Zarr store.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: it is a Zarr store, and zarr is not installed (extra ``zarr``).
        TypeError: it is none of these.
        ValueError: it is not an export of ``to_arviz``, or groups were left out; the message says
            which.

    Example:
        >>> print(diagnose(to_arviz(posterior, x, y)))  # doctest: +SKIP
    """
    groups = groups_of("diagnose()", idata)
    _check_groups(groups, idata)
    chains = groups["posterior"].sizes
    targets = groups["observed_data"]["y"]
    likelihood = "normal" if targets.dtype.kind == "f" else "categorical"
    checks = importance_checks(groups)
    return Diagnosis(
        likelihood=likelihood,
        num_chains=chains["chain"],
        num_draws=chains["draw"],
        num_rows=targets.sizes["row"],
        importance=checks,
        loo=leave_one_out(groups, checks),
        held_out=held_out(groups),
        predictive=predictive_checks(groups, likelihood),
        restarts=restart_agreement(groups),
        layers=weight_certainty(groups),
    )


def _check_groups(groups: Mapping[str, xr.Dataset], given: object) -> None:
    missing = [
        name if name not in groups else f"{name}/{variable}"
        for name, variables in _NEEDED.items()
        for variable in (variables or ("",))
        if name not in groups or (variable and variable not in groups[name])
    ]
    if missing:
        what = os.fspath(given) if isinstance(given, str | os.PathLike) else type(given).__name__
        raise ValueError(
            f"diagnose({what}): {', '.join(dict.fromkeys(missing))} are missing; there are "
            f"{', '.join(groups) or 'no groups'}. Give what bayes_sbn.to_arviz(posterior, x, y) "
            "returned, whole."
        )


def _for_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _for_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_for_json(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value
